"""FFHQ (Karras, Laine, Aila 2019): 70,000 photos without labels."""

from __future__ import annotations

from pathlib import Path

from fgcli.datasets.files import need, photos_below
from fgcli.datasets.photoset import Photo, PhotoSet, without_attributes
from fgcli.errors import FgError

FOLDERS = ("images1024x1024/", "thumbnails128x128/")
TRAIN = 60_000
"""The first 60,000 photos train, the others validate: the authors' split."""


def ffhq(path: str) -> PhotoSet:
    """FFHQ as published: images1024x1024/00000/00000.png, or thumbnails128x128; also 00000.png and so on in one folder.

    Args:
        path: folder with images1024x1024 or thumbnails128x128, or one of these.

    Raises:
        FgError: neither folder is there, or a photo's name is no number.
    """
    found = need("ffhq", Path(path), *FOLDERS, "00000/", "00000.png")
    folder = found if f"{found.name}/" in FOLDERS else found.parent
    files = [p for p in photos_below(folder) if p.suffix.lower() == ".png"]
    if not files:
        raise FgError(f"{folder}: expected photos 00000/00000.png and so on, found none; unpack them")
    odd = [p for p in files if not p.stem.isdecimal()]
    if odd:
        raise FgError(f"{odd[0]}: expected a photo named by its number, found another; remove it")
    files.sort(key=lambda p: int(p.stem))
    return PhotoSet(
        name="ffhq",
        licence="FFHQ: CC BY-NC-SA 4.0 as a whole, each photo under its own free licence; non-commercial.",
        sources=[f"{p.stem}.png" for p in files],
        photos=[Photo(p) for p in files],
        attribute_names=[],
        attributes=without_attributes(len(files)),
        splits=["train" if int(p.stem) < TRAIN else "val" for p in files],
    )
