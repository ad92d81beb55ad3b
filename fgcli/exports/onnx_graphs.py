"""ONNX: a graph for each part, whose first axis is free."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fgcli.artifacts.outputs import WRITTEN
from fgcli.capabilities import Generator, Writes
from fgcli.exports import NOTES, Call, Format, Part

OPSET = 17
"""Version of the operators; runtimes since 2022 know it."""


class OnnxGraphs(Format):
    """One .onnx file for each part, up to the 2 GB that such a file may have."""

    suffix = ".onnx"
    packages = ("onnx", "onnxruntime")
    refused = (Writes,)

    def write(self, generator: Generator, parts: Mapping[str, Part], notes: str, files: Mapping[str, Path]) -> None:
        """As above; the notes are in metadata_props."""
        import onnx

        for name, part in parts.items():
            trace(generator, part, files[name])
            model = onnx.load_from_string(files[name].read_bytes())
            model.doc_string = WRITTEN  # which stands near the start
            onnx.helper.set_model_props(model, {NOTES: notes})
            onnx.checker.check_model(model)
            files[name].write_bytes(model.SerializeToString(deterministic=True))

    def read(self, files: Mapping[str, Path], build: Mapping[str, Any]) -> dict[str, Call]:
        """Sessions of onnxruntime on the CPU."""
        return {name: session(path) for name, path in files.items()}


class Called(nn.Module):
    """A part as a module: what the exporter takes."""

    def __init__(self, generator: Generator, call: Call) -> None:
        super().__init__()
        self.generator, self.call = generator, call

    def forward(self, *inputs: Tensor) -> Tensor:
        """As the part."""
        return self.call(*inputs)


def trace(generator: Generator, part: Part, file: Path) -> None:
    """Writes a part, traced with two rows."""
    names = [*part.inputs]
    axes = {name: {0: "n"} for name in (*names, part.output)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that are the same for any input
        torch.onnx.export(
            Called(generator, part.call).eval(),
            part.rows(2),
            file,
            dynamo=False,
            input_names=names,
            output_names=[part.output],
            dynamic_axes=axes,
            opset_version=OPSET,
        )


def session(path: Path) -> Call:
    """Runs a file."""
    import onnxruntime

    opened = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    names = [entry.name for entry in opened.get_inputs()]

    def call(*inputs: Tensor) -> Tensor:
        given = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        return torch.from_numpy(opened.run(None, given)[0])

    return call
