"""CelebA-HQ (Karras et al. 2018) with the masks and attributes of CelebAMask-HQ (Lee et al. 2020)."""

from __future__ import annotations

from pathlib import Path

from fgcli.datasets.files import need, verify_photos
from fgcli.datasets.photoset import Photo, PhotoSet
from fgcli.datasets.tables import attribute_table, pairs
from fgcli.errors import FgError

PARTS = (
    "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip", "hair", "hat",
)  # fmt: skip
"""Parts that make up the face mask; ears, earrings, neck, necklace and cloth are left out."""

LAST_TRAIN, LAST_VAL = 162_770, 182_637
"""Numbers of the last photos of CelebA's official train and val parts."""


def celeba_hq(path: str) -> PhotoSet:
    """CelebAMask-HQ as published; the splits are CelebA's, of the photo that each was made from.

    identity_CelebA.txt in the same folder is used when it is there.

    Args:
        path: folder with CelebA-HQ-img, CelebAMask-HQ-mask-anno and the tables, or the one with it, CelebAMask-HQ.

    Raises:
        FgError: a part of the layout is missing or of another form.
    """
    root = need("celeba_hq", Path(path), "CelebAMask-HQ/CelebAMask-HQ/", "CelebAMask-HQ/", "./")
    images = need("celeba_hq", root, "CelebA-HQ-img/")
    annotations = need("celeba_hq", root, "CelebAMask-HQ-mask-anno/")
    files, names, table = attribute_table(need("celeba_hq", root, "CelebAMask-HQ-attribute-anno.txt"))
    verify_photos("celeba_hq", images, files)
    origin = _origins(need("celeba_hq", root, "CelebA-HQ-to-CelebA-mapping.txt"), files)
    people = pairs(root / "identity_CelebA.txt") if (root / "identity_CelebA.txt").exists() else None
    masks = _masks(annotations)
    return PhotoSet(
        name="celeba_hq",
        licence="CelebA-HQ and CelebAMask-HQ: for non-commercial research only, not to be passed on.",
        sources=files,
        photos=[Photo(images / file, masks=masks.get(int(Path(file).stem), ())) for file in files],
        attribute_names=names,
        attributes=table,
        identities=[people.get(origin[file], "") for file in files] if people else None,
        splits=[_split(origin[file]) for file in files],
    )


def _origins(path: Path, files: list[str]) -> dict[str, str]:
    """CelebA's file of each file: lines `idx orig_idx orig_file` under a header."""
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()[1:] if line.strip()]
    if any(len(row) != 3 or not Path(row[2]).stem.isdecimal() for row in rows):
        raise FgError(f"{path}: expected lines of idx, orig_idx and orig_file, found others; take the published file")
    found = {f"{row[0]}.jpg": row[2] for row in rows}
    missing = [f for f in files if f not in found]
    if missing:
        raise FgError(f"{path}: expected a line for every photo, found none for {missing[0]} ({len(missing)} missing)")
    return found


def _split(origin: str) -> str:
    number = int(Path(origin).stem)
    return "train" if number <= LAST_TRAIN else "val" if number <= LAST_VAL else "test"


def _masks(folder: Path) -> dict[int, tuple[Path, ...]]:
    """Files NNNNN_part.png of the wanted parts, by photo; no photo has all of them."""
    found: dict[int, list[Path]] = {}
    for path in sorted(folder.glob("*/*.png")):
        number, _, part = path.stem.partition("_")
        if part in PARTS and number.isdecimal():
            found.setdefault(int(number), []).append(path)
    if not found:
        raise FgError(f"{folder}: expected masks 0/00000_skin.png and so on, found none; unpack them")
    return {number: tuple(paths) for number, paths in found.items()}
