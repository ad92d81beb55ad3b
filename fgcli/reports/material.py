"""What the picture sections are made of, and which faces they show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fgcli.codes import Codes
from fgcli.reports.chroma import GREY_BELOW, chroma
from fgcli.reports.grid import spread
from fgcli.reports.nouns import Nouns

BACKGROUND = 128
"""Grey around faces, 0..255."""
Decode = Callable[[Codes], list[np.ndarray]]
Edit = Callable[[str, Codes, str, float], Codes]


@dataclass(frozen=True)
class Material:
    """Faces, codes and what can be done with codes.

    Attributes:
        nouns: what its rows are called.
        images: uint8 (n, h, w, 3), read row by row. masks: uint8 (n, h, w), 255 on the face or all over.
        source: (n,) name of each photo. identity: (n,) person, -1 unknown. group: (n,) equal where people look
            like one, see `fgcli.artifacts.people`. split: (n,) 0 train, 1 val, 2 test.
        attributes: (n, k) 1 has it, 0 has it not, -1 unknown. names: of the k attributes.
        codes: of rows, by the generator. error: (n,) of the reconstruction.
        held: rows of the held-out faces, which the sections show.
        prior: (n, seed) -> draws from the generator's own prior.
        decode: pictures (h, w, 3) of codes, as the generator makes them. decode_masks: their predicted masks as
            pictures; none if it has no mask decoder, or the rows no masks. baseline: pictures of rows, by eigenfaces of
            equal code size; none if the evaluation went without.
        faded: whether only face pixels taught the generator, so that `show` greys out what lies around them.
        edit: (method, codes, attribute, strength) -> codes, by a method of editor.h5; none without it.
        examine: what an edit did, see `fgcli.certificate`; none without judges.
    """

    nouns: Nouns
    images: np.ndarray
    masks: np.ndarray
    source: np.ndarray
    identity: np.ndarray
    group: np.ndarray
    split: np.ndarray
    attributes: np.ndarray
    names: list[str]
    codes: Callable[[Any], Codes]
    error: np.ndarray
    held: np.ndarray
    prior: Callable[[int, int], Codes]
    decode: Decode
    decode_masks: Decode | None
    baseline: Callable[[np.ndarray], list[np.ndarray]] | None
    edit: Edit | None
    faded: bool = False
    examine: Callable[..., Any] | None = None

    def show(self, codes: Codes) -> list[np.ndarray]:
        """Pictures of codes for the eye: where nothing taught the generator, outside its predicted mask, grey."""
        pictures = self.decode(codes)
        if not (self.faded and self.decode_masks):
            return pictures
        return [fade(image, mask) for image, mask in zip(pictures, self.decode_masks(codes), strict=True)]

    def people(self, rows: np.ndarray) -> list[np.ndarray]:
        """`rows` person by person, look-alikes as one, or class by class; an unknown one is a person of its own."""
        who = (self.identity if self.nouns.whole else self.group)[rows].astype(np.int64)
        who = np.where(who < 0, -1 - np.arange(len(rows)), who)
        return [rows[who == person] for person in dict.fromkeys(who.tolist())]

    def typical(self, rows: np.ndarray, count: int) -> list[int]:
        """One of `rows` per person, the one of median error, for `count` people evenly spread."""
        chosen = [int(own[np.argsort(self.error[own], kind="stable")[len(own) // 2]]) for own in self.people(rows)]
        return [chosen[i] for i in spread(len(chosen), count)]

    def grey(self, rows: np.ndarray) -> np.ndarray:
        """Those of `rows` whose photos have no colour."""
        return rows[chroma(self.images[rows], self.masks[rows]) < GREY_BELOW] if len(rows) else rows

    def editable(self, attribute: str, count: int) -> list[int]:
        """Held-out people without the attribute to edit: mostly grey ones, the others in colour."""
        rows = self.held
        if attribute in self.names:  # a direction without a label has no faces without it
            has = self.attributes[self.held, self.names.index(attribute)]
            rows = self.held[has == 0] if (has == 0).any() else self.held
        grey = self.grey(rows)
        colour = np.setdiff1d(rows, grey)
        wanted = min(count - count // 3, len(self.people(grey)))
        chosen = self.typical(grey, wanted)
        chosen += self.typical(colour, count - len(chosen))
        return chosen

    def label(self, row: int) -> str:
        """What a row is called: its photo."""
        return str(self.source[row])


def fade(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """An image (h, w, 3) that becomes BACKGROUND where its mask picture (h, w, 3) is dark."""
    share = mask.astype(np.float64) / 255
    return (share * image + (1 - share) * BACKGROUND).round().astype(np.uint8)
