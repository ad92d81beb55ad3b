"""Which pictures an attack is tried on, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fgcli.classifiers.calibration import Subject, rates
from fgcli.classifiers.selective import Decision, SelectiveClassifier


@dataclass(frozen=True)
class Trial:
    """One attack on m pictures.

    Attributes:
        label: its name in params.
        attack: an entry of ATTACKS.
        rows: (m) rows of faces.h5; of an attack from noise, those whose shape the noise has.
        labels: (m) true classes; -1 of noise.
        aims: (m) classes to leave, or to reach.
    """

    label: str
    attack: Any
    rows: np.ndarray
    labels: Tensor
    aims: Tensor

    @property
    def epsilon(self) -> float:
        """Largest change of a value in [0, 1], NaN where it has no bound."""
        return getattr(self.attack, "epsilon", float("nan"))

    def run(
        self,
        defence: SelectiveClassifier,
        subject: Subject,
        kept: int,
        rng: torch.Generator,
        done: Callable[[int], None],
    ) -> Outcome:
        """Attacks the pictures in the defence's batches and keeps the first `kept`; tells `done` each batch's size."""
        parts, pictures, device = [], [], defence.model.means.device
        for i in range(0, len(self.rows), defence.batch):
            part = slice(i, i + defence.batch)
            given = subject.pictures(self.rows[part]).to(device)
            attacked = self.attack.craft(defence, given, self.aims[part].to(device), rng)
            parts.append(defence.decide(attacked))
            pictures.append(attacked[: max(0, kept - i)].cpu())
            done(len(attacked))
        return Outcome(self, Decision.joined(parts), torch.cat(pictures))


@dataclass(frozen=True)
class Outcome:
    """What came of a trial: the decisions (m), and the first pictures as they were after the attack."""

    trial: Trial
    found: Decision
    pictures: Tensor

    def summary(self) -> dict[str, float]:
        """Shares of the m pictures; of noise all that are accepted are errors.

        `rejected_or_correct` is what Ghosh's thesis counts as withstood; `reached` the share whose code came to be
        nearest to the class that was aimed at.
        """
        told = {"pictures": len(self.trial.rows), **rates(self.found, self.trial.labels)}
        if self.trial.attack.targeted:
            told["reached"] = float((self.found.predicted == self.trial.aims).float().mean())
        return told | {"rejected_or_correct": 1 - told["error"]}


def planned(label: str, attack: Any, subject: Subject, rows: np.ndarray, targeted: int, noise: int) -> Trial:
    """The trial of an attack on labelled rows.

    All are made to leave their class. A targeted attack takes the first `targeted` of each class, each towards every
    other class; one from noise makes `noise` pictures, evenly over the classes.

    Args:
        label: name of the attack in params.
        attack: an entry of ATTACKS.
        subject: the labelled images.
        rows: places of those that may be attacked.
        targeted: pictures of each class.
        noise: pictures in all.
    """
    labels, classes = subject.labels[rows], torch.arange(len(subject.names))
    if attack.from_noise:
        aims = classes.repeat(-(-noise // len(classes)))[:noise]
        return Trial(label, attack, rows[np.arange(noise) % len(rows)], torch.full((noise,), -1), aims)
    if not attack.targeted:
        return Trial(label, attack, rows, labels, labels)
    own = [torch.nonzero(labels == c)[:, 0] for c in classes]
    firsts = torch.cat([places[i : i + 1] for i in range(targeted) for places in own])  # of each class in turn
    further = torch.arange(1, len(classes)).repeat_interleave(len(firsts))
    places = firsts.repeat(len(classes) - 1)
    return Trial(label, attack, rows[places.numpy()], labels[places], (labels[places] + further) % len(classes))
