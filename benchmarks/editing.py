"""What it costs to learn an edit, and to edit photos with their certificates: python benchmarks/editing.py OUT PHOTO...

OUT holds generator.h5, latents.h5, density.h5, editor.h5 and judges.h5, as `make demo` and `fg judges` write them; the
photos are of different faces, of which the first only warms up. latent_wasserstein learns one attribute of 600 codes,
all steps; its peer is geomloss in a loop written by hand: as many steps, batches and held-out losses. Photos are edited
as by `fg edit -a NAME=1`; the peer cuts, inverts, edits and decodes them, without certificate or files. What `fg edit`
takes for a first photo reads the models, too. CPU seconds stand beside wall time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from geomloss import SamplesLoss

from fgcli import artifacts
from fgcli.editors import load
from fgcli.editors.latent_wasserstein import LatentWasserstein
from fgcli.editors.matching import Problem
from fgcli.faces.cutter import Cutter
from fgcli.generators import store
from fgcli.reports.pictures import decoded
from fgcli.stages import pictures
from fgcli.subjects import HeadFiles, projector

CODES, BATCH, HELD_OUT, BLUR = 600, 512, 0.25, 0.05


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of one call, whose lines are not shown."""
    wall, cpu = time.perf_counter(), time.process_time()
    with contextlib.redirect_stderr(io.StringIO()):
        work()
    return time.perf_counter() - wall, time.process_time() - cpu


def bare(source: np.ndarray, target: np.ndarray, steps: int) -> None:
    """An affine map of each layer, learned by geomloss and nothing else."""
    x, y = torch.from_numpy(source), torch.from_numpy(target)
    size = x[0].numel()
    loss = SamplesLoss("sinkhorn", p=2, blur=BLUR * (2 * size) ** 0.5, backend="tensorized")
    (i, j), (layers, d) = (round(len(side) * (1 - HELD_OUT)) for side in (x, y)), x.shape[1:]
    w, b = torch.zeros(layers, d, d, requires_grad=True), torch.zeros(layers, d, requires_grad=True)
    adam = torch.optim.Adam([w, b], 1e-3)

    def value(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        edited = some + torch.einsum("lij,nlj->nli", w, some) + b
        return loss(edited.flatten(1), others.flatten(1)) / size

    for _ in range(steps):
        adam.zero_grad()
        value(x[:i][:BATCH], y[:j][:BATCH]).backward()
        adam.step()
        with torch.no_grad():
            value(x[i:], y[j:])


def main() -> None:
    """Prints a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--attribute", default="smiling")
    parser.add_argument("--steps", type=int, default=1000)
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    out, steps = given.out, given.steps
    shape = artifacts.rows(out / "latents.h5", "codes").shape[1:]
    z = np.random.default_rng(0).standard_normal((CODES, *shape)).astype(np.float32)
    half, none = CODES // 2, np.zeros((CODES // 2, 0), np.int8)
    task = Problem("drawn", z[:half], z[half:] + np.float32(0.3), none, none)
    editor = LatentWasserstein(steps=steps, patience=steps, batch=BATCH, blur=BLUR, held_out=HELD_OUT)
    LatentWasserstein(steps=2, patience=2).fit(task, 0)
    learned = timed(lambda: editor.fit(task, 0))
    show(f"latent_wasserstein, {steps} steps", learned)
    show("geomloss in a loop by hand", timed(lambda: bare(task.source, task.target, steps)), learned)

    model, editors = store.load(out / "generator.h5"), load(out / "editor.h5")
    cutter, project = Cutter.of(out / "generator.h5"), projector(out / "latents.h5", model)
    heads = HeadFiles(out / "flame.h5", out / "regressor.h5")
    paths = (out / f"{n}.h5" for n in ("generator", "editor", "latents"))
    files = pictures.Files(*paths, heads, out / "judges.h5", out / "density.h5")
    [step] = pictures.learned(editors, pictures.asked(None, [f"{given.attribute}=1"], ""))

    def edit(photos: list[str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            more = {"page": None, "recipe": None, "paste_back": True, "face": "largest", "files": files}
            pictures.edit(photos, [step], None, output=Path(folder, "edit.png"), **more)

    def plain(photos: list[str]) -> None:
        for photo in photos:
            code = project(cutter.photo(Path(photo)).image)
            decoded(model, code)
            decoded(model, editors.edit(step.method, code, step.attribute, 1.0))

    warm, *photos = given.photos
    plain([warm])
    edit([warm])
    first, all_of_them = timed(lambda: edit(photos[:1])), timed(lambda: edit(photos))
    bare_edit = timed(lambda: plain(photos[1:]))
    show("fg edit, the first photo, models read", first)
    further = len(photos) - 1
    each = tuple((a - b) / further for a, b in zip(all_of_them, first, strict=True))
    show("fg edit, each further photo", each)
    show("cut, invert, edit, decode", tuple(s / further for s in bare_edit), each)


def show(name: str, took: tuple[float, ...], fg: tuple[float, ...] | None = None) -> None:
    """A line; of a peer, how many times its time fg took."""
    ratio = f"   fg takes {fg[0] / took[0]:.2f} times as long, {fg[1] / took[1]:.2f} of CPU" if fg else ""
    print(f"{name:<40}{took[0]:8.2f} s{took[1]:8.2f} CPU s{ratio}", flush=True)


if __name__ == "__main__":
    main()
