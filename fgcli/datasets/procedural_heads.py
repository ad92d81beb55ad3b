"""Rendered heads over clouds and photos, with exact masks, landmarks, parameters and attributes.

Everything of picture i is drawn from (seed, i), and of person p from (seed, p): parts can be made in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from fgcli import archives
from fgcli.config import build
from fgcli.datasets.files import photos_below
from fgcli.errors import FgError
from fgcli.fitting.extract import identity
from fgcli.heads import HEADS
from fgcli.heads.camera import project, to_pixels
from fgcli.heads.face_mask import face_mask
from fgcli.heads.head import Head
from fgcli.heads.parameters import Parameters
from fgcli.heads.render import render as draw
from fgcli.procedural.attributes import RULES, attributes
from fgcli.procedural.glasses import Pair, draw_pair, put_on
from fgcli.procedural.population import Population

LICENCE = "Rendered by fg from a head made of formulas: no person's data."
ROWS = 64
"""Pictures in a part: what a kill can lose per process."""
FINE = 2
"""Pictures are rendered so many times finer and averaged: no stairs at edges."""
PERSON, MOMENT, PLACE, GLASSES = 1, 2, 3, 4
"""Streams of randomness."""
BESPECTACLED = 0.15
"""Share of the people who wear glasses, in all their pictures."""


@dataclass(frozen=True)
class Chunk:
    """Pictures first, first + 1, … and the file that takes them."""

    first: int
    count: int
    file: Path


@dataclass(frozen=True)
class Scenes:
    """What one process renders with."""

    head: Head
    population: Population
    settings: Mapping[str, Any]
    photos: list[np.ndarray]

    @property
    def attribute_names(self) -> list[str]:
        """What its parameters tell of a head, and whether it wears glasses."""
        return [*RULES, "eyeglasses"]

    @property
    def identity(self) -> dict[str, Any]:
        """Which head it is."""
        return identity(self.head, self.settings["head"])


def scenes(settings: Mapping[str, Any]) -> Scenes:
    """The tools of one process; one thread each, so that bytes do not depend on their number."""
    torch.set_num_threads(1)
    head = build(HEADS, settings["head"], "heads.head")
    return Scenes(
        head,
        Population(framing=settings["framing"], modes=settings["shape_modes"]),
        settings,
        _backgrounds(settings["backgrounds"]),
    )


def chunks(n: int, seed: int, folder: Path) -> list[Chunk]:
    """All pictures, ROWS at a time."""
    return [Chunk(i, min(ROWS, n - i), folder / f"{seed}-{i:09d}.npz") for i in range(0, n, ROWS)]


def split_of(people: np.ndarray, val: float, test: float) -> np.ndarray:
    """Split (n,) uint8 of every picture, by person: 0 train, 1 val, 2 test, evenly spread over the people."""
    at = (people * 0.6180339887498949) % 1.0  # the golden ratio's multiples fill [0, 1) evenly
    return np.where(at < test, 2, np.where(at < test + val, 1, 0)).astype(np.uint8)


def render(tools: Scenes, chunk: Chunk) -> dict[str, np.ndarray]:
    """Arrays of a part: pictures, masks, landmarks, attributes, parameters."""
    seed, each = tools.settings["seed"], tools.settings["per_person"]
    numbers = range(chunk.first, chunk.first + chunk.count)
    people = [tools.population.person(tools.head, np.random.default_rng([seed, PERSON, i // each])) for i in numbers]
    moments = [tools.population.moment(tools.head, np.random.default_rng([seed, MOMENT, i])) for i in numbers]
    parameters = tools.population.parameters(tools.head, people, moments)
    worn = [glasses(np.random.default_rng([seed, GLASSES, i // each])) for i in numbers]
    some = [slice(i, i + 16) for i in range(0, chunk.count, 16)]
    pictures = [_pictures(tools, parameters.rows(i), worn[i], numbers[i]) for i in some]
    arrays = {key: np.concatenate([part[key] for part in pictures]) for key in pictures[0]}
    eyeglasses = np.array([[pair is not None] for pair in worn], np.int8)
    arrays["attributes"] = np.concatenate([attributes(tools.head, parameters), eyeglasses], 1)
    return arrays | {name: value.numpy() for name, value in vars(parameters).items()}


def glasses(rng: np.random.Generator) -> Pair | None:
    """A person's glasses; None: wears none."""
    return draw_pair(rng) if rng.random() < BESPECTACLED else None


def _pictures(tools: Scenes, p: Parameters, worn: list[Pair | None], numbers: range) -> dict[str, np.ndarray]:
    """images, masks and landmarks of some rows."""
    head, size, seed = tools.head, tools.settings["size"], tools.settings["seed"]
    vertices = head.vertices(p.shape, p.expression, p.pose)
    drawn = draw(head, vertices, p.camera, size * FINE, head.albedo(p.texture), p.light)
    behind = [background(tools.photos, size, np.random.default_rng([seed, PLACE, i])) for i in numbers]
    image, mask = put_on(head, p, worn, drawn)
    cover = F.avg_pool2d(mask, FINE)
    front = F.avg_pool2d(image.clamp(0, 1) * mask, FINE)
    images = front + (1 - cover) * torch.from_numpy(np.stack(behind)).movedim(3, 1)
    face = F.avg_pool2d(face_mask(head, drawn), FINE)
    ndc = project(head.landmarks(vertices, p.pose), p.camera)
    return {
        "images": (images * 255).round().clamp(0, 255).to(torch.uint8).movedim(1, 3).numpy(),
        "masks": ((face[:, 0] >= 0.5).to(torch.uint8) * 255).numpy(),
        "landmarks": to_pixels(ndc, size).numpy(),
    }


def background(photos: list[np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray:
    """What stands behind a head, float32 (size, size, 3) in [0, 1]: clouds, or a piece of a photo."""
    if rng.random() < 0.5:
        tone = rng.uniform(0.1, 0.9) + rng.normal(0, 0.08, (1, 3, 1, 1))
        coarse = tone + rng.normal(0, 0.2, (1, 1, 5, 5)) + rng.normal(0, 0.07, (1, 3, 5, 5))
        fine = rng.normal(0, 0.05, (1, 1, 12, 12)) + rng.normal(0, 0.02, (1, 3, 12, 12))
        layers = [F.interpolate(torch.from_numpy(x), (size, size), mode="bicubic") for x in (coarse, fine)]
        return (layers[0] + layers[1])[0].movedim(0, 2).clamp(0, 1).float().numpy()
    photo = photos[rng.integers(len(photos))]
    side = int(rng.uniform(0.3, 1) * min(photo.shape[:2]))
    top, left = (int(rng.integers(0, s - side + 1)) for s in photo.shape[:2])
    part = torch.tensor(photo[top : top + side, left : left + side]).movedim(2, 0)[None].float() / 255
    piece = F.interpolate(part, (size, size), mode="bilinear", antialias=True)[0].movedim(0, 2).numpy()
    return piece[:, ::-1].copy() if rng.random() < 0.5 else piece


def _backgrounds(path: str) -> list[np.ndarray]:
    """Photos, uint8 (h, w, 3), at most 640 px: a folder's, or the two of scikit-learn."""
    if not path:
        from sklearn.datasets import load_sample_images

        return list(load_sample_images().images)
    from PIL import Image

    files = photos_below(Path(path))
    if not files:
        raise FgError(f"{path}: expected a folder of photos for heads.backgrounds, found none; check the path")
    found = []
    for file in files:
        try:
            with Image.open(archives.opened(file)) as photo:
                photo.thumbnail((640, 640))
                found.append(np.asarray(photo.convert("RGB")))
        except OSError as error:
            raise FgError(
                f"{file}: expected a photo for heads.backgrounds, found none that can be read; remove it"
            ) from error
    return found
