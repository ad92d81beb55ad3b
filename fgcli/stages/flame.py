"""faces.h5 -> flame.h5: a head in three dimensions for every face: shape, expression, pose, camera, texture, light."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fgcli.config import Section, Spec
from fgcli.config.fields import Device, Threads
from fgcli.console import progress, say
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


def run(
    faces: Path = Path("out/faces.h5"),
    regressor: Path = Path("out/regressor.h5"),
    output: Path = Path("out/flame.h5"),
    sheet: Path = Path("out/flame.png"),
    *,
    params: Params,
    resume: bool = True,
) -> dict[str, Any]:
    """Fits every face, part by part; a row that failed says why in its status.

    Raises:
        FgError: no faces.h5, a method whose files are not here, or too many rows that failed.
    """
    import numpy as np
    import torch

    from fgcli import artifacts
    from fgcli.artifacts.parts import begin, work_folder

    stored = artifacts.load(faces, artifacts.FACES, ROWS_TOLD)
    if params.threads:
        torch.set_num_threads(params.threads)
    head, extraction, told = _prepare(params, stored, regressor)
    method = told["method"]
    inputs = {"faces": faces} | ({"regressor": regressor} if method["name"] == "regress" else {})
    told["inputs"] = {k: artifacts.sha256(p) for k, p in inputs.items()}
    settings = params.model_dump(exclude={"max_failed"})
    crops = {name: artifacts.rows(faces, name) for name in ("images", "masks", "landmarks")}
    folder = begin(output, [settings, told], resume)
    arrays = _in_parts(folder, "flame", extraction.fit, crops)
    if params.share_shape == "identity":
        shapes = _shared(arrays, stored["identity"])
        arrays = _in_parts(folder, "one shape a person", extraction.fit, crops | {"shape": shapes})
    if params.smooth:
        before, known = arrays["status"], _smoothed(arrays, stored, params.window)
        arrays = _in_parts(folder, "smooth", extraction.judged, crops | known)
        arrays["status"] = np.where(before == "ok", arrays["status"], before)
    arrays |= {"split": stored["split"]}
    summary = _judge(arrays, head, stored, params, faces)
    meta = {"head": told["head"], "method": method}
    artifacts.save(output, artifacts.FLAME, arrays, params=params.model_dump(), inputs=inputs, meta=meta)
    _sheet(sheet, head.to("cpu"), crops["images"], crops["landmarks"], arrays)
    shutil.rmtree(work_folder(output), ignore_errors=True)
    return {"output": str(output), "method": method["name"], "refine": method["refine"], **summary}


def _in_parts(
    folder: Path, title: str, work: Callable[..., dict[str, np.ndarray]], columns: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What `work` makes of the columns, ROWS at a time; what lies in `folder` is not made again."""
    import numpy as np

    from fgcli.artifacts.parts import load_part, save_part

    n = len(columns["images"])
    files = [folder / f"{title.replace(' ', '-')}-{first:09d}.npz" for first in range(0, n, ROWS)]
    done = sum(min(ROWS, n - i * ROWS) for i, file in enumerate(files) if file.exists())
    if done:
        say(f"{title}: going on after {done} of {n} faces")
    with progress(title, n, done, "faces") as advance:
        for first, file in zip(range(0, n, ROWS), files, strict=True):
            if file.exists():
                continue
            part = {name: column[first : first + ROWS] for name, column in columns.items()}
            save_part(file, work(**part))
            advance(len(part["images"]))
    parts = [load_part(file) for file in files]
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
    head, _extraction, told = _prepare(params, stored, regressor)
    return {"faces": len(stored["split"]), "head": head.name, **told["method"]}


def _prepare(params: Params, stored: Artifact, regressor: Path) -> tuple[Head, Extraction, dict[str, Any]]:
    """The head, what fits it, and what is told of both.

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
    extraction, told = fits.prepare(
        params.model_dump(), stored.meta["analyser"], stored.params.get("framing", 1.0), regressor
    )
    return extraction.head, extraction, told


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
