"""What sentences mean: whether one is valid, and what number belongs to it."""

from __future__ import annotations

import math

from fgcli.artifacts.told import Language
from fgcli.grammars import expressions, molecules

LOWER = ("expressions",)
"""Languages whose scores are better when lower."""
SCORES = {
    "expressions": "log(1 + mean squared error) to 1/3 + x + sin(x x), lower is better",
    "smiles": "penalised log P, higher is better",
    "selfies": "penalised log P, higher is better",
}


def valid(language: Language, text: str | None) -> bool:
    """Whether a sentence means something in its language; None, a derivation that did not finish, does not."""
    if text is None or language == "text":
        return text is not None
    if language == "expressions":
        return expressions.valid(text)
    smiles = molecules.smiles_of(text) if language == "selfies" else text
    return molecules.molecule(smiles) is not None


def score(language: Language, text: str) -> float:
    """The number of a valid sentence, as SCORES say; NaN in a language that has none."""
    if language == "expressions":
        return expressions.error_of(text)
    if language == "text":
        return math.nan
    return molecules.penalised_log_p(molecules.smiles_of(text) if language == "selfies" else text)
