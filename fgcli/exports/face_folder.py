"""faces.h5 as a folder that people and other tools can read and change, and back.

images/000000.png and masks/000000.png of each row; labels.csv, as the data set `image_folder` reads it; rows.csv with
source, split, group, crop and landmarks; rejected.csv; about.json, what the file says of itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fgcli.artifacts import FACES, SPLITS, Artifact, create, layout, load, rows, write_json
from fgcli.artifacts.outputs import picture_mark
from fgcli.datasets.image_folder import image_folder
from fgcli.datasets.photoset import PhotoSet
from fgcli.errors import FgError, reason
from fgcli.exports.tables import MEND, load_table, save_table
from fgcli.faces.photos import BadPhotoError, decode, decode_mask

IMAGES, MASKS = "images", "masks"
LABELS, ROWS, REJECTED, ABOUT = "labels.csv", "rows.csv", "rejected.csv", "about.json"
NUMBERS = {
    "group": ("int32", (), ["group"]),
    "enlargement": ("float32", (), ["enlargement"]),
    "crop": ("float32", (2, 3), [f"crop{i}{j}" for i in range(2) for j in range(3)]),
    "landmarks": ("float32", (68, 2), [f"{axis}{i}" for i in range(68) for axis in "xy"]),
}
"""Datasets that are columns of rows.csv: type, shape of a row, and names; a file may lack each."""


def write(faces: Path, folder: Path, advance: Callable[..., None]) -> dict[str, Any]:
    """Writes the folder; pictures that are there already are left, as those of a killed run. Returns counts."""
    has = layout(faces)
    planes = {name: rows(faces, name) for name in (IMAGES, MASKS) if name in has}
    stored = load(faces, FACES, tuple(name for name in has if name not in planes))
    n = len(stored["split"])
    files = [f"{i:0{max(6, len(str(n - 1)))}d}.png" for i in range(n)]  # sorted by name they are in order
    for name in planes:
        (folder / name).mkdir(exist_ok=True)
    for i, file in enumerate(files):
        for name, pictures in planes.items():
            _save(folder / name / file, pictures[i])
        advance()
    header = ["file", "identity", *stored.meta["attribute_names"]]
    labels = zip(files, _people(stored), *stored["attributes"].T.tolist(), strict=True)
    save_table(folder / LABELS, header, labels)
    known = [name for name in NUMBERS if name in has]
    columns = [column for name in known for column in stored[name].reshape(n, -1).T]
    header = ["file", "source", "split", *(column for name in known for column in NUMBERS[name][2])]
    splits = [SPLITS[split] for split in stored["split"]]
    save_table(folder / ROWS, header, zip(files, stored["source"], splits, *columns, strict=True))
    rejected = [stored["rejected/source"], stored["rejected/reason"]]
    save_table(folder / REJECTED, ["source", "reason"], zip(*rejected, strict=True))
    write_json(folder / ABOUT, {"params": stored.params, "meta": stored.meta})
    return {name: n for name in planes} | {"rejected": len(rejected[0])}


def read(folder: Path, output: Path, advance: Callable[..., None]) -> dict[str, Any]:
    """Writes faces.h5 of such a folder: equal bytes where nothing in it was changed. Returns counts.

    Pictures and rows may have been taken out or put in, labels and names corrected, columns of attributes added.

    Raises:
        FgError: the folder was not written by `write`, or its parts do not belong together.
    """
    about = _about(folder / ABOUT)
    masked = (folder / MASKS).is_dir()
    found = image_folder(
        str(folder / IMAGES), attributes=str(folder / LABELS), masks=str(folder / MASKS) if masked else None
    )
    table = _rows(folder / ROWS, found)
    meta, identity = _identities(found, about["meta"])
    size = len(_picture(found, 0))
    with create(output, FACES, params=about["params"], inputs={}, meta=meta) as writer:
        images = writer.allocate(IMAGES, (len(found), size, size, 3), "uint8")
        masks = writer.allocate(MASKS, (len(found), size, size), "uint8") if masked else None
        for i in range(len(found)):
            images[i] = _sized(found, i, _picture(found, i), size)
            if masks is not None:
                masks[i] = _sized(found, i, _mask(found, i), size)
            advance()
        for name in ("landmarks", "crop", "enlargement", "group"):  # in the order of preprocess
            kind, shape, columns = NUMBERS[name]
            if columns[0] in table[0]:
                writer.put(name, np.array([_numbers(folder, row, columns, kind) for row in table]).reshape(-1, *shape))
        writer.put("attributes", found.attributes)
        writer.put("identity", identity)
        writer.put("split", np.array([_split(folder, row) for row in table], np.uint8))
        writer.put("source", [row["source"] for row in table])
        _, rejected = load_table(folder / REJECTED, "source", "reason")
        for column in ("source", "reason"):
            writer.put(f"rejected/{column}", np.array([row[column] for row in rejected], np.str_))
    return {"rows": len(found), "rejected": len(rejected)}


def _save(path: Path, pixels: np.ndarray) -> None:
    """A picture under its name only when it is whole: a killed run goes on after it."""
    if not path.exists():
        part = path.with_name(f".{path.name}.part")
        Image.fromarray(pixels).save(part, "PNG", compress_level=2, **picture_mark("PNG"))
        part.replace(path)


def _people(stored: Artifact) -> list[str]:
    """Who is on each row: a name, else the number, "" unknown."""
    names = stored.meta.get("identity_names") or []
    return ["" if who < 0 else names[who] if names else str(who) for who in stored["identity"].tolist()]


def _about(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        sound = isinstance(about["params"], dict) and isinstance(about["meta"], dict)
    except (OSError, ValueError, KeyError, TypeError):
        sound = False
    if not sound:
        raise FgError(f"{path.parent}: expected a folder of fg data export with its {ABOUT}, found none; {MEND}")
    return dict(about)


def _rows(path: Path, found: PhotoSet) -> list[dict[str, str]]:
    """The line of each picture."""
    _, lines = load_table(path, "file", "source", "split")
    of = {line["file"]: line for line in lines}
    lacking = [source for source in found.sources if source not in of]
    if lacking:
        raise FgError(f"{path}: expected a line for every picture, found none for {lacking[0]}; add one")
    return [of[source] for source in found.sources]


def _identities(found: PhotoSet, meta: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray]:
    """meta with the names of the tables, and the number (n,) of each row's person in it."""
    people = found.identities or [""] * len(found)
    names, meta = list(meta.get("identity_names") or []), {**meta, "attribute_names": found.attribute_names}
    if not names and all(person.isdigit() or not person for person in people):
        return meta, np.array([int(person or -1) for person in people], np.int32)
    names = list(dict.fromkeys([*names, *filter(None, people)]))
    number = {name: i for i, name in enumerate(names)} | {"": -1}
    return {**meta, "identity_names": names}, np.array([number[person] for person in people], np.int32)


def _picture(found: PhotoSet, i: int) -> np.ndarray:
    path = found.photos[i].path
    try:
        return decode(path).pixels
    except BadPhotoError as error:
        raise FgError(f"{path}: expected a picture of fg data export, found {error}; {MEND}") from error


def _mask(found: PhotoSet, i: int) -> np.ndarray:
    photo = found.photos[i]
    if not photo.masks:
        raise FgError(f"{photo.path}: expected a mask of its name in {MASKS}, found none; add one")
    try:
        return decode_mask(photo.masks[0]) * np.uint8(255)
    except BadPhotoError as error:
        raise FgError(f"{photo.masks[0]}: expected a mask of fg data export, found {error}; {MEND}") from error


def _sized(found: PhotoSet, i: int, pixels: np.ndarray, size: int) -> np.ndarray:
    h, w = pixels.shape[:2]
    if (h, w) != (size, size):
        raise FgError(f"{found.photos[i].path}: expected {size}x{size} px, as the first, found {w}x{h}; {MEND}")
    return pixels


def _split(folder: Path, row: dict[str, str]) -> int:
    if row["split"] not in SPLITS:
        raise FgError(
            f"{folder / ROWS}: expected {', '.join(SPLITS)} as the split of {row['file']}, found {row['split']!r}; "
            "correct it"
        )
    return SPLITS.index(row["split"])


def _numbers(folder: Path, row: dict[str, str], columns: list[str], kind: str) -> np.ndarray:
    try:
        return np.array([row[column] for column in columns], kind)
    except (KeyError, ValueError) as error:
        raise FgError(f"{folder / ROWS}: expected numbers for {row['file']}, found {reason(error)}; {MEND}") from error
