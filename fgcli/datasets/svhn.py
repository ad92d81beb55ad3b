"""SVHN, cropped digits (Netzer et al. 2011): 99,289 digits of house numbers, 32 x 32 px, in MATLAB files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fgcli.datasets.digits import CLASSES
from fgcli.datasets.files import need, verify_labels
from fgcli.datasets.pictureset import Part, PictureSet, reader
from fgcli.datasets.splits import last_validate
from fgcli.errors import FgError

SIDE = 32
HELD_OUT = 10
"""One of so many training digits validates, the last: neighbours are often of one photo, which then stays whole."""


def svhn(path: str, extra: bool = False) -> PictureSet:
    """The cropped digits as published: train_32x32.mat and test_32x32.mat; the label 10 is the digit 0.

    The official test digits test; of train_32x32.mat the last tenth validates, since there is no official choice.

    Args:
        path: folder with the files.
        extra: train on the 531,131 easier digits of extra_32x32.mat, too; that takes 2 GB of memory.

    Raises:
        FgError: a file is missing, or is not what its name says.
    """
    parts, labels, sources, splits = [], [], [], []
    for split in ("train", "test", *(["extra"] if extra else [])):
        file = need("svhn", Path(path), f"{split}_32x32.mat")
        found = verify_labels(file, _labels(file), 1, 10) % 10
        n = len(found)
        labels.append(found)
        parts.append(Part(n, partial(_images, file)))
        sources += [f"{split}/{i:06d}" for i in range(n)]
        splits += last_validate(n, HELD_OUT) if split == "train" else ["test" if split == "test" else "train"] * n
    return PictureSet(
        name="svhn",
        content="digits",
        licence="SVHN: for non-commercial use only.",
        sources=sources,
        classes=CLASSES,
        labels=np.concatenate(labels),
        side=SIDE,
        read=reader(parts),
        splits=splits,
    )


def _labels(file: Path) -> np.ndarray:
    """(n,), once the file has proved to hold a picture for each."""
    from scipy.io import whosmat

    shapes = {name: shape for name, shape, _ in _matlab(file, whosmat)}
    if not {"X", "y"} <= shapes.keys():
        raise FgError(f"{file}: expected arrays X and y, found {', '.join(shapes) or 'none'}; download it again")
    wanted = (SIDE, SIDE, 3, shapes["y"][0])
    if shapes["X"] != wanted or shapes["y"][1:] != (1,):
        raise FgError(
            f"{file}: expected X {wanted} and y {(wanted[3], 1)}, found {shapes['X']} and {shapes['y']}; "
            "take the cropped digits"
        )
    return _array(file, "y")[:, 0]


def _images(file: Path) -> np.ndarray:
    return np.moveaxis(_array(file, "X"), 3, 0)


def _array(file: Path, name: str) -> np.ndarray:
    from scipy.io import loadmat

    found = _matlab(file, partial(loadmat, variable_names=[name]))[name]
    if found.dtype.kind not in "iuf" or (name == "X" and found.dtype != np.uint8):
        raise FgError(f"{file}: expected bytes in X and numbers in y, found {name} of {found.dtype}; download it again")
    return found


def _matlab(file: Path, read: Any) -> Any:
    try:
        return read(str(file))
    except Exception as error:  # a damaged file may fail in any way
        reason = str(error) or type(error).__name__
        raise FgError(f"{file}: expected a whole MATLAB 5 file, found damage ({reason}); download it again") from error
