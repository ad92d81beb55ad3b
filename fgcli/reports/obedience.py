"""What a steered generator makes of heads: factors exchanged between two people, and how far its pictures obey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from fgcli.artifacts import Artifact
from fgcli.capabilities import Conditional
from fgcli.fitting.extract import same_head
from fgcli.heads.conditions import condition_images
from fgcli.heads.parameters import Parameters
from fgcli.heads.steering import condition_of, exchanged
from fgcli.reports.images import Picture, Row, pictures_of
from fgcli.reports.material import Material
from fgcli.reports.tables import Line, Table

STEPS = ("one person", "style", "shape", "expression", "pose and jaw", "texture", "light")
"""What is exchanged, from left to right; at the end all is the other person's (Ghosh's thesis, Figure 5.4)."""
COLUMNS = {"renders": "the renders themselves", "generator": "generator", "mean_head": "the mean head"}
"""The floor that the regressor allows, the generator, and what knows nothing."""
WHOLE = {
    "skin": ("skin, of 255", "root mean squared difference of one person's skin in several poses, without its light"),
    "likeness": (
        "likeness, of 2",
        "mean absolute difference to the render, on the head; at the right that of the mean picture",
    ),
}
"""What is measured of all factors together: what readers call it, and how it is made."""


PAIRS = 3
"""Pairs of people between whom factors are exchanged."""


@dataclass(frozen=True)
class Steered:
    """The report's section.

    Attributes:
        titles: of the columns. pairs: two rows for each pair of people, told and made.
        numbers: errors between floor and ceiling. sheet: one factor in each pair of rows. Where they are given.
    """

    titles: Sequence[str]
    pairs: list[Row]
    numbers: Table | None = None
    sheet: Picture | None = None


def exchanges(run: Material, model: Conditional, conditions: Artifact) -> list[Row]:
    """What is told between two held-out people each, and what is made of it, a row each.

    Raises:
        FgError: conditions of a head that is not here.
    """
    head = same_head(conditions.meta["head"], conditions.path)
    rows, lines = run.typical(run.held[conditions["status"][run.held] == "ok"], 2 * PAIRS), []
    for pair in zip(rows[::2], rows[1::2], strict=False):
        one, other = (Parameters.from_vector(torch.from_numpy(conditions["parameters"][[i]]), "gif") for i in pair)
        p = exchanged(head, one, other)
        codes = run.codes([pair[0], *[pair[1]] * (len(p) - 1)])
        made = run.show(replace(codes, condition=condition_of(model, head, p)))
        told = list(condition_images(head, p, model.image_shape[-1])[..., :3].numpy())
        words = " to ".join(map(run.label, pair))
        lines += [
            Row(title, pictures_of(images, [f"{words}, {kind}: {step}" for step in STEPS]))
            for title, kind, images in (("told", "told", told), (words, "made", made))
        ]
    return lines


def table(found: Mapping[str, Any]) -> Table:
    """The numbers of obedience.json."""
    lines = [
        line(f"{name}, mm", about, "of the face's vertices, where this factor alone is drawn")
        for name, about in found["factors"].items()
    ]
    for name, (title, how) in WHOLE.items():
        about = {"mean_head" if who == "mean_picture" else who: numbers for who, numbers in found[name].items()}
        lines.append(line(title, about, how))
    share, chance = found["style_share"]["value"], found["style_share"]["chance"]
    how = f"share of the errors' variance that lies between styles; by chance {chance:.3f}"
    lines.append(Line("style", "", {"generator": share}, "lower", how))
    if "preferred" in found:
        how = "share of pairs from equal heads in which its picture is inferred nearer than another generator's"
        lines.append(replace(line("preferred", {"generator": found["preferred"]}, how), better="higher"))
    return Table("obedience", "", COLUMNS, lines)


def line(name: str, about: Mapping[str, Mapping[str, float]], how: str) -> Line:
    """Numbers with their intervals, by who."""
    values: dict[str, float | None] = {who: numbers["value"] for who, numbers in about.items()}
    intervals = {who: (numbers["low"], numbers["high"]) for who, numbers in about.items()}
    return Line(name, "", values, "lower", how, intervals=intervals)
