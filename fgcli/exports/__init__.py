"""Formats of other tools, in which a generator goes on without fg.

An entry inherits `Format`; `parts` says what is written of a generator, `notes` what is said of it inside each file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from fgcli.capabilities import Generator, Kinds

FORMATS = {
    "onnx": "fgcli.exports.onnx_graphs:OnnxGraphs",
    "safetensors": "fgcli.exports.weights:Weights",
    "torchscript": "fgcli.exports.torchscript:TorchScript",
}
NOTES = "fg"
"""Key under which a file carries its notes, one JSON text."""

Call = Callable[..., Tensor]


@dataclass(frozen=True)
class Part:
    """One thing that a generator does.

    Attributes:
        call: does it, without gradients.
        inputs: by their names, of `call` in its order, n rows each.
        output: its name.
    """

    call: Call
    inputs: Mapping[str, Tensor]
    output: str

    def rows(self, n: int) -> tuple[Tensor, ...]:
        """The first n of each input."""
        return tuple(value[:n] for value in self.inputs.values())


class Format(ABC):
    """A kind of files.

    Attributes:
        suffix: of a file's name.
        packages: that must be installed.
        refused: capabilities of generators that it has no way to keep.
    """

    suffix: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    refused: ClassVar[Kinds] = ()

    def files(self, output: Path, parts: Mapping[str, Part]) -> dict[str, Path]:
        """The files to write for -o, by what is in them: here one for each part, `-o x.onnx` as x-decoder.onnx."""
        stem = output.name.removesuffix(self.suffix)
        return {name: output.with_name(f"{stem}-{name}{self.suffix}") for name in parts}

    @abstractmethod
    def write(self, generator: Generator, parts: Mapping[str, Part], notes: str, files: Mapping[str, Path]) -> None:
        """Writes all files; the notes are a JSON text."""

    @abstractmethod
    def read(self, files: Mapping[str, Path], build: Mapping[str, Any]) -> dict[str, Call]:
        """What the files do, by part, as a person without fg would run them; `build` is the generator's spec."""
