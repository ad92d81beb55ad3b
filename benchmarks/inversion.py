"""How much faster one pass of an encoder inverts images than gradient descent, and how near either comes.

    python benchmarks/inversion.py out/invgan/digits/full/seed0/generator.h5 out/invgan/digits/faces.h5

The test images, all in one batch and one by one; seconds an image, and the mean absolute error of the pictures, which
are in [-1, 1]. Descent is Adam on the squared error of pixels at several scales, from the nearest of 64 draws, which
its time includes. The ratio is little more than the number of steps: read the errors beside it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from fgcli import artifacts
from fgcli.capabilities import Generator
from fgcli.codes import decode
from fgcli.generators import store
from fgcli.inverters import Context, Inverter
from fgcli.inverters.encoder import Encoder
from fgcli.inverters.hybrid import Hybrid
from fgcli.inverters.optimize import Optimize
from fgcli.pixels import tensor


def measured(model: Generator, inverter: Inverter, images: Tensor) -> tuple[float, float]:
    """Seconds an image, the shortest of three trials or of one that is long; mean absolute error."""
    shortest = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        codes = inverter.invert(model, images, Context(0))
        took = time.perf_counter() - start
        shortest = min(shortest, took / len(images))
        if took > 10:
            break
    with torch.no_grad():
        return shortest, float((decode(model, codes) - images).abs().mean())


def main() -> None:
    """Prints a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", type=Path)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = store.load(given.generator)
    rows = (artifacts.rows(given.faces, "split") == 2).nonzero()[0][: given.images]
    images = tensor(artifacts.rows(given.faces, "images")[rows])
    ways: dict[str, Inverter] = {"encoder": Encoder()}
    for steps in (100, 500, 1000):
        ways[f"optimize, {steps} steps"] = Optimize(model.image_shape, steps, distance="pixels")
    ways["hybrid, 100 steps"] = Hybrid(model.image_shape, 100, distance="pixels")
    for many, batch in ((f"{len(images)} in a batch", images), ("one by one", images[:1])):
        first = 0.0
        for name, way in ways.items():
            seconds, error = measured(model, way, batch)
            first = first or seconds
            ratio = f"{seconds / first:.0f} times the encoder's"
            print(f"{many}: {name}: {1000 * seconds:.3f} ms an image, {ratio}, MAE {error:.3f}")


if __name__ == "__main__":
    main()
