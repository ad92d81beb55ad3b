"""A score of one's own: any Python function of an item."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fgcli.errors import FlawError, reason
from fgcli.search import Item, Score


class Function(Score):
    """What a function says of each item: a number, or None where the item is not valid.

    Args:
        function: PACKAGE.MODULE:NAME; modules of the folder where fg runs are found, too. It gets a picture, uint8
            (h, w, 3), or a sentence.

    Raises:
        ValueError: no such function.
    """

    at_once = 1
    names = ("value",)

    def __init__(self, function: str) -> None:
        self.name, self.function = function, found(function)

    def measure(self, items: Sequence[Item], start: Item) -> np.ndarray:
        """(n, 1) of items; NaN of those that are None or of which it says None.

        Raises:
            FlawError: it raises, or returns neither a finite number nor None.
        """
        return np.array([[np.nan if item is None else self.ask(item)] for item in items])

    def ask(self, item: Any) -> float:
        """NaN where it says None."""
        try:
            said = self.function(item)
            value = np.nan if said is None else float(said)
        except Exception as error:
            raise FlawError(
                f"expected a number of {self.name}, found {type(error).__name__} ({reason(error)})"
            ) from error
        if said is not None and not np.isfinite(value):
            raise FlawError(f"expected a finite number of {self.name}, or None of what is not valid, found {value}")
        return value


def found(path: str) -> Callable[[Any], Any]:
    """The function that PACKAGE.MODULE:NAME names."""
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise ValueError(f"expected PACKAGE.MODULE:NAME, found {path!r}; write it so")
    sys.path.insert(0, "")
    try:
        function = getattr(importlib.import_module(module), name, None)
    except Exception as error:  # whatever a module of the user's does when it is imported
        raise ValueError(f"expected a module {module}, found {type(error).__name__} ({reason(error)})") from error
    finally:
        sys.path.remove("")
    if not callable(function):
        raise ValueError(f"expected a function {name} in {module}, found none; check its name")
    return function
