"""COIL-100 (Nene, Nayar, Murase 1996): 100 objects on a turntable, a photo of 128 x 128 px every 5 degrees."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from fgcli.datasets.files import need
from fgcli.datasets.pictureset import PictureSet
from fgcli.errors import FgError

SIDE = 128
ANGLES = range(0, 360, 5)


def coil100(path: str) -> PictureSet:
    """COIL-100 as published: obj1__0.png to obj100__355.png; some of the objects are enough, with all their angles.

    There is no official split, and papers choose by angle: here the multiples of 10 degrees train (36 per object), of
    the angles between them 5, 45, 85, … degrees validate (9), and the others test (27).

    Args:
        path: folder with the photos, or the one with their folder coil-100 (Kaggle's coil-100/coil-100).

    Raises:
        FgError: no photos, or an object with angles missing.
    """
    folder = need("coil100", Path(path), "coil-100/coil-100/", "coil-100/", "./")
    objects = _objects(folder)
    views = [(i, angle) for i in objects for angle in ANGLES]
    files = [folder / f"obj{i}__{angle}.png" for i, angle in views]

    def read(rows: np.ndarray) -> np.ndarray:
        return np.stack([_picture(files[i]) for i in rows])

    return PictureSet(
        name="coil100",
        content="pictures",
        licence="COIL-100 (Columbia University): for non-commercial research only.",
        sources=[file.name for file in files],
        classes=[f"obj{i}" for i in objects],
        labels=np.repeat(np.arange(len(objects), dtype=np.int32), len(ANGLES)),
        side=SIDE,
        read=read,
        splits=[_split(angle) for _, angle in views],
    )


def _split(angle: int) -> str:
    return "train" if angle % 10 == 0 else "val" if angle % 40 == 5 else "test"


def _objects(folder: Path) -> list[int]:
    """Numbers of the objects, in order, once each has proved to have all its angles."""
    names = (re.fullmatch(r"obj(\d+)__(\d+)\.png", p.name) for p in folder.iterdir())
    found = {(int(name[1]), int(name[2])) for name in names if name}
    objects = sorted({number for number, _ in found})
    if not objects:
        raise FgError(f"{folder}: expected photos obj1__0.png and so on of coil100, found none; unpack them")
    missing = [(i, angle) for i in objects for angle in ANGLES if (i, angle) not in found]
    if missing:
        first = f"obj{missing[0][0]}__{missing[0][1]}.png"
        raise FgError(
            f"{folder}: expected {len(ANGLES)} angles of each object, found {len(missing)} photos missing, "
            f"first {first}; unpack them all"
        )
    return objects


def _picture(file: Path) -> np.ndarray:
    try:
        with Image.open(file) as image:
            found = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, UnidentifiedImageError) as error:
        raise FgError(f"{file}: expected a whole PNG, found damage ({error}); unpack it again") from error
    if found.shape != (SIDE, SIDE, 3):
        h, w = found.shape[:2]
        raise FgError(f"{file}: expected {SIDE} x {SIDE} px, found {w} x {h}; take the published photo")
    return found
