"""A page of faces before and after an edit, one over the other, with a slider between them; nothing to fetch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fgcli.artifacts import write_aside
from fgcli.reports.images import picture
from fgcli.reports.page import render

SIDE = 384
"""Of the pictures at most, px."""


def write(path: Path, pairs: Sequence[tuple[str, np.ndarray, np.ndarray]], title: str) -> None:
    """Writes the page.

    Args:
        path: .html file.
        pairs: name, and uint8 pictures (h, w, 3) before and after.
        title: what was edited.
    """
    faces = [
        (name, picture(before, f"{name}, before", most=SIDE), picture(after, f"{name}, after", most=SIDE))
        for name, before, after in pairs
    ]
    text = render({"faces": faces, "title": title}, "slider.html.jinja")
    with write_aside(path) as part:
        part.write_bytes(text.encode())
