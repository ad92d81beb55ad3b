"""Sample and walk: new faces, the way between two of them, and the ones that are kept."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from fgcli import artifacts
from fgcli.artifacts import write_json
from fgcli.artifacts.outputs import verify_outputs
from fgcli.capabilities import Conditional
from fgcli.codes import Codes, walk
from fgcli.errors import FgError
from fgcli.reports import grid
from fgcli.reports.pictures import decoded, enlarge
from fgcli.stages.sample import RANDOM, drawn, outputs, save_codes
from fgcli.studio.models import HIDDEN, LIVE, SLOW, Project

COLUMNS, FRAMES, FIRST = 8, 9, 16
"""Faces in a row of the sheet; pictures from one face to the other; faces that are drawn at once."""
SEEN: dict[str, Any] = {"format": "png", "interactive": False, "allow_preview": False, "buttons": []}
Kept = dict[str, Any]
"""A favourite: density, seed, truncation, and the hashes of its generator and of the file that the density is in."""


def build(project: Project) -> None:
    """Lays the tab."""
    project.need("generator")
    said = project.since("generator", "density", "latents", "conditions")
    known = densities(project)
    first = drew(project, known[0], 1.0, 0, FIRST)
    liked = favourite_pictures(project)
    draw_of, picked = gr.State(first[0]), gr.State([])
    with gr.Row():
        density = gr.Dropdown(known, value=known[0], label="Density", interactive=True)
        truncation = gr.Slider(0, 1, 1, step=0.05, label="Truncation, of the prior", interactive=True)
        seed = gr.Number(0, label="Seed of the first", precision=0, minimum=0, interactive=True)
        count = gr.Slider(2, 64, FIRST, step=1, label="How many", interactive=True)
        draw = gr.Button("Draw", variant="primary")
    faces = gr.Gallery(first[2], label="Faces: choose two", columns=COLUMNS, **SEEN)
    strip = gr.Image(label="The walk", format="png", interactive=False, buttons=[])
    with gr.Row():
        with gr.Column():
            way = gr.Slider(0, 1, 0, step=0.05, label="From the first to the second", interactive=True)
            keep = gr.Button("Keep the face chosen last")
            export = gr.Button("Export the sheet")
            told = gr.Textbox(first[-1], label="The same by command", interactive=False, buttons=["copy"])
            files = gr.File(label="Sheet and codes", file_count="multiple", interactive=False, visible=False)
        with gr.Column():
            between = gr.Image(label="On the way", format="png", interactive=False, buttons=[], height=300)
        with gr.Column():
            favourites = gr.Gallery(liked, label="Favourites", columns=6, **SEEN)
            sheet = gr.Button("Export the favourites")

    def draws(density: str, truncation: float, seed: int | None, count: float) -> list[Any]:
        if seed is None:
            raise FgError("Sample and walk: expected the seed of the first face, found none; give a whole number")
        return drew(project, density, truncation, seed, int(count))

    def chosen(found: tuple[Codes, Kept] | None, picked: list[int], at: float, event: gr.SelectData) -> list[Any]:
        picked = [*picked, int(event.index)][-2:]
        return [picked, walked(project, found, picked, at), strip_of(project, found, picked)]

    def moved(found: tuple[Codes, Kept] | None, picked: list[int], at: float) -> Any:
        return walked(project, found, picked, at)

    def keeps(found: tuple[Codes, Kept] | None, picked: list[int]) -> Any:
        keep_face(project, found, picked)
        return favourite_pictures(project)

    def exported(found: tuple[Codes, Kept] | None) -> Any:
        return gr.update(value=save(project, found), visible=True)

    def exported_favourites() -> Any:
        return gr.update(value=save_favourites(project), visible=True)

    asked = [density, truncation, seed, count]
    draw.click(said(draws), asked, [draw_of, picked, faces, between, strip, told], **SLOW, show_progress_on=told)
    every: dict[str, Any] = HIDDEN | {"trigger_mode": "multiple"}  # a second click waits for the first, and is not lost
    faces.select(said(chosen), [draw_of, picked, way], [picked, between, strip], **every)
    way.input(said(moved), [draw_of, picked, way], between, **LIVE)
    keep.click(said(keeps), [draw_of, picked], favourites, **HIDDEN)
    export.click(said(exported), draw_of, files, **HIDDEN)
    sheet.click(said(exported_favourites), None, files, **HIDDEN)


def drew(project: Project, density: str, truncation: float, seed: int, count: int) -> list[Any]:
    """Codes and how they were drawn, none chosen of them, their pictures, no walk, and the command."""
    codes = drawn_here(project, count, density, seed, truncation)[1]
    how = {"density": density, "truncation": truncation, "seed": seed, "count": count}
    pictures = enumerate(decoded(project.generator(), codes), seed)
    return [
        (codes, how),
        [],
        [(shown(project, p), f"seed {n}") for n, p in pictures],
        None,
        None,
        command(project, how),
    ]


def densities(project: Project) -> list[str]:
    """What faces can be drawn from, the best first."""
    found = ["prior"]
    if project.there("density"):
        about = artifacts.load(project.path("density"), artifacts.DENSITY, ()).meta
        found = [*reversed(about["methods"]), *found]
    if isinstance(project.generator(), Conditional):
        project.need("latents")
        found += [RANDOM] if project.there("conditions") else []
    return found


def drawn_here(project: Project, count: int, density: str, seed: int, truncation: float) -> Any:
    """As `fg sample` draws."""
    files = [project.path(name) for name in ("generator", "density", "latents", "conditions")]
    return drawn(project.generator(), count, density, seed, truncation, *files)


def shown(project: Project, picture: np.ndarray) -> np.ndarray:
    """A picture, enlarged as in sheets."""
    scale = enlarge(project.generator())
    return picture.repeat(scale, 0).repeat(scale, 1)


def pair(found: tuple[Codes, Kept] | None, picked: list[int]) -> tuple[Codes, Codes] | None:
    """The codes of the two faces that were chosen; none before."""
    if found is None or len(picked) < 2:
        return None
    return found[0][[picked[0]]], found[0][[picked[1]]]


def walked(project: Project, found: tuple[Codes, Kept] | None, picked: list[int], at: float) -> np.ndarray | None:
    """The face at a share of the way."""
    ends = pair(found, picked)
    if ends is None:
        return None
    return shown(project, decoded(project.generator(), walk(*ends, [at]))[0])


def strip_of(project: Project, found: tuple[Codes, Kept] | None, picked: list[int]) -> Any:
    """The whole way."""
    ends = pair(found, picked)
    if ends is None:
        return None
    times = np.linspace(0, 1, FRAMES).tolist()
    return grid.sheet([decoded(project.generator(), walk(*ends, times))], scale=enlarge(project.generator()))


def command(project: Project, how: Kept) -> str:
    """The `fg sample` that draws the same."""
    words = ["fg", "sample", "-n", how["count"], "--density", how["density"], "--seed", how["seed"]]
    words += ["--truncation", f"{how['truncation']:g}"] if how["truncation"] != 1 else []
    words += ["-o", project.own / "samples.png"]
    if project.out != Path("out"):
        names = {"generator": "generator", "densities": "density", "latents": "latents", "conditions": "conditions"}
        words += [word for flag, name in names.items() for word in (f"--{flag}", project.path(name))]
    return shlex.join(map(str, words))


def asked(found: tuple[Codes, Kept] | None) -> tuple[Codes, Kept]:
    """What was drawn; raises FgError before anything was."""
    if found is None:
        raise FgError("Sample and walk: expected faces, found none drawn yet; press Draw")
    return found


def save(project: Project, found: tuple[Codes, Kept] | None) -> list[str]:
    """Writes what that command would; returns the sheet and the codes."""
    _, how = asked(found)
    reads = {name: project.path(name) for name in ("generator", "density", "latents", "conditions")}
    sheet, stored, *single = outputs(project.own / "samples.png", how["count"], how["seed"], list(reads.values()))
    chosen, codes, heads, inputs = drawn_here(project, how["count"], how["density"], how["seed"], how["truncation"])
    model = project.generator()
    pictures = [decoded(model, face)[0] for face in codes.split(1)]  # one by one, as the command does
    for picture, path in zip(pictures, single, strict=True):
        grid.save_picture(path, grid.sheet([[picture]]))
    save_codes(stored, codes, heads, chosen, how["seed"], how["truncation"], inputs)
    grid.save_picture(sheet, grid.sheet(grid.wrap(pictures, COLUMNS), scale=enlarge(model)))
    return [str(sheet), str(stored)]


def all_favourites(project: Project) -> list[Kept]:
    """Those of every generator and density that was here.

    Raises:
        FgError: their file is damaged.
    """
    path = project.own / "favourites.json"
    if not path.exists():
        return []
    try:
        found = json.loads(path.read_bytes())
        return [{name: kept[name] for name in ("density", "truncation", "seed", "generator", "file")} for kept in found]
    except (ValueError, KeyError, TypeError) as error:
        raise FgError(f"{path}: expected favourites of fg studio, found another file; move it") from error


def favourites_of(project: Project) -> list[Kept]:
    """Those that the generator and the densities of today draw."""
    return [kept for kept in all_favourites(project) if kept == kept | origin(project, kept["density"])]


def origin(project: Project, density: str) -> dict[str, str]:
    """Hashes of what draws a face: the generator, and the file of the density; "" where it is in none."""
    own = density not in ("prior", RANDOM) and project.there("density")
    file = artifacts.sha256(project.path("density")) if own else ""
    return {"generator": artifacts.sha256(project.path("generator")), "file": file}


def keep_face(project: Project, found: tuple[Codes, Kept] | None, picked: list[int]) -> None:
    """Adds the face that was chosen last."""
    _, how = asked(found)
    if not picked:
        raise FgError("Sample and walk: expected a face to keep, found none chosen; click one")
    own = {"density": how["density"], "truncation": how["truncation"], "seed": how["seed"] + picked[-1]}
    own |= origin(project, how["density"])
    known = all_favourites(project)
    if own not in known:
        write_json(project.own / "favourites.json", [*known, own])


def favourite_faces(project: Project) -> list[np.ndarray]:
    """Pictures of the favourites."""
    model, found = project.generator(), []
    for kept in favourites_of(project):
        face = drawn_here(project, 1, kept["density"], kept["seed"], kept["truncation"])[1]
        found += decoded(model, face)
    return found


def favourite_pictures(project: Project) -> list[Any]:
    """The same for the page, with what draws them."""
    names = [f"{kept['density']}, seed {kept['seed']}" for kept in favourites_of(project)]
    return [(shown(project, picture), name) for picture, name in zip(favourite_faces(project), names, strict=True)]


def save_favourites(project: Project) -> list[str]:
    """Writes their sheet.

    Raises:
        FgError: there are none.
    """
    path, faces = project.own / "favourites.png", favourite_faces(project)
    if not faces:
        raise FgError("Sample and walk: expected favourites, found none; choose a face and keep it")
    verify_outputs([], {"the sheet": path}, {"the sheet": ""})
    grid.save_picture(path, grid.sheet(grid.wrap(faces, COLUMNS), scale=enlarge(project.generator())))
    return [str(path)]
