"""How near each way of fitting comes to known heads: 200 fresh renders, written to docs/heads.md between its marks.

    dvc repro pipelines/heads/dvc.yaml                                    # data, training and table
    python benchmarks/head_fits.py --regressor out/regressor.h5           # the table of another regressor

As photos are: dlib finds the landmarks in a picture of the whole head, the face is cut out by them as fg preprocess
cuts it, and the crop (64, 128 or 224 px) is what is fitted. Landmarks are dlib's unless said otherwise; its errors are
those on renders of other random people, all of them where not said otherwise (flame.analyser_errors: 1). Face-vertex
error: neutral pose, after similarity alignment, % of the head's height, median over faces. Landmarks: mean distance of
the head's 51 inner points to the true ones, px of a crop of 256 px, median. Rotation: degrees, median. One thread.
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

from fgcli import artifacts, config
from fgcli.faces.align import apply, crop_transform, warp, warp_mask
from fgcli.faces.landmark_errors import measure
from fgcli.fitting.extract import Fit, Regress
from fgcli.fitting.extraction import Extraction
from fgcli.fitting.landmark_errors import LandmarkErrors
from fgcli.fitting.landmark_fit import LandmarkFit
from fgcli.fitting.photometric_fit import PhotometricFit
from fgcli.fitting.views import axis_angle
from fgcli.heads.head import Head, rotation_matrices
from fgcli.heads.parameters import Parameters
from fgcli.stages import heads

FRESH, SEED, SIZES = 200, 987654, (64, 128, 224)
WIDE, TIGHT = 1.25, 0.8
"""Framing of the picture, with the whole head in it, and of the crop."""
PAGE = Path(__file__).parents[1] / "docs" / "heads.md"
FEWER = 10
"""The other table's identity modes: about four fifths of the variance."""
HEADER = "| method | face vertices, % | landmarks, px of 256 | rotation, degrees | s a face |\n|---|---|---|---|---|"
KEYS = ("face_vertices_percent", "landmarks_px256", "rotation_degrees", "seconds")
BEGIN, END = "<!-- table: benchmarks/head_fits.py -->\n", "<!-- end of table -->\n"


def renders(folder: Path, size: int, count: int, modes: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """Truth, images and masks of fresh heads of one size."""
    fresh = {"n": count, "size": size, "seed": SEED + size, "per_person": 1, "framing": WIDE, "shape_modes": modes}
    values = config.defaults()["heads"] | fresh
    params = config.section({"heads": values}, "heads", heads.Params)
    faces, known = folder / f"faces{modes}-{size}.h5", folder / f"flame{modes}-{size}.h5"
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


def cut(images: np.ndarray, masks: np.ndarray, marks: np.ndarray, size: int) -> tuple[np.ndarray, ...]:
    """Crops and masks, as fg preprocess cuts them, and the maps (n, 2, 3) from picture to crop px."""
    maps = np.stack([crop_transform(points, size, TIGHT) for points in marks])
    crops = np.stack([warp(image, m, size) for image, m in zip(images, maps, strict=True)])
    return crops, np.stack([warp_mask(mask > 127, m, size) for mask, m in zip(masks, maps, strict=True)]), maps


def turned(p: Parameters, maps: np.ndarray) -> Parameters:
    """The truth with the heads tilted as their crops are; the camera is left."""
    tilt = torch.zeros(len(p), 3)
    tilt[:, 2] = torch.from_numpy(-np.arctan2(maps[:, 1, 0], maps[:, 0, 0]))
    axis = axis_angle(rotation_matrices(tilt) @ rotation_matrices(p.pose[:, :3]))
    return p.replace(pose=torch.cat([axis, p.pose[:, 3:]], 1))


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


def fits(head: Head, regressor: Path, errors: LandmarkErrors, modes: int) -> dict[str, tuple[str, Extraction]]:
    """Every method: whose landmarks it is given, and the extraction."""
    by_hand, seen = Fit(head, regressor, TIGHT), Regress(head, regressor, TIGHT)
    marks, exact = LandmarkFit(shape=modes), LandmarkFit(shape=modes, sigma=0.004)
    pixels, none = PhotometricFit(shape=modes), LandmarkErrors.none()
    unbiased = errors.scaled(0)
    return {
        "mean head": ("dlib", Extraction(head, by_hand, None, None, unbiased)),
        "landmarks, as dlib gives them": ("dlib", Extraction(head, by_hand, marks, None, none)),
        "landmarks, less dlib's bias": ("dlib", Extraction(head, by_hand, marks, None, unbiased)),
        "landmarks, dlib's errors expected": ("dlib", Extraction(head, by_hand, marks, None, errors)),
        "true landmarks": ("true", Extraction(head, by_hand, exact, None, none)),
        "regress": ("dlib", Extraction(head, seen, None, None, errors)),
        "regress, landmarks": ("dlib", Extraction(head, seen, marks, None, errors)),
        "landmarks, 60 photometric steps": ("dlib", Extraction(head, by_hand, marks, pixels, errors)),
        "regress, 60 photometric steps": ("dlib", Extraction(head, seen, None, pixels, errors)),
    }


def table(head: Head, regressor: Path, expected: LandmarkErrors, folder: Path, modes: int) -> dict[str, np.ndarray]:
    """Medians of the four columns by method, on fresh renders whose leading identity modes vary."""
    errors: dict[str, list[np.ndarray]] = {}
    for i, size in enumerate(SIZES):
        truth, images, masks = renders(folder, round(size * WIDE / TIGHT), FRESH // 3 + (i < FRESH % 3), modes)
        marks = found(images)
        kept = np.flatnonzero(np.isfinite(marks).all((1, 2)))
        crops, faces, maps = cut(images[kept], masks[kept], marks[kept], size)
        q = turned(Parameters.from_arrays(truth.arrays).rows(kept), maps)
        true, seen = (
            np.stack([apply(m, points) for m, points in zip(maps, given[kept], strict=True)]).astype(np.float32)
            for given in (truth["landmarks2d"], marks)
        )
        for name, (whose, extraction) in fits(head, regressor, expected, modes).items():
            start = time.perf_counter()
            arrays = extraction.fit(crops, faces, true if whose == "true" else seen)
            took = (time.perf_counter() - start) / len(kept)
            off = np.linalg.norm(arrays["landmarks2d"] - true, axis=2)[:, 17:].mean(1) * 256 / size
            p = Parameters.from_arrays(arrays)
            row = [surface_error(head, p, q), off, rotation_error(p, q), np.full(len(p), took)]
            errors.setdefault(name, []).append(np.stack(row))
    return {name: np.median(np.concatenate(parts, 1), 1) for name, parts in errors.items()}


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regressor", type=Path, default=Path("out/heads_full/regressor.h5"))
    parser.add_argument("--folder", type=Path, default=Path("out/heads_full/fresh"), help="takes the fresh renders")
    asked = parser.parse_args()
    folder = asked.folder
    values = config.defaults()["heads"]
    head = config.build({"procedural": "fgcli.procedural:procedural_head"}, values["head"], "head")
    expected = measure(head, {"name": "dlib"})
    sizes, told, text = ", ".join(map(str, SIZES)), {}, ""
    for modes in (head.shape_basis.shape[2], FEWER):
        rows = table(head, asked.regressor, expected, folder, modes)
        told[f"{modes} identity modes"] = {
            n: dict(zip(KEYS, np.round(r, 4).tolist(), strict=True)) for n, r in rows.items()
        }
        text += f"{FRESH} renders of {sizes} px, {modes} identity modes vary and are fitted:\n\n{HEADER}\n"
        text += (
            "".join(f"| {n} | {r[0]:.2f} | {r[1]:.2f} | {r[2]:.1f} | {r[3]:.3f} |\n" for n, r in rows.items()) + "\n"
        )
    print(text)
    (folder.parent / "fits.json").write_text(json.dumps(told, indent=2))
    if PAGE.exists() and BEGIN in (page := PAGE.read_text()):
        PAGE.write_text(page[: page.index(BEGIN)] + BEGIN + "\n" + text + page[page.index(END) :])


if __name__ == "__main__":
    main()
