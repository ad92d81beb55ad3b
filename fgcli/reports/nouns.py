"""What a page calls the rows of faces.h5: a report of digits speaks of digits."""

from __future__ import annotations

from dataclasses import dataclass

from fgcli.artifacts import Content


@dataclass(frozen=True)
class Nouns:
    """Words for the rows of one content.

    Attributes:
        face, faces: what the generator makes. photo, photos: what it learned from.
        person, people: who they show, or the classes that they are of.
        eigenfaces: their principal components.
        region: where they are compared.
        unreal: a sentence on those that are drawn, not found.
        whole: whether they were taken whole: none was searched for or rejected, none has a mask, landmarks or a head.
    """

    face: str
    faces: str
    photo: str
    photos: str
    person: str
    people: str
    eigenfaces: str
    region: str
    unreal: str
    whole: bool


def _taken_whole(one: str, many: str, unreal: str) -> Nouns:
    return Nouns(one, many, one, many, "class", "classes", "principal components", f"whole {many}", unreal, True)


NOUNS: dict[Content, Nouns] = {
    "faces": Nouns(
        *("face", "faces", "photo", "photos", "person", "people"),
        eigenfaces="eigenfaces",
        region="the given mask",
        unreal="None of these people exist.",
        whole=False,
    ),
    "digits": _taken_whole("digit", "digits", "None of these digits was ever written."),
    "pictures": _taken_whole("picture", "pictures", "None of these pictures was ever taken."),
}
"""By the content that faces.h5 states."""
