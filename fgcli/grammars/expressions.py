"""Arithmetic expressions of x: their values, and how far they are from the one that is sought (Kusner et al. 2017)."""

from __future__ import annotations

import ast
import math
from functools import cache
from typing import Any

import numpy as np

from fgcli.grammars.grammar import Grammar, NotInGrammar
from fgcli.grammars.shipped import shipped

POINTS = np.linspace(-10, 10, 1000)
"""Where expressions are compared."""
LARGEST = 1000.0
"""A squared error counts as this at most."""
WORST = math.log1p(LARGEST)
"""The error of what is no expression, or has no value anywhere."""
ANSWER = "1/3+(x)+sin(x*x)"
"""What is sought."""
OPERATIONS: dict[type, Any] = {ast.Add: np.add, ast.Mult: np.multiply, ast.Div: np.divide}
FUNCTIONS = {"sin": np.sin, "exp": np.exp}


@cache
def grammar() -> Grammar:
    """That of expressions."""
    return Grammar(shipped("expressions"))


def valid(text: str) -> bool:
    """Whether a text is an expression."""
    try:
        grammar().parse(text)
    except NotInGrammar:
        return False
    return True


def values(text: str, x: np.ndarray = POINTS) -> np.ndarray:
    """Of an expression at x (n,), float64; infinite or NaN where it has none. Its tree is walked, nothing is run.

    One that is nested more deeply than Python reads has none anywhere.

    >>> values("1/2+sin(x)*x", np.array([0.0])).tolist()
    [0.5]
    """
    with np.errstate(all="ignore"):
        try:
            found = _value(ast.parse(text, mode="eval").body, x)
        except (RecursionError, MemoryError, SyntaxError):  # the last of more than 200 brackets
            found = np.nan
    return np.broadcast_to(found, x.shape).astype(np.float64)


def _value(node: ast.AST, x: np.ndarray) -> Any:
    match node:
        case ast.BinOp(left, operation, right):
            return OPERATIONS[type(operation)](_value(left, x), _value(right, x))
        case ast.Call(ast.Name(name), [argument]):
            return FUNCTIONS[name](_value(argument, x))
        case ast.Name("x"):
            return x
        case ast.Constant(int(number)):
            return np.float64(number)
    raise ValueError(f"expected an expression, found {ast.dump(node)[:40]}")


def error_of(text: str) -> float:
    """log(1 + mean of min(e^2, 1000)) of an expression, e its distance to ANSWER at POINTS; 0 is best, WORST worst.

    Where it has no value, e^2 is 1000.
    """
    with np.errstate(all="ignore"):
        squares = np.square(values(text) - sought())
    return float(np.log1p(np.fmin(np.where(np.isnan(squares), LARGEST, squares), LARGEST).mean()))


@cache
def sought() -> np.ndarray:
    """The values of ANSWER at POINTS."""
    return values(ANSWER)
