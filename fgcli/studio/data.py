"""Data: the faces with their masks, splits and labels, which a click mends, and the photos that gave no face."""

from __future__ import annotations

import html
from functools import partial
from typing import Any

import gradio as gr
import numpy as np

from fgcli import artifacts
from fgcli.artifacts import SPLITS, Artifact
from fgcli.errors import FgError
from fgcli.faces.overlay import overlay
from fgcli.faces.rejections import grouped
from fgcli.studio import labels
from fgcli.studio.models import HIDDEN, LIVE, Project, paragraph, table

PAGE, COLUMNS, SIDE = 32, 8, 128
"""Faces on a page, in a row; side of each, px."""
ALL = "all"
WORDS = {"yes": 1, "no": 0, "unknown": -1}
MEASURED = "colour"
"""An attribute that preprocess measures where no table has it."""


def build(project: Project) -> None:
    """Lays the tab."""
    project.need("faces")
    said = project.since("faces")
    stored = faces_of(project)
    names = [name for name in stored.meta["attribute_names"] if name != MEASURED]
    everyone, without = found(project, ALL, ALL, "yes"), rejected(stored)
    first = tiles(project, everyone, 1, False)
    chosen, rows = gr.State(None), gr.State(everyone)
    with gr.Row():
        split = gr.Dropdown([ALL, *SPLITS], value=ALL, label="Split", interactive=True)
        attribute = gr.Dropdown([ALL, *stored.meta["attribute_names"]], value=ALL, label="Label", interactive=True)
        value = gr.Dropdown(list(WORDS), value="yes", label="which is", interactive=True)
        masks = gr.Checkbox(False, label="Masks and landmarks", interactive=True)
        number = gr.Number(1, label="Page", precision=0, minimum=1, interactive=True)
    pages = gr.HTML(paged(everyone))
    with gr.Row():
        with gr.Column(scale=3):
            gallery = gr.Gallery(
                first, label="Faces", columns=COLUMNS, format="png", interactive=False, allow_preview=False, buttons=[]
            )
        with gr.Column(scale=1):
            about = gr.HTML(paragraph("Choose a face to see its labels, and to mend them."))
            radios = [gr.Radio(list(WORDS), label=name, interactive=True) for name in names]
    gr.HTML(without)

    def filtered(split: str, attribute: str, value: str, masks: bool) -> list[Any]:
        rows = found(project, split, attribute, value)
        return [rows, 1, paged(rows), tiles(project, rows, 1, masks)]

    def turned(rows: list[int], number: int | None, masks: bool) -> Any:
        return gr.skip() if number is None else tiles(project, rows, number, masks)

    def picked(rows: list[int], number: int | None, event: gr.SelectData) -> list[Any]:
        if number is None:
            raise FgError("Data: expected the number of the page, found none; give one")
        row = rows[PAGE * (number - 1) + int(event.index)]
        return [row, told(project, row), *words(project, row)]

    def mended(attribute: str, row: int | None, value: str) -> str:
        return mend(project, row, attribute, WORDS[value])

    choice, page = [split, attribute, value, masks], [rows, number, masks]
    which = [split.input, attribute.input, value.input]
    gr.on(which, said(filtered), choice, [rows, number, pages, gallery], **LIVE)
    gr.on([number.input, masks.input], said(turned), page, gallery, **LIVE)
    gallery.select(said(picked), [rows, number], [chosen, about, *radios], **HIDDEN)
    for name, radio in zip(names, radios, strict=True):
        radio.input(said(partial(mended, name)), [chosen, radio], about, **HIDDEN)


def faces_of(project: Project) -> Artifact:
    """The table of faces.h5."""
    names = ("attributes", "identity", "split", "source", "rejected/source", "rejected/reason")
    make = lambda: artifacts.load(project.path("faces"), artifacts.FACES, names)  # noqa: E731
    return project.once("faces", make, "faces")


def found(project: Project, split: str, attribute: str, value: str) -> list[int]:
    """Rows of a split whose label is as wanted."""
    stored = faces_of(project)
    wanted = np.ones(len(stored["split"]), bool)
    if split != ALL:
        wanted &= stored["split"] == SPLITS.index(split)
    if attribute != ALL:
        wanted &= stored["attributes"][:, stored.meta["attribute_names"].index(attribute)] == WORDS[value]
    rows: list[int] = np.flatnonzero(wanted).tolist()
    return rows


def paged(rows: list[int]) -> str:
    """How many there are."""
    return paragraph(f"{len(rows)} faces, {max(1, -(-len(rows) // PAGE))} pages")


def tiles(project: Project, rows: list[int], number: int, masks: bool) -> list[Any]:
    """A page of faces with their rows."""
    faces = project.path("faces")
    images, outlined = artifacts.pictures(faces), artifacts.masks(faces)
    marked = masks and "landmarks" in artifacts.layout(faces)
    landmarks = artifacts.rows(faces, "landmarks") if marked else None
    shown = []
    for row in rows[PAGE * (number - 1) : PAGE * number]:
        image = np.broadcast_to(images[row], (*images[row].shape[:2], 3))
        if masks:
            marks = landmarks[row] if landmarks is not None else np.zeros((0, 2))
            image = overlay(np.ascontiguousarray(image), outlined[row], marks, SIDE)
        shown.append((image, str(row)))
    return shown


def told(project: Project, row: int) -> str:
    """What is known of a face, as HTML."""
    stored = faces_of(project)
    people = stored.meta.get("identity_names") or []
    who = int(stored["identity"][row])
    person = "unknown" if who < 0 else people[who] if who < len(people) else str(who)
    words = f"{stored['source'][row]}, row {row}: {SPLITS[stored['split'][row]]}, person {person}"
    return paragraph(words)


def words(project: Project, row: int) -> list[str]:
    """The labels of a face, those that were mended among them."""
    stored = faces_of(project)
    data, _, photo = str(stored["source"][row]).partition("/")
    own = labels.fixes(project.own, data).get(photo, {})
    of = {value: word for word, value in WORDS.items()}
    known = zip(stored.meta["attribute_names"], stored["attributes"][row].tolist(), strict=True)
    return [of[own.get(name, value)] for name, value in known if name != MEASURED]


def mend(project: Project, row: int | None, attribute: str, value: int) -> str:
    """Writes a label into the studio's table; says how preprocess reads it, as HTML."""
    if row is None:
        raise gr.Error("Data: expected a face whose label is mended, found none chosen; click one", duration=None)
    stored = faces_of(project)
    source = str(stored["source"][row])
    written = labels.fix(project.own, stored, source, attribute, value)
    place = f"{attribute} of {source} is written to {written}"
    how = "name that file as attributes in preprocess.datasets (and among the deps in dvc.yaml), then run fg preprocess"
    return paragraph(f"{place}: {how}")


def rejected(stored: Artifact) -> str:
    """The photos without a row, by reason, as HTML."""
    photos = list(zip(stored["rejected/source"].tolist(), stored["rejected/reason"].tolist(), strict=True))
    if not photos:
        return "<p>No photo was rejected.</p>"
    groups = [
        f"<details><summary>{len(own)} x {html.escape(reason)}</summary>"
        f"{table(['photo', 'reason'], [list(photo) for photo in own])}</details>"
        for reason, own in grouped(photos).items()
    ]
    return f"<h3>{len(photos)} rejected photos</h3>{''.join(groups)}"
