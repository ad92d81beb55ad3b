"""faces.h5 -> flame.h5: a head in three dimensions for every face: shape, expression, pose, camera, texture, light."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fgcli.config import Section, Spec
from fgcli.config.fields import Device, Threads
from fgcli.console import progress, say
from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.artifacts import Artifact
    from fgcli.fitting.extraction import Extraction
    from fgcli.heads.head import Head

ROWS = 64
"""Faces at a time, and what a kill can lose."""
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
    from fgcli.artifacts.parts import begin, load_part, save_part, work_folder

    stored = artifacts.load(faces, artifacts.FACES, ("split", "source"))
    if params.threads:
        torch.set_num_threads(params.threads)
    head, extraction, told = _prepare(params, stored, regressor)
    method = told["method"]
    inputs = {"faces": faces} | ({"regressor": regressor} if method["name"] == "regress" else {})
    told["inputs"] = {k: artifacts.sha256(p) for k, p in inputs.items()}
    settings = params.model_dump(exclude={"max_failed"})
    images, masks, landmarks = (artifacts.rows(faces, name) for name in ("images", "masks", "landmarks"))
    folder = begin(output, [settings, told], resume)
    n = len(images)
    files = [folder / f"{first:09d}.npz" for first in range(0, n, ROWS)]
    done = sum(min(ROWS, n - i * ROWS) for i, file in enumerate(files) if file.exists())
    if done:
        say(f"flame: going on after {done} of {n} faces")
    with progress("flame", n, done, "faces") as advance:
        for first, file in zip(range(0, n, ROWS), files, strict=True):
            if file.exists():
                continue
            part = slice(first, first + ROWS)
            save_part(file, extraction.fit(images[part], masks[part], landmarks[part]))
            advance(len(images[part]))
    parts = [load_part(file) for file in files]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} | {"split": stored["split"]}
    summary = _judge(arrays, head, stored, params, faces)
    meta = {"head": told["head"], "method": method}
    artifacts.save(output, artifacts.FLAME, arrays, params=params.model_dump(), inputs=inputs, meta=meta)
    _sheet(sheet, head.to("cpu"), images, landmarks, arrays)
    shutil.rmtree(work_folder(output), ignore_errors=True)
    return {"output": str(output), "method": method["name"], "refine": method["refine"], **summary}


def plan(
    faces: Path = Path("out/faces.h5"), regressor: Path = Path("out/regressor.h5"), *, params: Params, **_: Any
) -> dict[str, Any]:
    """What `run` would do: how many faces, and by which method; it fails where `run` would at once."""
    from fgcli import artifacts

    stored = artifacts.load(faces, artifacts.FACES, ("split",))
    head, _extraction, told = _prepare(params, stored, regressor)
    return {"faces": len(stored["split"]), "head": head.name, **told["method"]}


def _prepare(params: Params, stored: Artifact, regressor: Path) -> tuple[Head, Extraction, dict[str, Any]]:
    """The head, what fits it, and what is told of both.

    Raises:
        FgError: the method that was asked for cannot work here.
    """

    from fgcli.config import build, supply
    from fgcli.faces.landmark_errors import measure
    from fgcli.fitting import EXTRACTORS
    from fgcli.fitting.extract import identity
    from fgcli.fitting.extraction import Extraction
    from fgcli.fitting.landmark_fit import LandmarkFit
    from fgcli.fitting.photometric_fit import PhotometricFit
    from fgcli.heads import HEADS
    from fgcli.training.devices import cpu_or_cuda

    if stored.meta["content"] != "faces":
        raise FgError(f"{stored.path}: expected faces with landmarks, found pictures taken whole; preprocess photos")
    head = build(HEADS, params.head, "flame.head")
    name, why = _method(params, head, regressor)
    if name not in EXTRACTORS:
        raise UsageError(f"flame.method: expected one of auto, {', '.join(EXTRACTORS)}, found {name!r}")
    errors = measure(head, stored.meta["analyser"]).scaled(params.analyser_errors)
    who = identity(head, params.head)
    head = head.to(cpu_or_cuda(params.device))
    context = {"head": head, "regressor": regressor, "framing": stored.params.get("framing", 1.0)}
    extractor = supply(EXTRACTORS, {"name": name}, "flame.method", **context)
    rendered = stored.meta["analyser"].get("name") == "exact"
    refine = params.refine if params.refine != "auto" else _refinement(name, rendered)
    say(f"flame: head {head.name}, first guess by {name} ({why}), refined by {refine}. {head.notice}")
    modes = {"shape": params.shape_modes, "expression": params.expression_modes}
    landmarks = LandmarkFit(**modes) if refine != "none" else None
    photometric = PhotometricFit(**modes, steps=params.photometric_steps) if refine == "photometric" else None
    told = {"head": who, "method": {"name": name, "refine": refine}}
    return head, Extraction(head, extractor, landmarks, photometric, errors), told


def _method(params: Params, head: Head, regressor: Path) -> tuple[str, str]:
    """The method and why it was taken."""
    from fgcli import assets

    if params.method != "auto":
        return params.method, "as asked"
    if head.name == "flame" and assets.find("deca"):
        return "deca", "its weights are imported"
    if regressor.exists():
        return "regress", f"{regressor} is here"
    return "fit", f"there is no {regressor}; fg regressor makes it"


def _refinement(method: str, rendered: bool) -> str:
    if method == "deca":
        return "none"
    return "photometric" if rendered else "landmarks"


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
