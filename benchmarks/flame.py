"""FLAME's forward pass, alone and with the backward pass, against smplx on the same file: python benchmarks/flame.py

The script writes a model of random numbers in FLAME's layout and reads it both ways. Both turn 100 shape and 50
expression coefficients and the rotations of all five joints into 5,023 vertices; smplx always adds its landmarks, so
ours are computed too. One thread, float32; every repeat runs all ways in turn; medians are shown.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import pickle  # noqa: TID251 - the peer's format
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor

from fgcli.foreign.flame_files import flame_head, import_file
from fgcli.heads.head import Head

VERTICES, FACES = 5023, 9976
SIZES = {"shape": 100, "expression": 50, "pose": 6, "neck": 3, "eyes": 6}
PEER = "smplx FLAME"


def write_files(folder: Path) -> None:
    """FLAME_NEUTRAL.npz and the two files of landmarks, as smplx reads them."""
    rng = np.random.default_rng(0)
    np.savez(
        folder / "FLAME_NEUTRAL.npz",
        v_template=rng.normal(0, 0.1, (VERTICES, 3)),
        f=rng.integers(0, VERTICES, (FACES, 3)).astype(np.uint32),
        shapedirs=rng.normal(0, 1e-3, (VERTICES, 3, 400)),
        posedirs=rng.normal(0, 1e-3, (VERTICES, 3, 36)),
        J_regressor=rng.dirichlet(np.ones(VERTICES), 5),
        weights=rng.dirichlet(np.ones(5), VERTICES),
        kintree_table=np.array([[0xFFFFFFFF, 0, 1, 1, 1], range(5)], np.uint32),
    )
    static, dynamic = (
        {"lmk_face_idx": rng.integers(0, FACES, shape), "lmk_b_coords": rng.dirichlet(np.ones(3), shape)}
        for shape in (51, (79, 17))
    )
    (folder / "flame_static_embedding.pkl").write_bytes(pickle.dumps(static))
    np.save(folder / "flame_dynamic_embedding.npy", dynamic, allow_pickle=True)


def ours(head: Head, given: dict[str, Tensor]) -> Tensor:
    """Vertices and landmarks, summed up."""
    vertices = head.vertices(given["shape"], given["expression"], given["pose"], given["neck"], given["eyes"])
    return vertices.square().sum() + head.landmarks(vertices, given["pose"]).square().sum()


def theirs(model: torch.nn.Module, given: dict[str, Tensor]) -> Tensor:
    """The same of smplx."""
    found = model(
        betas=given["shape"],
        expression=given["expression"],
        global_orient=given["pose"][:, :3],
        jaw_pose=given["pose"][:, 3:],
        neck_pose=given["neck"],
        leye_pose=given["eyes"][:, :3],
        reye_pose=given["eyes"][:, 3:],
    )
    return found.vertices.square().sum() + found.joints[:, 5:].square().sum()


def milliseconds(work: Callable[[], object], least_s: float) -> float:
    """Of one call, over calls of at least `least_s` together."""
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < least_s:
        work()
        count += 1
    return (time.perf_counter() - start) / count * 1e3


def both(total: Callable[[dict[str, Tensor]], Tensor], given: dict[str, Tensor]) -> dict[str, Callable[[], object]]:
    """The forward pass, and the forward and backward pass."""
    learnt = {key: value.clone().requires_grad_() for key, value in given.items()}

    def forward() -> None:
        with torch.no_grad():
            total(given)

    return {
        "forward": forward,
        "forward + backward": lambda: torch.autograd.grad(total(learnt), list(learnt.values())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.3, help="of each way in each repeat")
    options = parser.parse_args()
    import smplx

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FG_ASSETS"] = str(Path(folder, "assets"))
        write_files(Path(folder))
        for name in ("FLAME_NEUTRAL.npz", "flame_static_embedding.pkl", "flame_dynamic_embedding.npy"):
            import_file(Path(folder, name))
        head, peers = flame_head(contour_sign="-"), {}
        sizes = {"num_betas": SIZES["shape"], "num_expression_coeffs": SIZES["expression"], "use_face_contour": True}
        with contextlib.redirect_stdout(io.StringIO()):
            for batch in (1, 16):
                peers[batch] = smplx.FLAME(folder, gender="neutral", ext="npz", batch_size=batch, **sizes)
    print(f"{VERTICES} vertices, {torch.get_num_threads()} thread, torch {torch.__version__}, ms per call")
    print(f"{'':<32}{'fg':>8}{'smplx':>8}{'faster':>9}")
    for batch, peer in peers.items():
        rng = torch.Generator().manual_seed(0)
        given = {key: 0.3 * torch.randn(batch, size, generator=rng) for key, size in SIZES.items()}
        assert torch.allclose(ours(head, given), theirs(peer, given), rtol=1e-5)
        ways = {"fg": both(lambda g: ours(head, g), given), PEER: both(lambda g, p=peer: theirs(p, g), given)}
        for kind in ways["fg"]:
            found: dict[str, list[float]] = {name: [] for name in ways}
            for repeat in range(options.repeats + 1):
                for name, way in ways.items():
                    measured = milliseconds(way[kind], options.seconds)
                    if repeat:
                        found[name].append(measured)
            fg, other = (statistics.median(found[name]) for name in ("fg", PEER))
            print(f"{f'batch {batch}, {kind}':<32}{fg:>8.2f}{other:>8.2f}{other / fg:>7.1f} x")


if __name__ == "__main__":
    main()
