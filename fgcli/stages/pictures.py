"""Generator and its companions -> pictures: edit, reconstruct, interpolate, of photos or rows of latents.h5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgcli import config
from fgcli.errors import FgError, UsageError
from fgcli.plans import Plan, Recipe, Step, asked, planned

if TYPE_CHECKING:
    import numpy as np

    from fgcli.capabilities import Generator
    from fgcli.certificate import Certificate, Examiner
    from fgcli.editors import Editors
    from fgcli.subjects import HeadFiles, Subject, Subjects


@dataclass(frozen=True)
class Files:
    """What `fg edit` reads, and `fg reconstruct` but for the editor."""

    generator: Path
    editor: Path | None
    latents: Path
    heads: HeadFiles
    judges: Path | None
    density: Path | None

    def paths(self) -> list[Path]:
        """Those that are read."""
        known = (self.generator, self.editor, self.latents, *vars(self.heads).values(), self.judges, self.density)
        return [path for path in known if path is not None]


@dataclass(frozen=True)
class Edited:
    """What the trials of a plan made of a face, those that are shown.

    Attributes:
        plain: uint8 (h, w, 3), what the code gives. pictures: the same, edited. trials: by which strengths.
    """

    person: Subject
    plain: np.ndarray
    pictures: list[np.ndarray]
    found: list[Certificate]
    trials: list[float]

    @property
    def changes(self) -> list[np.ndarray]:
        """Of the crop, float (h, w, 3), of each picture."""
        import numpy as np

        return [picture.astype(np.float32) - self.plain for picture in self.pictures]


def edited(person: Subject, plan: Plan, known: Editors, examiner: Examiner) -> Edited:
    """Does what is planned to a face."""
    from fgcli.reports.pictures import decoded

    codes = plan.codes(known, person.code)
    plain, *pictures = [*decoded(examiner.model, person.code), *decoded(examiner.model, codes)]
    mask = person.cut.mask > 127 if person.cut else None
    found = examiner.examine([s.attribute for s in plan.steps], person.code, codes, [plain, *pictures], mask)
    shown = plan.shown(found)
    return Edited(
        person, plain, [pictures[i] for i in shown], [found[i] for i in shown], [plan.trials[i] for i in shown]
    )


def edit(
    what: Sequence[str],
    steps: Sequence[Step],
    strengths: Sequence[float] | None,
    *,
    output: Path,
    page: Path | None,
    recipe: Path | None,
    paste_back: bool,
    face: str,
    inverter: str,
    files: Files,
) -> dict[str, Any]:
    """A strip per subject: the face, its reconstruction, then one picture per strength; and the photos, changed.

    Below each picture stands what it changed, as its certificate has it (see fgcli.certificate).

    Args:
        what: photos, folders, rows.
        steps: edits that follow each other.
        strengths: of the steps that name none; None: for each face the largest of AUTO that holds.
        output: the strip. page: an HTML page of the faces before and after, if one is wanted.
        recipe: a YAML file for the steps, if one is wanted.
        paste_back: whether changed photos are written, too.
        face: which face of a photo.
        inverter: by which photos are inverted; "": that of latents.h5.
        files: what is read.
    """
    from fgcli import artifacts
    from fgcli.certificate import FOOT, Examiner, verify_known
    from fgcli.generators import store
    from fgcli.reports import slider
    from fgcli.subjects import Strip, Subjects, expanded, outputs, save_all_changed

    for flag, path, ending in (("--page", page, ".html"), ("--save-recipe", recipe, ".yaml")):
        if path and path.suffix != ending:
            raise UsageError(f"{flag} {path}: expected a name that ends in {ending}, found {path.name}; rename it")
    what, known = expanded(what), editors_of(files)
    plan = planned(known, steps, strengths)
    written = outputs(output, what, plan.marks if paste_back else [], files.paths())
    model = store.load(files.generator)
    examiner = Examiner.of(model, files.judges, files.density, files.latents)
    if plan.auto:
        verify_known([s.attribute for s in plan.steps if s.strength is None], examiner)
    strip = Strip(output, model, what, ["face", "code", *plan.labels], lines=len(steps) + FOOT)
    by: dict[str, Any] = {"output": output, "inverter": inverter}
    people = Subjects(what, face, files.generator, files.latents, model, files.heads, **by)
    made, certificates, pairs = [output], {}, []
    for place, group in groupby(people, lambda person: person.place):
        faces = [edited(person, plan, known, examiner) for person in group]
        if paste_back and (cuts := [(found.person.cut, found.changes) for found in faces if found.person.cut]):
            save_all_changed(what[place], cuts, written[place])
            made += written[place]
        for found in faces:
            strip.add(found.person, [found.plain, *found.pictures], [c.foot for c in found.found])
            pairs.append((found.person.label, found.plain, found.pictures[-1]))
            marks = plan.marks if plan.marks == ["edit"] else [f"{trial:+g}" for trial in found.trials]
            certificates[found.person.title] = {m: c.told() for m, c in zip(marks, found.found, strict=True)}
    strip.save()
    if page:
        slider.write(page, pairs, ", ".join(step.attribute for step in plan.steps))
        made.append(page)
    if recipe:
        with artifacts.write_aside(recipe) as part:
            part.write_text("# fg edit --recipe\n" + config.text(Recipe(edits=plan.steps)))
        made.append(recipe)
    told = {"edits": [step.model_dump() for step in plan.steps], "certificates": certificates}
    left = {"not_measured": examiner.left_out} if examiner.left_out else {}
    if examiner.embedder:
        told["identity_by"] = examiner.embedder.title
    return {"output": list(map(str, made)), **told, **left, **people.told()}


class EditJobs:
    """Edits one photo after the other, see `fgcli.jobs.Work`: each becomes the whole photo, changed.

    Args:
        files: what is read. recipe: YAML of edits before those of each job, if there is one.
        photos: whether there are any.
    """

    def __init__(self, files: Files, recipe: Path | None, photos: bool) -> None:
        self.recipe, self.known = recipe, editors_of(files)
        self.examiner, self.people = opened(files, photos)
        self.columns = ["face", "edit", *self.examiner.columns]
        self.left_out = self.examiner.left_out

    def reads(self, options: Mapping[str, Any]) -> list[str]:
        """None; the options are checked."""
        from fgcli.certificate import verify_known
        from fgcli.config.fields import face

        face(options["face"])
        self.people.project(options["inverter"])
        plan = self.plan(options)
        if len(plan.trials) > 1 and not plan.auto:
            raise UsageError(
                f"--strength {options['strength']}: expected one strength or auto, since -o names a folder of one "
                f"picture a photo, found {len(plan.trials)}; write 1.5"
            )
        if plan.auto:
            verify_known([s.attribute for s in plan.steps if s.strength is None], self.examiner)
        return []

    def plan(self, options: Mapping[str, Any]) -> Plan:
        """What options ask for."""
        from fgcli.config.fields import strengths

        text = options["strength"]
        steps = asked(self.recipe, options["attribute"], options["method"])
        return planned(self.known, steps, None if text == "auto" else strengths(text))

    def __call__(self, photo: str, picture: Path, options: Mapping[str, Any]) -> dict[str, str]:
        """Writes the photo, changed, or its aligned faces; returns what was changed and the certificates."""
        from fgcli import jobs
        from fgcli.subjects import save_all_changed

        plan = self.plan(options)
        people = self.people.of(photo, options["face"], jobs.numbering(picture), options["inverter"])
        faces = [edited(person, plan, self.known, self.examiner) for person in people]
        cuts = [(found.person.cut, found.changes) for found in faces if found.person.cut]
        if cuts and options["paste_back"]:
            save_all_changed(photo, cuts, [picture])
        else:
            save_beside(picture, [found.pictures[0] for found in faces])
        return jobs.joined(
            [
                {"face": number(found.person, options["face"]), "edit": plan.told(found.trials[0])}
                | found.found[0].cells()
                for found in faces
            ]
        )


def opened(files: Files, photos: bool) -> tuple[Examiner, Subjects]:
    """What judges pictures, and what finds the faces of photos, if there are any, and rows."""
    from fgcli.certificate import Examiner
    from fgcli.generators import store
    from fgcli.subjects import Subjects

    model = store.load(files.generator)
    people = Subjects([], "only", files.generator, files.latents, model, files.heads)
    if photos and not people.writes:
        people.learn_photos(files.generator, "only", files.heads)
    return Examiner.of(model, files.judges, files.density, files.latents), people


def number(person: Subject, asked: str) -> str:
    """Which face of a photo it is, as a table tells it; nothing of a row."""
    return "" if person.cut is None else str(person.cut.number or asked)


def save_beside(path: Path, pictures: Sequence[np.ndarray]) -> None:
    """Pictures (h, w, 3) of one height as one."""
    import numpy as np
    from PIL import Image

    from fgcli.reports import grid

    grid.save_picture(path, Image.fromarray(np.concatenate(pictures, 1)))


def editors_of(files: Files) -> Editors:
    """The editors of the generator's codes.

    Raises:
        FgError: they are another generator's, or learned nothing.
    """
    from fgcli import artifacts
    from fgcli.editors import load
    from fgcli.generators import store

    if files.editor is None:
        raise ValueError("no editor")
    store.verify(files.editor, files.generator)
    known = load(files.editor)
    if not any(method.arrays() for method in known.methods.values()):
        told = artifacts.load(files.editor, artifacts.EDITOR, ()).meta["choice"]
        raise FgError(f"{files.editor}: expected an editor that learned an attribute, found one that {told}")
    return known


def reconstruct(
    what: Sequence[str], output: Path, face: str, generator: Path, latents: Path, heads: HeadFiles
) -> dict[str, Any]:
    """One sheet: faces, reconstructions, predicted masks."""
    from fgcli.capabilities import Masks
    from fgcli.generators import store
    from fgcli.reports import grid
    from fgcli.subjects import Strip, Subjects, expanded

    grid.picture_format(output)
    what, model = expanded(what), store.load(generator)
    strip = Strip(output, model, what, ["face", "code", *(["mask"] if isinstance(model, Masks) else [])])
    people = Subjects(what, face, generator, latents, model, heads, output=output)
    for person in people:
        strip.add(person, reconstructed(model, person))
    strip.save()
    return {"output": str(output), "faces": len(strip.rows), **people.told()}


class ReconstructJobs:
    """Reconstructs one photo after the other, see `fgcli.jobs.Work`: the face, what comes of it, the predicted mask.

    Args:
        files: what is read. photos: whether there are any.
    """

    def __init__(self, files: Files, photos: bool) -> None:
        self.examiner, self.people = opened(files, photos)
        self.columns = ["face", *self.examiner.columns]
        self.left_out = self.examiner.left_out

    def reads(self, options: Mapping[str, Any]) -> list[str]:
        """None; the options are checked."""
        from fgcli.config.fields import face

        face(options["face"])
        return []

    def __call__(self, photo: str, picture: Path, options: Mapping[str, Any]) -> dict[str, str]:
        """Writes the strip; returns certificates of reconstructions against their faces."""
        from fgcli import jobs
        from fgcli.reports import grid
        from fgcli.reports.pictures import enlarge

        rows, told = [], []
        for person in self.people.of(photo, options["face"], jobs.numbering(picture)):
            rows.append([person.face, *reconstructed(self.examiner.model, person)])
            mask = person.cut.mask > 127 if person.cut else None
            [found] = self.examiner.examine([], person.code, person.code, rows[-1][:2], mask)
            told.append({"face": number(person, options["face"])} | found.cells())
        grid.save_picture(picture, grid.sheet(rows, scale=enlarge(self.examiner.model)))
        return jobs.joined(told)


def reconstructed(model: Generator, person: Subject) -> list[np.ndarray]:
    """What a generator makes of a face's code, and the mask that it predicts, if it does."""
    from fgcli.capabilities import Masks
    from fgcli.reports.pictures import decoded, decoded_masks

    return decoded(model, person.code) + (decoded_masks(model, person.code) if isinstance(model, Masks) else [])


def interpolate(
    what: Sequence[str],
    frames: int,
    path: str,
    output: Path,
    face: str,
    generator: Path,
    latents: Path,
    heads: HeadFiles,
) -> dict[str, Any]:
    """One row of pictures per pair of neighbours."""
    import numpy as np

    from fgcli.codes import NATURAL, PATHS, walk
    from fgcli.generators import store
    from fgcli.reports import grid
    from fgcli.reports.pictures import decoded, enlarge, shown_size
    from fgcli.subjects import Subjects, expanded

    grid.picture_format(output)
    if path and path not in PATHS:
        raise UsageError(f"--path {path}: expected one of {', '.join(PATHS)}")
    what = expanded(what)
    if len(what) < 2 and face != "all":
        raise UsageError(f"PHOTO|FOLDER|ROW: expected at least two faces to walk between, found {len(what)}")
    model = store.load(generator)
    grid.verify_room(output, grid.extent(max(1, len(what) - 1), frames, shown_size(model)))
    people = Subjects(what, face, generator, latents, model, heads, least=min(2, len(what)), output=output)
    codes, times = [person.code for person in people], np.linspace(0, 1, frames).tolist()
    if len(codes) < 2:
        raise FgError(f"{what[0]}: expected at least two faces to walk between, found {len(codes)}; name another")
    rows = [decoded(model, walk(a, b, times, path)) for a, b in pairwise(codes)]
    grid.save_picture(output, grid.sheet(rows, scale=enlarge(model)))
    told = {"pairs": len(rows), "frames": frames, "path": path or NATURAL[codes[0].space]}
    return {"output": str(output), **told, **people.told()}
