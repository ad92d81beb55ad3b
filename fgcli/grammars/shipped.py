"""The grammars that fg brings."""

from __future__ import annotations

from pathlib import Path

SHIPPED = ("expressions", "smiles")


def shipped(name: str) -> str:
    """The text of a grammar of SHIPPED."""
    return Path(__file__).with_name(f"{name}.lark").read_text(encoding="utf-8")
