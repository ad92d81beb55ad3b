"""Rasteriser and renderer against ray casting with trimesh and embree: python benchmarks/rendering.py

Both see the procedural head, in other poses and shapes in each picture, orthographically through the same pixels. The
peer builds its ray tree, as the head has moved, and casts one ray per pixel for the face it hits; "cast" leaves the
tree out. fg's rasteriser gives faces, differentiable weights and depth; the render adds normals, texture and light. One
thread; every repeat runs all of them in turn; medians of ms per picture are shown, and the peer's time over fg's. Also
shown: on how many of the pixels that either covers both find the same face; the rest lie on edges. Needs:
pip install trimesh embreex
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = "1"  # before torch

import numpy as np
import torch
import trimesh
from torch import Tensor
from trimesh.ray.ray_pyembree import RayMeshIntersector

from fgcli.heads.camera import project
from fgcli.heads.head import Head
from fgcli.heads.light import directional
from fgcli.heads.rasteriser import rasterise
from fgcli.heads.render import render
from fgcli.procedural import procedural_head

Scene = tuple[Tensor, Tensor, Tensor, Tensor]


def make_scene(head: Head, n: int) -> Scene:
    """Vertices, cameras, textures and lights of n heads that fill most of their pictures."""
    rng = torch.Generator().manual_seed(0)
    pose = torch.zeros(n, 6)
    pose[:, :3] = (torch.rand(n, 3, generator=rng) - 0.5) * torch.tensor([0.4, 1.0, 0.3])
    vertices = head.vertices(torch.randn(n, 24, generator=rng), 0.5 * torch.randn(n, 10, generator=rng), pose)
    low, high = vertices.amin(1), vertices.amax(1)
    camera = torch.cat([1.9 / (high - low).amax(1, keepdim=True), -(low + high)[:, :2] / 2], 1)
    texture = head.albedo(torch.randn(n, 20, generator=rng))
    return vertices, camera, texture, directional((0.4, 0.5, 1.0)).expand(n, -1, -1)


def rays(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Origins and directions of the rays through all pixels' centres, y up."""
    x = (np.arange(size) + 0.5) * 2 / size - 1
    origins = np.stack([np.tile(x, size), -np.repeat(x, size), np.full(size**2, 9.0)], 1)
    return origins, np.tile([0.0, 0.0, -1.0], (size**2, 1))


def make_meshes(ndc: Tensor, faces: Tensor) -> list[trimesh.Trimesh]:
    flipped = (ndc * torch.tensor([1.0, -1.0, 1.0])).numpy()
    return [trimesh.Trimesh(points, faces.numpy(), process=False) for points in flipped]


def cast(intersectors: list[RayMeshIntersector], size: int) -> np.ndarray:
    """The face that each pixel's ray hits first, (n, h, w), -1 for none."""
    hits = [one.intersects_first(*rays(size)) for one in intersectors]
    return np.stack(hits).reshape(-1, size, size)


def ways(head: Head, scene: Scene, size: int) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    vertices, camera, texture, light = scene
    ndc = project(vertices, camera)
    meshes = make_meshes(ndc, head.faces)
    built = [RayMeshIntersector(mesh) for mesh in meshes]
    return {
        "peer": lambda: cast([RayMeshIntersector(mesh) for mesh in meshes], size),
        "cast": lambda: cast(built, size),
        "rasterise": lambda: rasterise(ndc, head.faces, size),
        "render": lambda: render(head, vertices, camera, size, texture, light).image,
    }


def agreement(head: Head, scene: Scene, size: int) -> float:
    """Share of the pixels covered by either in which both find the same face.

    Left out: pixels whose ray enters the open neck and hits the inside of a face, which fg does not draw.
    """
    ndc = project(*scene[:2])
    meshes = make_meshes(ndc, head.faces)
    theirs = cast([RayMeshIntersector(mesh) for mesh in meshes], size)
    ours = rasterise(ndc, head.faces, size).face.numpy()
    inside = [(hit >= 0) & (mesh.face_normals[hit, 2] <= 0) for mesh, hit in zip(meshes, theirs, strict=True)]
    counted = ((ours >= 0) | (theirs >= 0)) & ~np.stack(inside)
    return float((ours == theirs)[counted].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(1)
    head = procedural_head()
    cases = [(n, size) for n in given.batches for size in given.sizes]
    found: dict[tuple[int, int], dict[str, list[float]]] = {case: {} for case in cases}
    for case in cases:
        timed = ways(head, make_scene(head, case[0]), case[1])
        for repeat in range(given.repeats + 1):
            for name, way in timed.items():
                start = time.perf_counter()
                way()
                if repeat:  # the first warms up
                    found[case].setdefault(name, []).append((time.perf_counter() - start) / case[0] * 1e3)
    print(f"{len(head.faces):,} faces, ms per picture, {torch.get_num_threads()} thread, torch {torch.__version__}")
    print(
        f"{'batch':>5}{'px':>5}{'trimesh':>10}{'cast':>8}{'rasterise':>12}{'':>14}{'render':>9}{'':>9}{'same face':>11}"
    )
    for case in cases:
        peer, alone, ours, whole = (statistics.median(values) for values in found[case].values())
        same = agreement(head, make_scene(head, case[0]), case[1])
        ratios = f"{peer / ours:>6.1f} x{alone / ours:>4.1f} x", f"{peer / whole:>7.1f} x"
        print(f"{case[0]:>5}{case[1]:>5}{peer:>10.2f}{alone:>8.2f}{ours:>12.2f}{ratios[0]}", end="")
        print(f"{whole:>9.2f}{ratios[1]}{same:>11.2%}")


if __name__ == "__main__":
    main()
