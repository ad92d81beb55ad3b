"""faces.h5, flame.h5 -> conditions.h5: the head of every face as a conditional generator sees it; resumes."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field

from fgcli.config import Section
from fgcli.config.fields import Device, Processes, Threads
from fgcli.console import say
from fgcli.errors import FgError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.artifacts import Artifact
    from fgcli.artifacts.files import Writer
    from fgcli.heads.head import Head
    from fgcli.heads.parameters import Parameters

ROWS = 256
"""Faces at a time, and what a kill can lose."""
GROUP = 16
"""Faces rendered together: what the cache holds."""
TOLD = 20
"""Rows that do not train of which each is told."""


class Params(Section):
    """Params of `fg conditions`."""

    eyes_off: Annotated[float, Field(ge=0, le=1)]
    """How far the middle of the eyes may lie from its place in aligned crops, fraction of the side."""
    device: Device
    threads: Threads
    processes: Processes


def run(
    faces: Path = Path("out/faces.h5"),
    flame: Path = Path("out/flame.h5"),
    output: Path = Path("out/conditions.h5"),
    *,
    params: Params,
    resume: bool = True,
    cluster: str = "",
) -> dict[str, Any]:
    """Draws every head by its own camera, part by part; a row that does not train says why in its status.

    Such are the rows whose head was not found, and those whose eyes do not lie where aligned crops have them, as those
    of profiles may. No camera is changed: a render that is centred by a zoom is not the head in that photo.

    Raises:
        FgError: a flame.h5 of other faces or of another head, or one without a texture.
    """
    from fgcli import artifacts
    from fgcli.artifacts.parts import Part, begin, make, work_folder
    from fgcli.fitting.extract import same_head
    from fgcli.heads.parameters import Parameters
    from fgcli.training.columns import same_faces
    from fgcli.training.devices import cpu_or_cuda, threads
    from fgcli.workers import cores

    same_faces(flame, faces)
    size, framing = _cut(faces)
    stored = artifacts.load(flame, artifacts.FLAME)
    n, head = len(stored["status"]), same_head(stored.meta["head"], flame)
    artifacts.verify_free_space(output, round(plan(faces, params=params)["disk MB"] * 1e6))
    build = partial(_renderer, flame, size, params.device, threads(params.threads))
    told = _statuses(stored, head, framing, params.eyes_off)
    inputs = {"faces": faces, "flame": flame}
    depends = {name: artifacts.sha256(path) for name, path in inputs.items()}
    folder = begin(output, [params.device, params.threads, depends], resume)
    todo = [Part(folder / f"{i:09d}.npz", min(ROWS, n - i), range(i, min(i + ROWS, n))) for i in range(0, n, ROWS)]
    own = Renderer(head.to(cpu_or_cuda(params.device)), Parameters.from_arrays(stored.arrays), size)
    make(_render, todo, build, params.processes or cores(), "conditions", "faces", own, cluster)
    meta = {"flame": depends["flame"], "head": stored.meta["head"]}
    settings = params.model_dump(exclude={"processes"})
    with artifacts.create(output, artifacts.CONDITIONS, params=settings, inputs=inputs, meta=meta) as writer:
        _fill(writer, [part.file for part in todo], stored, told, size)
    shutil.rmtree(work_folder(output))
    return {"output": str(output), "rows": n, "size": size, **_judge(told, faces)}


def plan(faces: Path = Path("out/faces.h5"), *, params: Params, **_: Any) -> dict[str, Any]:
    """What `run` would do."""
    from fgcli import artifacts

    n, size, *_rest = artifacts.rows(faces, "images").shape
    return {"rows": n, "size": size, "disk MB": round(2 * n * 6 * size**2 / 1e6, 1)}  # with the parts


def _cut(faces: Path) -> tuple[int, float]:
    """Side of the crops, px, and their framing.

    Raises:
        FgError: they are no aligned, square crops of faces.
    """
    from fgcli import artifacts

    about, shape = artifacts.load(faces, artifacts.FACES, ()), artifacts.rows(faces, "images").shape
    if about.meta["content"] != "faces" or shape[1] != shape[2]:
        raise FgError(
            f"{faces}: expected square crops of faces, found {about.meta['content']} of {shape[1]}x{shape[2]}; make "
            "it from photos of faces"
        )
    return shape[1], about.params["framing"]


def _statuses(stored: Artifact, head: Head, framing: float, most: float) -> list[str]:
    """For each row "ok", or why it does not train."""
    from fgcli.heads.centring import eyes_off
    from fgcli.heads.parameters import Parameters

    off = eyes_off(head, Parameters.from_arrays(stored.arrays), framing).tolist()
    return [
        f"its head was not found: {status}"
        if status != "ok"
        else f"its eyes lie {away:.0%} of the side from where aligned crops have them"
        if away > most
        else "ok"
        for status, away in zip(map(str, stored["status"]), off, strict=True)
    ]


class Renderer(NamedTuple):
    """What one process renders with."""

    head: Head
    parameters: Parameters
    size: int


def _renderer(flame: Path, size: int, device: str, computing: int) -> Renderer:
    from fgcli import artifacts
    from fgcli.fitting.extract import same_head
    from fgcli.heads.parameters import Parameters
    from fgcli.training.devices import cpu_or_cuda, threads

    threads(computing)
    stored = artifacts.load(flame, artifacts.FLAME)
    head = same_head(stored.meta["head"], flame).to(cpu_or_cuda(device))
    return Renderer(head, Parameters.from_arrays(stored.arrays), size)


def _render(tools: Renderer, rows: range) -> dict[str, np.ndarray]:
    """A part: condition images of some rows."""
    import torch

    from fgcli.heads.conditions import condition_images

    groups = torch.tensor(rows).split(GROUP)
    p, device = tools.parameters, tools.head.template.device
    parts = [condition_images(tools.head, p.rows(some).to(device), tools.size) for some in groups]
    return {"renders": torch.cat(parts).cpu().numpy()}


def _fill(writer: Writer, files: list[Path], stored: Artifact, told: list[str], size: int) -> None:
    """All datasets."""
    from fgcli.artifacts.parts import load_part
    from fgcli.heads.parameters import Parameters

    renders = writer.allocate("renders", (len(told), size, size, 6), "uint8")
    for i, file in enumerate(files):
        renders[i * ROWS : (i + 1) * ROWS] = load_part(file)["renders"]
    writer.put("parameters", Parameters.from_arrays(stored.arrays).to_vector("gif").numpy())
    writer.put("status", told)


def _judge(told: list[str], faces: Path) -> dict[str, Any]:
    """Says which rows do not train."""
    from fgcli import artifacts

    bad = [i for i, status in enumerate(told) if status != "ok"]
    source = artifacts.load(faces, names=("source",))["source"]
    for i in bad[:TOLD]:
        say(f"conditions: {source[i]}: {told[i]}; left out of training")
    if len(bad) > TOLD:
        say(f"conditions: {len(bad) - TOLD} more rows are left out of training; status has their reasons")
    return {"left out of training": len(bad)}
