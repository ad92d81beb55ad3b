"""safetensors: the weights by name, for those who build the network themselves or by fg."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgcli import config
from fgcli.artifacts.outputs import WRITTEN
from fgcli.capabilities import Generator
from fgcli.exports import NOTES, Call, Format, Part
from fgcli.exports.parts import parts_of
from fgcli.generators import GENERATORS


class Weights(Format):
    """One .safetensors file of the whole generator."""

    suffix = ".safetensors"
    packages = ("safetensors",)

    def files(self, output: Path, parts: Mapping[str, Part]) -> dict[str, Path]:
        """One file."""
        return {"weights": output.with_name(output.name.removesuffix(self.suffix) + self.suffix)}

    def write(self, generator: Generator, parts: Mapping[str, Part], notes: str, files: Mapping[str, Path]) -> None:
        """As above; the notes are the one entry of its metadata, since several have no fixed order."""
        from safetensors.torch import save

        tensors = {name: value.detach().clone().contiguous() for name, value in generator.state_dict().items()}
        told = json.dumps({"written": WRITTEN, **json.loads(notes)})
        files["weights"].write_bytes(save(tensors, {NOTES: told}))

    def read(self, files: Mapping[str, Path], build: Mapping[str, Any]) -> dict[str, Call]:
        """A fresh generator with the weights of the file."""
        from safetensors.torch import load

        spec = {key: value for key, value in build.items() if key != "image_shape"}
        shape = tuple(build["image_shape"])
        fresh: Generator = config.build(GENERATORS, spec, "generator", image_shape=shape)
        fresh.load_state_dict(load(files["weights"].read_bytes()))
        return {name: part.call for name, part in parts_of(fresh.eval().requires_grad_(False)).items()}
