"""Edit: a photo or a row, a slider for each attribute and direction, and what the edit did."""

from __future__ import annotations

import hashlib
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from fgcli import artifacts, inverters
from fgcli.artifacts import write_aside
from fgcli.artifacts.outputs import verify_outputs
from fgcli.certificate import FOOT, Certificate, Examiner
from fgcli.editors import Editors
from fgcli.errors import FgError
from fgcli.plans import Plan, Step, learned
from fgcli.reports.pictures import decoded, enlarge
from fgcli.stages import pictures
from fgcli.studio.models import FACE, HIDDEN, LARGEST_MB, LIVE, SLOW, Project, paragraph, table
from fgcli.subjects import Strip, Subject, is_photo, outputs, save_changed, whole_photo, with_change

REACH, STEP = 3.0, 0.1
"""Of the sliders: strengths from -REACH to REACH."""
SHOWN = 900
"""Longer side at which whole photos are shown, px."""
SEEN: dict[str, Any] = {"format": "png", "interactive": False, "buttons": []}


def build(project: Project) -> None:
    """Lays the tab."""
    project.need("generator", "latents", "editor")
    said = project.since("generator", "latents", "editor")
    names = attributes(project.editors())
    ways = inverters.fitting(project.generator())
    usual = artifacts.load(project.path("latents"), artifacts.LATENTS, ()).meta["inverter"]["name"]
    first = start(project, "0")
    pair, certified = shown(project, first, []), told(project, first, [])[1]
    person = gr.State(first)
    with gr.Row():
        with gr.Column(scale=2):
            photo = gr.File(label=f"A photo, at most {LARGEST_MB} MB", height=120, interactive=True)
            choices = [(way, "" if way == usual else way) for way in ways]
            by = gr.Radio(choices, value="", label="What finds its code", visible=len(ways) > 1, interactive=True)
            row = gr.Number(0, label="or a row of latents.h5", precision=0, minimum=0, interactive=True)
            sliders = [gr.Slider(-REACH, REACH, 0, step=STEP, label=name, interactive=True) for name in names]
            back = gr.Button("All to 0")
        with gr.Column(scale=3):
            picture = gr.ImageSlider(pair, label="Before and after", **SEEN)
            whole = gr.ImageSlider(label="The whole photo", visible=False, **SEEN)
        with gr.Column(scale=3):
            numbers = gr.HTML(certified)
            command = gr.Textbox(label="The same by command", lines=3, buttons=["copy"], interactive=False)
            write = gr.Button("Write the pictures", variant="primary")
            files = gr.File(label="Pictures and command", file_count="multiple", interactive=False, visible=False)

    def steps(values: Sequence[float]) -> list[Step]:
        found = zip(names, values, strict=True)
        wanted = [Step(attribute=name, strength=float(f"{value:g}")) for name, value in found if value]
        return learned(project.editors(), wanted)

    def dropped(path: str, by: str) -> Subject:
        return start(project, kept(project, path), by)

    def found(person: Subject, by: str) -> Any:
        return start(project, person.name, by) if person.cut else gr.skip()

    def named(value: int | None) -> Any:
        return gr.skip() if value is None else start(project, str(value))

    def moved(person: Subject, *values: float) -> Any:
        return shown(project, person, steps(values))

    def measured(person: Subject, *values: float) -> list[Any]:
        return told(project, person, steps(values))

    def written(person: Subject, *values: float) -> Any:
        return gr.update(value=save(project, person, steps(values)), visible=True)

    live = LIVE | {"inputs": [person, *sliders]}
    show, tell = live | {"outputs": picture}, live | {"outputs": [whole, numbers, command]}
    slow = SLOW | {"show_progress_on": picture}
    for events in (
        gr.on([slider.change for slider in sliders], said(moved), **show),
        photo.upload(said(dropped), [photo, by], person, **slow).success(said(moved), **show),
        by.input(said(found), [person, by], person, **slow).success(said(moved), **show),
        row.input(said(named), row, person, **LIVE).success(said(moved), **show),
    ):
        events.success(said(measured), **tell)
    back.click(lambda: [0] * len(names), None, sliders, **LIVE)
    write.click(said(written), live["inputs"], files, **HIDDEN)


def attributes(known: Editors) -> list[str]:
    """Every attribute and direction that an editor knows."""
    return list(dict.fromkeys(name for method in known.methods.values() for name in method.arrays()))


def kept(project: Project, path: str) -> str:
    """A dropped photo, kept among the studio's files so that the command finds it.

    Raises:
        FgError: it is too large.
    """
    photo = Path(path)
    if photo.stat().st_size > LARGEST_MB * 1e6:
        raise FgError(
            f"{photo.name}: expected at most {LARGEST_MB} MB, found {photo.stat().st_size / 1e6:.0f}; shrink it"
        )
    place = project.own / "photos" / hashlib.sha256(photo.read_bytes()).hexdigest()[:8] / photo.name
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, place)
    return str(place)


def start(project: Project, name: str, by: str = "") -> Subject:
    """The face of a photo, whose code the inverter `by` finds, or of a row."""
    if is_photo(name):
        people = project.photographed()
        return people.inverted(0, name, *people.found(name), by)
    people = project.people()
    people.verify_row(int(name))
    return people.row(0, name)


def plan(steps: list[Step]) -> Plan:
    """Of edits that all have a strength."""
    return Plan(steps, [0.0], auto=False)


def edited(project: Project, person: Subject, steps: list[Step]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (h, w, 3) of the code and of the edited one."""
    model = project.generator()
    changed = plan(steps).codes(project.editors(), person.code)
    return decoded(model, person.code)[0], decoded(model, changed)[0]


def shown(project: Project, person: Subject, steps: list[Step]) -> tuple[np.ndarray, np.ndarray]:
    """The same, enlarged as in sheets."""
    scale = enlarge(project.generator()) * 2
    before, after = (picture.repeat(scale, 0).repeat(scale, 1) for picture in edited(project, person, steps))
    return before, after


def examined(project: Project, person: Subject, steps: list[Step]) -> tuple[np.ndarray, np.ndarray, Certificate]:
    """Both pictures, and the certificate of the second."""
    found = pictures.edited(person, plan(steps), project.editors(), project.examiner())
    return found.plain, found.pictures[0], found.found[0]


def told(project: Project, person: Subject, steps: list[Step]) -> list[Any]:
    """The whole photo before and after, the certificate, and the command."""
    plain, picture, found = examined(project, person, steps)
    whole = gr.update(value=None, visible=False)
    if person.cut:
        photo = whole_photo(Path(person.name))
        changed = photo.edited(with_change(photo, person.cut, picture.astype(np.float32) - plain))
        whole = gr.update(value=(reduced(photo.own), reduced(changed)), visible=True)
    return [whole, certificate(found, project.examiner()), command_of(project, person, steps)]


def reduced(pixels: np.ndarray) -> Image.Image:
    """A picture that is not too large to show at once."""
    page = Image.fromarray(pixels)
    page.thumbnail((SHOWN, SHOWN))
    return page


def certificate(found: Certificate, by: Examiner) -> str:
    """What an edit did, as HTML: each judge's word before and after, identity, the code's place, what warns."""
    rows = []
    for name, change in {**found.asked, **found.others}.items():
        was, errs = found.before[name], found.errors.get(name)
        asked = " (asked)" if name in found.asked else ""
        rows.append(
            [name + asked, f"{was:.2f}", f"{was + change:.2f}", "" if errs is None else f"judge errs: {errs:.0%}"]
        )
    if found.identity is not None:
        same = f"one person below {found.identity_below}"
        rows.append(["distance of identity", "0.00", f"{found.identity:.2f}", same])
    if found.likely is not None:
        place = "like the data's" if found.likely else "has left the data"
        edge = f"{place}; 99 % of those are above {found.log_density_least:.0f}"
        rows.append(["log-density of the code", "", f"{found.log_density:.0f}", edge])
    rows.append(["mean change of the face", "", f"{found.inside:.1f}", f"of 255; around it {found.outside:.1f}"])
    verdict = f"Warning: {'; '.join(found.warnings)}." if found.warnings else "It holds: nothing else changed."
    left = [f"Not measured: {what} ({why})." for what, why in by.left_out.items()]
    words = "".join(map(paragraph, (verdict, *left)))
    return words + table(["", "before", "after", ""], rows)


def command_of(project: Project, person: Subject, steps: list[Step]) -> str:
    """The `fg edit` that makes the same pictures; of no edit what shows the code."""
    if not steps:
        return "move a slider"
    output = project.own / "edited.png"
    words = ["fg", "edit", person.name]
    words += ["--face", FACE] if person.cut else []
    words += ["--inverter", person.inverter] if person.inverter else []
    for step in steps:
        words += ["-a", f"{step.attribute}={step.strength:g}"]
    words += ["-o", str(output)]
    if project.out != Path("out"):
        files = ("generator", "editor", "latents", "judges", "density", "flame", "regressor")
        words += [word for name in files for word in (f"--{name}", str(project.path(name)))]
    return shlex.join(words)


def save(project: Project, person: Subject, steps: list[Step]) -> list[str]:
    """Writes what that command would, and the command itself; returns the files.

    Raises:
        FgError: nothing was changed, or a file of the user's is in the way.
    """
    if not steps:
        raise FgError("Edit: expected a changed face, found all sliders at 0; move one")
    how, output, script = plan(steps), project.own / "edited.png", project.own / "edited.sh"
    verify_outputs([], {"the command": script}, {"the command": ""})
    pasted = outputs(output, [person.name], how.marks, project.files().paths()).get(0, [])
    plain, picture, found = examined(project, person, steps)
    strip = Strip(output, project.generator(), [person.name], ["face", "code", *how.labels], lines=len(steps) + FOOT)
    strip.add(person, [plain, picture], [found.foot])
    strip.save()
    if person.cut:
        save_changed(person.name, person.cut, [picture.astype(np.float32) - plain], pasted)
    with write_aside(script) as part:
        part.write_text(f"# fg studio\n{command_of(project, person, steps)}\n")
    return [str(path) for path in (output, *pasted, script)]
