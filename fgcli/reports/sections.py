"""The picture sections of the page: each function turns material into rows of pictures or tables of them."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fgcli.codes import Codes, walk
from fgcli.errors import FgError
from fgcli.reports import sentences
from fgcli.reports.chroma import chroma
from fgcli.reports.grid import spread
from fgcli.reports.images import Picture, Row, picture, pictures_of
from fgcli.reports.material import Edit, Material
from fgcli.reports.nouns import Nouns

COLUMNS = 7
"""Faces side by side in tables of reconstructions."""
CONTACT, CONTACT_PX = 24, 96
"""Crops shown per split, and their side, px."""
ATTRIBUTES, EDITED = 6, 3
"""Attributes whose edits are shown at most; faces per edit strip."""
FRAMES = 6
"""Pictures from one face to the next."""
MEASURED, COUNTED = 64, 2000
"""Faces whose edits are measured at most, of each kind; training faces counted at most by colour."""
SHEETS, SHEET_PX = 3, 1052
"""Sample sheets of the training shown at most, and their width, px."""


@dataclass(frozen=True)
class Split:
    """Faces of one split: counts, and crops with their masks where they have them."""

    name: str
    faces: int
    people: int
    pictures: list[Picture]


@dataclass(frozen=True)
class Strip:
    """One editor method on one attribute: edited faces, and how much colour each cell of the table gained."""

    method: str
    matched: str
    rows: list[Row]
    gained: list[float]


@dataclass(frozen=True)
class Cell:
    """Held-out faces whose colour is measured at one strength: which, how many, their chroma before the edit."""

    kind: str
    strength: str
    faces: int
    unedited: float


@dataclass(frozen=True)
class Edits:
    """All methods on one attribute, at the same strengths, on the same faces, and what an unmatched one may do."""

    attribute: str
    strengths: list[str]
    strips: list[Strip]
    cells: list[Cell]
    note: str
    changes: list[tuple[str, dict[str, float]]]


def having(about: Mapping[str, Any], attribute: str) -> dict[str, Any]:
    """The editors that know an attribute."""
    return {label: entry for label, entry in about.items() if attribute in entry["scores"]}


def by_matching(about: Mapping[str, Any]) -> list[str]:
    """The editors' labels, those that match no attributes first."""
    return sorted(about, key=lambda label: (any(about[label]["matched"].values()), label))


def strongest(about: Mapping[str, Any], attribute: str) -> str:
    """The label of the editor that changes the probe of `attribute` most, of the matched ones if there are some."""
    about = having(about, attribute)
    matched = [label for label in about if about[label]["matched"][attribute]] or list(about)
    changes = {label: about[label]["scores"][attribute].get("change", {}).get(attribute, 0.0) for label in matched}
    return max(sorted(matched), key=lambda label: changes[label], default="")


def headline(run: Material, count: int, attribute: str, method: str, strength: float) -> list[Row]:
    """Per person: face, reconstruction, and with an editor the attribute added and taken away."""
    rows = run.typical(run.held, count)
    sets = [[run.images[r] for r in rows], run.show(run.codes(rows))]
    words = sentences.headline_words(attribute if method else "", run.nouns)
    feet = [[""] * len(words) for _ in rows]
    if run.edit and method:
        codes = run.codes(rows)
        edited = [run.edit(method, codes, attribute, s) for s in (strength, -strength)]
        sets += [run.show(changed) for changed in edited]
        if run.examine:
            shown = [run.decode(codes), *map(run.decode, edited)]
            for i, row in enumerate(rows):
                for k, changed in enumerate(edited):
                    pair = [shown[0][i], shown[1 + k][i]]
                    [found] = run.examine([attribute], codes[i : i + 1], changed[i : i + 1], pair, run.masks[row] > 127)
                    feet[i][2 + k] = "; ".join(found.foot)
    return [
        Row(
            run.label(r),
            [picture(s[i], f"{run.label(r)}: {w}", note) for s, w, note in zip(sets, words, feet[i], strict=True)],
        )
        for i, r in enumerate(rows)
    ]


def contact(run: Material, crops: Mapping[str, Sequence[np.ndarray]], rows: Mapping[str, list[int]]) -> list[Split]:
    """Crops with their masks' outlines, per split; `crops` are the pictures of `rows`."""
    before, after = (f"{run.nouns.photo} ", "") if run.nouns.whole else ("crop of ", ", its mask outlined")
    found = []
    for i, name in enumerate(crops):
        own = np.flatnonzero(run.split == i)
        shown = [
            picture(crop, f"{before}{run.label(row)}{after}", most=CONTACT_PX)
            for crop, row in zip(crops[name], rows[name], strict=True)
        ]
        found.append(Split(name, len(own), len(run.people(own)), shown))
    return found


def contact_rows(split: np.ndarray, names: Sequence[str]) -> dict[str, list[int]]:
    """The rows that the contact sheet shows, per split."""
    own = {name: np.flatnonzero(split == i) for i, name in enumerate(names)}
    return {name: [int(rows[i]) for i in spread(len(rows), CONTACT)] for name, rows in own.items()}


def rejected(reasons: Iterable[str]) -> list[tuple[str, int]]:
    """How often each reason was given, the most frequent first."""
    return sorted(Counter(reasons).items(), key=lambda pair: (-pair[1], pair[0]))


def reconstructions(run: Material, rows: Sequence[int], notes: Sequence[str] = (), masks: bool = True) -> list[Row]:
    """Columns of faces: photo, generator, eigenfaces, and the given and the predicted mask."""
    chosen = np.asarray(rows, int)
    table = {run.nouns.photo: [run.images[r] for r in chosen], "generator": run.show(run.codes(chosen))}
    if run.baseline:
        table[run.nouns.eigenfaces] = run.baseline(chosen)
    if masks and not run.nouns.whole:
        table["given mask"] = [np.repeat(run.masks[r][..., None], 3, 2) for r in chosen]
    if masks and run.decode_masks:
        table["predicted mask"] = run.decode_masks(run.codes(chosen))
    lines = [
        Row(name, pictures_of(images, [f"{name} of {run.label(r)}" for r in chosen])) for name, images in table.items()
    ]
    if notes:
        noted = [Picture(p.uri, p.alt, note) for p, note in zip(lines[0].pictures, notes, strict=True)]
        lines[0] = Row(lines[0].label, noted)
    return lines


def extremes(run: Material, values: np.ndarray) -> tuple[list[Row], list[Row]]:
    """The worst and the best held-out faces by `values` (n held-out), lower being better."""
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    tables = []
    for chosen in (order[::-1][:COLUMNS], order[:COLUMNS]):
        rows = [int(run.held[i]) for i in chosen]
        notes = [f"{values[i]:.3f}\n{run.label(r)}" for i, r in zip(chosen, rows, strict=True)]
        tables.append(reconstructions(run, rows, notes, masks=False))
    return tables[0], tables[1]


def interpolations(run: Material, count: int) -> list[Row]:
    """From each of `count` held-out people to the next: photo, frames, photo."""
    rows = run.typical(run.held, count)
    walks = []
    for a, b in itertools.pairwise(rows):
        way = walk(run.codes([a]), run.codes([b]), np.linspace(0, 1, FRAMES).tolist())
        frames = [run.images[a], *run.show(way), run.images[b]]
        words = [
            f"{run.nouns.photo} {run.label(a)}",
            *(f"{i} of {FRAMES - 1} steps" for i in range(FRAMES)),
            f"{run.nouns.photo} {run.label(b)}",
        ]
        walks.append(Row(f"{run.label(a)} to {run.label(b)}", pictures_of(frames, words)))
    return walks


def edits(run: Material, edit: Edit, attribute: str, strengths: Sequence[float], about: Mapping[str, Any]) -> Edits:
    """Every method on the same faces, and the colour that they gain or lose at the lowest and highest strength."""
    rows = run.editable(attribute, EDITED)
    marks = [mark(s) for s in strengths]
    grey = run.grey(run.held)
    kinds = {"grey": grey, "colour": np.setdiff1d(run.held, grey)}
    kinds = {kind: own[spread(len(own), MEASURED)] for kind, own in kinds.items() if len(own)}
    before = {kind: colour(run, own, run.codes(own)) for kind, own in kinds.items()}
    at = [(kind, s) for kind in kinds for s in sorted({min(strengths), max(strengths)})]
    strips, changes = [], []
    for method in by_matching(about):
        entry = about[method]
        edited = partial(edit, method)
        pictures = [run.show(edited(run.codes(rows), attribute, s)) for s in strengths]
        lines = [
            Row(
                run.label(r),
                pictures_of(
                    [run.images[r], *(shown[i] for shown in pictures)],
                    [f"{run.nouns.photo} {run.label(r)}", *(f"{method}, {attribute} {m}" for m in marks)],
                ),
            )
            for i, r in enumerate(rows)
        ]
        gained = [colour(run, kinds[k], edited(run.codes(kinds[k]), attribute, s)) - before[k] for k, s in at]
        strips.append(Strip(method, ", ".join(entry["matched"].get(attribute, ())), lines, gained))
        changes.append((method, entry["scores"][attribute].get("change", {})))
    cells = [Cell(k, mark(s), len(kinds[k]), before[k]) for k, s in at]
    named = attribute in run.names
    note = sentences.colour(attribute, colour_shares(run, attribute), run.nouns) if named else ""
    return Edits(attribute, marks, strips, cells, note, changes)


def colour(run: Material, rows: np.ndarray, codes: Codes) -> float:
    """Mean chroma of what the generator makes of `codes`, on the faces of `rows`."""
    return float(chroma(run.decode(codes), run.masks[rows]).mean())


def colour_shares(run: Material, attribute: str) -> dict[str, float]:
    """Share of the training photos in colour, with the attribute and without it."""
    has = run.attributes[:, run.names.index(attribute)]
    shares = {}
    for value, name in ((1, "with"), (0, "without")):
        rows = np.flatnonzero((run.split == 0) & (has == value))
        rows = rows[spread(len(rows), COUNTED)]
        if len(rows):
            shares[name] = 1 - len(run.grey(rows)) / len(rows)
    return shares


def mark(strength: float) -> str:
    """A strength as a column's title."""
    return f"{strength:+g}".replace("-", "\u2212") if strength else "0"


def samples(sets: Mapping[str, Sequence[np.ndarray]]) -> list[Row]:
    """A block of faces per set."""
    return [
        Row(name, pictures_of(images, [f"{name}, {i + 1}" for i in range(len(images))]))
        for name, images in sets.items()
    ]


def neighbours(path: Path, nouns: Nouns) -> Picture:
    """The sheet of draws above the training faces nearest to them."""
    image = read_sheet(path, "fg evaluate")
    alt = f"draws from each density, and under each the training {nouns.faces} nearest to it"
    return picture(image, alt, most=SHEET_PX)


def obeyed(path: Path) -> Picture:
    """The sheet of `fg obedience`."""
    alt = "one number of the head in each pair of rows, told above and made below, all of one style"
    return picture(read_sheet(path, "fg obedience"), alt, most=SHEET_PX)


def read_sheet(path: Path, made_by: str) -> np.ndarray:
    """A picture that fg drew, uint8 (h, w, 3).

    Raises:
        FgError: it is damaged, or none.
    """
    try:
        if not path.is_file():
            raise OSError("no file")
        with Image.open(path) as page:
            return np.asarray(page.convert("RGB"))
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        raise FgError(f"{path}: expected a picture of fg's, found a damaged file; run {made_by} again") from error


def training_sheets(folder: Path) -> list[Picture]:
    """The first, a middle and the last sample sheet that the training drew; none when there are none."""
    paths = sorted(folder.glob("samples/*.png"))
    chosen = sorted({0, len(paths) // 2, len(paths) - 1}) if paths else []
    found = []
    for path in [paths[i] for i in chosen][-SHEETS:]:
        step, image = int(path.stem) if path.stem.isdecimal() else path.stem, read_sheet(path, "fg train")
        found.append(picture(image, f"the sample sheet of step {step}", f"step {step}", SHEET_PX))
    return found
