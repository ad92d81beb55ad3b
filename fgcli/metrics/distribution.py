"""What distribution metrics share: features of named sets of images, and a number that compares two sets."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fgcli.artifacts import verify_finite
from fgcli.artifacts.mapped import Chosen, MappedRows
from fgcli.errors import FgError


class Score(NamedTuple):
    """Numbers by what is added to the metric's name, "" for the name alone, and what they are made of."""

    numbers: dict[str, float]
    values: np.ndarray | None = None


class Scores(NamedTuple):
    """Of one metric: numbers by their full names and then by set, what they are made of and why not, by set."""

    numbers: dict[str, dict[str, float]]
    values: dict[str, np.ndarray]
    left_out: dict[str, str]


class Distribution(ABC):
    """Compares the rows of one set with those of the reference; a subclass says how.

    Args:
        features: the extractor, an entry of fgcli.backbones.FEATURES.
    """

    kind: ClassVar[str] = "distribution"
    prefix: ClassVar[str]
    better: ClassVar[str]
    alone: ClassVar[bool] = False
    """Whether it needs no reference."""
    classes: ClassVar[bool] = False
    """Whether its rows are the probabilities of classes, not features."""
    jackknifed: ClassVar[bool] = False
    """Whether it is quick enough to be computed once more for each block of people left out, for an interval."""

    def __init__(self, features: str) -> None:
        self.features = features
        self.name = f"{self.prefix}_{features}"

    @property
    @abstractmethod
    def protocol(self) -> dict[str, Any]:
        """What travels with the number; the features tell their own."""

    def prepare(self, reference: np.ndarray) -> Any:
        """What `compute` takes for the reference (m, d), made once for all sets that are compared with it."""
        return reference

    @abstractmethod
    def compute(self, found: np.ndarray, reference: Any) -> Score:
        """The numbers of a set (n, d), beside the prepared reference where it needs one."""

    def caveat(self, rows: int, size: int) -> str:
        """What to think of a set of so many images, with so many features."""
        return f"n = {rows}"


class Collection:
    """Features of named sets of images: every image passes each extractor once, however many metrics want it.

    Features lie on disk, so that memory does not grow with the images.

    Args:
        extractors: by name.
        classes: names of those whose probabilities of classes are wanted too.
        folder: has room for them while they are used; where temporary files go, if none is given.
    """

    def __init__(
        self, extractors: Mapping[str, Any], classes: frozenset[str] = frozenset(), folder: Path | None = None
    ) -> None:
        self.extractors, self.classes = extractors, classes
        self.folder = folder or Path(tempfile.gettempdir())
        self._kept: dict[tuple[str, bool, str], MappedRows] = {}

    def update(self, name: str, images: np.ndarray) -> None:
        """Adds uint8 images (n, h, w, 3) to the set `name`.

        Raises:
            FgError: features that are not finite, or no room for them.
        """
        for label, extractor in self.extractors.items():
            features = extractor(images)
            verify_finite(f"features {label} of {name}", features, "import the extractor's weights again")
            self._add((label, False, name), features)
            if label in self.classes:
                self._add((label, True, name), extractor.probabilities(images))

    def _add(self, key: tuple[str, bool, str], features: np.ndarray) -> None:
        if key not in self._kept:
            self._kept[key] = MappedRows(features.shape[1], features.dtype, self.folder)
        self._kept[key].append(features)

    def rows(self, extractor: str, name: str, classes: bool = False) -> np.ndarray:
        """Features (n, d) of the set `name`, or its probabilities of classes (n, k), mapped."""
        return self._kept[extractor, classes, name].mapped()

    def scores(self, metric: Distribution, reference: str, names: Iterable[str]) -> Scores:
        """What the metric says of the sets `names`; of the reference itself only where it needs none."""
        found = Scores({}, {}, {})
        beside = metric.prepare(self.rows(metric.features, reference, metric.classes))
        for name in names:
            if name == reference and not metric.alone:
                continue
            try:
                score = metric.compute(self.rows(metric.features, name, metric.classes), beside)
            except FgError as error:
                found.left_out[name] = str(error)
                continue
            for suffix, value in score.numbers.items():
                found.numbers.setdefault(f"{metric.name}_{suffix}" if suffix else metric.name, {})[name] = value
            if score.values is not None:
                found.values[name] = score.values
        return found

    def replicates(
        self, metric: Distribution, reference: str, names: Iterable[str], blocks: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The metric's number of the sets `names`, once without each block, where the sets are large enough.

        Args:
            metric: one that is `jackknifed`.
            reference: the set that the others are compared with.
            names: sets.
            blocks: of the rows of each set.
        """

        def left(name: str, block: int) -> Any:  # as good as an array, but not in memory
            return Chosen(self.rows(metric.features, name), np.flatnonzero(blocks[name] != block))

        found: dict[str, list[float]] = {name: [] for name in names}
        for block in range(int(blocks[reference].max()) + 1):
            beside = metric.prepare(left(reference, block))
            for name in names:
                try:
                    found[name].append(metric.compute(left(name, block), beside).numbers[""])
                except FgError:  # too few are left: no interval
                    found[name].append(float("nan"))
        return {name: np.array(numbers) for name, numbers in found.items()}


def require(who: str, least: int, *sets: np.ndarray) -> None:
    """Checks that each set has `least` rows.

    Raises:
        FgError: one has fewer.
    """
    if min(map(len, sets)) < least:
        found = " and ".join(str(len(rows)) for rows in sets)
        raise FgError(f"{who}: expected at least {least} images in each set, found {found}; measure more")
