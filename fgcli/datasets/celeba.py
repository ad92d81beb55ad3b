"""CelebA (Liu, Luo, Wang, Tang 2015): 202,599 aligned photos of 10,177 people, 40 attributes."""

from __future__ import annotations

from pathlib import Path

from fgcli.datasets.files import need, verify_photos
from fgcli.datasets.photoset import Photo, PhotoSet
from fgcli.datasets.tables import attribute_table, cover, pairs
from fgcli.errors import FgError

PEOPLE = ("identity_CelebA.txt", "Anno/identity_CelebA.txt")
PARTITION = {"0": "train", "1": "val", "2": "test"}


def celeba(path: str) -> PhotoSet:
    """CelebA as published: img_align_celeba/ and three tables, all in one folder or in its Img, Anno and Eval.

    Kaggle's edition (img_align_celeba/img_align_celeba, list_attr_celeba.csv and list_eval_partition.csv) does as well;
    it knows no people unless identity_CelebA.txt is put beside them.

    Args:
        path: that folder, or the one with it, called celeba (torchvision's) or CelebA.

    Raises:
        FgError: a part of the layout is missing or of another form.
    """
    root = need("celeba", Path(path), "celeba/", "CelebA/", "./")
    images = need("celeba", root, "img_align_celeba/img_align_celeba/", "img_align_celeba/", "Img/img_align_celeba/")
    listed = need("celeba", root, "list_attr_celeba.txt", "Anno/list_attr_celeba.txt", "list_attr_celeba.csv")
    parts = need("celeba", root, "list_eval_partition.txt", "Eval/list_eval_partition.txt", "list_eval_partition.csv")
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
        identities=_people(root, files, listed.suffix == ".csv"),
        splits=[PARTITION[s] for s in splits],
    )


def _people(root: Path, files: list[str], of_kaggle: bool) -> list[str] | None:
    """The person on each photo; None where the table that Kaggle leaves out was not added."""
    if of_kaggle and not any((root / place).is_file() for place in PEOPLE):
        return None
    people = need("celeba", root, *PEOPLE)
    return cover(people, pairs(people), files)
