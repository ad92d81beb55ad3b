"""What `fg edit` is asked for: edits that follow each other, by which editors and how far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fgcli.config import Section, document, pick
from fgcli.errors import UsageError

if TYPE_CHECKING:
    from fgcli.certificate import Certificate
    from fgcli.codes import Codes
    from fgcli.editors import Editors


class Step(Section):
    """One attribute changed by one editor."""

    attribute: str
    """A name of editor.h5: an attribute, or a direction that was found."""

    strength: float | None = None
    """How far; none: by those that the call asks for."""

    method: str = ""
    """Label of the editor; "" for the last that knows the attribute."""


class Recipe(Section):
    """Steps that follow each other, as `--recipe` reads and `--save-recipe` writes them."""

    edits: Annotated[list[Step], Field(min_length=1)]
    """In order."""


def asked(recipe: Path | None, attributes: Sequence[str], method: str) -> list[Step]:
    """The steps of a recipe, then those of NAME or NAME=STRENGTH.

    Raises:
        UsageError: there is none, a strength that is no finite number, or a recipe with an unknown key.
    """
    import math

    found = list(document(recipe, Recipe, "a recipe").edits) if recipe else []
    for text in attributes:
        name, equals, value = text.partition("=")
        try:
            strength = float(value) if equals else None
        except ValueError:
            strength = math.nan
        if strength is not None and not math.isfinite(strength):
            raise UsageError(f"--attribute {text}: expected NAME or NAME=STRENGTH, a finite number, found {value!r}")
        found.append(Step(attribute=name, strength=strength, method=method))
    if not found:
        raise UsageError("--attribute: expected what to change, found nothing; name one, or a --recipe")
    return found


AUTO = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
"""Strengths of which `auto` takes the largest that holds."""


@dataclass(frozen=True)
class Plan:
    """Which edits a strip shows.

    Attributes:
        steps: in order, each with the label of its editor.
        trials: strengths of the steps that name none, a code for each.
        auto: whether of the trials only the largest is shown whose certificate has no warning.
    """

    steps: list[Step]
    trials: Sequence[float]
    auto: bool

    @property
    def marks(self) -> list[str]:
        """A word for each picture, for names of files."""
        if self.auto:
            return ["auto"]
        return [f"{s:+g}" for s in self.trials] if any(s.strength is None for s in self.steps) else ["edit"]

    @property
    def labels(self) -> list[str]:
        """What the columns are called: by strengths, or by the edits where all have one of their own."""
        return [self.told(0.0)] if self.marks == ["edit"] else self.marks

    def told(self, trial: float) -> str:
        """The edits in words, those without a strength by `trial`.

        >>> Plan([Step(attribute="smiling"), Step(attribute="beard", strength=-1)], [1.5], False).told(1.5)
        'smiling +1.5, beard -1'
        """
        return ", ".join(f"{s.attribute} {trial if s.strength is None else s.strength:+g}" for s in self.steps)

    def codes(self, known: Editors, code: Codes) -> Codes:
        """The codes (m, l, d) that the trials make of one."""
        made = []
        for trial in self.trials:
            changed = code
            for s in self.steps:
                changed = known.edit(s.method, changed, s.attribute, trial if s.strength is None else s.strength)
            made.append(changed)
        return joined(made)

    def shown(self, found: Sequence[Certificate]) -> list[int]:
        """The places of the trials that are shown; of `auto` the first where none holds."""
        if not self.auto:
            return list(range(len(found)))
        return [max((i for i, certificate in enumerate(found) if not certificate.warnings), default=0)]


def planned(known: Editors, steps: Sequence[Step], strengths: Sequence[float] | None) -> Plan:
    """What strengths make of steps; None: of each face the largest of AUTO that holds.

    Raises:
        UsageError: an editor or attribute that is not known.
    """
    fixed = all(step.strength is not None for step in steps)
    return Plan(learned(known, steps), [0.0] if fixed else strengths or AUTO, strengths is None and not fixed)


def learned(known: Editors, steps: Sequence[Step]) -> list[Step]:
    """The steps, each with the label of its editor.

    Raises:
        UsageError: no such method, or it has not learned the attribute.
    """
    arrays, found = {label: method.arrays() for label, method in known.methods.items()}, []
    for step in steps:
        knowing = [label for label, names in arrays.items() if step.attribute in names]
        method = pick(arrays, step.method, known.path) if step.method or not knowing else knowing[-1]
        if method not in knowing:
            learnt = arrays[method] if step.method else dict.fromkeys(n for names in arrays.values() for n in names)
            of = f"{method} in {known.path}" if step.method else str(known.path)
            raise UsageError(
                f"--attribute {step.attribute}: expected one of {', '.join(learnt)}, those of {of}; run fg editor"
            )
        found.append(step.model_copy(update={"method": method}))
    return found


def joined(codes: Sequence[Codes]) -> Codes:
    """Codes of one space as one."""
    import torch

    from fgcli.codes import Codes

    conditions = [c.condition for c in codes if c.condition is not None]
    values = torch.cat([c.values for c in codes])
    return Codes(values, codes[0].space, torch.cat(conditions) if conditions else None)
