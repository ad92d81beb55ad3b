"""StyleGAN2 from checkpoints of others: stylegan2-ada-pytorch's network-snapshot.pkl, rosinality's .pt, GIF's .model.

Recognised by content, read without running any of their code, and put under our names. Which tensors our network has,
and of what shapes, is for who builds it to check.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgcli import assets
from fgcli.errors import FgError
from fgcli.foreign import pickles

RATE = 0.01
"""Factor on the step size of the mapping that both have."""
GAIN = 2**0.5
"""Of our active layers, which some of GIF's go without."""
KERNEL = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64
"""The low-pass filter that both have, but for a factor."""

State = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A file's networks under our names.

    Attributes:
        origin: whose format it is.
        generator: its tensors, moving averages of the weights.
        critic: the discriminator's, none if the file has no residual one.
        clamp: of activations in the networks that they are of, which ours does not have; 0: none.
    """

    origin: str
    generator: State
    critic: State
    clamp: float = 0.0


def read(path: Path) -> Checkpoint:
    """A StyleGAN2 checkpoint.

    Raises:
        FgError: no such file, or no unconditional StyleGAN2 in a format that is known.
    """
    assets.verify_download(path)
    if not pickles.is_torch_file(path):
        return _ada(path)
    content = _content(path)
    return _gif(path, content) if isinstance(content, dict) and "generator_running" in content else _ros(path, content)


# ---- stylegan2-ada-pytorch: a pickled dict of modules


def _ada(path: Path) -> Checkpoint:
    content = pickles.load(path)
    if not all(isinstance(content.get(key), dict) and "state" in content[key] for key in ("G_ema", "D")):
        raise FgError(f"{path}: expected a StyleGAN2 checkpoint with G_ema and D, found {_some(content)}; check it")
    try:
        modules, tensors = dict(_modules(content["G_ema"])), _tensors(dict(_modules(content["D"])))
        _verify_ada(path, modules)
        generator = _renamed(path, _tensors(modules), _ada_generator)
        clamps = [float(state.get("conv_clamp") or 0) for state in modules.values()]
        residual = sum(key.endswith("fromrgb.weight") for key in tensors) == 1 and any(
            ".skip." in key for key in tensors
        )
        critic = {}
        if residual:
            side = max(int(match[1]) for match in map(re.compile(r"b(\d+)\.").match, tensors) if match)
            critic = _renamed(path, tensors, lambda name: _ada_critic(name, side))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FgError(f"{path}: expected modules with tensors, found damage ({error}); download it again") from error
    return Checkpoint("stylegan2-ada-pytorch", generator, critic, max(clamps))


def _modules(meta: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The attributes of a module and of those inside it, by their names with a dot at the end."""
    state = meta["state"]
    yield name, state
    for key, child in state["_modules"].items():
        if child is not None:
            yield from _modules(child, f"{name}{key}.")


def _tensors(modules: Mapping[str, Mapping[str, Any]]) -> State:
    return {
        prefix + key: value
        for prefix, state in modules.items()
        for key, value in {**state["_parameters"], **state["_buffers"]}.items()
        if value is not None
    }


def _verify_ada(path: Path, modules: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises FgError for a generator that is not an unconditional StyleGAN2 as published."""
    if any(re.match(r"synthesis\.(input|L\d+_)", name) for name in modules):
        raise FgError(f"{path}: expected a StyleGAN2 checkpoint, found StyleGAN3's; give one of stylegan2-ada-pytorch")
    if "mapping.embed." in modules:
        raise FgError(
            f"{path}: expected a generator without classes, found a class-conditional one; give one trained without "
            "--cond"
        )
    for name, state in modules.items():
        if state.get("activation", "lrelu") not in ("lrelu", "linear"):
            raise FgError(f"{path}: expected leaky ReLU in {name[:-1]}, found {state['activation']}; give another file")
        if name.startswith("mapping.fc") and abs(state.get("bias_gain", RATE) - RATE) > 1e-6:
            found = state["bias_gain"]
            raise FgError(f"{path}: expected {RATE} as rate of {name[:-1]}, found {found}; give another file")


def _ada_generator(name: str) -> str:
    if name == "mapping.w_avg":
        return "average"
    if name == "synthesis.b4.const":
        return "constant"
    if match := re.fullmatch(r"mapping\.fc(\d+)\.(weight|bias)", name):
        return f"mapping.{match[1]}.{match[2]}"
    if match := re.fullmatch(r"synthesis\.b(\d+)\.(conv0|conv1|torgb)\.(.+)", name):
        block = int(match[1]).bit_length() - 3  # 0 at 4 px
        place = f"colours.{block}" if match[2] == "torgb" else f"layers.{2 * block - (match[2] == 'conv0')}"
        kept = {"noise_const": "noise", "noise_strength": "strength"}.get(match[3], match[3])
        return f"{place}.{kept.replace('affine.', 'scales.')}"
    return ""


def _ada_critic(name: str, side: int) -> str:
    if match := re.fullmatch(r"b4\.(conv|fc|out)\.(weight|bias)", name):
        return f"{ {'conv': 'last', 'fc': 'dense', 'out': 'head'}[match[1]] }.{match[2]}"
    if name.startswith(f"b{side}.fromrgb."):
        return f"colours.{name.rsplit('.', 1)[1]}"
    if match := re.fullmatch(r"b(\d+)\.(conv0|conv1|skip)\.(weight|bias)", name):
        block = side.bit_length() - int(match[1]).bit_length()
        return f"blocks.{block}.{ {'conv0': 'first', 'conv1': 'second'}.get(match[2], match[2]) }.{match[3]}"
    return ""


# ---- rosinality's stylegan2-pytorch: state dicts


def _content(path: Path) -> Any:
    try:
        return assets.read_tensors(path)
    except Exception as error:  # a damaged or a crafted file may fail in any way
        raise FgError(
            f"{path}: expected a checkpoint of tensors, found one that torch cannot read safely; take another file"
        ) from error


def _ros(path: Path, content: Any) -> Checkpoint:
    if not isinstance(content, dict) or not isinstance(content.get("g_ema"), dict):
        raise FgError(f"{path}: expected a StyleGAN2 checkpoint with g_ema, found {_some(content)}; check it")
    generator = _flat(_renamed(path, content["g_ema"], _ros_generator))
    if "latent_avg" in content:
        generator["average"] = content["latent_avg"]
    return Checkpoint("rosinality's stylegan2-pytorch", generator, _renamed(path, content.get("d", {}), _ros_critic))


def _ros_generator(name: str) -> str:
    if name == "input.input":
        return "constant"
    if match := re.fullmatch(r"style\.(\d+)\.(weight|bias)", name):
        return f"mapping.{int(match[1]) - 1}.{match[2]}"  # 0 normalises z
    if match := re.fullmatch(r"noises\.noise_(\d+)", name):
        return f"layers.{match[1]}.noise"
    if match := re.fullmatch(r"(conv1|to_rgb1|convs\.\d+|to_rgbs\.\d+)\.(.+)", name):
        list_, _, i = match[1].partition(".")
        place = f"{'colours' if 'rgb' in list_ else 'layers'}.{int(i) + 1 if i else 0}"
        kept = {"noise.weight": "strength", "activate.bias": "bias", "conv.weight": "weight"}.get(match[2], match[2])
        return f"{place}.{kept.replace('conv.modulation.', 'scales.')}"
    return ""


def _ros_critic(name: str) -> str:
    fixed = {
        "convs.0.0.weight": "colours.weight", "convs.0.1.bias": "colours.bias",
        "final_conv.0.weight": "last.weight", "final_conv.1.bias": "last.bias",
        "final_linear.0.weight": "dense.weight", "final_linear.0.bias": "dense.bias",
        "final_linear.1.weight": "head.weight", "final_linear.1.bias": "head.bias",
    }  # fmt: skip
    if name in fixed:
        return fixed[name]
    if match := re.fullmatch(r"convs\.(\d+)\.(conv1|conv2|skip)\.\d\.(weight|bias)", name):
        place = {"conv1": "first", "conv2": "second"}.get(match[2], match[2])
        return f"blocks.{int(match[1]) - 1}.{place}.{match[3]}"
    return ""


# ---- GIF's release: rosinality's layers under other names, wrapped for several GPUs


def _gif(path: Path, content: Mapping[str, Any]) -> Checkpoint:
    """Its generator has layers up to 1,024 px, of which only those up to the critic's side were trained.

    Its dense layers lack our factor sqrt(2), which their weights take here; what it adds to a layer lacks it, too.
    """
    own, critic = (
        {name.removeprefix("module."): value for name, value in (content.get(key) or {}).items()}
        for key in ("generator_running", "discriminator_flm")
    )
    levels = len({name.split(".")[1] for name in critic if name.startswith("convs.")})
    if not levels:
        raise FgError(f"{path}: expected GIF's discriminator_flm, which tells the size, found none; take another file")
    places = (re.match(r"generator\.(?:progression|to_rgb)\.(\d+)\.", name) for name in own)
    kept = {n: own[n] for n, place in zip(own, places, strict=True) if place is None or int(place[1]) < levels}
    factors = {r"mapping\..+": 1 / GAIN, r"injections\..+\.4\.(weight|bias)": GAIN, r"head\.weight": 1 / GAIN}
    states = _flat(_renamed(path, kept, _gif_generator)), _renamed(path, critic, _ros_critic)
    for state in states:
        for name in state:
            for pattern, factor in factors.items():
                state[name] = state[name] * (factor if re.fullmatch(pattern, name) else 1.0)
    return Checkpoint("GIF", *states)


def _gif_generator(name: str) -> str:
    if name in ("image_embedding.embd_weight", "img_embdng.embd_weight"):  # one, registered twice
        return "styles"
    if match := re.fullmatch(r"generator\.progression\.(\d+)\.st_cv([12])\.noise\.noise_conv\.(.+)", name):
        return f"injections.{match[1]}.nets.{int(match[2]) - 1}.{match[3]}"
    if match := re.fullmatch(r"generator\.progression\.(\d+)\.st_cv([12])\.(.+)", name):
        layer = 2 * int(match[1]) + int(match[2]) - 2  # 0: that of the one at 4 px, which stands alone
        return _ros_generator(f"convs.{layer - 1}.{match[3]}" if int(match[1]) else f"conv1.{match[3]}")
    if match := re.fullmatch(r"generator\.to_rgb\.(\d+)\.(.+)", name):
        return _ros_generator(f"to_rgbs.{int(match[1]) - 1}.{match[2]}" if int(match[1]) else f"to_rgb1.{match[2]}")
    return _ros_generator(name.replace("generator.const_input.", "input.").replace("z_to_w.", "style."))


# ---- all


def _flat(state: State) -> State:
    """Kernels (1, o, i, k, k) as (o, i, k, k)."""
    return {name: value[0] if value.ndim == 5 else value for name, value in state.items()}


def _renamed(path: Path, tensors: Mapping[str, Any], rename: Callable[[str], str]) -> State:
    """Under our names; filters are checked and left out.

    Raises:
        FgError: a tensor that has no place in our network, or another filter.
    """
    renamed: State = {}
    for name, value in tensors.items():
        if name.endswith(("resample_filter", ".kernel")):
            if value.shape != KERNEL.shape or not torch.allclose(value / value.sum(), KERNEL.to(value), atol=1e-6):
                raise FgError(f"{path}: expected the filter [1, 3, 3, 1] in {name}, found another; give another file")
            continue
        ours = rename(name)
        if not ours:
            raise FgError(
                f"{path}: expected the tensors of StyleGAN2 as published, found also {name}; give another file"
            )
        renamed[ours] = value.detach()
    return renamed


def _some(content: Any) -> str:
    """What a file has instead."""
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    return ", ".join(map(str, list(content)[:5])) or "nothing"
