"""faces.h5 -> flame.h5: a head in three dimensions for every face: shape, expression, pose, camera, texture, light."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field

from fgcli.config import Section, Spec
from fgcli.config.fields import Device, Processes, Threads
from fgcli.console import say
from fgcli.errors import FgError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.artifacts import Artifact
    from fgcli.fitting.extraction import Extraction
    from fgcli.heads.head import Head

ROWS = 64
"""Faces at a time, and what a kill can lose."""
ROWS_TOLD = ("split", "source", "identity", "rejected/source")
SHEET_FACES, SHEET_COLUMNS, TILE_PX = 200, 4, 96


class Params(Section):
    """Params of `fg flame`."""

    head: Spec
    """Name in HEADS, then its arguments."""
    method: str
    """Where the first guess comes from: name in EXTRACTORS; auto: the best that is here, and it says which."""
    refine: Literal["auto", "none", "landmarks", "photometric"]
    """What moves the geometry then; auto: landmarks for photos, landmarks and pixels for renders, none for deca."""
    shape_modes: Annotated[int, Field(ge=0, le=100)]
    """Identity modes that landmarks may move."""
    expression_modes: Annotated[int, Field(ge=0, le=50)]
    """Expression modes that landmarks may move."""
    analyser_errors: Annotated[float, Field(ge=0, le=1)]
    """Share of the covariance of the analyser's errors on renders of the head that is expected of its landmarks."""
    photometric_steps: Annotated[int, Field(ge=0)]
    """Steps of photometric refinement."""
    share_shape: Literal["none", "identity"]
    """Who has one shape: nobody, or all photos of a person; it is the median of theirs, and all else is refitted."""
    smooth: bool
    """Whether rows are frames, in the order of the numbers in their names, whose parameters change smoothly."""
    window: Annotated[float, Field(gt=0)]
    """Deviation of the Gaussian window of `smooth`, frames."""
    max_failed: Annotated[float, Field(ge=0, le=1)]
    """Share of rows whose status is not ok above which the run fails."""
    device: Device
    """Where to compute."""
    threads: Threads
    processes: Processes


def run(
    faces: Path = Path("out/faces.h5"),
    regressor: Path = Path("out/regressor.h5"),
    output: Path = Path("out/flame.h5"),
    sheet: Path = Path("out/flame.png"),
    *,
    params: Params,
    resume: bool = True,
    cluster: str = "",
) -> dict[str, Any]:
    """Fits every face, part by part; a row that failed says why in its status.

    Raises:
        FgError: no faces.h5, a method whose files are not here, or too many rows that failed.
    """
    import numpy as np

    from fgcli import artifacts
    from fgcli.artifacts.parts import begin, work_folder
    from fgcli.training.devices import threads

    stored = artifacts.load(faces, artifacts.FACES, ROWS_TOLD)
    computing = threads(params.threads)
    extraction, told, words = _prepare(params, stored, regressor)
    say(words)
    method = told["method"]
    inputs = {"faces": faces} | ({"regressor": regressor} if method["name"] == "regress" else {})
    told["inputs"] = {k: artifacts.sha256(p) for k, p in inputs.items()}
    settings = params.model_dump(exclude={"processes"})
    folder = begin(output, [{key: settings[key] for key in settings if key != "max_failed"}, told], resume)
    settled = params.model_copy(update={"method": method["name"], "refine": method["refine"]})
    build = partial(_fitting, faces, regressor, settled, computing)
    own = Fitting(extraction, _crops(faces))
    in_parts = partial(_in_parts, folder, len(stored["split"]), build, own, params, cluster)
    arrays = in_parts("flame", "fit", {})
    if params.share_shape == "identity":
        shapes = _shared(arrays, stored["identity"])
        arrays = in_parts("one shape a person", "fit", {"shape": shapes})
    if params.smooth:
        before, known = arrays["status"], _smoothed(arrays, stored, params.window)
        arrays = in_parts("smooth", "judged", known)
        arrays["status"] = np.where(before == "ok", arrays["status"], before)
    arrays |= {"split": stored["split"]}
    summary = _judge(arrays, extraction.head, stored, params, faces)
    meta = {"head": told["head"], "method": method}
    artifacts.save(output, artifacts.FLAME, arrays, params=settings, inputs=inputs, meta=meta)
    _sheet(sheet, extraction.head.to("cpu"), own.crops["images"], own.crops["landmarks"], arrays)
    shutil.rmtree(work_folder(output), ignore_errors=True)
    return {"output": str(output), "method": method["name"], "refine": method["refine"], **summary}


class Fitting(NamedTuple):
    """What one process fits with: how, and the columns of faces.h5 that it is made of."""

    extraction: Extraction
    crops: Mapping[str, np.ndarray]


def _fitting(faces: Path, regressor: Path, params: Params, computing: int) -> Fitting:
    from fgcli import artifacts
    from fgcli.training.devices import threads

    threads(computing)
    return Fitting(_prepare(params, artifacts.load(faces, artifacts.FACES, ROWS_TOLD), regressor)[0], _crops(faces))


def _crops(faces: Path) -> dict[str, np.ndarray]:
    from fgcli import artifacts

    return {name: artifacts.rows(faces, name) for name in ("images", "masks", "landmarks")}


def _fitted(tools: Fitting, item: tuple[str, slice, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What a method of the extraction makes of some rows and what is known of them."""
    name, rows, known = item
    work: Callable[..., dict[str, np.ndarray]] = getattr(tools.extraction, name)
    return work(**{key: column[rows] for key, column in tools.crops.items()}, **known)


def _in_parts(
    folder: Path,
    n: int,
    build: Callable[[], Fitting],
    own: Fitting,
    params: Params,
    cluster: str,
    title: str,
    name: str,
    known: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """What the method `name` makes of all rows, ROWS at a time; what lies in `folder` is not made again."""
    import numpy as np

    from fgcli.artifacts.parts import Part, load_part, make
    from fgcli.workers import cores

    todo = []
    for first in range(0, n, ROWS):
        rows = slice(first, min(first + ROWS, n))
        item = (name, rows, {key: column[rows] for key, column in known.items()})
        todo.append(Part(folder / f"{title.replace(' ', '-')}-{first:09d}.npz", rows.stop - first, item))
    make(_fitted, todo, build, params.processes or cores(), title, "faces", own, cluster)
    parts = [load_part(part.file) for part in todo]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _shared(arrays: Mapping[str, np.ndarray], people: np.ndarray) -> np.ndarray:
    """The shape (n, 100) of each row's person."""
    import torch

    from fgcli.fitting.over_time import shared_shapes

    good = torch.from_numpy(arrays["status"] == "ok")
    return shared_shapes(torch.from_numpy(arrays["shape"]), torch.from_numpy(people), good).numpy()


def _smoothed(arrays: Mapping[str, np.ndarray], stored: Artifact, window: float) -> dict[str, np.ndarray]:
    """The parameters, smoothed: the rows of each folder and person are frames, in the order of their names' numbers.

    A photo that gave no row, or a row that failed, counts as a moment at which nothing is known.
    """
    import numpy as np
    import torch

    from fgcli.datasets.files import by_number
    from fgcli.fitting.over_time import smoothed
    from fgcli.heads.parameters import SIZES, Parameters

    sources, found = stored["source"].tolist(), {name: arrays[name].copy() for name in SIZES}
    every = sorted([*sources, *stored["rejected/source"].tolist()], key=by_number)
    moment = {source: float(at) for at, source in enumerate(every)}
    shots: dict[tuple[str, int], list[int]] = {}
    for row, (source, person) in enumerate(zip(sources, stored["identity"].tolist(), strict=True)):
        if arrays["status"][row] == "ok":
            shots.setdefault((source.rpartition("/")[0], person), []).append(row)
    for rows in shots.values():
        at = torch.tensor([moment[sources[row]] for row in rows])
        course = smoothed(Parameters.from_arrays(arrays).rows(rows), at, at, window)
        for name, values in course.to_arrays().items():
            found[name][np.array(rows)] = values
    return found


def plan(
    faces: Path = Path("out/faces.h5"), regressor: Path = Path("out/regressor.h5"), *, params: Params, **_: Any
) -> dict[str, Any]:
    """What `run` would do: how many faces, and by which method; it fails where `run` would at once."""
    from fgcli import artifacts

    stored = artifacts.load(faces, artifacts.FACES, ROWS_TOLD)
    extraction, told, words = _prepare(params, stored, regressor)
    say(words)
    return {"faces": len(stored["split"]), "head": extraction.head.name, **told["method"]}


def _prepare(params: Params, stored: Artifact, regressor: Path) -> tuple[Extraction, dict[str, Any], str]:
    """What fits heads, and what is told of it, see `fits.prepare`.

    Raises:
        FgError: the method that was asked for cannot work here.
    """
    from fgcli import fits

    if stored.meta["content"] != "faces":
        raise FgError(f"{stored.path}: expected faces with landmarks, found pictures taken whole; preprocess photos")
    if params.share_shape == "identity" and not (stored["identity"] >= 0).any():
        raise FgError(
            f"{stored.path}: expected rows whose person is known for flame.share_shape, found none; name people in the "
            "photos' table, in a column identity, or set flame.share_shape=none"
        )
    return fits.prepare(params.model_dump(), stored.meta["analyser"], stored.params.get("framing", 1.0), regressor)


def _judge(arrays: dict[str, np.ndarray], head: Head, stored: Artifact, params: Params, faces: Path) -> dict[str, Any]:
    """Says which rows failed; fails itself when they are too many."""
    import numpy as np

    status = arrays["status"]
    failed = np.flatnonzero(status != "ok")
    for i in failed[:20]:
        say(f"flame: {stored['source'][i]}: {status[i]}")
    if len(failed) > params.max_failed * len(status):
        reasons = "; ".join(f"{count} x {reason}" for reason, count in Counter(status[failed].tolist()).most_common(3))
        raise FgError(
            f"{faces}: expected at most {params.max_failed:.0%} of {len(status)} fits to fail, found {len(failed)} "
            f"(see flame.max_failed): {reasons}"
        )
    well = status == "ok"
    if not well.any():
        return {"rows": len(status), "failed": len(failed)}
    return {
        "rows": len(status),
        "failed": len(failed),
        "landmarks off, % of the outer eye distance": round(100 * float(np.median(arrays["residuals"][well])), 2),
        "colour error on the face": round(float(np.nanmedian(arrays["colour_error"][well])), 4)
        if len(head.uv)
        else None,
    }


def _sheet(path: Path, head: Head, images: np.ndarray, landmarks: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
    """Photo, mesh, landmarks, normals and render, five tiles a face; rows that failed come first."""
    import numpy as np

    from fgcli.reports.grid import save_picture, sheet, spread
    from fgcli.reports.heads import tiles

    failed = np.flatnonzero(arrays["status"] != "ok")
    well = np.flatnonzero(arrays["status"] == "ok")
    most = max(SHEET_FACES - len(failed), 0)
    rows = [*failed[:SHEET_FACES], *well[spread(len(well), most)]]
    drawn = tiles(head, images, landmarks, arrays, rows, TILE_PX)
    lines = [[t for face in drawn[i : i + SHEET_COLUMNS] for t in face] for i in range(0, len(drawn), SHEET_COLUMNS)]
    save_picture(path, sheet(lines))
