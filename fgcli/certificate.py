"""What an edit did beside what was asked: the judges' word, identity, colour, place among the codes, pixels.

Judges err: how often, on held-out faces, stands beside every number of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fgcli import artifacts, codes, config, densities
from fgcli.backbones import IDENTITIES, IdentityJudge
from fgcli.capabilities import Generator, Masks
from fgcli.classifiers import judges as judging
from fgcli.codes import Codes
from fgcli.errors import FgError, UsageError
from fgcli.metrics.sets import predicted_mask
from fgcli.reports.chroma import chroma

MOVED = 0.25
"""Change of the probability of what was not asked for, from which it is told."""
KEPT = 0.01
"""Share of codes beyond the region that an edited code is held against."""
WHEN, MEASURED = ("before", "after"), ("identity", "identity_below", "log_density", "log_density_least")
"""Columns of a table: the probability of each attribute, and numbers."""
ENOUGH, MOST = 20, 20_000
"""Validation codes that the region is found by, else by training codes, which a density knows too well; and at most."""


FOOT = 4
"""Lines that `Certificate.foot` takes at most, as broken below a picture, beside one for each attribute."""


@dataclass(frozen=True)
class Certificate:
    """Of one edited face, against its unedited reconstruction.

    Attributes:
        asked: change of the probability of each attribute that was asked for. others: of each other one.
        errors: share of wrong answers of the judge of each attribute on held-out faces.
        identity: distance of face embeddings; none where it was not measured.
        chroma: change of the mean chroma on the face, 0..255.
        likely: whether the code is in the density's region of 99 % of held-out codes; none without a density.
        inside: mean absolute change of the pixels of the face, 0..255. outside: of the others.
        identity_below: distance from which on it is another person.
        log_density: of the code. log_density_least: of the region's edge.
        before: probability of each attribute, of the unedited reconstruction.
    """

    asked: dict[str, float]
    others: dict[str, float]
    errors: dict[str, float]
    identity: float | None
    chroma: float
    likely: bool | None
    inside: float
    outside: float
    identity_below: float | None = None
    log_density: float | None = None
    log_density_least: float | None = None
    before: dict[str, float] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """What was not asked for and happened, most serious first."""
        found = []
        if self.identity is not None and self.identity_below is not None and self.identity >= self.identity_below:
            found.append(f"another person: {self.identity:.2f} is not below {self.identity_below}")
        if self.likely is False:
            found.append(f"unlike codes of faces: {self.log_density:.0f} is below {self.log_density_least:.0f}")
        moved = {name: change for name, change in self.others.items() if abs(change) >= MOVED}
        found += [f"{name} {moved[name]:+.2f}" for name in sorted(moved, key=lambda name: -abs(moved[name]))]
        return found

    def told(self) -> dict[str, Any]:
        """As results and JSON have it."""
        about: dict[str, Any] = {n: round(value, 4) for n, value in vars(self).items() if isinstance(value, float)}
        groups = {"asked": self.asked, "others": self.others, "before": self.before, "judges_err": self.errors}
        about |= {key: {n: round(v, 4) for n, v in group.items()} for key, group in groups.items()}
        if self.likely is not None:
            about["likely"] = self.likely
        return about | {"holds": not self.warnings, "warnings": self.warnings}

    def cells(self) -> dict[str, str]:
        """As the columns of a table have it; see `Examiner.columns`."""
        moved = self.asked | self.others
        scores = {name: (value, value + moved[name]) for name, value in self.before.items()}
        row = {f"{name} {WHEN[i]}": f"{both[i]:.4f}" for name, both in scores.items() for i in (0, 1)}
        row |= {n: f"{value:.4f}" for n in MEASURED if (value := getattr(self, n)) is not None}
        yes = {"likely": self.likely, "holds": not self.warnings}
        row |= {name: "yes" if value else "no" for name, value in yes.items() if value is not None}
        return row | {"warnings": ", ".join(self.warnings)}

    @property
    def foot(self) -> list[str]:
        """Short lines, for below a picture: one for each attribute, identity, the first warning."""
        lines = [f"{name} {change:+.2f}" for name, change in self.asked.items()]
        if self.identity is not None:
            lines.append(f"identity {self.identity:.2f}")
        return [*lines, f"! {self.warnings[0]}" if self.warnings else "holds"]


@dataclass
class Examiner:
    """Makes certificates of edits of one generator's codes.

    Attributes:
        model: the generator.
        judges: of pictures; none: no attribute is judged.
        embedder: of aligned faces; none: identity is not measured.
        mask: bool (h, w) the face of most training faces, where neither photo nor generator tells another; all over for
            pictures taken whole.
        density: log-density of codes. least: below which KEPT of the codes of faces are.
        left_out: what is not measured, and why.
    """

    model: Generator
    judges: judging.Judges | None = None
    embedder: IdentityJudge | None = None
    mask: np.ndarray | None = None
    density: densities.Density | None = None
    least: float = 0.0
    left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Generator, judges: Path | None, density: Path | None, latents: Path) -> Examiner:
        """With what is there: judges.h5, the last method of density.h5, and the codes of latents.h5.

        Raises:
            FgError: a density of another generator's codes.
        """
        examiner = cls(model)
        if judges is None:
            examiner.left_out["attributes, identity"] = "no judges.h5: run fg judges"
        else:
            examiner.judges = judging.load(judges)
            examiner.embedder = identity_judge(judges, workers=1)
            if examiner.embedder:
                examiner.mask = artifacts.rows(judges, "mask")[...] > 127
        stored = artifacts.load(latents, names=())
        if density and artifacts.load(density, artifacts.DENSITY, ()).meta["generator"] != stored.meta["generator"]:
            raise FgError(
                f"{density}: expected a density of the codes in {latents}, found another's; run fg density again"
            )
        if density is None or stored.schema == artifacts.SAMPLES.tag:
            found = "codes of drawn faces" if density else "no density.h5: run fg density"
            examiner.left_out["likely"] = found
        else:
            examiner.density = list(densities.load(density).methods.values())[-1]
            examiner.least = least(examiner.density, latents)
        return examiner

    @property
    def columns(self) -> list[str]:
        """Of a table of certificates: each judge's word before and after, identity, place among the codes, warnings."""
        names = self.judges.names if self.judges else []
        return [*(f"{name} {when}" for name in names for when in WHEN), *MEASURED, "likely", "holds", "warnings"]

    def examine(
        self, asked: Sequence[str], before: Codes, after: Codes, pictures: Sequence[np.ndarray], mask: np.ndarray | None
    ) -> list[Certificate]:
        """Of each of m edits of one face.

        Args:
            asked: attributes, those that no judge knows among them.
            before: the code (1, l, d). after: edited (m, l, d).
            pictures: uint8 (h, w, 3), the reconstruction first, then the edits.
            mask: bool (h, w), the face; None where it is not known.
        """
        shown = np.stack(pictures)
        said = self.judges.images.probabilities(shown) if self.judges else np.zeros((len(shown), 0))
        names = self.judges.names if self.judges else []
        changes = dict(zip(names, (said[1:] - said[0]).T, strict=True))
        apart = self.apart(shown)
        face = self.face(before, mask, shown.shape[1:3])
        colour = chroma(shown, np.broadcast_to(np.uint8(255) * face, shown.shape[:3]))
        moved = np.abs(shown[1:].astype(np.float64) - shown[0]).mean(3)  # (m, h, w)
        dense = self.density.log_prob(after.numpy()) if self.density else None
        return [
            Certificate(
                asked={name: float(change[i]) for name, change in changes.items() if name in asked},
                others={name: float(change[i]) for name, change in changes.items() if name not in asked},
                errors=errors(self.judges),
                identity=None if apart is None else float(apart[i]),
                chroma=float(colour[i + 1] - colour[0]),
                likely=None if dense is None else bool(dense[i] >= self.least),
                inside=float(moved[i][face].mean()) if face.any() else 0.0,
                outside=float(moved[i][~face].mean()) if not face.all() else 0.0,
                identity_below=self.embedder.below if self.embedder else None,
                log_density=None if dense is None else float(dense[i]),
                log_density_least=None if dense is None else self.least,
                before=dict(zip(names, map(float, said[0]), strict=True)),
            )
            for i in range(len(moved))
        ]

    def apart(self, shown: np.ndarray) -> np.ndarray | None:
        """Distances of identity (m) of edits from the reconstruction, the first of pictures (m + 1, h, w, 3)."""
        if self.embedder is None:
            return None
        faces = self.embedder(shown)
        return self.embedder.distance(faces[1:], faces[:1])

    def face(self, code: Codes, mask: np.ndarray | None, shape: tuple[int, int]) -> np.ndarray:
        """Bool (h, w): the photo's own mask, else the generator's, else where most training faces are."""
        if mask is not None:
            return mask
        if isinstance(self.model, Masks):
            return predicted_mask(self.model, code)[0]
        return self.mask if self.mask is not None else np.ones(shape, bool)


def identity_judge(judges: Path, workers: int | None = None) -> IdentityJudge | None:
    """The one that judges.h5 names; none of pictures taken whole.

    Args:
        judges: judges.h5. workers: processes at most, of one that has some; by default one per core.

    Raises:
        FgError: it is not here.
    """
    if "landmarks" not in artifacts.layout(judges):
        return None
    spec = artifacts.load(judges, artifacts.JUDGES, ()).meta.get("identity", {"name": "dlib"})
    landmarks = artifacts.rows(judges, "landmarks")[...]
    judge: IdentityJudge = config.supply(IDENTITIES, spec, str(judges), landmarks=landmarks, workers=workers)
    return judge


def least(density: densities.Density, latents: Path) -> float:
    """The log-density that all but KEPT of the codes have that validate; of the training ones, where those are few."""
    split = artifacts.load(latents, artifacts.LATENTS, ("split",))["split"]
    rows = np.flatnonzero(split == int((split == 1).sum() >= ENOUGH))[:MOST]
    return float(np.quantile(density.log_prob(codes.plain(latents)(rows).numpy()), KEPT))


def errors(judges: judging.Judges | None) -> dict[str, float]:
    """Share of wrong answers of the judge of pictures, by attribute, as far as held-out faces could tell."""
    known: Mapping[str, Any] = judges.held_out.get("images", {}) if judges else {}
    return {name: float(about["error"]) for name, about in known.items()}


def verify_known(asked: Sequence[str], examiner: Examiner) -> None:
    """Raises UsageError where a strength is to be found by an attribute that nobody judges."""
    names = examiner.judges.names if examiner.judges else []
    for name in asked:
        if name not in names:
            found = f"judges of {', '.join(names)}" if names else "no judges.h5"
            raise UsageError(f"--strength auto: expected a judge of {name}, found {found}; run fg judges or name one")
