"""StyleGAN2 as others publish it -> generator.h5: the pickles of stylegan2-ada-pytorch, the checkpoints of rosinality's
stylegan2-pytorch. The code of neither is run: objects in a pickle are read as the plain values that they keep."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fgcli import assets, config
from fgcli.errors import FgError
from fgcli.foreign import pickles
from fgcli.generators import store
from fgcli.generators.stylegan2 import StyleGAN2, channels
from fgcli.layers.sides import START
from fgcli.layers.stylegan2 import EPSILON, filtered, leaky

State = dict[str, Tensor]
Rules = tuple[tuple[str, Callable[..., str]], ...]
"""Patterns of foreign names, and what makes ours of their groups; "" leaves the tensor out."""
SEEDS = 4
"""Draws that are decoded twice."""


def place(side: int | str) -> int:
    """Of a side among the generator's: 0 for 4 px, 1 for 8 px."""
    return int(side).bit_length() - START.bit_length()


def convolution(side: str, which: str) -> int:
    """Of a convolution in the generator: the second one at 4 px, which has no first, then two of each side.

    >>> convolution("4", "1"), convolution("8", "0"), convolution("8", "1")
    (0, 1, 2)
    """
    return 2 * place(side) - 1 + int(which)


_ADA = {
    **{part: part for part in ("weight", "bias")},
    **{f"affine.{part}": f"style.{part}" for part in ("weight", "bias")},
    "noise_strength": "strength",
    "noise_const": "noise",
}
_ADA_BLOCK = {"conv0": "first", "conv1": "second", "skip": "skip"}
_ADA_LAST = {"conv": "last", "fc": "dense", "out": "head"}
ADA: Rules = (
    (r".*\.resample_filter|mapping\.w_avg", lambda *_: ""),
    (r"mapping\.fc(\d+)\.(weight|bias)", lambda i, part: f"mapping.{i}.{part}"),
    (r"synthesis\.b4\.const", lambda: "constant"),
    (r"synthesis\.b(\d+)\.conv([01])\.(.+)", lambda s, i, part: f"convolutions.{convolution(s, i)}.{_ADA[part]}"),
    (r"synthesis\.b(\d+)\.torgb\.(.+)", lambda side, part: f"colours.{place(side)}.{_ADA[part]}"),
    (r"critic\.b\d+\.fromrgb\.(weight|bias)", lambda part: f"critic.enter.{part}"),
    (r"critic\.b4\.(conv|fc|out)\.(weight|bias)", lambda layer, part: f"critic.{_ADA_LAST[layer]}.{part}"),
    (
        r"critic\.b(\d+)\.(conv0|conv1|skip)\.(weight|bias)",
        lambda side, layer, part: f"critic.blocks.{-place(side)}.{_ADA_BLOCK[layer]}.{part}",  # counted from the last
    ),
)
_ROSINALITY = {
    "conv.weight": "weight",
    "activate.bias": "bias",
    "bias": "bias",
    "conv.modulation.weight": "style.weight",
    "conv.modulation.bias": "style.bias",
    "noise.weight": "strength",
}
ROSINALITY: Rules = (
    (r".*\.kernel", lambda *_: ""),
    (r"style\.(\d+)\.(weight|bias)", lambda i, part: f"mapping.{int(i) - 1}.{part}"),
    (r"input\.input", lambda: "constant"),
    (r"conv1\.(.+)", lambda part: f"convolutions.0.{_ROSINALITY[part]}"),
    (r"convs\.(\d+)\.(.+)", lambda i, part: f"convolutions.{int(i) + 1}.{_ROSINALITY[part]}"),
    (r"to_rgb1\.(.+)", lambda part: f"colours.0.{_ROSINALITY[part]}"),
    (r"to_rgbs\.(\d+)\.(.+)", lambda i, part: f"colours.{int(i) + 1}.{_ROSINALITY[part]}"),
    (r"noises\.noise_(\d+)", lambda i: f"convolutions.{i}.noise"),
    (r"critic\.convs\.0\.[01]\.(weight|bias)", lambda part: f"critic.enter.{part}"),
    (
        r"critic\.convs\.(\d+)\.(conv1|conv2|skip)\.[012]\.(weight|bias)",
        lambda i, layer, part: (
            f"critic.blocks.{int(i) - 1}.{dict(conv1='first', conv2='second', skip='skip')[layer]}.{part}"
        ),
    ),
    (r"critic\.final_conv\.[01]\.(weight|bias)", lambda part: f"critic.last.{part}"),
    (r"critic\.final_linear\.0\.(weight|bias)", lambda part: f"critic.dense.{part}"),
    (r"critic\.final_linear\.1\.(weight|bias)", lambda part: f"critic.head.{part}"),
)


def import_file(path: Path, output: Path) -> dict[str, Any]:
    """Writes generator.h5 of a published file; returns what it is, and how far pictures are from a plain evaluation.

    The averaged weights are taken. A file without a critic gets an untrained one.

    Raises:
        FgError: no StyleGAN2 of this form, damage, or a pickle that names what it may not.
    """
    assets.verify_download(path)
    found, rules = read(path)
    state = renamed(found, rules, path)
    spec, image_shape = build_of(state, path)
    generator = StyleGAN2(image_shape, **{key: value for key, value in spec.items() if key != "name"})
    own = generator.state_dict()
    if critic := not any(name.startswith("critic.") for name in state):
        state |= {name: value for name, value in own.items() if name.startswith("critic.")}
    generator.load_state_dict(shaped(state, own, path))
    generator.eval().requires_grad_(False)
    preprocess = config.defaults()["preprocess"] | {"size": image_shape[1], "framing": 1.0}  # FFHQ's frame
    training = {"precision": "float32", "rows": 0, "steps": 0, "preprocess": preprocess}
    ema = generator.state_dict()
    store.save(output, generator, ema=ema, build=spec, history={}, training=training, params={}, inputs={})
    codes = generator.prior(SEEDS, torch.Generator().manual_seed(0))
    made, plainly = store.load(output).decode(codes), plain(state, codes[:, 0].double()).clamp(-1, 1)
    gap = float((made - plainly).abs().max())
    return {"output": str(output), **spec, "critic": "untrained" if critic else "read", "largest_difference": gap}


def read(path: Path) -> tuple[State, Rules]:
    """The tensors of the averaged generator and, as `critic.`, of the critic where there is one; the rules of names.

    Raises:
        FgError: neither kind of file.
    """
    if pickles.is_torch_file(path):
        try:
            found = assets.read_tensors(path)
        except Exception as error:
            raise FgError(
                f"{path}: expected a torch file of tensors, found one that torch cannot read safely"
            ) from error
        parts, names, rules = found, ("g_ema", "d"), ROSINALITY
    else:
        parts, names, rules = pickles.load(path), ("G_ema", "D"), ADA
    if not isinstance(parts, Mapping) or names[0] not in parts:
        keys = ", ".join(map(str, list(parts)[:4])) if isinstance(parts, Mapping) else type(parts).__name__
        raise FgError(f"{path}: expected {names[0]} of a StyleGAN2, found {keys}; give a file as it was published")
    generator, critic = (tensors(parts.get(name) or {}, path) for name in names)
    return generator | {f"critic.{name}": value for name, value in critic.items()}, rules


def tensors(module: Any, path: Path) -> State:
    """Parameters and buffers by their dotted names, of a state dict or of a pickled module's plain state."""
    if isinstance(module, Mapping):
        return dict(module)
    state = getattr(module, "state", None)
    if not isinstance(state, Mapping) or "_modules" not in state:
        raise FgError(f"{path}: expected networks, found {type(module).__name__}; give a file as it was published")
    own = {k: v for group in ("_parameters", "_buffers") for k, v in state[group].items() if v is not None}
    for name, child in state["_modules"].items():
        own |= {f"{name}.{k}": v for k, v in tensors(child, path).items()} if child is not None else {}
    return own


def renamed(found: State, rules: Rules, path: Path) -> State:
    """The tensors by our names, as we keep them.

    Raises:
        FgError: one that StyleGAN2 does not have, as those of classes or of StyleGAN3.
    """
    state = {}
    for name, value in found.items():
        matches = ((re.fullmatch(pattern, name), ours) for pattern, ours in rules)
        match, ours = next(((m, ours) for m, ours in matches if m), (None, None))
        try:
            to = ours(*match.groups()) if match and ours else None
        except KeyError:
            to = None
        if to is None:
            raise FgError(
                f"{path}: expected a StyleGAN2 without classes, with skips to colours and a residual critic, found a "
                f"tensor {name}; other networks are not read"
            )
        if to:
            state[to] = value
    blocks = max((int(i) for name in state for i in re.findall(r"blocks\.-(\d+)", name)), default=0)
    return {re.sub(r"blocks\.-(\d+)", lambda m: f"blocks.{blocks - int(m[1])}", k): v for k, v in state.items()}


def build_of(state: State, path: Path) -> tuple[dict[str, Any], tuple[int, int, int]]:
    """The spec of the StyleGAN2 whose tensors these are, told by their shapes, and its image's shape.

    Raises:
        FgError: parts are missing, or channels that no width gives.
    """
    places = sorted({int(name.split(".")[1]) for name in state if name.startswith("colours.")})
    layers = len({name.split(".")[1] for name in state if name.startswith("mapping.")})
    if not places or not layers or "mapping.0.bias" not in state or "colours.0.bias" not in state:
        raise FgError(f"{path}: expected a whole StyleGAN2, found no mapping or no colours; download it again")
    wide = [state[f"colours.{i}.style.bias"].numel() for i in places]
    sides = [START << i for i in places]
    width, widest = wide[-1] * sides[-1] / 32768, max(wide)
    if wide != [channels(side, width, widest) for side in sides]:
        raise FgError(f"{path}: expected channels in proportion to 1 / side, found {wide}; other networks are not read")
    spec = {
        "name": "stylegan2",
        "codes": state["mapping.0.bias"].numel(),
        "width": width,
        "widest": widest,
        "mapping_layers": layers,
        "noise": "convolutions.0.noise" in state,
    }
    return spec, (state["colours.0.bias"].numel(), sides[-1], sides[-1])


def shaped(state: State, own: State, path: Path) -> State:
    """The tensors in the shapes of ours, float32.

    Raises:
        FgError: one is missing, one too many, or one of another size.
    """
    for name in sorted(state.keys() ^ own.keys()):
        what = "one more tensor" if name in state else "no tensor"
        raise FgError(f"{path}: expected a whole StyleGAN2 of one size, found {what} {name}; download it again")
    for name, value in state.items():
        if value.numel() != own[name].numel():
            shapes = f"expected {tuple(own[name].shape)} for {name}, found {tuple(value.shape)}"
            raise FgError(f"{path}: {shapes}; its networks are not of one size")
    return {name: value.reshape(own[name].shape).float() for name, value in state.items()}


def plain(state: State, w: Tensor) -> Tensor:
    """Images of codes w (n, d) in float64, by the paper's words: a kernel for every image, nothing shared."""
    x, images = state["constant"].double().reshape(1, -1, START, START).expand(len(w), -1, -1, -1), None
    layers = len({name.split(".")[1] for name in state if name.startswith("convolutions.")})
    for i in range(layers):
        part = group(state, f"convolutions.{i}.")
        kernels = part["weight"].reshape(part["weight"].shape[-4:])[None] * styled(part, w)[:, None, :, None, None]
        kernels = kernels / math.sqrt(math.prod(kernels.shape[2:]))
        kernels = kernels * (kernels.square().sum((2, 3, 4), keepdim=True) + EPSILON).rsqrt()
        if i % 2:
            made = [F.conv_transpose2d(a[None], k.transpose(0, 1), stride=2) for a, k in zip(x, kernels, strict=True)]
            x = filtered(torch.cat(made), padding=1, gain=4)
        else:
            x = torch.cat([F.conv2d(a[None], k, padding=1) for a, k in zip(x, kernels, strict=True)])
        x = x + (part["strength"] * part["noise"] if "noise" in part else 0)
        x = leaky(x + part["bias"].reshape(-1, 1, 1))
        if i % 2 == 0:
            colour = group(state, f"colours.{i // 2}.")
            kernel = colour["weight"].reshape(-1, x.shape[1]) / math.sqrt(x.shape[1])
            now = torch.einsum("ncij,oc,nc->noij", x, kernel, styled(colour, w)) + colour["bias"].reshape(-1, 1, 1)
            images = now if images is None else wider(images) + now
    assert images is not None
    return images


def group(state: State, prefix: str) -> State:
    """The tensors below a name, float64."""
    return {name.removeprefix(prefix): v.double() for name, v in state.items() if name.startswith(prefix)}


def styled(part: State, w: Tensor) -> Tensor:
    """s (n, channels): affine in w."""
    return F.linear(w, part["style.weight"] / math.sqrt(w.shape[1]), part["style.bias"])


def wider(images: Tensor) -> Tensor:
    """Doubled by zeros between the pixels and the filter."""
    n, c, h, w = images.shape
    spaced = images.new_zeros(n, c, 2 * h, 2 * w)
    spaced[:, :, ::2, ::2] = images
    return filtered(F.pad(spaced, (2, 1, 2, 1)), padding=0, gain=4)
