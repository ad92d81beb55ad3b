"""Shuffled mini-batches from faces.h5 against a PNG folder read by torchvision: python benchmarks/loading.py

The script writes 2,000 faces of 128 px both ways. All end in float tensors (64, 3, 128, 128); the peers are
ImageFolder + ToTensor + DataLoader with 0 and with 2 workers. Every repeat runs all of them in turn, whole epochs for
at least a second each; medians are shown. fg's batches also have the masks; torchvision's have not. fg lays them out as
training takes them: contiguous for float32, channels_last for bf16.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fgcli import artifacts
from fgcli.training.batches import Batches
from fgcli.training.columns import tables
from fgcli.training.devices import Compute

PEER = "torchvision ImageFolder, {} workers"


def make_faces(n: int, size: int) -> np.ndarray:
    """Pictures uint8 (n, size, size, 3) that PNG compresses about as well as photos: smooth, with some noise."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 3, 8, 8, generator=rng)
    parts = []
    for part in coarse.split(100):
        fine = torch.nn.functional.interpolate(part, (size, size), mode="bicubic") * 255
        fine += torch.randn(fine.shape, generator=rng) * 4
        parts.append(fine.clamp(0, 255).byte().permute(0, 2, 3, 1).numpy())
    return np.concatenate(parts)


def write_both(folder: Path, images: np.ndarray) -> tuple[Path, Path]:
    """faces.h5, and a folder of PNGs in one class."""
    n, size = images.shape[:2]
    arrays = {
        "images": images,
        "masks": np.full((n, size, size), 255, np.uint8),
        "landmarks": np.zeros((n, 68, 2), np.float32),
        "crop": np.zeros((n, 2, 3), np.float32),
        "attributes": np.zeros((n, 0), np.int8),
        "identity": np.zeros(n, np.int32),
        "split": np.zeros(n, np.uint8),
        "source": [str(i) for i in range(n)],
        "rejected/source": np.zeros(0, "S1"),
        "rejected/reason": np.zeros(0, "S1"),
    }
    meta = {"content": "faces", "attribute_names": [], "datasets": [], "analyser": {}, "segmenter": {}}
    artifacts.save(folder / "faces.h5", artifacts.FACES, arrays, params={}, inputs={}, meta=meta)
    (folder / "png/face").mkdir(parents=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"png/face/{i:05d}.png")
    return folder / "faces.h5", folder / "png"


def from_faces(path: Path, batch: int, precision: str) -> Callable[[], Iterator[Tensor]]:
    """An epoch of fg's training batches."""
    compute = Compute(torch.device("cpu"), 0, 1, precision)
    rows = np.arange(len(artifacts.rows(path, "images")))
    batches = Batches(tables(("images", "masks"), {"faces": path}, rows, "benchmark"), rows, batch, 0)
    steps = iter(range(10**9))
    return lambda: (batches.at(next(steps), compute)["images"] for _ in range(len(rows) // batch))


def from_png(path: Path, batch: int, workers: int) -> Callable[[], Iterator[Tensor]]:
    """An epoch of torchvision's."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import ToTensor

    data = ImageFolder(str(path), ToTensor())
    loader = DataLoader(data, batch, shuffle=True, num_workers=workers, drop_last=True)
    return lambda: (images for images, _ in loader)


def rate(epoch: Callable[[], Iterator[Tensor]], least_s: float = 1.0) -> tuple[float, float]:
    """Images per second of wall time, and of this process's CPU time, over whole epochs of at least `least_s`."""
    count, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < least_s:
        count += sum(len(images) for images in epoch())
    return count / (time.perf_counter() - wall), count / (time.process_time() - cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=2000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        faces, png = write_both(Path(folder), make_faces(given.faces, given.size))
        ways = {
            "fg, float32": from_faces(faces, given.batch, "float32"),
            "fg, bf16": from_faces(faces, given.batch, "bf16"),
            **{PEER.format(n): from_png(png, given.batch, n) for n in (0, 2)},
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for repeat in range(given.repeats + 1):
            for name, epoch in ways.items():
                measured = rate(epoch)
                if repeat:  # the first warms the page cache
                    found[name].append(measured)
    medians = {
        name: [statistics.median(column) for column in zip(*rates, strict=True)] for name, rates in found.items()
    }
    alone, helped = (medians[PEER.format(n)] for n in (0, 2))
    print(f"{given.faces} faces of {given.size} px, batch {given.batch}, {torch.get_num_threads()} threads")
    print(f"{'':<36}{'images/s':>10}{'0 workers':>12}{'2 workers':>12}{'images/CPU s':>14}{'0 workers':>12}")
    for name, (wall, cpu) in medians.items():
        own = "" if name.endswith("2 workers") else f"{cpu:>14,.0f}{cpu / alone[1]:>10.1f} x"
        print(f"{name:<36}{wall:>10,.0f}{wall / alone[0]:>10.1f} x{wall / helped[0]:>10.1f} x{own}")


if __name__ == "__main__":
    main()
