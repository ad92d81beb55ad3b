"""Faces that are steered by their heads: a conditional generator, codes and heads of photos or rows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fgcli import artifacts, assets, codes
from fgcli.backbones.dlib_embedding import OneFace
from fgcli.capabilities import Conditional, Generator, require
from fgcli.codes import Codes
from fgcli.console import say
from fgcli.errors import FgError
from fgcli.faces.align import choose
from fgcli.faces.cutter import Cut, Cutter
from fgcli.fits import Fitter
from fgcli.fitting.extract import Regress, same_head
from fgcli.generators import store
from fgcli.heads.camera import project, to_pixels
from fgcli.heads.head import Head
from fgcli.heads.parameters import SIZES, Parameters
from fgcli.heads.steering import condition_of, recentred
from fgcli.pixels import tensor
from fgcli.reports.pictures import decoded
from fgcli.subjects import asked_faces, beside, is_photo, projector


@dataclass(frozen=True)
class Files:
    """What steering reads."""

    generator: Path
    latents: Path
    conditions: Path
    flame: Path = Path("out/flame.h5")
    regressor: Path = Path("out/regressor.h5")

    def paths(self) -> list[Path]:
        """All of them."""
        return list(vars(self).values())


@dataclass(frozen=True)
class Person:
    """A face, its code and its head (a single row).

    face: uint8 (h, w, 3), the crop of the photo; of a row what the code gives. number: from left to right, where all of
    a photo were asked for; else 0.
    """

    face: np.ndarray
    code: Codes
    head: Parameters
    number: int = 0


class Studio:
    """A generator that heads steer, and what is needed to bring a face into it.

    Args:
        files: what is read. face: which face of a photo, or all. by: who asks, for messages. output: what is written;
            beside it faces are numbered that a person has to choose from.

    Raises:
        FgError: files that do not belong together, or conditions.h5 is not there.
        UsageError: a generator that nothing steers.
    """

    def __init__(self, files: Files, face: str, by: str, output: Path | None = None) -> None:
        self.files, self.face, self.output = files, face, output
        self.preview: Path | None = None
        self.model = steerable(files.generator, by)
        self.told = artifacts.load(files.conditions, artifacts.CONDITIONS, ()).meta["head"]
        store.verify(files.latents, files.generator)
        store.verify_head(files.conditions, files.generator)
        self.stored = artifacts.load(files.latents, names=())
        made_from = self.stored.inputs.get("conditions")
        if made_from not in (None, artifacts.sha256(files.conditions)):
            raise FgError(
                f"{files.conditions}: expected the conditions that {files.latents} was made with, found others; give "
                "the right --conditions"
            )
        self.head: Head = same_head(self.told, files.conditions)

    @cached_property
    def cutter(self) -> Cutter:
        """Cuts photos as the training faces were."""
        return Cutter.of(self.files.generator, self.face)

    @cached_property
    def fitter(self) -> Fitter:
        """Fits heads to them.

        Raises:
            FgError: a flame.h5 of another head.
        """
        files, found = self.files, artifacts.load(self.files.flame, artifacts.FLAME, ()).meta["head"]
        if found["sha256"] != self.told["sha256"]:
            raise FgError(
                f"{self.files.flame}: expected the head of {self.files.conditions}, {self.told['name']}, found "
                f"another, {found['name']}; give the right --flame"
            )
        return Fitter(files.generator, files.flame, files.regressor, self.cutter.settings)

    @cached_property
    def project(self) -> Callable[..., Codes]:
        """Inverts crops."""
        return projector(self.files.latents, self.model)

    def person(self, name: str) -> Person:
        """A photo's face, or a row's."""
        return self.people(name)[0]

    def choose(self, face: str, preview: Path) -> None:
        """Takes another face of photos from now on; where a person has to choose, `preview` numbers them."""
        self.face, self.preview = face, preview
        self.cutter.choosing(face)

    def numbering(self, name: str) -> Path | None:
        """Where the faces of a photo are numbered."""
        return self.preview or beside(self.output, name)

    def people(self, name: str) -> list[Person]:
        """The faces of a photo that are asked for, or a row's.

        Raises:
            FgError: none that is usable; where a person has to choose, a picture numbers them.
        """
        if not is_photo(name):
            head = self.row_head(name)
            code = replace(codes.reader(self.files.latents)([int(name)]), condition=self.condition(head))
            return [Person(decoded(self.model, code)[0], code, head)]
        return [self.seen(cut, name) for cut in asked_faces(self.cutter, name, self.face, self.numbering(name))]

    def seen(self, cut: Cut, name: str) -> Person:
        """A crop of a photo."""
        head = self.fitted(cut, name)
        return Person(cut.image, self.project(cut.image, condition=self.condition(head)), head, cut.number)

    def head_of(self, name: str) -> Parameters:
        """The head (a single row) of a photo, or of a row; of a photo with several faces that of the one asked for."""
        if not is_photo(name):
            return self.row_head(name)
        own = self.face in ("only", "largest", "centre")  # a number is that of the photo that is steered
        cutter = self.cutter if own else copy.copy(self.cutter).choosing("only")
        [cut] = asked_faces(cutter, name, "only", self.numbering(name))
        return self.fitted(cut, name)

    def fitted(self, cut: Cut, name: str) -> Parameters:
        """The head that is fitted to a crop of a photo; raises FgError where that fails."""
        return self.fitter.head_of(cut, name)

    def row_head(self, name: str) -> Parameters:
        """The head of a row of latents.h5, which conditions.h5 has, or of drawn faces, which the file itself has.

        Raises:
            FgError: no such row, or one whose head was not found.
        """
        row, own = int(name), "parameters" in artifacts.layout(self.files.latents)
        path = self.files.latents if own else self.files.conditions
        if not own and self.stored.schema != artifacts.LATENTS.tag:
            raise FgError(
                f"{self.files.latents}: expected drawn faces whose heads are known, found others; draw them by fg "
                "sample --density random"
            )
        stored = artifacts.load(path, names=("parameters", *(() if own else ("status",))))
        if row >= len(stored["parameters"]):
            raise FgError(f"{path}: expected a row below {len(stored['parameters'])}, found {name}; choose another row")
        if not own and stored["status"][row] != "ok":
            say(f"{path}: row {name}: {stored['status'][row]}")
        p = Parameters.from_vector(torch.from_numpy(stored["parameters"][[row]]), "gif")
        if not p.camera[0, 0] > 0:
            raise FgError(f"{path}: expected a row whose head was found, found none in {name}; choose another row")
        return p

    def condition(self, p: Parameters) -> torch.Tensor:
        """What the generator is told of heads."""
        return condition_of(self.model, self.head, p)

    def pictures(self, person: Person, p: Parameters) -> tuple[list[np.ndarray], Parameters]:
        """A person with other heads (n rows): pictures uint8 (h, w, 3), and the heads with their cameras."""
        p = recentred(self.head, person.head, p)
        values = person.code.values.expand(len(p), -1, -1)
        parts = torch.arange(len(p)).split(16)
        made = [
            decoded(self.model, Codes(values[rows], person.code.space, self.condition(p.rows(rows)))) for rows in parts
        ]
        return [picture for part in made for picture in part], p

    def landmarks(self, p: Parameters) -> np.ndarray:
        """The 68 landmarks (n, 68, 2) of heads, px."""
        vertices = self.head.vertices(p.shape, p.expression, p.pose)
        points = project(self.head.landmarks(vertices, p.pose), p.camera)
        return to_pixels(points, self.model.image_shape[-1]).numpy()


def steerable(generator: Path, by: str) -> Any:
    """The generator, if heads steer it.

    Raises:
        UsageError: nothing does.
    """
    model: Generator = store.load(generator)
    require(model, (Conditional,), by=by)
    return model


class Observer:
    """What can be seen of pictures: whose face it is, and which head.

    Attributes:
        missing: what is not measured, and why.
    """

    def __init__(self, studio: Studio) -> None:
        self.studio, self.missing = studio, {}
        self.embed = OneFace() if assets.find("dlib_embedding") else None
        if self.embed is None:
            self.missing["identity"] = "no dlib_embedding: fg assets list tells where it is"

    def identity(self, person: Person, pictures: list[np.ndarray], p: Parameters) -> list[float]:
        """Distances of dlib's embeddings to the face; one person below THRESHOLD. None where they are not measured."""
        if self.embed is None:
            return []
        own = self.embed(person.face, self.studio.landmarks(person.head)[0])
        marks = self.studio.landmarks(p)
        return [float(np.linalg.norm(self.embed(picture, m) - own)) for picture, m in zip(pictures, marks, strict=True)]

    def heads(self, pictures: list[np.ndarray]) -> Parameters:
        """Heads found in pictures, by the regressor where it is here, else by landmarks; NaN where none is."""
        files = self.studio.files
        images = np.stack(pictures)
        if files.regressor.exists():
            framing = artifacts.load(files.generator, artifacts.GENERATOR, ()).meta["training"]["preprocess"]["framing"]
            regress = Regress(self.studio.head, files.regressor, framing)
            return regress.guess((tensor(images) + 1) / 2, torch.zeros(0))
        marks = np.stack([self.marks(picture) for picture in pictures])
        found = self.studio.fitter.extraction.fit(images, np.full(images.shape[:3], 255, np.uint8), marks)
        bad = found["status"] != "ok"
        arrays = {name: np.where(bad.reshape(-1, *[1] * (found[name].ndim - 1)), np.nan, found[name]) for name in SIZES}
        return Parameters.from_arrays(arrays)

    def marks(self, picture: np.ndarray) -> np.ndarray:
        """The landmarks (68, 2) that the analyser finds, px; NaN where it finds no face."""
        try:
            found = choose(self.studio.cutter.analyser.analyse(picture), "largest", picture.shape[:2])
        except FgError:
            return np.full((68, 2), np.nan, np.float32)
        return np.asarray(found.landmarks, np.float32)
