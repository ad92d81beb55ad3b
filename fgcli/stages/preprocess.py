"""Photos -> faces.h5: find, align, cut out and mask one face per photo.

Pictures of other things, of data sets that are no photos of faces, go there whole.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field

from fgcli.config import Section, Spec
from fgcli.config.fields import Processes
from fgcli.console import progress, say
from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.artifacts import Writer
    from fgcli.datasets.photoset import PhotoSet
    from fgcli.datasets.pictureset import PictureSet
    from fgcli.datasets.united import Table
    from fgcli.faces.chunks import Chunk
    from fgcli.faces.cutter import Cutter, Settings

SHEET_TILES, SHEET_COLUMNS, TILE_PX = 640, 32, 128
PICTURES = 1024
"""Pictures that are taken whole are in memory so many at a time."""
BLURRED = 2.0
"""Faces that are enlarged more than so many times are told of."""
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
    min_face: Annotated[int, Field(ge=0)]
    """Faces whose frame has a shorter side in the photo are rejected, px; 0: none."""
    on_bad: Literal["fix", "skip", "fail"]
    """Bad photo files: convert those that can be and reject the others, reject all, or stop with a list of them."""
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
    processes: Processes


def run(
    output: Path = Path("out/faces.h5"),
    sheet: Path = Path("out/faces.png"),
    *,
    params: Params,
    resume: bool = True,
    cluster: str = "",
) -> dict[str, Any]:
    """Writes faces.h5 and the contact sheet; returns counts.

    Raises:
        FgError: no photos, bad ones under on_bad "fail", too many rejected, no room, or an output not writable.
        UsageError: dvc runs this, and photos or tables are none of its deps.
    """
    from fgcli.artifacts.parts import work_folder
    from fgcli.artifacts.pipeline import verify_deps
    from fgcli.datasets.files import own_files

    photos, pictures = _read_sets(params)
    verify_deps(output, own_files(params.datasets))
    for data in photos or pictures:
        say(f"{data.name}: {len(data)} {'pictures' if pictures else 'photos'}. {data.licence}")
    for data in photos:
        if data.ignored:
            others = ", ".join(f"{count} {ending}" for ending, count in data.ignored.items())
            say(f"{data.name}: {sum(data.ignored.values())} other files are not read: {others}")
    summary = (
        _take_whole(output, pictures, params) if pictures else _take_faces(output, photos, params, resume, cluster)
    )
    _contact_sheet(sheet, output)
    shutil.rmtree(work_folder(output), ignore_errors=True)
    return summary


def plan(
    output: Path = Path("out/faces.h5"),
    sheet: Path = Path("out/faces.png"),
    *,
    params: Params,
    **_: Any,
) -> dict[str, Any]:
    """What a run would do: photos per data set, processes, bytes on disk and in memory."""
    from fgcli.faces.cutter import Cutter

    photos, pictures = _read_sets(params)
    if photos:
        Cutter(_settings(params, split=False))  # says what is missing
    processes, memory_mb = (_processes(params), 350) if photos else (1, 700)
    row_bytes = 2 * _row_bytes(params.size, masks=True) if photos else _row_bytes(params.size, masks=False)
    sizes = {data.name: len(data) for data in photos or pictures}
    return {
        "photos": sizes,
        "processes": processes,
        "disk_mb": round(sum(sizes.values()) * row_bytes / 1e6, 1),
        "memory_mb": memory_mb * processes,
        "writes": [str(output), str(sheet)],
    }


def _read_sets(params: Params) -> tuple[list[PhotoSet], list[PictureSet]]:
    """The data sets: photos of faces, or pictures that are taken whole; one of the two is empty."""
    from fgcli.config import build
    from fgcli.datasets import DATASETS
    from fgcli.datasets.pictureset import PictureSet

    if params.val + params.test >= 1:
        raise UsageError(f"preprocess.val, test: expected a sum below 1, found {params.val + params.test:g}")
    sets = [build(DATASETS, spec, f"preprocess.datasets.{i}") for i, spec in enumerate(params.datasets)]
    names = Counter(data.name for data in sets)
    if max(names.values()) > 1:
        twice = names.most_common(1)[0][0]
        raise UsageError(
            f"preprocess.datasets: expected each data set once, found {twice!r} twice; "
            "remove one, or give an image_folder a label"
        )
    pictures = [data for data in sets if isinstance(data, PictureSet)]
    photos = [data for data in sets if not isinstance(data, PictureSet)]
    if photos and pictures:
        raise UsageError(
            "preprocess.datasets: expected photos of faces, or pictures of other things, in one run, "
            f"found {photos[0].name!r} and {pictures[0].name!r}; run fg preprocess for each"
        )
    return photos, pictures


def _take_whole(output: Path, sets: list[PictureSet], params: Params) -> dict[str, Any]:
    """Writes faces.h5 of whole pictures; a killed run starts again, since nothing is searched for."""
    import numpy as np

    from fgcli.artifacts import FACES, create, verify_free_space
    from fgcli.datasets.splits import assign
    from fgcli.datasets.united import unite

    table = unite(sets)
    n = len(table.sources)
    verify_free_space(output, n * _row_bytes(params.size, masks=False))
    head = params.model_dump(include={"datasets", "size", "val", "test"})  # the others change no picture
    meta = _meta(sets, table, None, None)
    with create(output, FACES, params=head, inputs={}, meta=meta) as writer, progress("preprocess", n) as advance:
        field, first = writer.allocate("images", (n, params.size, params.size, 3), "uint8"), 0
        for data in sets:
            for at in np.array_split(np.arange(len(data)), -(-len(data) // PICTURES)):
                rows = slice(first, first + len(at))
                images = data.crops(at, params.size)
                field[rows] = images
                table.fill_colour(rows, _coloured(images))
                first += len(at)
                advance(len(at))
        split = assign(sets, params.val, params.test, np.arange(n), np.zeros(n, bool))
        return _write_table(writer, table, split, np.ones(n, bool), {}, "classes")


def _take_faces(output: Path, sets: list[PhotoSet], params: Params, resume: bool, cluster: str) -> dict[str, Any]:
    """Writes faces.h5 of faces found in photos; goes on where a killed run was."""
    from fgcli.artifacts import verify_free_space
    from fgcli.artifacts.parts import Part, begin, make
    from fgcli.faces.chunks import chunks, cut, describe
    from fgcli.faces.cutter import Cutter

    settings = _settings(params, all(photos.splits for photos in sets))
    sources = [photo for photos in sets for photo in photos.photos]
    verify_free_space(output, 2 * _row_bytes(params.size, masks=True) * len(sources))
    cutter = Cutter(settings)
    if cutter.analyser.notice:
        say(cutter.analyser.notice)
    folder = begin(output, [vars(settings), [describe(s) for s in sources]], resume)
    todo = chunks(sources, folder)
    if params.on_bad == "fail":
        _fail_on_bad(todo, settings, cutter, sets, params, cluster)
    parts = [Part(chunk.file, len(chunk.sources), chunk) for chunk in todo]
    build = partial(Cutter, settings)
    make(cut, parts, build, _processes(params), "preprocess", "photos", cutter, cluster)
    rejected, notes = _told(todo)
    for note, count in sorted(notes.items()):
        say(f"preprocess: {count} of {len(sources)} photos: {note}")
    _judge(rejected, len(sources), params.max_rejected, output)
    return _assemble(output, todo, sets, rejected, params, cutter)


def _settings(params: Params, split: bool) -> Settings:
    """How to cut; faces are embedded, to tell people apart, unless every data set is `split` officially."""
    from fgcli import assets
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
        embed=not split and assets.find("dlib_embedding") is not None,
        min_face=params.min_face,
    )


def _processes(params: Params) -> int:
    from fgcli.workers import cores

    return params.processes or cores()


def _row_bytes(size: int, masks: bool) -> int:
    return (4 if masks else 3) * size * size + 1024


def _fail_on_bad(
    todo: list[Chunk], settings: Settings, cutter: Cutter, sets: list[PhotoSet], params: Params, cluster: str
) -> None:
    from fgcli.faces.chunks import scan
    from fgcli.faces.cutter import Cutter
    from fgcli.workers import each

    names = [f"{photos.name}/{source}" for photos in sets for source in photos.sources]
    bad: list[tuple[int, str]] = []
    with progress("check", len(todo), unit="chunks") as advance:
        work = each(scan, todo, partial(Cutter, settings), _processes(params), "preprocess", cutter, cluster)
        for found in work:
            bad += found
            advance()
    if bad:
        lines = "; ".join(f"{names[i]}: {reason}" for i, reason in sorted(bad))
        raise FgError(f"preprocess: expected good photos, found {len(bad)} bad (set preprocess.on_bad=skip): {lines}")


def _told(todo: list[Chunk]) -> tuple[dict[int, str], Counter[str]]:
    """Why photos were rejected, by number, and how many of the others each note is about."""
    from fgcli.artifacts.parts import load_part

    rejected: dict[int, str] = {}
    notes: Counter[str] = Counter()
    for chunk in todo:
        arrays = load_part(chunk.file)
        rejected |= dict(zip(arrays["rejected"].tolist(), arrays["reasons"].tolist(), strict=True))
        notes.update(arrays["notes"].tolist())
    return rejected, notes


def _judge(rejected: dict[int, str], total: int, max_rejected: float, output: Path) -> None:
    """Says what was rejected, in groups; fails when it was too much."""
    from fgcli.faces.rejections import grouped

    groups = grouped((str(i), reason) for i, reason in rejected.items())
    lines = "; ".join(f"{len(photos)} x {reason}" for reason, photos in groups.items())
    if len(rejected) == total:
        raise FgError(f"preprocess: expected faces in {total} photos, found none: {lines}")
    if len(rejected) > max_rejected * total:
        raise FgError(
            f"preprocess: expected at most {max_rejected:.0%} of {total} photos rejected, "
            f"found {len(rejected)} (raise preprocess.max_rejected, and fg data rejected lists them): {lines}"
        )
    if rejected:
        say(f"preprocess: {len(rejected)} of {total} photos rejected (fg data rejected {output} lists them): {lines}")


def _assemble(
    output: Path, todo: list[Chunk], sets: list[PhotoSet], rejected: dict[int, str], params: Params, cutter: Cutter
) -> dict[str, Any]:
    """Writes faces.h5 chunk by chunk."""
    import numpy as np

    from fgcli.artifacts import FACES, create
    from fgcli.artifacts.parts import work_folder
    from fgcli.datasets.united import unite

    table = unite(sets)
    kept = np.array([i not in rejected for i in range(len(table.sources))])
    meta = _meta(sets, table, {**params.analyser, "notice": cutter.analyser.notice}, params.segmenter)
    meta["ignored"] = dict(sorted(sum((Counter(data.ignored) for data in sets), Counter()).items()))
    head = params.model_dump(exclude={"processes"})  # how many processes worked does not change what is in the file
    with create(output, FACES, params=head, inputs={}, meta=meta) as writer:
        seen = _fill(writer, todo, int(kept.sum()), params.size, work_folder(output))
        table.fill_colour(kept, seen.coloured)
        _tell_blurred(seen.enlargements, params.size)
        groups, split = _split(sets, table, np.flatnonzero(kept), seen, params)
        writer.put("group", groups[kept].astype(np.int32))
        return _write_table(writer, table, split, kept, rejected, "people")


def _split(
    sets: list[PhotoSet], table: Table, rows: np.ndarray, seen: Seen, params: Params
) -> tuple[np.ndarray, np.ndarray]:
    """Group and split, both (n,), of all photos, of which `rows` gave a face; says what was grouped."""
    import numpy as np

    from fgcli.datasets.groups import group, sentences
    from fgcli.datasets.splits import assign

    found = group(table.identity, rows, seen.thumbnails, seen.embeddings)
    groups, people = found.people, (table.identity >= 0) | (np.bincount(found.people)[found.people] > 1)
    if len(np.unique(groups[rows])) < 3:
        say("preprocess: fewer than 3 people were found, so that the splits share them: they are by photo")
        groups, people = found.near, np.zeros(len(people), bool)
    split = assign(sets, params.val, params.test, groups, people)
    for line in sentences(table, found, rows, split):
        say(f"preprocess: {line}")
    return groups, split


def _meta(
    sets: Sequence[PhotoSet] | Sequence[PictureSet],
    table: Table,
    analyser: dict[str, Any] | None,
    segmenter: dict[str, Any] | None,
) -> dict[str, Any]:
    """What faces.h5 says of itself; whole pictures have neither analyser nor segmenter."""
    return {
        "content": table.content,
        "attribute_names": table.attribute_names,
        "identity_names": table.identity_names,
        "datasets": [{"name": data.name, "photos": len(data), "licence": data.licence} for data in sets],
        "analyser": analyser,
        "segmenter": segmenter,
    }


def _allocate(writer: Writer, rows: int, size: int) -> dict[str, Any]:
    """The empty arrays of a file of faces that are filled part by part."""
    shapes = {
        "images": ((rows, size, size, 3), "uint8"),
        "masks": ((rows, size, size), "uint8"),
        "landmarks": ((rows, 68, 2), "float32"),
        "crop": ((rows, 2, 3), "float32"),
        "enlargement": ((rows,), "float32"),
    }
    return {name: writer.allocate(name, *shape) for name, shape in shapes.items()}


class Seen(NamedTuple):
    """What the crops of m rows look like.

    coloured: (m,) bool. thumbnails: (m, t) uint8, mapped. embeddings: (m, 128) float32 of dlib, mapped, or (m, 0).

    enlargements: (m,) float32.
    """

    coloured: np.ndarray
    thumbnails: np.ndarray
    embeddings: np.ndarray
    enlargements: np.ndarray


def _fill(writer: Writer, todo: list[Chunk], rows: int, size: int, folder: Path) -> Seen:
    """Copies the chunks' crops into the file; what they look like lies in `folder`."""
    import numpy as np

    from fgcli.artifacts.mapped import MappedRows
    from fgcli.artifacts.parts import load_part
    from fgcli.datasets.groups import SIDE, thumbnail
    from fgcli.faces.align import enlargement

    fields = _allocate(writer, rows, size)
    coloured, enlargements = np.zeros(rows, bool), np.zeros(rows, np.float32)
    thumbnails, embeddings, at = MappedRows(SIDE * SIDE, np.uint8, folder), None, 0
    for chunk in todo:
        arrays = load_part(chunk.file)
        end = at + len(arrays["taken"])
        if end > at:
            arrays["enlargement"] = enlargement(arrays["crop"]).astype(np.float32)
            for name, field in fields.items():
                field[at:end] = arrays[name]
            coloured[at:end], enlargements[at:end] = _coloured(arrays["images"]), arrays["enlargement"]
            thumbnails.append(thumbnail(arrays["images"]))
            embeddings = embeddings or MappedRows(arrays["embeddings"].shape[1], np.float32, folder)
            embeddings.append(arrays["embeddings"])
        at = end
    assert embeddings  # some photos gave faces: `_judge` saw to it
    return Seen(coloured, thumbnails.mapped(), embeddings.mapped(), enlargements)


def _tell_blurred(enlargements: np.ndarray, size: int) -> None:
    """Says how many faces are enlarged too much, and what helps."""
    count = int((enlargements > BLURRED).sum())
    if count:
        say(
            f"preprocess: {count} of {len(enlargements)} faces are enlarged more than {BLURRED:g} times, up to "
            f"{enlargements.max():.1f}, and so are blurred; lower preprocess.size, or reject them by "
            f"preprocess.min_face={-int(-size // BLURRED)}"
        )


def _coloured(images: np.ndarray) -> np.ndarray:
    """(n,) bool of crops (n, h, w, 3)."""
    planes = images.transpose(3, 0, 1, 2).copy()  # numpy is far faster along the first axis than the last
    return (planes.max(0) - planes.min(0)).mean((1, 2)) > CHROMA


def _write_table(
    writer: Writer, table: Table, split: np.ndarray, kept: np.ndarray, rejected: dict[int, str], who: str
) -> dict[str, Any]:
    """Writes all that is known of the rows `kept` (n,) bool; returns counts, that of the identities as `who`."""
    import numpy as np

    from fgcli.artifacts import SPLITS

    names = np.array(table.sources)
    attributes, identity, split = table.attributes[kept], table.identity[kept], split[kept]
    writer.put("attributes", attributes)
    writer.put("identity", identity)
    writer.put("split", split)
    writer.put("source", names[kept])
    writer.put("rejected/source", names[sorted(rejected)])
    writer.put("rejected/reason", np.array([rejected[i] for i in sorted(rejected)], np.str_))
    return {
        "rows": len(split),
        "rejected": len(rejected),
        who: len(set(identity[identity >= 0].tolist())),
        "splits": {name: int((split == i).sum()) for i, name in enumerate(SPLITS)},
        "attributes": {
            name: {"yes": int((column == 1).sum()), "no": int((column == 0).sum())}
            for name, column in zip(table.attribute_names, attributes.T, strict=True)
        },
    }


def _contact_sheet(path: Path, faces: Path) -> None:
    """At most SHEET_TILES crops, evenly spaced in file order; those of faces with mask outline and landmarks."""
    import numpy as np

    from fgcli.artifacts import load, masks, rows
    from fgcli.faces.overlay import overlay
    from fgcli.reports.grid import save_picture, sheet, spread, wrap

    images, outlined = rows(faces, "images"), masks(faces)
    found = load(faces, names=()).meta["content"] == "faces"
    landmarks = rows(faces, "landmarks") if found else np.zeros((len(images), 0, 2))
    tiles = [overlay(images[i], outlined[i], landmarks[i], TILE_PX) for i in spread(len(images), SHEET_TILES)]
    save_picture(path, sheet(wrap(tiles, SHEET_COLUMNS)))
