"""From a photo file to one aligned crop with its mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from fgcli import archives, artifacts
from fgcli.backbones.dlib_embedding import OneFace
from fgcli.config import build, defaults
from fgcli.console import say
from fgcli.errors import FgError
from fgcli.faces import ANALYSERS, SEGMENTERS
from fgcli.faces.align import choose, crop_transform, enlargement, numbered
from fgcli.faces.landmarks import Face
from fgcli.faces.photos import BadPhotoError, Decoded, decode, decode_mask
from fgcli.faces.turns import analyse_turned
from fgcli.faces.view import View

EMBEDDED_PX = 128
"""Side of the crop whose face is embedded, whatever the size of the others: splits do not depend on it."""


class Source(Protocol):
    """A photo file, the box (left, top, right, bottom) in it that counts, and its mask files."""

    @property
    def path(self) -> Path: ...  # noqa: D102
    @property
    def box(self) -> tuple[int, int, int, int] | None: ...  # noqa: D102
    @property
    def masks(self) -> tuple[Path, ...]: ...  # noqa: D102


@dataclass(frozen=True)
class Settings:
    """How photos are cut; see the params of preprocess. Light: travels to worker processes."""

    size: int
    framing: float
    face: str
    analyser: dict[str, Any]
    segmenter: dict[str, Any]
    fix: bool
    min_px: int
    max_megapixels: float
    embed: bool = False
    min_face: int = 0


@dataclass(frozen=True)
class Cut:
    """image: uint8 (s, s, 3). mask: uint8 (s, s), 255 on the face. landmarks: (68, 2), crop px.

    matrix: (2, 3), px of the photo (of its box, if it has one) to crop px. notes: what reading the photo converted.
    embedding: (128,) dlib's, or (0,) if the settings want none. number: of the face among those of its photo, from
    left to right, where all were asked for; 0: where one was.
    """

    image: np.ndarray
    mask: np.ndarray
    landmarks: np.ndarray
    matrix: np.ndarray
    notes: tuple[str, ...] = ()
    embedding: np.ndarray = field(default_factory=lambda: np.zeros(0))
    number: int = 0


class ChoiceError(BadPhotoError):
    """No face of a photo is the one that was asked for; it has these, from left to right."""

    def __init__(self, message: str, faces: Sequence[Face]) -> None:
        super().__init__(message)
        self.faces = faces


@dataclass(frozen=True)
class PhotoFile:
    """A photo that counts whole, without masks of its own."""

    path: Path
    box: tuple[int, int, int, int] | None = None
    masks: tuple[Path, ...] = ()


class Cutter:
    """Holds the models of one process, and the last photo read: boxes of one file come in a row."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.analyser: Any = build(ANALYSERS, settings.analyser, "preprocess.analyser")
        self.segmenter: Any = build(SEGMENTERS, settings.segmenter, "preprocess.segmenter")
        self._embed: Any = OneFace() if settings.embed else None
        self._path: Path | None = None
        self._last: Decoded

    @classmethod
    def of(cls, generator: Path, face: str = "largest") -> Cutter:
        """Cuts photos as the faces were cut that a generator was trained on.

        Args:
            generator: generator.h5.
            face: which face of a photo: "only" (several are an error), "largest", "centre" or its number from left to
                right; "all" for `faces`.

        Raises:
            FgError: it was trained on pictures taken whole.
        """
        how = artifacts.load(generator, artifacts.GENERATOR, ()).meta["training"]["preprocess"]
        if "framing" in how:
            how = {**defaults()["preprocess"], **how}  # renders, which nobody had to find, are framed as photos are
        if "analyser" not in how:
            raise FgError(
                f"{generator}: expected a generator of faces cut out of photos, found one of pictures taken whole; "
                "give rows of latents.h5"
            )
        same = {key: how[key] for key in ("size", "framing", "analyser", "segmenter", "max_megapixels")}
        if same["segmenter"]["name"] == "given":
            same["segmenter"] = {"name": "landmark_hull"}
        return cls(Settings(**same, face=face, fix=True, min_px=1))

    def choosing(self, face: str) -> Cutter:
        """Itself, from now on by another rule which face of a photo it takes."""
        self.settings = replace(self.settings, face=face)
        return self

    def photo(self, path: Path) -> Cut:
        """The face of a photo file, as a person gives it: what is wrong with it is said in one sentence.

        Raises:
            FgError: no such file, or no face that can be cut; its cause is a ChoiceError where it has several.
        """
        with _told(path):
            photo = self.read(PhotoFile(path))
            cut = self._cut(photo, self._chosen(photo, self._likely(photo)), PhotoFile(path))
        for note in cut.notes:
            say(f"{path}: {note}")
        return cut

    def faces(self, path: Path) -> list[Cut]:
        """Every face of a photo file, from left to right; those that cannot be cut are told and left out.

        Raises:
            FgError: no such file, or no face that can be cut.
        """
        with _told(path):
            cuts, reasons = [], []
            photo = self.read(PhotoFile(path))
            for number, face in enumerate(numbered(self._likely(photo)), 1):
                try:
                    cuts.append(replace(self._cut(photo, face, PhotoFile(path)), number=number))
                except BadPhotoError as error:
                    reasons.append(f"face {number}: {error}")
            if not cuts:
                raise BadPhotoError("; ".join(reasons) or "no face found")
        for note in [*(f"{reason}; left out" for reason in reasons), *cuts[0].notes]:
            say(f"{path}: {note}")
        return cuts

    def read(self, source: Source) -> np.ndarray:
        """The pixels, uint8 (h, w, 3), of a photo's box.

        Raises:
            BadPhotoError: saying what is wrong with the file.
        """
        s = self.settings
        if self._path != source.path:
            self._last = decode(source.path, fix=s.fix, min_px=s.min_px, max_megapixels=s.max_megapixels)
            self._path = source.path
        return _boxed(self._last.pixels, source.box)

    def cut(self, source: Source) -> Cut:
        """The crop of the face that the rule picks.

        Raises:
            BadPhotoError: saying why there is none: the file, the faces in it, or its mask.
        """
        return self.pixels(self.read(source), source)

    def pixels(self, photo: np.ndarray, source: Source | None = None) -> Cut:
        """The same of pixels uint8 (h, w, 3), with masks and notes of the source that they were just read from."""
        return self._cut(photo, self._chosen(photo, self._found(photo)), source)

    def _chosen(self, photo: np.ndarray, faces: Sequence[Face]) -> Face:
        try:
            return choose(faces, self.settings.face, photo.shape[:2])
        except FgError as error:
            raise ChoiceError(str(error), numbered(faces)) from error

    def _likely(self, photo: np.ndarray) -> list[Face]:
        """The faces from which a person chooses: without those that are unsure and of no use, such as badges."""
        found = self._found(photo)
        return [face for face in found if face.sure or not face.flaw] or found

    def _found(self, photo: np.ndarray) -> list[Face]:
        try:
            return analyse_turned(self.analyser.analyse, photo)
        except FgError as error:
            raise BadPhotoError(str(error)) from error

    def _cut(self, photo: np.ndarray, face: Face, source: Source | None) -> Cut:
        s = self.settings
        if face.flaw:
            raise BadPhotoError(face.flaw)
        try:
            matrix = crop_transform(face.landmarks, s.size, s.framing)
            side = s.size / float(enlargement(matrix))
            if side < s.min_face:
                raise BadPhotoError(f"face of {side:.0f} px, smaller than preprocess.min_face={s.min_face}")
            view = View(photo, face.landmarks, matrix, s.size, self._given(source) if source else None)
            mask = self.segmenter.segment(view)
        except FgError as error:
            raise BadPhotoError(str(error)) from error
        if not mask.any():
            raise BadPhotoError("the mask of the face is empty")
        landmarks = view.crop_landmarks().astype(np.float32)
        embedding = self._embed(*view.resized(EMBEDDED_PX)) if self._embed else np.zeros(0)
        notes = self._last.notes if source else ()
        return Cut(view.crop(), mask, landmarks, matrix.astype(np.float32), notes, embedding)

    def _given(self, source: Source) -> np.ndarray | None:
        if not source.masks:
            return None
        height, width = self._last.pixels.shape[:2]
        union = np.zeros((height, width), bool)
        for path in source.masks:
            union |= _stretched(decode_mask(path), width, height, path.name)
        return _boxed(union, source.box)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What is wrong with a photo as a sentence that names it."""
    if not archives.is_file(path):
        raise FgError(f"{path}: expected a photo or a row number, found no such file; check the path")
    try:
        yield
    except BadPhotoError as error:
        many = len(error.faces) if isinstance(error, ChoiceError) else 0
        ways = f"choose with --face 1 to {many}, from left to right, largest or centre"
        raise FgError(f"{path}: {str(error).replace('set preprocess.face=largest', ways)}") from error


def _boxed(pixels: np.ndarray, box: tuple[int, int, int, int] | None) -> np.ndarray:
    if box is None:
        return pixels
    left, top, right, bottom = box
    return pixels[top:bottom, left:right]


def _stretched(mask: np.ndarray, width: int, height: int, name: str) -> np.ndarray:
    """A mask (h, w) at the photo's size."""
    if mask.shape == (height, width):
        return mask
    if abs(mask.shape[1] * height / (mask.shape[0] * width) - 1) > 0.02:
        raise BadPhotoError(
            f"mask {name} of {mask.shape[1]}x{mask.shape[0]} px has not the proportions of its photo, {width}x{height}"
        )
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
