"""OpenPeople: 210 colour panels of 10 synthetic people, read from the installed package `openpeople`."""

from __future__ import annotations

from fgcli.datasets.packages import annotation_rows, label_table, package_folder
from fgcli.datasets.photoset import Photo, PhotoSet

ATTRIBUTES = [
    "smiling", "mouth_open", "eyeglasses", "male", "facial_hair", "eyes_closed", "hand_on_face",
    "turned_left", "turned_right",
]  # fmt: skip


def openpeople() -> PhotoSet:
    """Each panel of the photographic sheets as a photo, with our annotations.

    Raises:
        FgError: openpeople is not installed.
    """
    folder = package_folder("openpeople", "data/curated")
    rows = [row | {"male": str(int(row["sex"] == "male"))} for row in annotation_rows("openpeople_panels.csv")]
    doubts = annotation_rows("openpeople_uncertain.csv")
    unsure = [
        {d["attribute"] for d in doubts if d["person"] == row["person"] and d["panel"] in (row["panel"], "all")}
        for row in rows
    ]
    return PhotoSet(
        name="openpeople",
        licence="OpenPeople: synthetic people, MIT licence.",
        sources=[f"{row['person']}/{row['panel']}" for row in rows],
        photos=[
            Photo(
                folder / row["person"] / "assets" / row["asset"],
                (int(row["x0"]), int(row["y0"]), int(row["x1"]), int(row["y1"])),
            )
            for row in rows
        ],
        attribute_names=ATTRIBUTES,
        attributes=label_table(rows, ATTRIBUTES, unsure),
        identities=[row["person"] for row in rows],
    )
