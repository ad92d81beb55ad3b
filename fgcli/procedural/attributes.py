"""What a head's parameters tell of it, such as whether it smiles: the rules that label renders, and read off refits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fgcli.heads.head import Head
from fgcli.heads.parameters import Parameters
from fgcli.procedural.population import DEGREE


@dataclass(frozen=True)
class Rule:
    """One number of the parameters, and where it begins to be clear.

    Attributes:
        field: of Parameters. place: the number's, or the name of its mode.
        no, yes: on this side of `no` a head clearly has the attribute not, beyond `yes` it clearly has it.
    """

    field: str
    place: int | str
    no: float
    yes: float

    def degree(self, head: Head, p: Parameters) -> np.ndarray:
        """(n,): 0 where `no` is, 1 where `yes` is, linear through both; NaN where the head has no such mode."""
        place = self.place
        if isinstance(place, str):
            names = {"expression": head.expression_names, "texture": head.texture_names}[self.field]
            if place not in names:
                return np.full(len(p), np.nan)
            place = names.index(place)
        values = getattr(p, self.field)[:, place].double().cpu().numpy()
        found: np.ndarray = (values - self.no) / (self.yes - self.no)
        return found


RULES = {
    "smiling": Rule("expression", "smile", 0.3, 0.9),
    "mouth_open": Rule("pose", 3, 0.06, 0.12),
    "eyes_closed": Rule("expression", "blink", 0.8, 1.5),
    "dark_skin": Rule("texture", "melanin", 0.0, 0.7),
    "facial_hair": Rule("texture", "beard", 1.0, 2.0),
    "looking_left": Rule("pose", 1, -6 * DEGREE, -12 * DEGREE),
}
"""Glasses are not among them: no parameter of a head tells whether it wears some."""


def degrees(head: Head, p: Parameters) -> np.ndarray:
    """(n, 6), by the names of RULES: see `Rule.degree`; above a half a head rather has the attribute."""
    return np.stack([rule.degree(head, p) for rule in RULES.values()], 1)


def attributes(head: Head, p: Parameters) -> np.ndarray:
    """(n, 6) int8, by the names of RULES: 1 clearly so, 0 clearly not, -1 between them or not known."""
    found = degrees(head, p)
    return np.where(found > 1, 1, np.where(found < 0, 0, -1)).astype(np.int8)
