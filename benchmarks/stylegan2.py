"""A training iteration of StyleGAN2 on a CPU against the published code: python benchmarks/stylegan2.py --ada FOLDER

FOLDER is a clone of stylegan2-ada-pytorch, --rosinality that of rosinality's stylegan2-pytorch; each may lack. Both run
without their CUDA extensions, as they do on a CPU. 64 px, batch 16, channels 4,096 over the side and at most 128,
noise, float32; rosinality's table of channels is replaced by that. An iteration is one step of the generator, one of
the critic, and a sixteenth of one of R1; Adam is left out. Every repeat runs all in an order of its own; medians are
shown.
First, on equal weights in float64, images, logits, R1 and all gradients must be equal, but for the epsilon of the
demodulation, which is 1e-8 before or after weights are scaled. The weights and the gradients come through the reader of
fg assets import.
"""

from __future__ import annotations

import argparse
import pickle  # noqa: TID251 - writes a checkpoint as its own code does
import random
import re
import sys
import tempfile
import time
import types
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
import torch.utils.cpp_extension
from torch import Tensor, nn

from fgcli.foreign import stylegan_files
from fgcli.generators import imported, store
from fgcli.generators.stylegan2 import StyleGAN2

SIDE, BATCH, BASE, WIDEST, CODES, LAYERS = 64, 16, 4096, 128, 128, 8
INTERVAL = 16


@dataclass
class Network:
    """One implementation.

    Attributes:
        draw: z (n, d) -> images with fresh noise. fixed: the same with the noise that is kept.
        score: images -> logits (n).
        generator, critic: what is trained.
        modules: of which these are.
        write: path -> a checkpoint in its own format; None for ours.
    """

    draw: Callable[[Tensor], Tensor]
    fixed: Callable[[Tensor], Tensor]
    score: Callable[[Tensor], Tensor]
    generator: list[nn.Parameter]
    critic: list[nn.Parameter]
    modules: tuple[nn.Module, ...]
    write: Callable[[Path], object] | None = None


def ours(network: StyleGAN2) -> Network:
    own = set(map(id, network.critic.parameters()))
    rng = torch.Generator().manual_seed(0)
    return Network(
        lambda z: network.draft(network.map(z), rng),
        lambda z: network.decode(network.map(z)),
        network.critic,
        [p for p in network.parameters() if id(p) not in own],
        list(network.critic.parameters()),
        (network,),
    )


def ada(folder: Path) -> Network:
    sys.path.insert(0, str(folder))
    from training import networks

    kind = {"img_resolution": SIDE, "img_channels": 3, "c_dim": 0}
    sizes = {"channel_base": BASE, "channel_max": WIDEST}
    mapping = {"num_layers": LAYERS}
    g = networks.Generator(z_dim=CODES, w_dim=CODES, mapping_kwargs=mapping, synthesis_kwargs=sizes, **kind)
    d = networks.Discriminator(**kind, **sizes)
    g.train(), d.train()

    def write(path: Path) -> None:
        path.write_bytes(pickle.dumps({"training_set_kwargs": {}, "G": g, "D": d, "G_ema": g, "augment_pipe": None}))

    return Network(
        lambda z: g(z, None),
        lambda z: g(z, None, noise_mode="const"),
        lambda x: d(x, None)[:, 0],
        list(g.parameters()),
        list(d.parameters()),
        (g, d),
        write,
    )


def rosinality(folder: Path) -> Network:
    sys.path.insert(0, str(folder))
    source = (folder / "model.py").read_text()
    table = {str(side): min(BASE // side, WIDEST) for side in (2**i for i in range(2, 11))}
    source = re.sub(r"(\d+): \d+( \* channel_multiplier)?,", lambda m: f"{m[1]}: {table[m[1]]},", source)
    module = types.ModuleType("rosinality")
    with mock.patch.object(torch.utils.cpp_extension, "load"):
        exec(compile(source, "model.py", "exec"), module.__dict__)
    g, d = module.Generator(SIDE, CODES, LAYERS), module.Discriminator(SIDE)
    return Network(
        lambda z: g([z])[0],
        lambda z: g([z], randomize_noise=False)[0],
        lambda x: d(x)[:, 0],
        list(g.parameters()),
        list(d.parameters()),
        (g, d),
        lambda path: torch.save({"g_ema": g.state_dict(), "d": d.state_dict()}, path),
    )


# ---- equal


@contextmanager
def doubled(network: Network) -> Any:
    """Inside the block in float64, also where its code asks for float32; outside as it was."""
    with mock.patch.object(torch, "float32", torch.float64):
        for module in network.modules:
            module.double()
        yield
    for module in network.modules:
        module.float()


def check(name: str, network: Network, folder: Path) -> None:
    """Raises unless it computes what ours does on equal weights; prints the largest differences."""
    with torch.no_grad():
        for p in network.generator + network.critic:
            if p.ndim < 2:
                p.add_(0.1 * torch.randn_like(p))
    assert network.write
    network.write(folder / "weights")
    imported.convert(folder / "weights", folder / "generator.h5")
    own = store.load(folder / "generator.h5").double().train().requires_grad_(True)
    named = dict(own.named_parameters())
    z, x = torch.randn(4, CODES).double(), torch.randn(4, 3, SIDE, SIDE).double()
    worst = {}
    with doubled(network):
        for key, loss in (("gan", gan), ("r1", r1)):
            mine, other = loss(ours(own), z, x), loss(network, z, x)
            found = torch.autograd.grad(mine[-1], list(named.values()), allow_unused=True)
            theirs = torch.autograd.grad(other[-1], network.generator + network.critic, allow_unused=True)
            weights = [p.data for p in network.generator + network.critic]
            for p, gradient in zip(network.generator + network.critic, theirs, strict=True):
                p.data = torch.zeros_like(p) if gradient is None else gradient
            network.write(folder / "gradients")
            for p, data in zip(network.generator + network.critic, weights, strict=True):
                p.data = data
            read = stylegan_files.read(folder / "gradients")
            renamed = read.generator | {f"critic.{k}": v for k, v in read.critic.items()}
            for i, (a, b) in enumerate(zip(mine, other, strict=True)):
                worst[f"{key} {('images', 'logits', 'loss')[i - len(mine)]}"] = apart(a, b)
            pairs = zip(named, found, strict=True)
            gaps = [apart(torch.zeros_like(named[k]) if g is None else g, renamed[k]) for k, g in pairs]
            worst[f"{key} gradients"] = max(gaps)
    print(f"{name}: largest differences", {k: f"{v:.1e}" for k, v in worst.items()})
    assert max(worst.values()) < 1e-6, f"{name} computes something else"


def apart(a: Tensor, b: Tensor) -> float:
    """Largest difference, in units of the largest value or of 1e-3 if that is more."""
    a, b = a.detach().flatten(), b.detach().flatten()
    return float((a - b).abs().max() / max(1e-3, b.abs().max()))


def gan(network: Network, z: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """Images, logits, and the losses of both."""
    images = network.fixed(z)
    logits = network.score(images)
    return images, logits, F.softplus(-logits).mean() + F.softplus(-network.score(x)).mean()


def r1(network: Network, z: Tensor, x: Tensor) -> tuple[Tensor, ...]:
    """The penalty."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network.score(x).sum(), x, create_graph=True)
    return (gradient.square().sum((1, 2, 3)).mean(),)


# ---- how long


def iteration(network: Network, z: Tensor, x: Tensor) -> np.ndarray:
    """Seconds, and of CPU, of a generator's, a critic's and a sixteenth of a penalty's gradient."""
    start = clocks()
    for p in network.critic:
        p.requires_grad_(False)
    torch.autograd.grad(F.softplus(-network.score(network.draw(z))).mean(), network.generator)
    for p in network.critic:
        p.requires_grad_(True)
    with torch.no_grad():
        fakes = network.draw(z)
    loss = F.softplus(network.score(fakes)).mean() + F.softplus(-network.score(x)).mean()
    torch.autograd.grad(loss, network.critic)
    step = clocks()
    torch.autograd.grad(r1(network, z, x)[0], network.critic, allow_unused=True)
    return step - start + (clocks() - step) / INTERVAL


def clocks() -> np.ndarray:
    """Seconds by the wall's clock and of CPU."""
    return np.array([time.perf_counter(), time.process_time()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ada", type=Path)
    parser.add_argument("--rosinality", type=Path)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    others = {"stylegan2-ada-pytorch": (ada, arguments.ada), "rosinality": (rosinality, arguments.rosinality)}
    networks = {name: make(folder.resolve()) for name, (make, folder) in others.items() if folder}
    for name, network in networks.items():
        with tempfile.TemporaryDirectory() as folder:
            check(name, network, Path(folder))
    own = StyleGAN2((3, SIDE, SIDE), CODES, BASE / 32768, WIDEST, LAYERS, noise=True)
    networks = {"fg": ours(own.train()), **networks}
    z, x = torch.randn(BATCH, CODES), torch.randn(BATCH, 3, SIDE, SIDE)
    seconds: dict[str, list[np.ndarray]] = {name: [] for name in networks}
    for i in range(arguments.repeats + 1):
        for name in random.sample(list(networks), len(networks)):
            taken = iteration(networks[name], z, x)
            if i:  # the first warms up
                seconds[name].append(taken)
    medians = {name: np.median(values, 0) for name, values in seconds.items()}
    print(f"{'':22} {'s':>6} {'ratio':>6} {'CPU s':>6} {'ratio':>6}")
    for name, (wall, cpu) in medians.items():
        ratios = medians[name] / medians["fg"]
        print(f"{name:22} {wall:6.2f} {ratios[0]:6.2f} {cpu:6.2f} {ratios[1]:6.2f}")


if __name__ == "__main__":
    main()
