"""CelebA (Liu, Luo, Wang, Tang 2015): 202,599 aligned photos of 10,177 people, 40 attributes."""

from __future__ import annotations

from pathlib import Path

from fgcli.datasets.files import need, verify_photos
from fgcli.datasets.photoset import Photo, PhotoSet
from fgcli.datasets.tables import attribute_table, cover, pairs
from fgcli.errors import FgError

PARTITION = {"0": "train", "1": "val", "2": "test"}


def celeba(path: str) -> PhotoSet:
    """CelebA as published: img_align_celeba/ and three tables, all in `path` or in its Img, Anno and Eval.

    Raises:
        FgError: a part of the layout is missing or of another form.
    """
    root = Path(path)
    images = need("celeba", root, "img_align_celeba", "Img/img_align_celeba")
    listed = need("celeba", root, "list_attr_celeba.txt", "Anno/list_attr_celeba.txt")
    people = need("celeba", root, "identity_CelebA.txt", "Anno/identity_CelebA.txt")
    parts = need("celeba", root, "list_eval_partition.txt", "Eval/list_eval_partition.txt")
    files, names, table = attribute_table(listed)
    verify_photos("celeba", images, files)
    splits = cover(parts, pairs(parts), files)
    if not set(splits) <= PARTITION.keys():
        raise FgError(f"{parts}: expected 0, 1 or 2 for each photo, found other values")
    return PhotoSet(
        name="celeba",
        licence="CelebA: for non-commercial research only, not to be passed on.",
        sources=files,
        photos=[Photo(images / file) for file in files],
        attribute_names=names,
        attributes=table,
        identities=cover(people, pairs(people), files),
        splits=[PARTITION[s] for s in splits],
    )
