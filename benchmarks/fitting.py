"""What a face costs, one thread: python benchmarks/fitting.py

The guess by the regressor, the fit to landmarks, 60 photometric steps at 64 px, a textured and lit render; beside
them, in the same run, what the peers need for a part of it: trimesh with embree for one picture of face ids (rays
through all pixels of the same mesh, tree built anew), and smplx's FLAME for one forward pass. Every repeat runs all in
turn; medians of ms per face are shown, and how many times the peer's one step fits into ours.
Needs: pip install trimesh embreex smplx
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import flame
import numpy as np
import rendering
import torch

from fgcli.fitting.appearance import solve
from fgcli.fitting.extraction import drawing
from fgcli.fitting.landmark_fit import LandmarkFit, frontal
from fgcli.fitting.photometric_fit import PhotometricFit
from fgcli.fitting.regressor import Regressor, leading
from fgcli.heads.camera import project
from fgcli.heads.render import render
from fgcli.procedural import procedural_head
from fgcli.procedural.population import Population

BATCH, GROUP, SIDE = 64, 16, 64


def ours() -> dict[str, tuple[int, Callable[[], object]]]:
    """What is timed: faces per call, and the call."""
    head, population = procedural_head(), Population()
    people = [population.person(head, np.random.default_rng([1, i])) for i in range(BATCH)]
    moments = [population.moment(head, np.random.default_rng([2, i])) for i in range(BATCH)]
    p = population.parameters(head, people, moments)
    marks = project(head.landmarks(head.vertices(p.shape, p.expression, p.pose), p.pose), p.camera)[..., :2]
    start, network = frontal(head, marks), Regressor(leading(head)).eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # as `Regress` has it
    fewer, one = p.rows(slice(0, GROUP)), p.rows([0])
    drawn = drawing(head, fewer, SIDE)
    images, near = drawn.image.clamp(0, 1), start.rows(slice(0, GROUP)).replace(light=fewer.light)
    pictures = torch.rand(BATCH, 3, SIDE, SIDE)
    vertices, albedo = head.vertices(one.shape, one.expression, one.pose), head.albedo(one.texture)
    pixels = PhotometricFit()
    return {
        "regress": (BATCH, lambda: network(pictures)),
        "regress, one face": (1, lambda: network(pictures[:1])),
        "fit to landmarks": (BATCH, lambda: LandmarkFit()(head, marks, start)),
        "light and albedo": (GROUP, lambda: solve(head, images, drawn, drawn.mask, near)),
        "60 photometric steps": (GROUP, lambda: pixels(head, images, drawn.mask, marks[:GROUP], near)),
        "render, 64 px": (1, lambda: render(head, vertices, one.camera, 64, albedo, one.light).image),
        "render, 256 px": (1, lambda: render(head, vertices, one.camera, 256, albedo, one.light).image),
    }


def peers(folder: Path) -> dict[str, tuple[int, Callable[[], object]]]:
    """trimesh with embree at 64 and 256 px, and smplx's FLAME."""
    import smplx

    head = procedural_head()
    scene = rendering.make_scene(head, 1)
    flame.write_files(folder)
    kinds = {"gender": "neutral", "ext": "npz", "num_betas": 100, "num_expression_coeffs": 50, "use_face_contour": True}
    with contextlib.redirect_stdout(io.StringIO()):
        model = smplx.FLAME(str(folder), batch_size=GROUP, **kinds)
    given = {name: torch.zeros(GROUP, size) for name, size in flame.SIZES.items()}
    forward = flame.both(lambda values: flame.theirs(model, values), given)["forward"]
    return {
        "embree, 64 px": (1, rendering.ways(head, scene, 64)["peer"]),
        "embree, 256 px": (1, rendering.ways(head, scene, 256)["peer"]),
        "smplx forward": (GROUP, forward),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        ways, others = ours(), peers(Path(folder))
        for repeat in range(given.repeats + 1):
            for name, (faces, way) in (ways | others).items():
                start = time.perf_counter()
                with torch.set_grad_enabled(name == "60 photometric steps"):
                    way()
                if repeat:  # the first warms up
                    times.setdefault(name, []).append((time.perf_counter() - start) / faces * 1e3)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print("| | ms a face | " + " | ".join(f"in {name}s of {medians[name]:.2f} ms" for name in others) + " |")
    print("|---|---|" + "---|" * len(others))
    for name in ways:
        ratios = " | ".join(f"{medians[name] / medians[peer]:.2f}" for peer in others)
        print(f"| {name} | {medians[name]:.2f} | {ratios} |")


if __name__ == "__main__":
    main()
