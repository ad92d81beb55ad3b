"""generator.h5 from a checkpoint of others' StyleGAN2, or of GIF's release."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgcli import codes, config
from fgcli.errors import FgError
from fgcli.foreign import stylegan_files
from fgcli.foreign.stylegan_files import State
from fgcli.generators import store
from fgcli.generators.gif import GIF
from fgcli.generators.stylegan2 import LARGEST, SMALLEST, StyleGAN2
from fgcli.layers.blocks import START

FRAME = config.defaults()["preprocess"] | {"framing": 1.0}
"""How photos are cut for it: as FFHQ's, on which most of these networks were trained."""
DRAWN = 4
"""Images that are drawn to see that it works."""


def convert(path: Path, output: Path) -> dict[str, Any]:
    """Writes generator.h5 of a checkpoint; the result says what it is and what was checked.

    Each tensor of the file has its place and each of the generator's came from the file, or an error is raised. No
    reference image is in such files, so images are drawn and looked at for values alone.

    Raises:
        FgError: no StyleGAN2 that is known, of a size or kind that ours has not, or one that draws no images.
    """
    found = stylegan_files.read(path)
    image_shape, build = arguments(path, found.generator, found.critic)
    torch.manual_seed(0)  # of a critic, where the file has none
    kind = "gif" if "styles" in found.generator else "stylegan2"
    network = (GIF if kind == "gif" else StyleGAN2)(image_shape, **build)
    own = network.state_dict()
    given = found.generator | {f"critic.{name}": value for name, value in found.critic.items()}
    fresh = {name for name in own if name == "average" or (not found.critic and name.startswith("critic."))}
    fitted = {name: fit(path, name, value, own) for name, value in given.items()}
    if missing := sorted(own.keys() - fitted.keys() - fresh):
        raise FgError(f"{path}: expected the tensors of StyleGAN2, found none for {missing[0]}; give another file")
    network.load_state_dict(own | fitted)
    seen = look(path, network.eval().requires_grad_(False))
    spec = {"name": kind, **build}
    store.save(
        output,
        network,
        ema=network.state_dict(),
        build=spec,
        history={},
        training={"preprocess": FRAME | {"size": image_shape[1]}},
        params={},
        inputs={"checkpoint": path},
    )
    told: dict[str, Any] = {
        "output": str(output),
        "origin": found.origin,
        "build": spec,
        "image_shape": list(image_shape),
    }
    told |= {"tensors": len(fitted), "critic": "the file's" if found.critic else "none in the file, fresh weights"}
    told |= {"reference_images": "none in the file", **seen}
    if 0 < found.clamp < seen["largest_activation"]:
        told["note"] = f"its own network clamps activations at {found.clamp:g}, ours does not, so images differ"
    return told


def arguments(path: Path, state: State, critic: State) -> tuple[tuple[int, int, int], dict[str, Any]]:
    """Image shape and StyleGAN2's arguments, as the shapes of the tensors tell them.

    Raises:
        FgError: no such network.
    """
    levels = count(state, r"colours\.\d+\.weight")
    layers = count(state, r"mapping\.\d+\.weight")
    if not levels or not layers or "constant" not in state or "mapping.0.weight" not in state:
        raise FgError(f"{path}: expected StyleGAN2's skip generator, found another architecture; give another file")
    side = START << (levels - 1)
    codes_, z = state["mapping.0.weight"].shape
    if not SMALLEST <= side <= LARGEST:
        raise FgError(f"{path}: expected images of {SMALLEST} to {LARGEST} px, found {side}; give another file")
    if codes_ != z:
        raise FgError(f"{path}: expected z and w of one size, found {z} and {codes_}; give another file")
    widths = [state[f"colours.{i}.weight"].shape[1] for i in range(levels) if f"colours.{i}.weight" in state]
    build = {
        "codes": codes_,
        "width": widths[-1] * side / 32768,
        "widest": max(widths),
        "mapping_layers": layers,
        "noise": any(name.endswith(".strength") for name in state),
        "critic_width": critic["colours.weight"].shape[0] / widths[-1] if "colours.weight" in critic else 1.0,
    }
    if "styles" in state:
        build = build | steered(path, state)
        del build["noise"]
    return (state["colours.0.weight"].shape[0], side, side), build


def steered(path: Path, state: State) -> dict[str, Any]:
    """What GIF's arguments are beyond StyleGAN2's.

    Raises:
        FgError: a network of one condition, whose tensors do not tell which it is, or of none.
    """
    first = state.get("injections.0.nets.0.0.weight")
    seen = 0 if first is None else first.shape[1]
    if seen != 6:
        raise FgError(
            f"{path}: expected GIF's full model, which is told 6 channels, texture and normals, found {seen}, of which "
            "the file does not say what they are; give the full model (run 29)"
        )
    return {"rows": len(state["styles"]), "injection": "released"}


def count(state: State, pattern: str) -> int:
    """How many names are like it."""
    return sum(re.fullmatch(pattern, name) is not None for name in state)


def fit(path: Path, name: str, value: Tensor, own: State) -> Tensor:
    """The tensor in our shape, in which axes of length 1 may be others.

    Raises:
        FgError: our network has none of that name, or of another shape.
    """
    wanted = own[name].shape if name in own else None
    if wanted is None or [s for s in value.shape if s != 1] != [s for s in wanted if s != 1]:
        found = "x".join(map(str, value.shape)) or "1 number"
        ours = "no such tensor" if wanted is None else "x".join(map(str, wanted)) or "1 number"
        raise FgError(f"{path}: expected {ours} for {name}, found {found}; give a StyleGAN2 of the published shapes")
    return value.float().reshape(wanted)


def look(path: Path, network: StyleGAN2) -> dict[str, float]:
    """Least and greatest value of images of the seeds from 0 on, before they are clamped; the largest activation.

    Raises:
        FgError: values that are not finite, or all alike.
    """
    with torch.no_grad(), peaks(network) as largest:
        drawn = codes.prior(network, DRAWN, 0)
        under = torch.zeros(DRAWN, *network.condition_shape) if isinstance(network, GIF) else None
        images = network.train().decode(drawn.values, under)
    network.eval()
    if not images.isfinite().all() or images.std() == 0:
        raise FgError(f"{path}: expected weights that draw images, found some that do not; download it again")
    return {"least": float(images.min()), "greatest": float(images.max()), "largest_activation": max(largest)}


@contextmanager
def peaks(network: StyleGAN2) -> Iterator[list[float]]:
    """The largest absolute activation of each layer that runs inside the block."""
    found: list[float] = []
    hooks = [
        layer.register_forward_hook(lambda *given: found.append(float(given[2].abs().max())))
        for layer in network.layers
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
