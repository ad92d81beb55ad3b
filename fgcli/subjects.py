"""Faces that a command is asked for, photos or rows of latents.h5, and the pictures of them that it writes."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fgcli import archives, artifacts, codes, inverters
from fgcli.artifacts.outputs import ours, verify_outputs
from fgcli.capabilities import Conditional, Generator, Writes
from fgcli.codes import Codes
from fgcli.config.fields import whole
from fgcli.console import progress, say
from fgcli.datasets.files import IMAGE_ENDINGS, files_below, fixed, globbed, photos_among
from fgcli.errors import FgError
from fgcli.faces.align import add_change
from fgcli.faces.cutter import ChoiceError, Cut, Cutter
from fgcli.faces.overlay import with_numbers
from fgcli.faces.photos import Decoded, decode
from fgcli.fits import Fitter
from fgcli.generators import store
from fgcli.grammars import NotInGrammar
from fgcli.heads.steering import condition_of
from fgcli.pixels import tensor
from fgcli.reports import grid
from fgcli.reports.pictures import decoded, enlarge, shown_size
from fgcli.reports.written import picture


@dataclass(frozen=True)
class Subject:
    """One face: the place and text of its argument, its code, and for photos how it was cut from the file.

    face: uint8 (h, w, 3), the crop of the photo; of a row what the code gives; of a sentence its drawing.
    inverter: the name of the one that found the code, if it is not that of latents.h5.
    title: the name, and the number of the face where all of a photo were asked for.
    """

    place: int
    name: str
    code: Codes
    face: np.ndarray
    cut: Cut | None = None
    inverter: str = ""

    @property
    def title(self) -> str:  # noqa: D102
        return f"{self.name}, face {self.cut.number}" if self.cut and self.cut.number else self.name

    @property
    def label(self) -> str:
        """Short, for a sheet."""
        return Path(self.name).stem + (f" {self.cut.number}" if self.cut and self.cut.number else "")


@dataclass(frozen=True)
class HeadFiles:
    """By what the heads of photos are found, for a generator that they steer; see `Fitter`."""

    flame: Path
    regressor: Path


def projector(latents: Path, model: Generator, inverter: str = "") -> Callable[..., Codes]:
    """A function from a crop, uint8 (s, s, 3), to its code, inverted as those of latents.h5, or by another `inverter`.

    Its `known`, bool (s, s), says which pixels count, if not all do; its `condition` (1, ...) is that of the crop.

    Raises:
        UsageError: no such inverter, or none for this generator.
        FgError: not a latents file, or what it was made with is not here.
    """
    by, context = inverters.load(latents, model, inverter)

    def project(image: np.ndarray, known: np.ndarray | None = None, condition: Tensor | None = None) -> Codes:
        mask = None if known is None else torch.from_numpy(known)[None, None]
        return by.invert(model, tensor(image[None]), replace(context, known=mask, condition=condition))

    return project


def is_photo(name: str) -> bool:
    """Whether an argument names a photo, not a row."""
    return whole(name) is None or Path(name).exists()


def expanded(what: Sequence[str]) -> list[str]:
    """The arguments, in place of each folder, zip file or glob its photos; other files, and pictures of fg's, are told.

    Raises:
        FgError: a folder or glob without photos, or a zip file that cannot be read.
    """
    names: list[str] = []
    for name in what:
        folder, matched = fixed(Path(name)), globbed(name)
        if not matched and not archives.is_folder(Path(name)):
            if folder.parts and folder != Path(name) and archives.is_folder(folder):
                raise FgError(f"{name}: expected photos of such names in {folder}, found none; check the pattern")
            names.append(name)
            continue
        photos, others = photos_among(matched or files_below(folder), folder)
        own = {photo for photo in photos if os.access(photo, os.R_OK) and ours(photo, "")}
        left = Counter(others) + Counter({"written by fg": len(own)})
        found = [str(photo) for photo in photos if photo not in own]
        if not found:
            none = f"none but {len(own)} that fg wrote; name these one by one" if own else "none; check the path"
            raise FgError(f"{name}: expected photos ({' '.join(sorted(IMAGE_ENDINGS))}), found {none}")
        if left:
            told = ", ".join(f"{count} {ending}" for ending, count in left.items())
            say(f"{name}: {len(found)} photos; {left.total()} other files are not read: {told}")
        names += found
    return names


def beside(output: Path | None, name: str) -> Path | None:
    """Where the faces of a photo are numbered, if `output` is written."""
    return output and output.with_name(f"{output.stem}-{Path(name).stem}-faces.png")


def asked_faces(cutter: Cutter, name: str, face: str, preview: Path | None) -> list[Cut]:
    """The faces of a photo that are asked for: by `face` all of them, else the one that the cutter chooses.

    Raises:
        FgError: none that is usable; where a person has to choose, `preview` numbers them, unless it is the user's.
    """
    try:
        return cutter.faces(Path(name)) if face == "all" else [cutter.photo(Path(name))]
    except FgError as error:
        choice = error.__cause__
        if preview is None or not isinstance(choice, ChoiceError) or not choice.faces:
            raise
        if preview.exists() and not ours(preview, ""):
            raise
        grid.save_picture(preview, with_numbers(whole_photo(Path(name)).pixels, choice.faces))
        raise FgError(f"{error}; {preview} shows their numbers") from choice


class Subjects:
    """Faces one by one: of photos, cut as the generator's training faces and inverted as those of latents.h5; of rows.
    For a generator that writes, sentences: of rows, or in place of photos their texts. By `face` "all" those of a photo
    follow each other.

    Where heads steer the generator, those of photos are fitted by `heads`. Photos without a usable face are told and
    left out, as long as `least` faces can remain; beside `output` faces are numbered that a person has to choose from.
    Photos are inverted by the one of latents.h5, or by another `inverter`.

    Attributes:
        left_out: those so far.

    Raises:
        FgError: a row that does not exist, files that do not belong together; or, when they are asked for, too few
            usable faces, or a text that is no sentence.
    """

    def __init__(
        self,
        what: Sequence[str],
        face: str,
        generator: Path,
        latents: Path,
        model: Generator,
        heads: HeadFiles | None = None,
        least: int = 1,
        output: Path | None = None,
        inverter: str = "",
    ) -> None:
        store.verify(latents, generator)
        self.face, self.output, self.inverter = face, output, inverter
        self.what, self.model, self.least, self.read = what, model, least, codes.reader(latents)
        self.latents, self.rows = latents, len(artifacts.rows(latents, "codes"))
        self.project = cache(partial(projector, latents, model))
        for name in what:
            if not is_photo(name):
                self.verify_row(int(name))
        if isinstance(model, Writes):
            self.invert = inverters.load(latents, model)
        elif any(map(is_photo, what)):
            self.learn_photos(generator, face, heads)
        self.left_out: list[str] = []

    @property
    def writes(self) -> bool:
        """Whether names that are no rows are sentences."""
        return isinstance(self.model, Writes)

    def learn_photos(self, generator: Path, face: str, heads: HeadFiles | None) -> None:
        """Loads what cuts and inverts photos."""
        self.cutter = Cutter.of(generator, face)
        self.project(self.inverter)  # what is wrong with it is said now
        if isinstance(self.model, Conditional) and heads:
            self.fitter = Fitter(generator, heads.flame, heads.regressor, self.cutter.settings)

    def verify_row(self, row: int) -> None:
        """Raises FgError where there is no such row."""
        if not 0 <= row < self.rows:
            raise FgError(f"{self.latents}: expected a row below {self.rows}, found {row}; choose another row")

    def __iter__(self) -> Iterator[Subject]:
        many = sum(map(is_photo, self.what)) > 1
        with progress("faces", len(self.what), unit="faces") if many else nullcontext(lambda: None) as advance:
            for place, name in enumerate(self.what):
                if not is_photo(name):
                    yield self.row(place, name)
                elif isinstance(self.model, Writes):
                    yield self.sentence(place, name, self.model)
                else:
                    for cut, condition in self.photo(name):
                        yield self.inverted(place, name, cut, condition, self.inverter)
                advance()

    def row(self, place: int, name: str) -> Subject:
        """Of a row that is there."""
        code = self.read([int(name)])
        return Subject(place, name, code, decoded(self.model, code)[0])

    def inverted(self, place: int, name: str, cut: Cut, condition: Tensor | None, inverter: str = "") -> Subject:
        """Of what was cut out of a photo."""
        code = self.project(inverter)(cut.image, condition=condition)
        return Subject(place, name, code, cut.image, cut, inverter)

    def sentence(self, place: int, text: str, model: Writes) -> Subject:
        """Of a text.

        Raises:
            FgError: it is no sentence of the generator's grammar, or too long.
        """
        k, _, steps = model.image_shape
        try:
            rules = model.grammar.parse(text)
        except NotInGrammar as error:
            raise FgError(f"{text}: expected a sentence of the generator's grammar, {error}; correct it") from error
        if len(rules) > steps:
            raise FgError(f"{text}: expected at most {steps} rules, found {len(rules)}; take a shorter one")
        planes = artifacts.Planes(np.array([rules + [-1] * (steps - len(rules))]), k)[:]
        inverter, context = self.invert
        return Subject(place, text, inverter.invert(model, tensor(planes), context), picture(model.language, text))

    def photo(self, name: str) -> list[tuple[Cut, Tensor | None]]:
        """The faces of a photo that are asked for, and what their heads tell the generator; none if it is left out."""
        try:
            return self.found_all(name)
        except FgError as error:
            self.left_out.append(name)
            enough = len(self.what) - len(self.left_out) >= self.least
            if not enough and len(self.left_out) == 1:
                raise
            say(f"{error}; left out")
            if not enough:
                raise FgError(
                    f"PHOTO|FOLDER|ROW: expected at least {self.least} usable among {len(self.what)} faces, found none "
                    f"in {len(self.left_out)} ({', '.join(self.left_out)}); choose others"
                ) from error
            return []

    def of(self, name: str, face: str, preview: Path, inverter: str = "") -> list[Subject]:
        """The faces of one photo or row, alone.

        Raises:
            FgError: no such row, or no usable face; where a person has to choose, `preview` numbers them.
        """
        if not is_photo(name):
            self.verify_row(int(name))
            return [self.row(0, name)]
        if isinstance(self.model, Writes):
            return [self.sentence(0, name, self.model)]
        cuts = asked_faces(self.cutter.choosing(face), name, face, preview)
        return [self.inverted(0, name, cut, self.condition(cut, name), inverter) for cut in cuts]

    def found_all(self, name: str) -> list[tuple[Cut, Tensor | None]]:
        """The same; raises FgError where there is no usable face."""
        cuts = asked_faces(self.cutter, name, self.face, beside(self.output, name))
        return [(cut, self.condition(cut, name)) for cut in cuts]

    def found(self, name: str) -> tuple[Cut, Tensor | None]:
        """The same of one face."""
        return self.found_all(name)[0]

    def condition(self, cut: Cut, name: str) -> Tensor | None:
        """What the head of a crop tells the generator, if one steers it."""
        if not isinstance(self.model, Conditional):
            return None
        return condition_of(self.model, self.fitter.extraction.head, self.fitter.head_of(cut, name))

    def told(self) -> dict[str, list[str]]:
        """What was left out, for the command's results."""
        return {"left_out": self.left_out} if self.left_out else {}


class Strip:
    """A sheet with a row for each face: the face and further pictures.

    Args:
        output: picture to write. model: of the pictures.
        names: of the faces, or their photos. labels: above the columns.
        lines: below each picture.

    Raises:
        UsageError: more rows than the format of `output` can hold.
    """

    def __init__(
        self, output: Path, model: Generator, names: Sequence[str], labels: Sequence[str], lines: int = 0
    ) -> None:
        self.output, self.scale, self.labels = output, enlarge(model), labels
        stems, (height, width) = [Path(name).stem for name in names], shown_size(model)
        room = height + lines * grid.LINE, width
        grid.verify_room(output, grid.extent(len(names), len(labels), room, stems, labels))
        self.rows: list[list[np.ndarray]] = []
        self.names: list[str] = []
        self.feet: list[list[list[str]]] = []

    def add(self, person: Subject, pictures: Sequence[np.ndarray], feet: Sequence[list[str]] = ()) -> None:
        """A face's row: the face, and `pictures` (h, w, 3), below the last of which stand the lines of `feet`."""
        self.rows.append([person.face, *pictures])
        self.names.append(person.label)
        if feet:
            self.feet.append([*([""] for _ in range(1 + len(pictures) - len(feet))), *feet])

    def save(self) -> None:
        """Writes it."""
        grid.save_picture(self.output, grid.sheet(self.rows, self.names, self.labels, self.scale, self.feet))


def outputs(output: Path, what: Sequence[str], labels: Sequence[str], inputs: Sequence[Path]) -> dict[int, list[Path]]:
    """What is written beside the strip: by the place of each photo among `what`, a file for each label.

    They are called after the strip, the photo and the label, as strip-anna-+1.5.png, in the format of the strip's
    name; where two photos have one name all are counted, as strip-1-anna-+1.5.png.

    Raises:
        UsageError: an ending that is no picture's, or a file named twice, or among the photos and other `inputs`.
        FgError: a file is there that fg did not write.
    """
    grid.picture_format(output)
    photos = {place: Path(name) for place, name in enumerate(what) if is_photo(name)}
    files = {
        place: [output.with_stem(f"{output.stem}-{name}-{label}") for label in labels]
        for place, name in zip(photos, distinct(photos.values()), strict=True)
    }
    written = [output, *(path for paths in files.values() for path in paths)]
    flags = {f"picture {i} of -o" if i else "-o": path for i, path in enumerate(written)}
    verify_outputs([*photos.values(), *inputs], flags, dict.fromkeys(flags, ""))
    return files


def distinct(names: Iterable[str | Path]) -> list[str]:
    """The stems of names of files, counted where two are alike.

    >>> distinct(["anna.jpg", "ben.jpg"]), distinct(["one/Anna.jpg", "two/anna.png"])
    (['anna', 'ben'], ['1-Anna', '2-anna'])
    """
    stems = [Path(name).stem for name in names]
    if len({stem.casefold() for stem in stems}) == len(stems):
        return stems
    return [f"{i}-{stem}" for i, stem in enumerate(stems, 1)]


def save_changed(name: str, cut: Cut, changes: Sequence[np.ndarray], paths: Sequence[Path]) -> None:
    """The photo `name` to each of `paths`, with one of the `changes` of its crop, float (s, s, 3), added."""
    save_all_changed(name, [(cut, changes)], paths)


def save_all_changed(name: str, faces: Sequence[tuple[Cut, Sequence[np.ndarray]]], paths: Sequence[Path]) -> None:
    """The same of several faces of a photo, each with its changes, one for each of `paths`."""
    photo = whole_photo(Path(name))
    for i, path in enumerate(paths):
        pixels = photo.pixels
        for cut, changes in faces:
            pixels = add_change(pixels, changes[i], cut.matrix, cut.mask)
        save_like(photo, pixels, path)


def with_change(photo: Decoded, cut: Cut, change: np.ndarray) -> np.ndarray:
    """The pixels of a photo, uint8 (h, w, 3), with a change of its crop, float (s, s, 3), added."""
    return add_change(photo.pixels, change, cut.matrix, cut.mask)


def whole_photo(path: Path) -> Decoded:
    """The photo that a crop was cut from, at its own size."""
    return decode(path, fix=True, max_megapixels=math.inf)  # it was not too large to cut


def save_like(photo: Decoded, pixels: np.ndarray, path: Path) -> None:
    """Other pixels of a photo, sRGB uint8 (h, w, 3), in its own colours and with its profile."""
    grid.save_picture(path, Image.fromarray(photo.edited(pixels)), photo.profile)
