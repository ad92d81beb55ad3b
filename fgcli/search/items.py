"""What a code is decoded to."""

from __future__ import annotations

from fgcli.capabilities import Generator, Writes
from fgcli.codes import Codes, written
from fgcli.reports.pictures import decoded
from fgcli.search import Item


def items(model: Generator, codes: Codes) -> list[Item]:
    """An item for each code: a picture, or a sentence; None where its derivation does not finish."""
    if isinstance(model, Writes):
        return list(written(model, codes))
    return list(decoded(model, codes))
