"""CIFAR-10 (Krizhevsky 2009): 60,000 colour photos of ten kinds of thing, 32 x 32 px, in batches."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from fgcli.datasets.files import need, verify_labels
from fgcli.datasets.pictureset import Part, PictureSet, reader
from fgcli.datasets.splits import last_validate
from fgcli.errors import FgError

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
SIDE, PIXELS = 32, 3 * 32 * 32
HELD_OUT = 5
"""One of so many training photos validates, the last: data_batch_5 as published."""


def cifar10(path: str) -> PictureSet:
    """CIFAR-10 as published, for Python (cifar-10-batches-py) or in its binary form (cifar-10-batches-bin).

    Batches that a newer Python or numpy pickled again do as well. The official test photos test; of the others the last
    fifth validates, the last 10,000.

    Args:
        path: that folder, or the one with it.

    Raises:
        FgError: a batch is missing, or is not one.
    """
    first = BATCHES[0]
    found = need("cifar10", Path(path), "cifar-10-batches-py/", "cifar-10-batches-bin/", first, f"{first}.bin")
    folder = found if found.is_dir() else found.parent
    binary = (folder / f"{first}.bin").exists()
    files = [need("cifar10", folder, f"{batch}.bin" if binary else batch) for batch in BATCHES]
    parts, labels = [], []
    for file in files:
        own = _binary(file)[:, 0] if binary else _pickled(file)[0]
        labels.append(verify_labels(file, own, 0, len(CLASSES) - 1))
        parts.append(Part(len(own), partial(_images, file, binary)))
    test, train = parts[-1].count, sum(part.count for part in parts[:-1])
    return PictureSet(
        name="cifar10",
        content="pictures",
        licence="CIFAR-10 (Krizhevsky 2009): no licence stated; made for research.",
        sources=[f"{b}/{i:04d}" for b, part in zip(BATCHES, parts, strict=True) for i in range(part.count)],
        classes=CLASSES,
        labels=np.concatenate(labels),
        side=SIDE,
        read=reader(parts),
        splits=last_validate(train, HELD_OUT) + ["test"] * test,
    )


def _images(file: Path, binary: bool) -> np.ndarray:
    """(n, 32, 32, 3): the files keep whole planes of red, green and blue."""
    planes = _binary(file)[:, 1:] if binary else _pickled(file)[1]
    return planes.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)


def _binary(file: Path) -> np.ndarray:
    """Records (n, 3073) of a class and its picture, mapped, not read."""
    size = file.stat().st_size
    if size % (PIXELS + 1) or not size:
        raise FgError(
            f"{file}: expected records of {PIXELS + 1} bytes (class, picture), found {size} bytes; download it again"
        )
    return np.memmap(file, np.uint8, "r").reshape(-1, PIXELS + 1)


def _pickled(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and planes (n, 3072) of a batch; none of the code that a pickle may name is run."""
    from fgcli.foreign.pickles import load, plain

    found = load(file)
    if not {"data", "labels"} <= set(found):
        raise FgError(f"{file}: expected data and labels, found {', '.join(found) or 'neither'}; take CIFAR-10")
    planes, labels = plain(found["data"]), plain(found["labels"])
    if planes.dtype != np.uint8 or labels.dtype.kind not in "iu" or planes.shape != (*labels.shape[:1], PIXELS):
        raise FgError(
            f"{file}: expected a picture of {PIXELS} bytes for each label, found {planes.dtype} {planes.shape} for "
            f"{labels.dtype} {labels.shape}; download it again"
        )
    return labels, planes
