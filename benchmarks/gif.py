"""A training step of GIF against StyleGAN2's, and conditions per minute, on a CPU: python benchmarks/gif.py

Batch 16, codes 64, R1 every 16 steps, float32, one thread, heads of the procedural head. A step is the gradients of all
phases, a lazy one's by its share; Adam is left out. Every repeat runs all in an order of its own; medians of CPU
seconds are shown, and their ratio to those of a StyleGAN2 of the same channels, which is told nothing. Conditions are
drawn as by `fg conditions`.
"""

from __future__ import annotations

import argparse
import os
import random
import time

os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import numpy as np
import torch

from fgcli.generators.gif import GIF
from fgcli.generators.stylegan2 import StyleGAN2
from fgcli.heads.conditions import condition_images
from fgcli.heads.head import Head
from fgcli.heads.parameters import Parameters
from fgcli.objectives.gan import GAN
from fgcli.objectives.gif import GIFLoss
from fgcli.pixels import pixels
from fgcli.procedural import procedural_head
from fgcli.procedural.population import Population
from fgcli.training.loop import gradients_of
from fgcli.training.objective import Batch

BATCH, GROUP = 16, 16
WIDTHS = {32: (1 / 64, 64), 64: (1 / 32, 64)}
"""Factor on channels, and channels at most, by side."""


def people(head: Head, n: int) -> Parameters:
    """Random heads in aligned crops."""
    known = Population()
    drawn = [(known.person(head, rng), known.moment(head, rng)) for rng in map(np.random.default_rng, range(n))]
    return known.parameters(head, [person for person, _ in drawn], [moment for _, moment in drawn])


def step(objective: GAN, batch: Batch, rng: torch.Generator) -> float:
    """CPU seconds of a step's gradients."""
    total = 0.0
    for phase in objective.phases:
        start = time.process_time()
        gradients_of(phase, phase.total(phase.loss(batch, rng)), objective.moved(phase))
        total += (time.process_time() - start) / phase.interval
    return total


def objectives(side: int, head: Head) -> dict[str, GAN]:
    width, widest = WIDTHS[side]
    sizes = {"codes": 64, "width": width, "widest": widest, "mapping_layers": 2}
    image, given = (3, side, side), {"batch": BATCH, "gamma": 0.05}
    found: dict[str, GAN] = {"stylegan2": GAN(StyleGAN2(image, **sizes), **given)}
    for injection in ("net", "conv", "scale"):
        for weight in (0.0, 4.0):
            generator = GIF(image, rows=BATCH, injection=injection, **sizes)
            name = f"gif, {injection}" + (", texture consistency" if weight else "")
            found[name] = GIFLoss(generator, consistency=weight, head=head, **given)
    found["gif, vector"] = GIFLoss(GIF(image, rows=BATCH, condition="vector", **sizes), consistency=0.0, **given)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--detail", type=float, default=1.0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    head = procedural_head(given.detail)
    p = people(head, BATCH)
    for side in WIDTHS:
        torch.manual_seed(0)
        start = time.process_time()
        for _ in range(given.repeats):
            drawn = condition_images(head, p, side)
        each = (time.process_time() - start) / given.repeats / BATCH
        print(f"{side} px: {60 / each:,.0f} conditions a minute of CPU")
        condition = pixels(drawn, torch.channels_last)
        rows, numbers = torch.arange(BATCH), p.to_vector("gif")
        batch = {"images": condition[:, :3].contiguous(memory_format=torch.channels_last), "condition": condition}
        batch |= {"parameters": numbers, "geometry": numbers, "rows": rows, "places": rows}
        known, rng = objectives(side, head), torch.Generator().manual_seed(0)
        seconds: dict[str, list[float]] = {name: [] for name in known}
        for i in range(given.repeats + 1):
            for name in random.sample(list(known), len(known)):
                taken = step(known[name], batch, rng)
                if i:  # the first warms up
                    seconds[name].append(taken)
        medians = {name: float(np.median(values)) for name, values in seconds.items()}
        for name, median in medians.items():
            print(f"{side} px {name:32} {1000 * median:6.0f} ms {median / medians['stylegan2']:6.2f}")


if __name__ == "__main__":
    main()
