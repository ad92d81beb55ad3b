"""A trained generator and the faces it was trained on as a defence: what `fg classify` and `fg attack` start from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fgcli import artifacts
from fgcli.capabilities import Classifies, Generator, require
from fgcli.classifiers.selective import SelectiveClassifier
from fgcli.errors import FgError
from fgcli.pixels import pixels


@dataclass(frozen=True)
class Subject:
    """Labelled images of faces.h5.

    Attributes:
        images: (n, h, w, c) uint8, mapped.
        labels: (n) class, -1 unknown.
        split: (n) 0 train, 1 val, 2 test.
        names: (classes) names of the classes.
    """

    images: np.ndarray
    labels: Tensor
    split: np.ndarray
    names: list[str]

    def rows(self, split: str) -> np.ndarray:
        """Places of a split's images."""
        return np.flatnonzero(self.split == artifacts.SPLITS.index(split))

    def pictures(self, rows: np.ndarray) -> Tensor:
        """Images (n, c, h, w) in [-1, 1] at these places."""
        return pixels(torch.from_numpy(self.images[rows]))


def calibrated(model: Generator, generator: Path, faces: Path, params: Any) -> tuple[SelectiveClassifier, Subject]:
    """The defence of a generator with thresholds from the val split, and the labelled images.

    Args:
        model: the generator of `generator`, on its device.
        generator: generator.h5.
        faces: faces.h5.
        params: of a stage: `confidence`, `code_share` and `batch`.

    Raises:
        FgError: a generator that cannot classify, or a val split that gives no thresholds.
    """
    require(model, (Classifies,), by=str(generator))
    assert isinstance(model, Classifies)
    about = artifacts.load(faces, artifacts.FACES, ("identity", "split"))
    classes = len(model.means)
    labels = torch.from_numpy(about["identity"]).long()
    labels = torch.where((labels >= 0) & (labels < classes), labels, -1)
    names = [*about.meta.get("identity_names", []), *map(str, range(classes))][:classes]
    subject = Subject(artifacts.rows(faces, "images"), labels, about["split"], names)
    rows = subject.rows("val")
    if not len(rows):
        raise FgError(f"{faces}: expected rows of the val split for the thresholds, found none; raise preprocess.val")
    try:
        defence = SelectiveClassifier.calibrated(
            model, subject.pictures(rows), labels[rows], params.confidence, params.batch, params.code_share
        )
    except ValueError as error:
        raise FgError(f"{generator}: {error}; train it longer") from error
    return defence, subject


def thresholds(defence: SelectiveClassifier, confidence: float) -> dict[str, Any]:
    """What is written about the thresholds of `calibrated`, with what the number of val pictures supports."""
    few, many = min(defence.behind), max(defence.behind)
    needed = math.ceil(round(1 / (1 - confidence), 6))
    if few >= needed:
        rule = f"kept by {confidence:.2%} of the val pictures of each class, {few} at least"
    else:
        rule = (
            f"the largest of {few} to {many} val pictures of a class: {few} keep {few / (few + 1):.1%} of new ones on "
            f"average, and {confidence:.2%} needs {needed}"
        )
    return {
        "code": defence.latent,
        "picture": defence.reconstruction.tolist(),
        "picture_from": defence.behind,
        "picture_rule": rule,
    }


def chosen(subject: Subject, split: str, faces: Path) -> np.ndarray:
    """Places of the labelled images of a split.

    Raises:
        FgError: there are none.
    """
    rows = subject.rows(split)
    rows = rows[subject.labels.numpy()[rows] >= 0]
    if not len(rows):
        raise FgError(f"{faces}: expected rows of the {split} split with a class, found none; preprocess labelled data")
    return rows


def rates(found: Any, labels: Tensor) -> dict[str, float]:
    """Shares of n decisions: right and wrong without thresholds; right, wrong and rejected with them."""
    right, accepted = found.predicted == labels, found.accepted
    shares = {
        "accuracy_without_threshold": right,
        "accuracy": right & accepted,
        "error": ~right & accepted,
        "rejected": ~accepted,
        "rejected_by_code": found.far,
        "rejected_by_picture": found.unlike,
    }
    return {name: float(share.float().mean()) for name, share in shares.items()}
