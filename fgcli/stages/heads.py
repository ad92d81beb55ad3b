"""A data set of rendered heads, everything known: faces.h5 and flame.h5."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fgcli.config import Section, Spec
from fgcli.config.fields import Processes, Seed

if TYPE_CHECKING:
    import numpy as np

    from fgcli.datasets.procedural_heads import Chunk, Scenes

SHEET_TILES, SHEET_COLUMNS, TILE_PX = 120, 15, 96


class Params(Section):
    """Which heads, and how they are rendered."""

    n: Annotated[int, Field(ge=1)]
    """Pictures."""
    size: Annotated[int, Field(ge=16, le=1024)]
    """Side of the pictures, px."""
    seed: Seed
    """Seed of people, moments, light and backgrounds."""
    head: Spec
    """Name in HEADS, then its arguments."""
    per_person: Annotated[int, Field(ge=1)]
    """Pictures of each person."""
    shape_modes: Annotated[int, Field(ge=0, le=100)]
    """Identity modes that vary, the leading ones."""
    framing: Annotated[float, Field(gt=0.2, le=2)]
    """Side of the frame against FFHQ's, as in preprocess."""
    backgrounds: str
    """Folder of photos to stand behind the heads; empty: clouds, and two photos that scikit-learn brings."""
    val: Annotated[float, Field(ge=0, lt=1)]
    """Share of the people that validate."""
    test: Annotated[float, Field(ge=0, lt=1)]
    """Share of the people held out to test."""
    processes: Processes


def run(
    output: Path = Path("out/heads/faces.h5"),
    flame: Path = Path("out/heads/flame.h5"),
    sheet: Path = Path("out/heads/faces.png"),
    *,
    params: Params,
    resume: bool = True,
    cluster: str = "",
) -> dict[str, Any]:
    """Renders part by part, each part a file, so that a killed run goes on; then writes both artifacts and a sheet.

    Raises:
        FgError: no room, backgrounds that are no photos, or an output that cannot be written.
        UsageError: dvc runs this, and the backgrounds are none of its deps.
    """
    from fgcli.artifacts import verify_free_space
    from fgcli.artifacts.parts import Part, begin, make, work_folder
    from fgcli.artifacts.pipeline import verify_deps
    from fgcli.datasets.procedural_heads import chunks, render, scenes
    from fgcli.workers import cores

    verify_deps(output, [Path(params.backgrounds)] if params.backgrounds else [])
    verify_free_space(output, round(plan(params=params)["disk_mb"] * 1e6))
    settings = params.model_dump(exclude={"processes", "val", "test"})
    build = partial(scenes, settings)
    own = build()
    folder = begin(output, [settings, own.identity, [int(photo.sum()) for photo in own.photos]], resume)
    todo = chunks(params.n, params.seed, folder)
    parts = [Part(chunk.file, chunk.count, chunk) for chunk in todo]
    make(render, parts, build, params.processes or cores(), "heads", "pictures", own, cluster)
    summary = _assemble(output, flame, todo, own, params)
    _sheet(sheet, output)
    shutil.rmtree(work_folder(output), ignore_errors=True)
    return summary


def plan(*, params: Params, **_: Any) -> dict[str, Any]:
    """What `run` would do."""
    from fgcli.workers import cores

    people = -(-params.n // params.per_person)
    disk = 2 * params.n * (4 * params.size**2 + 4096)  # with the parts
    return {"pictures": params.n, "people": people, "processes": params.processes or cores(), "disk_mb": disk / 1e6}


def _assemble(output: Path, flame: Path, todo: list[Chunk], own: Scenes, params: Params) -> dict[str, Any]:
    """Writes faces.h5, then flame.h5, which names it as its input."""
    import numpy as np

    from fgcli import artifacts
    from fgcli.artifacts.parts import load_part
    from fgcli.datasets.procedural_heads import LICENCE, split_of

    n, size = params.n, params.size
    names, head = own.attribute_names, params.model_dump(exclude={"processes"})
    people = np.arange(n) // params.per_person
    split = split_of(people, params.val, params.test)
    meta = {
        "content": "faces",
        "attribute_names": names,
        "identity_names": [f"procedural_heads/{person}" for person in range(people[-1] + 1)],
        "datasets": [{"name": "procedural_heads", "photos": n, "licence": LICENCE}],
        "analyser": {"name": "exact", "notice": own.head.notice},
        "segmenter": {"name": "exact"},
    }
    shapes: dict[str, tuple[tuple[int, ...], str]] = {
        "images": ((n, size, size, 3), "uint8"),
        "masks": ((n, size, size), "uint8"),
        "landmarks": ((n, 68, 2), "float32"),
        "crop": ((n, 2, 3), "float32"),
        "attributes": ((n, len(names)), "int8"),
    }
    with artifacts.create(output, artifacts.FACES, params=head, inputs={}, meta=meta) as writer:
        fields = {name: writer.allocate(name, *shape) for name, shape in shapes.items()}
        for chunk in todo:
            arrays = load_part(chunk.file) | {"crop": np.eye(2, 3, dtype=np.float32)}
            for name, field in fields.items():
                field[chunk.first : chunk.first + chunk.count] = arrays[name]
        writer.put("identity", people.astype(np.int32))
        writer.put("split", split)
        writer.put("source", np.array([f"procedural_heads/{i:06d}" for i in range(n)]))
        writer.put("rejected/source", np.zeros(0, np.str_))
        writer.put("rejected/reason", np.zeros(0, np.str_))
    _write_flame(flame, output, todo, split, own, params)
    attributes = artifacts.load(output, names=("attributes",))["attributes"]
    counts = {name: int((column == 1).sum()) for name, column in zip(names, attributes.T, strict=True)}
    return {"output": str(output), "flame": str(flame), "rows": n, "people": int(people[-1]) + 1, "attributes": counts}


def _write_flame(flame: Path, faces: Path, todo: list[Chunk], split: np.ndarray, own: Scenes, params: Params) -> None:
    import numpy as np

    from fgcli import artifacts
    from fgcli.artifacts.parts import load_part
    from fgcli.heads.parameters import SIZES

    parts = [load_part(chunk.file) for chunk in todo]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in (*SIZES, "landmarks")}
    arrays["landmarks2d"] = arrays.pop("landmarks")
    arrays |= {"residuals": np.zeros(params.n, np.float32), "colour_error": np.zeros(params.n, np.float32)}
    arrays |= {"status": np.full(params.n, "ok"), "split": split}
    meta = {"head": own.identity, "method": {"name": "exact", "refine": "none"}}
    head = params.model_dump(exclude={"processes"})
    artifacts.save(flame, artifacts.FLAME, arrays, params=head, inputs={"faces": faces}, meta=meta)


def _sheet(path: Path, faces: Path) -> None:
    """Some of the pictures, evenly spread, with masks' outlines and landmarks."""
    import numpy as np

    from fgcli.artifacts import load, rows
    from fgcli.faces.overlay import overlay
    from fgcli.reports.grid import save_picture, sheet, spread, wrap

    landmarks = load(faces, names=("landmarks",))["landmarks"]
    images, masks = rows(faces, "images"), rows(faces, "masks")
    shown = spread(len(images), SHEET_TILES)
    nowhere = np.zeros((0, 2))
    tiles = []
    for j, i in enumerate(shown):
        marked = j % 2 == 1  # every other picture bare
        mask = masks[i] if marked else np.zeros_like(masks[i])
        tiles.append(overlay(images[i], mask, landmarks[i] if marked else nowhere, TILE_PX))
    save_picture(path, sheet(wrap(tiles, SHEET_COLUMNS)))
