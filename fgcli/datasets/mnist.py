"""MNIST (LeCun, Cortes, Burges 1998): 70,000 written digits of 28 x 28 px, in IDX files."""

from __future__ import annotations

import gzip
import math
import zlib
from functools import partial
from pathlib import Path

import numpy as np

from fgcli.datasets.digits import CLASSES
from fgcli.datasets.files import need, verify_labels
from fgcli.datasets.pictureset import Part, PictureSet, reader
from fgcli.datasets.splits import last_validate
from fgcli.errors import FgError

SIDE, MARGIN = 28, 2
"""The papers put black around the digits to make them 32 px."""
HELD_OUT = 6
"""One of so many training digits validates, the last: 10,000 of 60,000."""
GZIP = b"\x1f\x8b"


def mnist(path: str) -> PictureSet:
    """MNIST as published: train-images-idx3-ubyte, train-labels-idx1-ubyte and the two of t10k, .gz or unpacked.

    Kaggle's names (train-images.idx3-ubyte) do as well. The official test digits test; of the others the last sixth
    validates, the last 10,000.

    Args:
        path: folder with the four files, or with torchvision's MNIST/raw, or MNIST itself.

    Raises:
        FgError: a file is missing, or is not what its name says.
    """
    folder = need("mnist", Path(path), "MNIST/raw/", "raw/", "./")
    parts, labels, sources, splits = [], [], [], []
    for stem, split in (("train", "train"), ("t10k", "test")):
        images, classes = _find(folder, f"{stem}-images", "idx3"), _find(folder, f"{stem}-labels", "idx1")
        n = _axes(images, 3)[0]
        found = read_idx(classes, 1)
        if len(found) != n:
            raise FgError(f"{classes}: expected {n} labels, as {images.name} has, found {len(found)}; take both")
        labels.append(verify_labels(classes, found, 0, 9))
        parts.append(Part(n, partial(read_idx, images, 3)))
        sources += [f"{split}/{i:05d}" for i in range(n)]
        splits += last_validate(n, HELD_OUT) if split == "train" else ["test"] * n
    return PictureSet(
        name="mnist",
        content="digits",
        licence="MNIST (LeCun, Cortes, Burges), from NIST's digits: no licence stated, often given as CC BY-SA 3.0.",
        sources=sources,
        classes=CLASSES,
        labels=np.concatenate(labels),
        side=SIDE,
        read=reader(parts),
        splits=splits,
        margin=MARGIN,
    )


def read_idx(path: Path, axes: int) -> np.ndarray:
    """The bytes of an IDX file, uint8, of 28 x 28 px pictures (3 axes) or labels (1).

    IDX: 0, 0, 8 for bytes, the number of axes, then each length as a big-endian 32-bit number, then the bytes.

    Raises:
        FgError: another kind of file, or one whose length is not what its head says.
    """
    shape, start = _axes(path, axes), 4 + 4 * axes
    content = _bytes(path)
    if len(content) - start != math.prod(shape):
        size = " x ".join(map(str, shape))
        raise FgError(
            f"{path}: expected {math.prod(shape)} bytes for {size}, found {len(content) - start}; download it again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _find(folder: Path, stem: str, kind: str) -> Path:
    names = (f"{stem}-{kind}-ubyte", f"{stem}.{kind}-ubyte")
    return need("mnist", folder, *(name + packed for name in names for packed in ("", ".gz")))


def _axes(path: Path, axes: int) -> tuple[int, ...]:
    """Lengths of the axes, from the head alone."""
    head, magic = _bytes(path, 4 + 4 * axes), bytes([0, 0, 8, axes])
    if head[:4] != magic or len(head) < 4 + 4 * axes:
        raise FgError(
            f"{path}: expected an IDX file of bytes with {axes} axes (it starts with {magic.hex()}), "
            f"found {head[:4].hex() or 'nothing'}; take the published file"
        )
    shape = tuple(int(n) for n in np.frombuffer(head, ">u4", axes, 4))
    if axes == 3 and shape[1:] != (SIDE, SIDE):
        raise FgError(f"{path}: expected pictures of {SIDE} x {SIDE} px, found {shape[1]} x {shape[2]}; take MNIST's")
    return shape


def _bytes(path: Path, count: int = -1) -> bytes:
    """The first `count` bytes of a file, unpacked if it is packed; -1 for all."""
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == GZIP
        with gzip.open(path) if packed else open(path, "rb") as stream:
            return stream.read(count)
    except (OSError, EOFError, zlib.error) as error:
        raise FgError(f"{path}: expected a whole IDX file, found damage ({error}); download it again") from error
