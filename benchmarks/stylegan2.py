"""One training iteration of StyleGAN2 on a CPU, beside the two public implementations, on equal weights.

    git clone https://github.com/NVlabs/stylegan2-ada-pytorch; git clone https://github.com/rosinality/stylegan2-pytorch
    python benchmarks/stylegan2.py --ada stylegan2-ada-pytorch --rosinality stylegan2-pytorch

An iteration is a step of the generator, one of the critic and a sixteenth of a step of R1 with its double backward, in
float32; noise fresh, Adam everywhere. First images, logits and all gradients are compared in float64. Their plain
PyTorch paths are taken: no kernel is compiled.
"""

from __future__ import annotations

import argparse
import inspect
import re
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgcli.generators.stylegan2 import StyleGAN2
from fgcli.generators.stylegan2_files import ADA, ROSINALITY, build_of, renamed, shaped

Draw = Callable[[Tensor, bool], Tensor]
Judge = Callable[[Tensor], Tensor]
Exactly = Callable[[bool], None]
CODES, LAYERS, BASE, WIDEST = 128, 2, 4096, 128


class Peer:
    """A generator and a critic of one implementation: `draw` z -> images, noise fresh or not; `judge` -> logits."""

    def __init__(
        self,
        draw: Callable[[Tensor, bool], Tensor],
        judge: Callable[[Tensor], Tensor],
        g: nn.Module,
        d: nn.Module,
        exact: Callable[[bool], None] = lambda on: None,
    ) -> None:
        self.draw, self.judge, self.g, self.d, self.exact = draw, judge, g, d, exact


def ada(folder: Path, size: int) -> Peer:
    """Of stylegan2-ada-pytorch."""
    sys.path.insert(0, str(folder))
    from training import networks

    wide = {"channel_base": BASE, "channel_max": WIDEST, "num_fp16_res": 0, "conv_clamp": None}
    mapping = {"num_layers": LAYERS, "w_avg_beta": None}
    g = networks.Generator(CODES, 0, CODES, size, 3, mapping_kwargs=mapping, synthesis_kwargs=wide)
    d = networks.Discriminator(0, size, 3, **wide)
    sys.path.remove(str(folder))

    def exact(on: bool) -> None:
        """It turns all numbers to float32 by name, and wants its filters, which are exact in it, to stay so."""
        networks.torch = Exact() if on else torch
        for module in [*g.modules(), *d.modules()]:
            if hasattr(module, "resample_filter"):
                module.resample_filter = module.resample_filter.float()

    def draw(z: Tensor, fresh: bool) -> Tensor:
        return g.synthesis(g.mapping(z, None), noise_mode="random" if fresh else "const")

    return Peer(draw, lambda x: d(x, None)[:, 0], g, d, exact)


class Exact:
    """torch, but that its float32 is float64."""

    float32 = torch.float64

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def rosinality(folder: Path, size: int) -> Peer:
    """Of rosinality's, whose import compiles kernels that a CPU does not use."""
    import torch.utils.cpp_extension

    torch.utils.cpp_extension.load = lambda *_, **__: types.SimpleNamespace()
    sys.path.insert(0, str(folder))
    import model

    g, d = narrow(model, {2**i: min(WIDEST, BASE // 2**i) for i in range(2, 11)}, size)
    sys.path.remove(str(folder))
    return Peer(lambda z, fresh: g([z], randomize_noise=fresh)[0], lambda x: d(x)[:, 0], g, d)


def narrow(model: Any, channels: Any, size: int) -> tuple[nn.Module, nn.Module]:
    """Both networks with these channels: theirs stand in a dict within the constructors, which is replaced."""
    source = inspect.getsource(model)
    source = re.sub(r"channels = \{.*?\}", "channels = CHANNELS", source, flags=re.S)
    space: dict[str, Any] = {"CHANNELS": channels, "__name__": "narrow"}
    exec(compile(source, "narrow", "exec"), space)
    return space["Generator"](size, CODES, LAYERS), space["Discriminator"](size)


def ours(peer: Peer, rules: Any) -> Peer:
    """Ours with a peer's weights."""
    state = dict(peer.g.state_dict()) | {f"critic.{name}": value for name, value in peer.d.state_dict().items()}
    named = renamed(state, rules, Path("peer"))
    spec, shape = build_of(named, Path("peer"))
    model = StyleGAN2(shape, **{key: value for key, value in spec.items() if key != "name"})
    model.load_state_dict(shaped(named, model.state_dict(), Path("peer")))
    rng = torch.Generator()
    return Peer(
        lambda z, fresh: model.synthesise(model.map(z), rng if fresh else None),
        model.critic,
        Drawing(model),
        model.critic,
    )


class Drawing(nn.Module):
    """Ours without its critic."""

    def __init__(self, model: StyleGAN2) -> None:
        super().__init__()
        self.parts = nn.ModuleList([model.mapping, model.convolutions, model.colours])
        self.constant = model.constant


def penalty(peer: Peer, real: Tensor) -> Tensor:
    """R1."""
    x = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(peer.judge(x).sum(), x, create_graph=True)
    return slope.square().sum((1, 2, 3)).mean()


class Contest:
    """Iterations of one implementation."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.adam = [torch.optim.Adam(list(part.parameters()), 2.5e-3, (0.0, 0.99)) for part in (peer.g, peer.d)]

    def iteration(self, real: Tensor) -> None:
        """One, without R1."""
        peer, n = self.peer, len(real)
        self.move(0, F.softplus(-peer.judge(peer.draw(torch.randn(n, CODES), True))).mean())
        with torch.no_grad():
            fake = peer.draw(torch.randn(n, CODES), True)
        self.move(1, (F.softplus(-peer.judge(real)) + F.softplus(peer.judge(fake))).mean())

    def regularise(self, real: Tensor) -> None:
        """R1, alone."""
        self.move(1, 0.5 * penalty(self.peer, real))

    def move(self, which: int, loss: Tensor) -> None:
        """A step of one side."""
        parameters = list((self.peer.g, self.peer.d)[which].parameters())
        for p, slope in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
            p.grad = slope
        self.adam[which].step()


def timed(step: Callable[[Tensor], None], real: Tensor) -> float:
    """Seconds."""
    start = time.perf_counter()
    step(real)
    return time.perf_counter() - start


def gap(a: Tensor, b: Tensor) -> float:
    """Largest difference over the largest value."""
    a, b = a.detach(), b.detach()
    return float((a - b).abs().max() / b.abs().max().clamp_min(1e-30))


def compare(peer: Peer, mine: Peer, size: int) -> dict[str, float]:
    """Largest relative differences in float64."""
    z, real = torch.randn(8, CODES).double(), torch.rand(8, 3, size, size).double() * 2 - 1
    images = [p.draw(z, False) for p in (mine, peer)]
    logits = [p.judge(real) for p in (mine, peer)]
    found = {"images": gap(*images), "logits": gap(*logits)}
    found["R1"] = gap(*(penalty(p, real) for p in (mine, peer)))
    y = torch.randn_like(images[0])
    sums = {
        "images": [(i * y).sum() for i in images],
        "logits": [v.square().sum() for v in logits],
        "R1": [penalty(p, real) for p in (mine, peer)],
    }
    for name, values in sums.items():
        norms = []
        for p, value in zip((mine, peer), values, strict=True):
            parameters = list((p.g if name == "images" else p.d).parameters())
            slopes = torch.autograd.grad(value, parameters, allow_unused=True)
            norms.append(torch.stack([s.square().sum() for s in slopes if s is not None]).sum().sqrt())
        found[f"gradient of {name}, norm"] = gap(*norms)
    return found


def main() -> None:
    """Compares and times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ada", type=Path)
    parser.add_argument("--rosinality", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    peers = {
        name: (make(folder.resolve(), given.size), rules)
        for name, make, folder, rules in (
            ("ada", ada, given.ada, ADA),
            ("rosinality", rosinality, given.rosinality, ROSINALITY),
        )
        if folder
    }
    contests = {}
    for name, (peer, rules) in peers.items():
        mine = ours(peer, rules)
        for network in (peer.g, peer.d, mine.g, mine.d):
            network.double()
        peer.exact(True)
        differences = compare(peer, mine, given.size)
        print(f"{name}, float64:", ", ".join(f"{what} {value:.1e}" for what, value in differences.items()))
        for network in (peer.g, peer.d, mine.g, mine.d):
            network.float()
        peer.exact(False)
        contests[name], contests["fg"] = Contest(peer), Contest(mine)
    seconds: dict[str, list[float]] = {name: [] for name in contests}
    for _ in range(given.repeats):
        for name, contest in contests.items():
            real = torch.rand(given.batch, 3, given.size, given.size) * 2 - 1
            steps = (contest.iteration, contest.iteration, contest.regularise)
            took = [timed(step, real) for step in steps]
            seconds[name].append((took[0] + took[1]) / 2 + took[2] / 16)
    mine_takes = statistics.median(seconds["fg"])
    for name, found in seconds.items():
        median = statistics.median(found)
        print(f"{name}: {1000 * median:.0f} ms an iteration, {median / mine_takes:.2f} times fg's")


if __name__ == "__main__":
    main()
