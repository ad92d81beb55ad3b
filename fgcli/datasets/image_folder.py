"""Any folder of photos, with an attribute table and masks if there are any."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np

from fgcli import archives
from fgcli.console import readable, say
from fgcli.datasets.files import IMAGE_ENDINGS, files_below, fixed, globbed, photos_among, photos_below
from fgcli.datasets.photoset import Photo, PhotoSet
from fgcli.errors import FgError, reason

VALUES = {"1": 1, "0": 0, "-1": -1, "": -1, "true": 1, "false": 0, "1.0": 1, "0.0": 0, "-1.0": -1}
"""As people, spreadsheets and pandas write them, in small letters."""


def image_folder(
    path: str,
    attributes: str | None = None,
    masks: str | None = None,
    allow_unmatched: bool = False,
    label: str = "image_folder",
) -> PhotoSet:
    """Photos of a folder and the folders in it, of a zip file, or of a glob such as "shots/2024-*/*.jpg".

    Args:
        path: folder, zip file or glob.
        attributes: CSV with a column `file` (path below the folder, or the bare name where only one photo has it),
            one column per attribute (1, 0, -1 or blank for unknown; true and false), and maybe `identity`. A column
            `colour` stands where it says something; it is measured elsewhere.
        masks: folder with a mask of the same path for each photo, any image ending; bright on the face.
        allow_unmatched: accept rows of the CSV whose photo is not there.
        label: what the photos are called in faces.h5, so that two folders can be told apart.

    Raises:
        FgError: no photos, or a table that does not fit them.
    """
    root, files, ignored = _find(str(Path(path).expanduser()))
    sources = [p.relative_to(root).as_posix() for p in files]
    names, table, identities = (
        _attributes(Path(attributes).expanduser(), sources, allow_unmatched) if attributes else ([], None, None)
    )
    mask_of = _masks(Path(masks).expanduser(), sources) if masks else {}
    return PhotoSet(
        name=label,
        licence="Photos of your own: their licence is yours to know.",
        sources=[readable(source) for source in sources],
        photos=[Photo(p, masks=mask_of.get(s, ())) for p, s in zip(files, sources, strict=True)],
        attribute_names=names,
        attributes=np.zeros((len(files), 0), np.int8) if table is None else table,
        identities=identities,
        ignored=ignored,
    )


def _find(path: str) -> tuple[Path, list[Path], dict[str, int]]:
    """The folder that names are relative to, the photos in it, and the number of its other files by ending."""
    root = fixed(Path(path))
    if root != Path(path):
        files = globbed(path)
    elif archives.is_folder(root):
        files = files_below(root)
    else:
        raise FgError(
            f"{path}: expected a folder of photos, a zip file or a glob, found none of them; check preprocess.datasets"
        )
    photos, ignored = photos_among(files, root)
    if not photos:
        raise FgError(f"{path}: expected photos ({' '.join(sorted(IMAGE_ENDINGS))}), found none; check the path")
    return root, photos, ignored


def _attributes(
    path: Path, sources: list[str], allow_unmatched: bool
) -> tuple[list[str], np.ndarray, list[str] | None]:
    header, rows = read_table(path)
    names = [column for column in header if column not in ("file", "identity")]
    at, unmatched = matched(path, rows, sources)
    if unmatched and not allow_unmatched:
        raise FgError(
            f"{path}: expected every row to name a photo, found {len(unmatched)} that do not ({_some(unmatched)}); "
            "correct them or set allow_unmatched: true"
        )
    if unmatched:
        say(f"{path}: {len(unmatched)} rows name no photo: {_some(unmatched)}")
    table, identities = np.full((len(sources), len(names)), -1, np.int8), [""] * len(sources)
    for row, i in at:
        table[i] = [VALUES[row[name].strip().lower()] for name in names]
        identities[i] = row.get("identity", "").strip()
    without = sorted(set(range(len(sources))) - {i for _, i in at})
    if without:
        say(f"{path}: {len(without)} photos have no row: {_some([sources[i] for i in without])}")
    return names, table, identities if "identity" in header else None


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Header and rows of a table of attributes, every value checked; raises FgError: another file."""
    try:
        with io.TextIOWrapper(archives.opened(path), newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            header, rows = list(reader.fieldnames or []), list(reader)
    except UnicodeDecodeError as error:
        raise FgError(f"{path}: expected a CSV in UTF-8, found another encoding; save it as UTF-8") from error
    except (OSError, csv.Error) as error:
        raise FgError(f"{path}: expected a CSV of attributes, found {reason(error)}; check the file") from error
    if "file" not in header or len(set(header)) != len(header):
        raise FgError(f"{path}: expected unique columns with `file` among them, found {', '.join(header) or 'none'}")
    for number, row in enumerate(rows, 2):
        for column in header:
            if column not in ("file", "identity") and row[column].strip().lower() not in VALUES:
                raise FgError(
                    f"{path}: expected 1, 0, -1, true, false or blank for {column} in line {number}, "
                    f"found {row[column]!r}; correct it, or call the column `identity` if it names people"
                )
        if None in row:
            raise FgError(f"{path}: expected {len(header)} values in line {number}, found more; quote commas")
    return header, rows


def matched(
    path: Path, rows: list[dict[str, str]], sources: list[str]
) -> tuple[list[tuple[dict[str, str], int]], list[str]]:
    """(row, number of its photo) of the rows that name one, and the names of the others."""
    known = [_spelt(source) for source in sources]
    bare = Counter(source.rsplit("/", 1)[-1] for source in known)
    number = {s.rsplit("/", 1)[-1]: i for i, s in enumerate(known) if bare[s.rsplit("/", 1)[-1]] == 1}
    number |= {source: i for i, source in enumerate(known)}
    found, unmatched, taken = [], [], set()
    for row in rows:
        i = number.get(_spelt(row["file"]))
        if i is None:
            unmatched.append(row["file"])
        elif i in taken:
            raise FgError(f"{path}: expected one row per photo, found two for {sources[i]}; remove one")
        else:
            taken.add(i)
            found.append((row, i))
    return found, unmatched


def _spelt(name: str) -> str:
    """A name as all systems can agree on it: accents composed (a Mac stores them apart), "/", no "./" before it."""
    return unicodedata.normalize("NFC", name.strip()).replace("\\", "/").removeprefix("./")


def _masks(folder: Path, sources: list[str]) -> dict[str, tuple[Path, ...]]:
    if not archives.is_folder(folder):
        raise FgError(f"{folder}: expected a folder of masks, found none; check preprocess.datasets")
    by_stem: dict[str, Path] = {}
    for path in photos_below(folder):
        stem = _spelt(path.relative_to(folder).with_suffix("").as_posix())
        if stem in by_stem:
            raise FgError(f"{path}: expected one mask of a photo, found {by_stem[stem].name} beside it; remove one")
        by_stem[stem] = path
    found: dict[str, tuple[Path, ...]] = {
        s: (by_stem[stem],) for s in sources if (stem := _spelt(s.rsplit(".", 1)[0])) in by_stem
    }
    if len(found) < len(sources):
        without = [s for s in sources if s not in found]
        say(f"{folder}: {len(without)} photos have no mask: {_some(without)}")
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
