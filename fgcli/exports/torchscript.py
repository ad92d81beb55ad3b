"""TorchScript: a traced function for each part, which torch.jit.load reads in Python and C++."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import torch
from torch import Tensor

from fgcli.artifacts.outputs import WRITTEN
from fgcli.capabilities import Generator, Writes
from fgcli.exports import NOTES, Call, Format, Part


class TorchScript(Format):
    """One .pt file for each part, with the weights that it needs as constants."""

    suffix = ".pt"
    refused = (Writes,)

    def write(self, generator: Generator, parts: Mapping[str, Part], notes: str, files: Mapping[str, Path]) -> None:
        """As above; the notes are the extra file `fg`."""
        for name, part in parts.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of shapes that are the same for any input, and of torch's plans
                files[name].write_bytes(traced(part, notes))

    def read(self, files: Mapping[str, Path], build: Mapping[str, Any]) -> dict[str, Call]:
        """By torch.jit.load."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's plans
            return {name: torch.jit.load(BytesIO(path.read_bytes())) for name, path in files.items()}


def traced(part: Part, notes: str) -> bytes:
    """A part, traced with two rows."""

    def function(*inputs: Tensor) -> Tensor:  # torch refuses a module's own
        return part.call(*inputs)

    content = BytesIO()  # a file's name would stand in it
    torch.jit.save(torch.jit.trace(function, part.rows(2), check_trace=False), content, {NOTES: notes, WRITTEN: ""})
    return without_paths(content)


def without_paths(content: BytesIO) -> bytes:
    """The same archive without records for debuggers, which hold the paths of this machine."""
    kept = BytesIO()
    with ZipFile(content) as old, ZipFile(kept, "w") as new:
        for name in old.namelist():
            if not name.endswith(".debug_pkl"):
                new.writestr(ZipInfo(name), old.read(name))
    return kept.getvalue()
