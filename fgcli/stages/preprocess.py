"""Photos to faces.h5: find, align, cut out and mask one face per photo."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fgcli.config import Section, Spec
from fgcli.console import progress, say
from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.artifacts import Writer
    from fgcli.datasets.photoset import PhotoSet
    from fgcli.faces.chunks import Chunk
    from fgcli.faces.cutter import Cutter, Settings

SHEET_TILES, SHEET_COLUMNS, TILE_PX = 640, 32, 128
CHROMA = 3.0
"""A crop counts as coloured when the mean difference of its largest and smallest channel exceeds this, of 255."""


class Params(Section):
    """Which photos, and how they are cut."""

    datasets: Annotated[list[Spec], Field(min_length=1)]
    """Data sets, one after the other: name in DATASETS, then its arguments."""
    size: Annotated[int, Field(ge=8, le=2048)]
    """Side of the square crops, px."""
    framing: Annotated[float, Field(gt=0.2, le=2)]
    """Side of the frame against FFHQ's: 1 is FFHQ, smaller is tighter."""
    analyser: Spec
    """What finds faces and landmarks: name in ANALYSERS, then its arguments."""
    segmenter: Spec
    """What masks the face: name in SEGMENTERS, then its arguments."""
    face: Literal["only", "largest", "centre"]
    """Which face of a photo: the only one (others are rejected), the largest, or the one nearest to the centre."""
    on_bad: Literal["skip", "fix", "fail"]
    """Bad photo files: reject them, convert those that can be, or stop with a list of them."""
    max_megapixels: Annotated[float, Field(gt=0)]
    """Larger photos are bad: 10^6 px, judged by the header."""
    min_px: Annotated[int, Field(ge=1)]
    """Photos with a shorter side are bad, px."""
    val: Annotated[float, Field(ge=0, lt=1)]
    """Share of the people (of the photos, where people are unknown) that validate; official splits win."""
    test: Annotated[float, Field(ge=0, lt=1)]
    """Share of the people that are held out to test."""
    max_rejected: Annotated[float, Field(ge=0, le=1)]
    """Share of rejected photos above which the run fails."""
    processes: Annotated[int, Field(ge=0)]
    """Processes that work side by side; 0: one per core."""


def run(
    output: Path = Path("out/faces.h5"),
    sheet: Path = Path("out/faces.png"),
    *,
    params: Params,
    resume: bool = True,
) -> dict[str, Any]:
    """Writes faces.h5 and the contact sheet; returns counts.

    Raises:
        FgError: no photos, bad ones under on_bad "fail", too many rejected, no room, or an output not writable.
    """
    from fgcli.artifacts import verify_free_space
    from fgcli.artifacts.parts import begin, work_folder
    from fgcli.faces.chunks import chunks, describe
    from fgcli.faces.cutter import Cutter

    sets, settings = _read_sets(params), _settings(params)
    for photos in sets:
        say(f"{photos.name}: {len(photos)} photos. {photos.licence}")
    sources = [photo for photos in sets for photo in photos.photos]
    verify_free_space(output, 2 * _row_bytes(params.size) * len(sources))
    cutter = Cutter(settings)
    if cutter.analyser.notice:
        say(cutter.analyser.notice)
    folder = begin(output, [vars(settings), [describe(s) for s in sources]], resume)
    todo = chunks(sources, folder)
    if params.on_bad == "fail":
        _fail_on_bad(todo, settings, cutter, sets, params)
    _cut(todo, settings, cutter, params)
    rejected = _rejected(todo)
    _judge(rejected, len(sources), params.max_rejected)
    summary = _assemble(output, todo, sets, rejected, params, cutter)
    _contact_sheet(sheet, output)
    shutil.rmtree(work_folder(output), ignore_errors=True)
    return summary


def plan(
    output: Path = Path("out/faces.h5"),
    sheet: Path = Path("out/faces.png"),
    *,
    params: Params,
    resume: bool = True,
) -> dict[str, Any]:
    """What a run would do: photos per data set, processes, bytes on disk and in memory."""
    from fgcli.faces.cutter import Cutter

    sets = _read_sets(params)
    Cutter(_settings(params))  # says what is missing
    rows = sum(map(len, sets))
    return {
        "photos": {photos.name: len(photos) for photos in sets},
        "processes": _processes(params),
        "disk_mb": round(2 * rows * _row_bytes(params.size) / 1e6, 1),
        "memory_mb": 350 * _processes(params),
        "writes": [str(output), str(sheet)],
    }


def _read_sets(params: Params) -> list[PhotoSet]:
    from fgcli.config import build
    from fgcli.datasets import DATASETS

    if params.val + params.test >= 1:
        raise UsageError(f"preprocess.val, test: expected a sum below 1, found {params.val + params.test:g}")
    sets = [build(DATASETS, spec, f"preprocess.datasets.{i}") for i, spec in enumerate(params.datasets)]
    names = Counter(photos.name for photos in sets)
    if max(names.values()) > 1:
        twice = names.most_common(1)[0][0]
        raise UsageError(f"preprocess.datasets: expected each data set once, found {twice!r} twice; remove one")
    return sets


def _settings(params: Params) -> Settings:
    from fgcli.faces.cutter import Settings

    return Settings(
        size=params.size,
        framing=params.framing,
        face=params.face,
        analyser=params.analyser,
        segmenter=params.segmenter,
        fix=params.on_bad == "fix",
        min_px=params.min_px,
        max_megapixels=params.max_megapixels,
    )


def _names(sets: list[PhotoSet]) -> list[str]:
    return [f"{photos.name}/{source}" for photos in sets for source in photos.sources]


def _processes(params: Params) -> int:
    from fgcli.workers import cores

    return params.processes or cores()


def _row_bytes(size: int) -> int:
    return 4 * size * size + 1024


def _fail_on_bad(todo: list[Chunk], settings: Settings, cutter: Cutter, sets: list[PhotoSet], params: Params) -> None:
    from fgcli.faces.chunks import scan

    names, bad = _names(sets), []
    with progress("check", len(todo), unit="chunks") as advance:
        for found in _each(scan, todo, settings, cutter, params):
            bad += found
            advance()
    if bad:
        lines = "; ".join(f"{names[i]}: {reason}" for i, reason in sorted(bad))
        raise FgError(f"preprocess: expected good photos, found {len(bad)} bad (set preprocess.on_bad=skip): {lines}")


def _cut(todo: list[Chunk], settings: Settings, cutter: Cutter, params: Params) -> None:
    from fgcli.faces.chunks import cut, unfinished

    left = unfinished(todo)
    total = sum(len(chunk.sources) for chunk in todo)
    done = total - sum(len(chunk.sources) for chunk in left)
    if done:
        say(f"preprocess: going on after {done} of {total} photos")
    with progress("preprocess", total, done, "photos") as advance:
        for count in _each(cut, left, settings, cutter, params):
            advance(count)


def _each(job: Any, todo: list[Chunk], settings: Settings, cutter: Cutter, params: Params) -> Iterator[Any]:
    from fgcli.faces.cutter import Cutter
    from fgcli.workers import each

    return each(job, todo, partial(Cutter, settings), _processes(params), "preprocess", cutter)


def _rejected(todo: list[Chunk]) -> dict[int, str]:
    from fgcli.artifacts.parts import load_part

    found: dict[int, str] = {}
    for chunk in todo:
        arrays = load_part(chunk.file)
        found |= dict(zip(arrays["rejected"].tolist(), arrays["reasons"].tolist(), strict=True))
    return found


def _judge(rejected: dict[int, str], total: int, max_rejected: float) -> None:
    """Says what was rejected, in groups; fails when it was too much."""
    groups = Counter(re.sub(r"\d+", "#", reason) for reason in rejected.values())
    lines = "; ".join(f"{count} x {reason}" for reason, count in groups.most_common())
    if len(rejected) == total:
        raise FgError(f"preprocess: expected faces in {total} photos, found none: {lines}")
    if len(rejected) > max_rejected * total:
        raise FgError(
            f"preprocess: expected at most {max_rejected:.0%} of {total} photos rejected, "
            f"found {len(rejected)} (see preprocess.max_rejected): {lines}"
        )
    if rejected:
        say(f"preprocess: {len(rejected)} of {total} photos rejected: {lines}")


def _assemble(
    output: Path, todo: list[Chunk], sets: list[PhotoSet], rejected: dict[int, str], params: Params, cutter: Cutter
) -> dict[str, Any]:
    """Writes faces.h5 chunk by chunk."""
    import numpy as np

    from fgcli.artifacts import FACES, create

    attribute_names, attributes = _attributes(sets)
    identity, split, names = _identities(sets), _splits(sets, params), _names(sets)
    kept = np.array([i not in rejected for i in range(len(names))])
    meta = {
        "attribute_names": attribute_names,
        "datasets": [{"name": p.name, "photos": len(p), "licence": p.licence} for p in sets],
        "analyser": {**params.analyser, "notice": cutter.analyser.notice},
        "segmenter": params.segmenter,
    }
    head = params.model_dump(exclude={"processes"})  # how many processes worked does not change what is in the file
    with create(output, FACES, params=head, inputs={}, meta=meta) as writer:
        attributes[kept, -1] = _fill(writer, todo, int(kept.sum()), params.size)
        writer.put("attributes", attributes[kept])
        writer.put("identity", identity[kept])
        writer.put("split", split[kept])
        writer.put("source", np.array(names)[kept])
        writer.put("rejected/source", np.array([names[i] for i in sorted(rejected)], np.str_))
        writer.put("rejected/reason", np.array([rejected[i] for i in sorted(rejected)], np.str_))
    return _summary(attribute_names, attributes[kept], identity[kept], split[kept], len(rejected))


def _fill(writer: Writer, todo: list[Chunk], rows: int, size: int) -> np.ndarray:
    """Copies the chunks' crops into the file; returns (rows,) int8, 1 where a crop is coloured."""
    import numpy as np

    from fgcli.artifacts.parts import load_part

    shapes = {
        "images": ((rows, size, size, 3), "uint8"),
        "masks": ((rows, size, size), "uint8"),
        "landmarks": ((rows, 68, 2), "float32"),
        "crop": ((rows, 2, 3), "float32"),
    }
    fields = {name: writer.allocate(name, *shape) for name, shape in shapes.items()}
    coloured, at = np.zeros(rows, np.int8), 0
    for chunk in todo:
        arrays = load_part(chunk.file)
        end = at + len(arrays["taken"])
        if end > at:
            for name, field in fields.items():
                field[at:end] = arrays[name]
            spread = arrays["images"].max(3).astype(np.int16) - arrays["images"].min(3)
            coloured[at:end] = spread.mean((1, 2)) > CHROMA
        at = end
    return coloured


def _attributes(sets: list[PhotoSet]) -> tuple[list[str], np.ndarray]:
    """Names of all sets in order of appearance, then "colour", which is measured; (n, k) int8, -1 unknown."""
    import numpy as np

    names = list(dict.fromkeys(name for photos in sets for name in photos.attribute_names if name != "colour"))
    names.append("colour")
    table = np.full((sum(map(len, sets)), len(names)), -1, np.int8)
    first = 0
    for photos in sets:
        for j, name in enumerate(photos.attribute_names):
            table[first : first + len(photos), names.index(name)] = photos.attributes[:, j]
        first += len(photos)
    return names, table


def _identities(sets: list[PhotoSet]) -> np.ndarray:
    """Person (n,) int32, counted on from data set to data set in order of appearance; -1 unknown."""
    import numpy as np

    people = [(photos.name, person) for photos in sets for person in photos.identities or [""] * len(photos)]
    known = dict.fromkeys(pair for pair in people if pair[1])
    numbers = {pair: i for i, pair in enumerate(known)}
    return np.array([numbers.get(pair, -1) for pair in people], np.int32)


def _splits(sets: list[PhotoSet], params: Params) -> np.ndarray:
    import numpy as np

    from fgcli.datasets.splits import assign

    return np.concatenate([assign(photos, params.val, params.test) for photos in sets])


def _summary(
    names: list[str], attributes: np.ndarray, identity: np.ndarray, split: np.ndarray, rejected: int
) -> dict[str, Any]:
    from fgcli.artifacts import SPLITS

    return {
        "rows": len(split),
        "rejected": rejected,
        "people": len(set(identity[identity >= 0].tolist())),
        "splits": {name: int((split == i).sum()) for i, name in enumerate(SPLITS)},
        "attributes": {
            name: {"yes": int((column == 1).sum()), "no": int((column == 0).sum())}
            for name, column in zip(names, attributes.T, strict=True)
        },
    }


def _contact_sheet(path: Path, faces: Path) -> None:
    """At most SHEET_TILES crops, evenly spaced in file order, with mask outline and landmarks."""
    import numpy as np

    from fgcli.artifacts import load, rows
    from fgcli.faces.overlay import overlay
    from fgcli.reports.grid import save_png, sheet, wrap

    landmarks = load(faces, names=("landmarks",))["landmarks"]
    images, masks = rows(faces, "images"), rows(faces, "masks")
    shown = np.unique(np.linspace(0, len(images) - 1, min(len(images), SHEET_TILES)).round().astype(int))
    tiles = [overlay(images[i], masks[i], landmarks[i], TILE_PX) for i in shown]
    save_png(path, sheet(wrap(tiles, SHEET_COLUMNS)))
