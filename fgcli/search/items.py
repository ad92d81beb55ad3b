"""What a code is decoded to."""

from __future__ import annotations

from fgcli.capabilities import Generator
from fgcli.codes import Codes
from fgcli.reports.pictures import decoded
from fgcli.search import Item


def items(model: Generator, codes: Codes) -> list[Item]:
    """An item for each code."""
    return list(decoded(model, codes))
