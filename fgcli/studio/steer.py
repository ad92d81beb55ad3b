"""Steer: the numbers of a head, its mesh, and the face that a generator makes of it where heads steer one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np
import torch

from fgcli import artifacts, codes
from fgcli.errors import FgError
from fgcli.fitting.extract import same_head
from fgcli.fitting.extraction import drawing
from fgcli.generators import store
from fgcli.heads.head import Head
from fgcli.heads.parameters import SIZES, Parameters
from fgcli.heads.steering import Factor, recentred
from fgcli.reports.heads import enlarged, modelled, u8
from fgcli.steered import Person
from fgcli.studio.edit import kept
from fgcli.studio.models import LIVE, SLOW, Project

SIDE = 384
"""Of the pictures, px."""
SEEN: dict[str, Any] = {"format": "jpeg", "interactive": False, "buttons": []}
LEADING = 3
"""Modes of shape and expression that have a slider."""
RANGES = {"shape": (-3.0, 3.0), "expression": (-3.0, 3.0), "jaw": (-0.1, 0.5), "yaw": (-0.8, 0.8), "light": (-2.0, 4.0)}
FACTORS = [
    *(Factor("shape", mode) for mode in range(LEADING)),
    *(Factor("expression", mode) for mode in range(LEADING)),
    Factor("jaw"),
    Factor("yaw"),
    *(Factor("light", harmonic) for harmonic in range(4)),
]
LIGHTS = ("everywhere", "from the side", "from above", "from the front")
"""What the first harmonics are."""


@dataclass(frozen=True)
class Steered:
    """A head (a single row) as it was found, where the sliders then stood, and the face, if a generator makes one."""

    head: Parameters
    at: list[float]
    person: Person | None = None


def build(project: Project) -> None:
    """Lays the tab."""
    faced = is_steered(project)
    if not faced:
        project.need("flame")
    said = project.since("generator", "latents", "conditions", "flame") if faced else project.since("flame")
    shown_first = first_row(project, "conditions" if faced else "flame")
    first = start(project, str(shown_first), faced)
    drawn = shown(project, first, first.at)
    state = gr.State(first)
    with gr.Row():
        with gr.Column(scale=2, min_width=200):
            photo = gr.File(label="A photo", height=120, visible=faced, interactive=True)
            row = gr.Number(
                shown_first,
                label=f"{'or a' if faced else 'A'} row of faces.h5",
                precision=0,
                minimum=0,
                interactive=True,
            )
        with gr.Column(scale=3, min_width=200):
            sliders = [slider(factor, value) for factor, value in zip(FACTORS, first.at, strict=True)]
        with gr.Column(scale=2, min_width=200):
            face = gr.Image(drawn[0], label="Face" if faced else "The head in its skin and light", **SEEN)
        with gr.Column(scale=2, min_width=200):
            mesh = gr.Image(drawn[1], label="Mesh", **SEEN)

    def dropped(path: str) -> Steered:
        return start(project, kept(project, path), faced)

    def named(value: int | None) -> Any:
        return gr.skip() if value is None else start(project, str(value), faced)

    def moved(state: Steered, *values: float) -> list[np.ndarray]:
        return shown(project, state, list(values))

    show = LIVE | {"inputs": [state, *sliders], "outputs": [face, mesh]}
    gr.on([slider.input for slider in sliders], said(moved), **show)
    for found in (
        photo.upload(said(dropped), photo, state, **SLOW, show_progress_on=face),
        row.input(said(named), row, state, **LIVE),
    ):
        found.success(lambda state: state.at, state, sliders, **LIVE).success(said(moved), **show)


def slider(factor: Factor, value: float) -> gr.Slider:
    """Of a number of a head."""
    low, high = RANGES[factor.name]
    label = f"light {LIGHTS[factor.mode or 0]}" if factor.name == "light" else str(factor)
    return gr.Slider(low, high, value, step=0.05 if high - low > 2 else 0.02, label=label, buttons=[], interactive=True)


def is_steered(project: Project) -> bool:
    """Whether heads steer the generator: then conditions.h5 is needed, too.

    Raises:
        FgError: codes of another generator, or no conditions.h5.
    """
    if not (project.there("generator") and project.there("latents")):
        return False
    store.verify(project.path("latents"), project.path("generator"))
    if codes.conditions(project.path("latents")) is None:
        return False
    project.need("conditions")
    return True


def first_row(project: Project, name: str) -> int:
    """The first row whose head was found.

    Raises:
        FgError: there is none.
    """
    status = artifacts.load(project.path(name), names=("status",))["status"]
    rows = np.flatnonzero(np.asarray(status) == "ok")
    if not len(rows):
        raise FgError(f"{project.path(name)}: expected a row whose head was found, found none; run fg flame again")
    return int(rows[0])


def start(project: Project, name: str, faced: bool) -> Steered:
    """The head of a photo, or of a row.

    Raises:
        FgError: no such row, or no face or head in it.
    """
    if faced:
        with torch.no_grad():
            person = project.steering().person(name)
        return Steered(person.head, standing(person.head), person)
    flame = project.path("flame")
    stored = artifacts.load(flame, artifacts.FLAME, (*SIZES, "status"))
    if int(name) >= len(stored["status"]):
        raise FgError(f"{flame}: expected a row below {len(stored['status'])}, found {name}; choose another row")
    if stored["status"][int(name)] != "ok":
        raise FgError(
            f"{flame}: expected a row whose head was found, found {stored['status'][int(name)]}; choose another"
        )
    p = Parameters.from_arrays(stored.arrays).rows([int(name)])
    return Steered(p, standing(p))


def standing(p: Parameters) -> list[float]:
    """Where the sliders stand for a head."""
    return [round(float(np.clip(factor.get(p)[0], *RANGES[factor.name])), 3) for factor in FACTORS]


def head_of(project: Project) -> Head:
    """The head that flame.h5 is about."""
    flame = project.path("flame")
    told = artifacts.load(flame, artifacts.FLAME, ()).meta["head"]
    return project.once("head", lambda: same_head(told, flame), "flame")


@torch.no_grad()
def shown(project: Project, state: Steered, values: list[float]) -> list[np.ndarray]:
    """The face, or the head in its skin where there is none, and the mesh; numbers that nobody moved stay exact."""
    p = state.head
    for factor, value, was in zip(FACTORS, values, state.at, strict=True):
        p = factor.set(p, value) if abs(value - was) > 1e-6 else p
    if state.person:
        studio = project.steering()
        (picture,), p = studio.pictures(state.person, p)
        return [enlarged(picture, SIDE), *u8(modelled(studio.head, p, SIDE).image)]
    head = head_of(project)
    p = recentred(head, state.head, p)
    return [*u8(drawing(head, p, SIDE).image), *u8(modelled(head, p, SIDE).image)]
