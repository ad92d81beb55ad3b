"""Latent edits: moving a code so that one attribute changes.

Strength 1 carries the codes without the attribute to those with it, -1 takes the same step the other way. Back from an
edited code it is the way back only where the step is the same everywhere, as that of `mean_difference`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from fgcli import artifacts, config
from fgcli.capabilities import Generator, Kinds, Space
from fgcli.codes import Codes
from fgcli.editors.matching import Problem
from fgcli.errors import FgError, FlawError

EDITORS = {
    "mean_difference": "fgcli.editors.mean_difference:MeanDifference",
    "interface_svm": "fgcli.editors.interface_svm:InterfaceSVM",
    "latent_wasserstein": "fgcli.editors.latent_wasserstein:LatentWasserstein",
    "latent_transformer": "fgcli.editors.latent_transformer:LatentTransformer",
    "pca": "fgcli.editors.pca:PCA",
    "closed_form": "fgcli.editors.closed_form:ClosedForm",
}


class Editor(ABC):
    """Edits codes: one that `Learns`, or one that `Discovers`.

    Attributes:
        requires: capabilities that the generator of the codes must have.
    """

    requires: ClassVar[Kinds] = ()

    @abstractmethod
    def edit(self, codes: np.ndarray, attribute: str, strength: float) -> np.ndarray:
        """Edited codes (n, l, d)."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """What a file keeps: an array for each attribute."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Self:
        """The editor that `arrays` gave; raises FlawError where they are none's."""


class Learns(Editor):
    """Learns one attribute after the other from labelled codes.

    Attributes:
        match: attributes whose combinations weigh equally on both sides of a problem; None: see `choice`.
        judged: whether problems need a witness, a judge of codes.
    """

    match: Sequence[str] | None = ()
    judged: bool = False

    @abstractmethod
    def fit(self, task: Problem, seed: int) -> dict[str, float]:
        """Learns one attribute; returns how it went."""


class Discovers(Editor):
    """Finds directions without labels, and gives them names of its own."""

    @abstractmethod
    def discover(self, codes: np.ndarray, generator: Generator | None, seed: int) -> dict[str, dict[str, float]]:
        """Finds all in codes (n, l, d); the generator is there if `requires` asks for one. Returns scores by name."""


@dataclass(frozen=True)
class Editors:
    """The fitted editors of one file.

    Attributes:
        space: of the codes that they edit. layers: of those, the rows that they edit; all if none is named.
    """

    methods: Mapping[str, Editor]
    space: Space
    path: Path = Path("editor.h5")
    layers: Sequence[int] | None = None

    def edit(self, label: str, codes: Codes, attribute: str, strength: float) -> Codes:
        """Codes edited by one of them.

        Raises:
            FgError: codes of another space than those that it learned from.
        """
        if codes.space != self.space:
            raise FgError(f"editor {label}: expected codes of space {self.space}, found {codes.space}; fit it on these")
        with artifacts.blamed(self.path, "fit it on these codes"):
            return codes.moved(edited(self.methods[label], codes.numpy(), attribute, strength, self.layers))


def load(path: Path) -> Editors:
    """The fitted editors of editor.h5, by their labels in params.

    Raises:
        FgError: not an editor file.
    """
    stored = artifacts.load(path, artifacts.EDITOR)
    methods = {}
    for name, about in stored.meta["methods"].items():
        kind = config.lookup(EDITORS, about["build"]["name"], str(path))
        with artifacts.blamed(path):
            methods[name] = kind.from_arrays(stored.group(f"methods/{name}"))
    return Editors(methods, stored.meta["space"], path, stored.meta.get("layers"))


def edited(
    editor: Editor, codes: np.ndarray, attribute: str, strength: float, layers: Sequence[int] | None
) -> np.ndarray:
    """Codes (n, l, d) edited in these layers, in all if none is named; raises FlawError where they lack one."""
    found = editor.edit(codes, attribute, strength)
    if layers is None:
        return found
    verify_layers(layers, codes)
    values = codes.copy()
    values[:, list(layers)] = found[:, list(layers)]
    return values


def verify_layers(layers: Sequence[int], codes: np.ndarray) -> None:
    """Raises FlawError unless codes (n, l, d) have all of these layers."""
    if max(layers) >= codes.shape[1]:
        raise FlawError(f"expected codes of {max(layers) + 1} layers or more to edit, found {codes.shape[1]}")


def verify_size(move: np.ndarray, codes: np.ndarray) -> None:
    """Raises FlawError unless what was learned (l, d, ...) fits codes (n, l, d)."""
    if move.shape[:2] != codes.shape[1:]:
        raise FlawError(f"expected edits of codes of {codes.shape[1:]}, found those of {move.shape[:2]}")
