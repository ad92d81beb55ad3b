"""generator.h5: a generator's build, its weights and their moving average."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fgcli import artifacts, config
from fgcli.capabilities import Generator, Writes
from fgcli.errors import FgError
from fgcli.generators import GENERATORS


def save(
    path: Path,
    generator: Generator,
    *,
    ema: Mapping[str, torch.Tensor],
    build: Mapping[str, Any],
    history: Mapping[str, np.ndarray],
    training: Mapping[str, Any],
    params: Mapping[str, Any],
    inputs: Mapping[str, Path],
) -> None:
    """Writes generator.h5; `build` is the params' spec, `training` how it was made."""
    arrays = {f"weights/{k}": v.detach().cpu().numpy() for k, v in generator.state_dict().items()}
    arrays |= {f"ema/{k}": v.detach().cpu().numpy() for k, v in ema.items()}
    arrays |= {f"history/{k}": v for k, v in history.items()}
    meta = {
        "build": {**build, "image_shape": list(generator.image_shape)},
        "space": generator.space,
        "training": training,
    }
    artifacts.save(path, artifacts.GENERATOR, arrays, params=params, inputs=inputs, meta=meta)


def load(path: Path, device: torch.device | str = "cpu", weights: str = "ema") -> Generator:
    """The generator of a file, in eval mode, without gradients; `weights` is "ema" or "weights".

    Raises:
        FgError: not a generator file, or weights that are not this generator's.
    """
    stored = artifacts.load(path, artifacts.GENERATOR)
    build = dict(stored.meta["build"])
    image_shape = tuple(build.pop("image_shape"))
    generator: Generator = config.build(GENERATORS, build, str(path), image_shape=image_shape)
    state = stored.group(weights)
    with artifacts.blamed(path):
        artifacts.verify_state(state, {k: v.shape for k, v in generator.state_dict().items()})
    generator.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
    return generator.to(device).eval().requires_grad_(False)


def match(generator: Generator, shape: tuple[int, ...], faces: Path) -> None:
    """Raises FgError unless faces of `shape` (n, h, w, c), or sentences, are what the generator was trained on."""
    if isinstance(generator, Writes):
        if not artifacts.are_sentences(faces):
            raise FgError(f"{faces}: expected sentences, as the generator's, found another kind of file; give those")
        known = artifacts.load(faces, artifacts.SENTENCES, ()).meta["grammar"]
        if known != generator.grammar.text or shape[2] != generator.image_shape[2]:
            raise FgError(
                f"{faces}: expected sentences of the generator's grammar and {generator.image_shape[2]} steps, found "
                "others; make them by the same params"
            )
    c, h, w = generator.image_shape
    if tuple(shape[1:]) != (h, w, c):
        found = "x".join(map(str, shape[1:]))
        raise FgError(f"{faces}: expected faces of {h}x{w}x{c}, as the generator's, found {found}; preprocess again")


def verify(file: Path, generator: Path) -> None:
    """Raises FgError unless `file` (latents, density or editor) was made with this very generator."""
    made_with = artifacts.load(file, names=()).meta.get("generator")
    if made_with != artifacts.sha256(generator):
        raise FgError(f"{file}: expected codes of {generator}, found those of another generator; run its stage again")


def verify_head(file: Path, generator: Path) -> None:
    """Raises FgError unless `file` (flame or conditions) is about the head that the generator was trained on.

    One whose training was told no head, such as an imported one, takes any.
    """
    known = artifacts.load(generator, artifacts.GENERATOR, ()).meta["training"].get("head")
    found = artifacts.load(file, names=()).meta["head"]
    if known and known["sha256"] != found["sha256"]:
        raise FgError(
            f"{file}: expected parameters of the head that {generator} was trained on, {known['name']}, found those of "
            f"another, {found['name']}; make it with that head (flame.head)"
        )
