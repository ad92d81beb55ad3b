"""How near each way of fitting comes to known heads: 200 fresh renders, written to docs/heads.md between its marks.

    dvc repro pipelines/heads/dvc.yaml                                    # data, training and table
    python benchmarks/head_fits.py --regressor out/regressor.h5           # the table of another regressor

Face-vertex error: neutral pose, after similarity alignment, % of the head's height, median over faces. Landmarks:
mean distance of the head's 51 inner points to the true ones, px of a 256 px picture, median. Rotation: degrees, median.
Landmarks are dlib's unless said otherwise, less its bias on renders of the mean head (see fg flame). One thread.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from torch import Tensor

from fgcli import artifacts, config
from fgcli.geometry.camera import project
from fgcli.geometry.extract import Fit, Regress
from fgcli.geometry.extraction import Extraction
from fgcli.geometry.head import Head, rotation_matrices
from fgcli.geometry.landmark_fit import LandmarkFit
from fgcli.geometry.parameters import Parameters
from fgcli.geometry.photometric_fit import PhotometricFit
from fgcli.stages import flame, heads

FRESH, SEED, SIZES, FRAMING = 200, 987654, (64, 128, 224), 1.25
PAGE = Path(__file__).parents[1] / "docs" / "heads.md"
BEGIN, END = "<!-- table: benchmarks/head_fits.py -->\n", "<!-- end of table -->\n"


def renders(folder: Path, size: int, count: int, framing: float = FRAMING) -> tuple[Any, np.ndarray, np.ndarray]:
    """Truth, images and masks of fresh heads of one size."""
    fresh = {"n": count, "size": size, "seed": SEED + size, "per_person": 1, "framing": framing}
    values = config.defaults()["heads"] | fresh
    params = config.section({"heads": values}, "heads", heads.Params)
    faces, known = folder / f"faces{size}.h5", folder / f"flame{size}.h5"
    heads.run(faces, known, folder / f"sheet{size}.png", params=params)
    return artifacts.load(known), np.array(artifacts.rows(faces, "images")), np.array(artifacts.rows(faces, "masks"))


def found(images: np.ndarray) -> np.ndarray:
    """dlib's landmarks (n, 68, 2), px; NaN where it finds no face."""
    from fgcli.faces.dlib_analyser import DlibAnalyser

    finder, marks = DlibAnalyser(), np.full((len(images), 68, 2), np.nan)
    for i, image in enumerate(images):
        faces = finder.analyse(np.ascontiguousarray(image))
        if len(faces) == 1:
            marks[i] = faces[0].landmarks
    return marks


def surface_error(head: Head, p: Parameters, truth: Parameters) -> np.ndarray:
    """(n,) root mean squared distance of the face's vertices after similarity alignment, % of the head's height."""
    face, still = torch.from_numpy(head.regions["face"]), torch.zeros_like(p.pose)
    ours = head.vertices(p.shape, p.expression, still)[:, face].double()
    true = head.vertices(truth.shape, truth.expression, still)[:, face].double()
    ours, true = ours - ours.mean(1, keepdim=True), true - true.mean(1, keepdim=True)
    u, s, v = torch.linalg.svd(ours.mT @ true)  # Umeyama 1991
    sign = torch.ones_like(s)
    sign[:, 2] = torch.linalg.det(u @ v)
    scale = (s * sign).sum(1) / ours.square().sum((1, 2))
    aligned = scale[:, None, None] * ours @ (u * sign[:, None]) @ v
    height = head.template[:, 1].max() - head.template[face, 1].min()
    return ((aligned - true).square().sum(2).mean(1).sqrt() * 100 / height).numpy()


def rotation_error(p: Parameters, truth: Parameters) -> np.ndarray:
    """(n,) angle between the heads' rotations, degrees."""
    between = rotation_matrices(p.pose[:, :3]).mT @ rotation_matrices(truth.pose[:, :3])
    cosine = (between.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
    return cosine.clamp(-1, 1).acos().rad2deg().numpy()


def landmark_error(head: Head, p: Parameters, truth: Parameters) -> np.ndarray:
    """(n,) mean distance of the inner landmarks, px of 256."""

    def points(q: Parameters) -> Tensor:
        return project(head.landmark_points(q.shape, q.expression, q.pose), q.camera)[:, 17:, :2]

    return ((points(p) - points(truth)).norm(dim=2).mean(1) * 128).numpy()


def fits(head: Head, regressor: Path, bias: np.ndarray, framing: float) -> dict[str, tuple[str, Extraction]]:
    """Every method: whose landmarks it is given, and the extraction."""
    by_hand, seen = Fit(head, regressor, framing), Regress(head, regressor, framing)
    marks, exact, pixels, none = LandmarkFit(), LandmarkFit(sigma=0.004), PhotometricFit(), np.zeros((68, 2))
    return {
        "mean head": ("dlib", Extraction(head, by_hand, None, None, bias)),
        "landmarks": ("dlib", Extraction(head, by_hand, marks, None, bias)),
        "landmarks, not de-biased": ("dlib", Extraction(head, by_hand, marks, None, none)),
        "true landmarks": ("true", Extraction(head, by_hand, exact, None, none)),
        "regress": ("dlib", Extraction(head, seen, None, None, bias)),
        "regress, landmarks": ("dlib", Extraction(head, seen, marks, None, bias)),
        "landmarks, 60 photometric steps": ("dlib", Extraction(head, by_hand, marks, pixels, bias)),
        "regress, 60 photometric steps": ("dlib", Extraction(head, seen, None, pixels, bias)),
    }


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regressor", type=Path, default=Path("out/heads_full/regressor.h5"))
    parser.add_argument("--folder", type=Path, default=Path("out/heads_full/fresh"), help="takes the fresh renders")
    asked = parser.parse_args()
    folder = asked.folder
    values = config.defaults()["heads"]
    head = config.build({"procedural": "fgcli.geometry.procedural:procedural_head"}, values["head"], "head")
    bias = flame._bias(head, {"name": "dlib"})
    errors: dict[str, list[np.ndarray]] = {}
    missed = 0
    for i, size in enumerate(SIZES):
        truth, images, masks = renders(folder, size, FRESH // 3 + (i < FRESH % 3))
        known = Parameters.from_arrays(truth.arrays)
        marks = {"dlib": found(images), "true": truth["landmarks2d"]}
        kept = np.isfinite(marks["dlib"]).all((1, 2))
        missed += int((~kept).sum())
        for name, (whose, extraction) in fits(head, asked.regressor, bias, FRAMING).items():
            start = time.perf_counter()
            arrays = extraction.fit(images[kept], masks[kept], marks[whose][kept].astype(np.float32))
            took = (time.perf_counter() - start) / kept.sum()
            p, q = Parameters.from_arrays(arrays), known.rows(torch.from_numpy(np.flatnonzero(kept)))
            row = [surface_error(head, p, q), landmark_error(head, p, q), rotation_error(p, q), np.full(len(p), took)]
            errors.setdefault(name, []).append(np.stack(row))
    lines = [
        "| method | face vertices, % | landmarks, px of 256 | rotation, degrees | s a face |",
        "|---|---|---|---|---|",
    ]
    table = {name: np.median(np.concatenate(parts, 1), 1) for name, parts in errors.items()}
    for name, medians in table.items():
        lines.append(f"| {name} | {medians[0]:.2f} | {medians[1]:.2f} | {medians[2]:.1f} | {medians[3]:.3f} |")
    sizes = ", ".join(map(str, SIZES))
    lines.append(f"\n{FRESH} renders of {sizes} px; dlib found no face in {missed} of them, which are left out.")
    text = "\n".join(lines) + "\n"
    print(text)
    keys = ("face_vertices_percent", "landmarks_px256", "rotation_degrees", "seconds")
    told = {name: dict(zip(keys, np.round(row, 4).tolist(), strict=True)) for name, row in table.items()}
    (folder.parent / "fits.json").write_text(json.dumps(told, indent=2))
    if PAGE.exists() and BEGIN in (page := PAGE.read_text()):
        PAGE.write_text(page[: page.index(BEGIN)] + BEGIN + text + page[page.index(END) :])


if __name__ == "__main__":
    main()
