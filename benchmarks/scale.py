"""How time and memory of the stages grow with the number of images.

    python benchmarks/scale.py            # 1,000, 10,000, 31,600 and 100,000 images of 32 px: an hour and a half
    python benchmarks/scale.py --counts 1000 3160 10000 --stages preprocess invert

Each stage runs in a process of its own, on images that are painted here. Of preprocess what looks for faces and embeds
them is replaced: dlib takes the same time for every photo, so that it would hide what grows. Train sees every training
image once; density's mixture and its k-means take as many rounds at every number of images, however soon they converge,
as that hangs on the data, and most of the time is the flow's, as by default; evaluate measures that many held-out
images, as many draws of the prior, and TRAINING images to compare them with, since its eigenfaces and floors take no
more.

A stage is run at all numbers of images at once, which take turns on one core, so that a machine that is slower for a
while is so for all of them; and again until it took MEASURED_S. A line for each number: the median of the processor's
time, and that of each image more than at the number before; and the peak of the memory that is the process's own: pages
of mapped files do not count, as the system takes them back at need. Then, of three counts a, b, c, the exponent s of n
in start + k n^s, where b is the geometric mean of a and c:
1 + log((t_c - t_b) / (c - b) : (t_b - t_a) / (b - a)) / log(c / b), and the ratio of memory.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIZE, PART = 32, 1000
"""Side of the images, px, and how many are painted at a time."""
STAGES = ("preprocess", "train", "invert", "density", "evaluate")
BEFORE = ("train", "invert", "density")
"""Stages whose artifacts the next ones read."""
ROUNDS = {"k-means": 10, "expectation maximisation": 30}
"""Of density's mixture."""
TRAINING = 2000
MEASURED_S, ROUNDS_OF = 250, 5
"""Processor's seconds that runs of a stage take together, or as many rounds over all numbers of images."""
TURN_S, START = 0.5, 10_000
"""A turn of START images; turns are longer as there are more images, of which START stand for the start of a stage."""
TINY: dict[str, Any] = {
    "train": {"generator": {"name": "masked_vae", "codes": 8, "width": 0.1}, "batch": 64, "warmup": 2, "device": "cpu"},
    "invert": {"batch": 256, "device": "cpu"},
    "density": {
        "methods": {
            "gaussian": {"name": "gaussian"},
            "gmm": {"name": "gmm", "components": 10, "starts": 1},
            "flow": {"name": "flow", "transforms": 1, "hidden": 16, "epochs": 20},
        }
    },
    "evaluate": {
        "device": "cpu",
        "metrics": [
            {"name": "l1"},
            {"name": "ssim"},
            {"name": "frechet", "features": "pixels"},
            {"name": "kid", "features": "pixels"},
            {"name": "sharpness"},
        ],
    },
}
"""Params over fg's own."""


def painted(first: int, n: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, side, side, 3) of ovals before a ramp, all varied, and masks (n, side, side)."""
    rng = np.random.default_rng([7, first])
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    middle, radius = rng.uniform(-0.15, 0.15, (2, n, 1, 1)), rng.uniform(0.6, 0.8, (n, 1, 1))
    masks = ((x - middle[0]) / (0.8 * radius)) ** 2 + ((y - middle[1]) / radius) ** 2 < 1
    skin, ground = rng.uniform(120, 240, (n, 1, 1, 3)), rng.uniform(0, 100, (n, 1, 1, 3))
    tilt = (1 + rng.uniform(-0.3, 0.3, (n, 1, 1)) * x + rng.uniform(-0.3, 0.3, (n, 1, 1)) * y)[..., None]
    images = np.where(masks[..., None], skin, ground) * tilt + rng.normal(0, 4, (n, side, side, 3))
    return images.clip(0, 255).astype(np.uint8), masks.astype(np.uint8) * 255


def photos(folder: Path, n: int) -> None:
    """What preprocess reads."""
    from PIL import Image

    for first in range(0, n, PART):
        place = folder / f"photos/{first // PART:04d}"
        place.mkdir(parents=True)
        for i, image in enumerate(painted(first, min(PART, n - first), SIZE)[0]):
            Image.fromarray(image).save(place / f"{i:03d}.png", compress_level=1)


def faces(folder: Path, split: np.ndarray) -> None:
    """What the other stages read, of a row for each of `split` (n,)."""
    from fgcli import artifacts

    n = len(split)
    known = {"analyser": {"name": "none"}, "segmenter": {"name": "none"}}
    meta = {"content": "faces", "attribute_names": ["odd"], "datasets": [], **known}
    with artifacts.create(folder / "faces.h5", artifacts.FACES, params={}, inputs={}, meta=meta) as writer:
        shapes = {"images": (n, SIZE, SIZE, 3), "masks": (n, SIZE, SIZE)}
        fields = [writer.allocate(name, shape, "uint8") for name, shape in shapes.items()]
        for first in range(0, n, PART):
            for field, values in zip(fields, painted(first, min(PART, n - first), SIZE), strict=True):
                field[first : first + len(values)] = values
        writer.put("landmarks", np.zeros((n, 68, 2), np.float32))
        writer.put("crop", np.tile(np.eye(2, 3, dtype=np.float32), (n, 1, 1)))
        writer.put("attributes", (np.arange(n)[:, None] % 2).astype(np.int8))
        writer.put("identity", np.arange(n, dtype=np.int32))
        writer.put("split", split.astype(np.uint8))
        writer.put("source", [f"painted/{i}" for i in range(n)])
        writer.put("rejected/source", np.zeros(0, "S1"))
        writer.put("rejected/reason", np.zeros(0, "S1"))


def prepare(stage: str, folder: Path, n: int) -> None:
    """The files that a stage needs and no stage before it made."""
    if stage == "preprocess":
        photos(folder, n)
    elif stage == "evaluate":
        (folder / "faces.h5").unlink(missing_ok=True)
        faces(folder, np.repeat([0, 1, 2], [TRAINING, 100, n]))
        for before in BEFORE[:2]:
            in_turns(before, {TRAINING: folder})
    elif not (folder / "faces.h5").exists():
        faces(folder, np.array([0, 0, 0, 1, 0, 0, 0, 2, 0, 0])[np.arange(n) % 10])
        for before in BEFORE[: BEFORE.index(stage)]:
            in_turns(before, {n: folder})


class Drawn:
    """Stands for what finds faces: the same landmarks in every photo."""

    notice = ""

    def analyse(self, image: np.ndarray) -> list[Any]:
        """One face."""
        from fgcli.faces.landmarks import Face

        side = len(image)
        return [Face((0.0, 0.0, float(side), float(side)), LANDMARKS * side, score=9.0)]


class Embedding:
    """Stands for dlib's embeddings: random ones, of people who are not alike."""

    def __call__(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """(128,) float32."""
        return np.random.default_rng(int(image.sum())).normal(0, 0.08, 128).astype(np.float32)


def landmarks() -> np.ndarray:
    """(68, 2) of an upright face, in [0, 1]."""
    angle = np.linspace(0, np.pi, 17)
    jaw = np.stack([0.5 - 0.35 * np.cos(angle), 0.4 + 0.45 * np.sin(angle)], 1)
    brows = np.stack([np.linspace(0.22, 0.78, 10), np.full(10, 0.3)], 1)
    nose = np.concatenate(
        [
            np.stack([np.full(4, 0.5), np.linspace(0.4, 0.55, 4)], 1),
            np.stack([np.linspace(0.44, 0.56, 5), np.full(5, 0.6)], 1),
        ]
    )
    turn = np.linspace(np.pi, -np.pi, 7)[:-1]
    eyes = [np.stack([x + 0.06 * np.cos(turn), 0.4 - 0.025 * np.sin(turn)], 1) for x in (0.35, 0.65)]
    lips = [
        np.stack([0.5 + r * np.cos(t), 0.72 - r * np.sin(t) / 2], 1)
        for r, t in ((0.13, np.linspace(np.pi, -np.pi, 13)[:-1]), (0.08, np.linspace(np.pi, -np.pi, 9)[:-1]))
    ]
    return np.concatenate([jaw, brows, nose, *eyes, *lips])


LANDMARKS = landmarks()


def work(stage: str, folder: Path, n: int) -> None:
    """One stage, in this process."""
    import importlib

    import torch
    from sklearn.mixture import _base

    from fgcli import config
    from fgcli.densities import gmm
    from fgcli.faces import ANALYSERS, cutter

    torch.set_num_threads(1)
    own = dict(TINY)
    steps = max(10, n * 8 // 10 // own["train"]["batch"])
    own["train"] |= {"steps": steps, "validate_steps": steps, "checkpoint_steps": steps, "threads": 1}
    own["evaluate"] |= {"samples": n}
    own["preprocess"] = {
        "datasets": [{"name": "image_folder", "path": str(folder / "photos")}],
        "size": SIZE, "analyser": {"name": "drawn"}, "processes": 1, "min_px": 1,
    }  # fmt: skip
    if stage == "preprocess":
        ANALYSERS["drawn"] = "scale:Drawn"
        cutter.OneFace = Embedding  # type: ignore[misc, assignment]
    if stage == "density":
        start, model = _base.cluster.KMeans, gmm.GMM.model
        _base.cluster.KMeans = functools.partial(start, max_iter=ROUNDS["k-means"], tol=0)
        rounds = {"max_iter": ROUNDS["expectation maximisation"], "tol": 0}
        gmm.GMM.model = lambda *given: model(*given).set_params(**rounds)  # type: ignore[method-assign]
    module: Any = importlib.import_module(f"fgcli.stages.{stage}")
    params = config.section(config.overlay(config.defaults(), own), stage, module.Params)
    file = lambda name: folder / name  # noqa: E731
    given: dict[str, tuple[Any, ...]] = {
        "preprocess": (file("cut.h5"), file("cut.png")),
        "train": (file("faces.h5"),),
        "invert": (file("faces.h5"), file("generator.h5"), file("latents.h5")),
        "density": (file("latents.h5"), file("density.h5")),
        "evaluate": (file("faces.h5"), file("generator.h5"), file("latents.h5"), None, None,
                     file("evaluation.h5"), file("metrics.json"), file("protocols.json"), file("neighbours.png")),
    }  # fmt: skip
    named = {"output": file("generator.h5"), "folder": file("run")} if stage == "train" else {}
    module.run(*given[stage], **named, params=params)


def measured(stage: str, folders: dict[int, Path]) -> list[dict[str, Any]]:
    """The median time of a stage's runs at each number of images, and the most memory."""
    runs: dict[int, list[dict[str, float]]] = {n: [] for n in folders}
    for n, folder in folders.items():
        prepare(stage, folder, n)
    for _ in range(ROUNDS_OF):
        for n, run in in_turns(stage, folders).items():
            runs[n].append(run)
        if sum(run["cpu_s"] for own in runs.values() for run in own) > MEASURED_S:
            break
    return [{"stage": stage, "n": n, "runs": len(own)} | middle(own) for n, own in runs.items()]


def middle(runs: list[dict[str, float]]) -> dict[str, float]:
    """Medians of times, the most of memory."""
    kinds = {name: statistics.median if name.endswith("_s") else max for name in runs[0]}
    return {name: kind(run[name] for run in runs) for name, kind in kinds.items()}


def in_turns(stage: str, folders: dict[int, Path]) -> dict[int, dict[str, float]]:
    """Of each number of images the processor's seconds, and the peaks of memory in MB: own, and with mapped files."""
    processes, told = {n: started(stage, folder, n) for n, folder in folders.items()}, {}
    own = dict.fromkeys(processes, 0)
    while processes:
        for n, process in list(processes.items()):
            os.kill(process, signal.SIGCONT)
            end, ended = time.monotonic() + TURN_S * (n + START) / START, (0, 0, None)
            while not ended[0] and time.monotonic() < end:
                time.sleep(0.02)
                own[n] = max(own[n], anonymous(process))
                ended = os.wait4(process, os.WNOHANG)
            if not ended[0]:
                os.kill(process, signal.SIGSTOP)
                continue
            del processes[n]
            if ended[1]:
                for other in processes.values():
                    os.kill(other, signal.SIGKILL)
                raise SystemExit(f"{stage} of {n} failed:\n{(folders[n] / f'{stage}.log').read_text()[-2000:]}")
            used = ended[2]
            told[n] = {"cpu_s": used.ru_utime + used.ru_stime, "own_mb": own[n] / 1000, "rss_mb": used.ru_maxrss / 1000}
    return dict(sorted(told.items()))


def started(stage: str, folder: Path, n: int) -> int:
    """The number of a stage's process, which waits for its turn."""
    if stage == "train":
        shutil.rmtree(folder / "run", ignore_errors=True)
    command = [sys.executable, __file__, "--work", stage, "--folder", str(folder), "--counts", str(n)]
    with open(folder / f"{stage}.log", "w") as log:
        files = [(os.POSIX_SPAWN_DUP2, log.fileno(), number) for number in (1, 2)]
        process = os.posix_spawn(sys.executable, command, os.environ | {"OMP_NUM_THREADS": "1"}, file_actions=files)
    os.kill(process, signal.SIGSTOP)
    return process


def anonymous(pid: int) -> int:
    """Memory of a process, kB, without mapped files."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def line(run: dict[str, Any], before: dict[str, Any] | None) -> str:
    """A run as a line."""
    more = f", {1000 * each(run, before):.3f} ms an image more" if before else ""
    return (
        f"{run['stage']:<11} {run['n']:>7,}: {run['cpu_s']:.1f} s{more}, {run['own_mb']:.0f} MB, with mapped files "
        f"{run['rss_mb']:.0f} MB, {run['runs']} runs"
    )


def each(run: dict[str, Any], before: dict[str, Any]) -> float:
    """Processor's seconds for each image that `run` has more."""
    return (run["cpu_s"] - before["cpu_s"]) / (run["n"] - before["n"])


def summary(found: list[dict[str, Any]]) -> None:
    """Prints slopes and ratios."""
    for stage in STAGES:
        runs = sorted((run for run in found if run["stage"] == stage), key=lambda run: run["n"])
        for a, b, c in zip(runs, runs[1:], runs[2:], strict=False):
            slope = 1 + math.log(each(c, b) / each(b, a)) / math.log(c["n"] / b["n"])
            ratio = c["own_mb"] / a["own_mb"]
            print(f"{stage:<11} {a['n']:>7,} to {c['n']:>7,}: slope {slope:.2f}, memory x {ratio:.2f}")


def main() -> None:
    """Prints a line for each stage and number of images, then how they grow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000, 31_600, 100_000])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--folder", type=Path, help="Where the files lie; by default one that is removed.")
    parser.add_argument("--json", type=Path, help="Take in and write the numbers here, beside those of other runs.")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.work, given.folder, given.counts[0])
        return
    found = json.loads(given.json.read_text()) if given.json and given.json.exists() else []
    folders = {n: Path(tempfile.mkdtemp(prefix=f"scale-{n}-", dir=given.folder)) for n in sorted(given.counts)}
    for stage in given.stages:
        for run in measured(stage, folders):
            found = [old for old in found if (old["stage"], old["n"]) != (stage, run["n"])]
            smaller = [old for old in found if old["stage"] == stage and old["n"] < run["n"]]
            print(line(run, max(smaller, key=lambda old: old["n"], default=None)), flush=True)
            found.append(run)
        if given.json:
            given.json.write_text(json.dumps(found, indent=1))
    for folder in folders.values():
        shutil.rmtree(folder)
    summary(found)


if __name__ == "__main__":
    main()
