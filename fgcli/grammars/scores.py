"""Scores of sentences as functions of their text alone."""

from __future__ import annotations

from fgcli.grammars import expressions, molecules


def expression_error(text: str) -> float:
    """log(1 + mean of min(e^2, 1000)) to 1/3 + x + sin(x x); lower is better. What is no expression is worst: log 1001.

    >>> expression_error("1/3+x+sin(x*x)"), round(expression_error("x+"), 2)
    (0.0, 6.91)
    """
    return expressions.error_of(text) if expressions.valid(text) else expressions.WORST


def penalised_logp(text: str) -> float | None:
    """log P, less synthetic accessibility and large rings, of a SMILES; higher is better. None: no molecule."""
    return None if molecules.molecule(text) is None else molecules.penalised_log_p(text)


def penalised_logp_of_selfies(text: str) -> float | None:
    """The same of a SELFIES."""
    return penalised_logp(molecules.smiles_of(text))
