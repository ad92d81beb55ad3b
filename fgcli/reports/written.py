"""Sentences as pictures: expressions as curves, molecules as drawings, other text as text."""

from __future__ import annotations

import textwrap

import numpy as np
from PIL import Image, ImageDraw

from fgcli.grammars import expressions, molecules
from fgcli.grammars.languages import Language, valid
from fgcli.reports import grid

SIDE = 160
"""Of a sentence's picture, px."""
REACH = 15.0
"""Values of expressions between -REACH and REACH are shown."""
SOUGHT, CURVE = (200, 200, 200), (31, 119, 180)
WIDTH = 22
"""Characters in a line."""


def picture(language: Language, text: str | None) -> np.ndarray:
    """uint8 (SIDE, SIDE, 3) of a sentence, which stands below its drawing; None did not finish."""
    page = Image.new("RGB", (SIDE, SIDE), grid.PAPER)
    drawn = language != "text" and valid(language, text)
    if drawn and text is not None:
        page.paste(Image.fromarray(drawing(language, text)), (0, 0))
    pen, font = ImageDraw.Draw(page), grid.label_font()
    if drawn and text is not None:
        pen.text((4, SIDE - grid.LINE), grid.fitting(text, SIDE - 8), grid.INK, font)
        return np.asarray(page)
    told = "does not finish" if text is None else text if language == "text" else f"no sentence: {text}"
    pen.multiline_text((4, 4), "\n".join(textwrap.wrap(told, WIDTH)), grid.INK, font)
    return np.asarray(page)


def drawing(language: Language, text: str) -> np.ndarray:
    """Of a valid sentence, uint8 (side, side, 3), a line lower than the picture."""
    if language == "expressions":
        return curve(text)
    return molecules.drawn(molecules.smiles_of(text) if language == "selfies" else text, SIDE - grid.LINE)


def curve(text: str) -> np.ndarray:
    """An expression over [-10, 10], the one that is sought in grey behind it."""
    side = SIDE - grid.LINE
    page = Image.new("RGB", (side, side), grid.PAPER)
    pen = ImageDraw.Draw(page)
    for values, colour in ((expressions.sought(), SOUGHT), (expressions.values(text), CURVE)):
        seen = np.isfinite(values) & (np.abs(values) <= REACH)
        across = np.linspace(0, side - 1, len(values))
        down = (side - 1) * (1 - values.clip(-REACH, REACH) / REACH) / 2
        for piece in np.split(np.arange(len(values)), np.flatnonzero(~seen)):
            points = [(float(across[i]), float(down[i])) for i in piece if seen[i]]
            if len(points) > 1:
                pen.line(points, colour)
    return np.asarray(page)
