"""Generator and its companions -> pictures: edit, reconstruct, interpolate, of photos or rows of latents.h5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fgcli import config
from fgcli.config import Section, document, pick
from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    from fgcli.certificate import Certificate
    from fgcli.codes import Codes
    from fgcli.editors import Editors
    from fgcli.subjects import HeadFiles


class Step(Section):
    """One attribute changed by one editor."""

    attribute: str
    """A name of editor.h5: an attribute, or a direction that was found."""

    strength: float | None = None
    """How far; none: by those that the call asks for."""

    method: str = ""
    """Label of the editor; "" for the last that knows the attribute."""


class Recipe(Section):
    """Steps that follow each other, as `--recipe` reads and `--save-recipe` writes them."""

    edits: Annotated[list[Step], Field(min_length=1)]
    """In order."""


def asked(recipe: Path | None, attributes: Sequence[str], method: str) -> list[Step]:
    """The steps of a recipe, then those of NAME or NAME=STRENGTH.

    Raises:
        UsageError: there is none, a strength that is no finite number, or a recipe with an unknown key.
    """
    import math

    found = list(document(recipe, Recipe, "a recipe").edits) if recipe else []
    for text in attributes:
        name, equals, value = text.partition("=")
        try:
            strength = float(value) if equals else None
        except ValueError:
            strength = math.nan
        if strength is not None and not math.isfinite(strength):
            raise UsageError(f"--attribute {text}: expected NAME or NAME=STRENGTH, a finite number, found {value!r}")
        found.append(Step(attribute=name, strength=strength, method=method))
    if not found:
        raise UsageError("--attribute: expected what to change, found nothing; name one, or a --recipe")
    return found


AUTO = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
"""Strengths of which `auto` takes the largest that holds."""


@dataclass(frozen=True)
class Files:
    """What `fg edit` reads."""

    generator: Path
    editor: Path
    latents: Path
    heads: HeadFiles
    judges: Path | None
    density: Path | None

    def paths(self) -> list[Path]:
        """Those that are read."""
        known = (self.generator, self.editor, self.latents, *vars(self.heads).values(), self.judges, self.density)
        return [path for path in known if path is not None]


@dataclass(frozen=True)
class Plan:
    """Which edits a strip shows.

    Attributes:
        steps: in order, each with the label of its editor.
        trials: strengths of the steps that name none, a code for each.
        auto: whether of the trials only the largest is shown whose certificate has no warning.
    """

    steps: list[Step]
    trials: Sequence[float]
    auto: bool

    @property
    def marks(self) -> list[str]:
        """A word for each picture, for names of files."""
        if self.auto:
            return ["auto"]
        return [f"{s:+g}" for s in self.trials] if any(s.strength is None for s in self.steps) else ["edit"]

    @property
    def labels(self) -> list[str]:
        """What the columns are called: by strengths, or by the edits where all have one of their own."""
        own = ", ".join(f"{s.attribute} {s.strength:+g}" for s in self.steps if s.strength is not None)
        return [own] if self.marks == ["edit"] else self.marks

    def codes(self, known: Editors, code: Codes) -> Codes:
        """The codes (m, l, d) that the trials make of one."""
        made = []
        for trial in self.trials:
            changed = code
            for s in self.steps:
                changed = known.edit(s.method, changed, s.attribute, trial if s.strength is None else s.strength)
            made.append(changed)
        return joined(made)

    def shown(self, found: Sequence[Certificate]) -> list[int]:
        """The places of the trials that are shown; of `auto` the first where none holds."""
        if not self.auto:
            return list(range(len(found)))
        return [max((i for i, certificate in enumerate(found) if not certificate.warnings), default=0)]


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
        files: what is read.
    """
    import numpy as np

    from fgcli import artifacts
    from fgcli.certificate import Examiner, verify_known
    from fgcli.generators import store
    from fgcli.reports import slider
    from fgcli.reports.pictures import decoded
    from fgcli.subjects import Strip, Subjects, expanded, outputs, save_changed

    for flag, path, ending in (("--page", page, ".html"), ("--save-recipe", recipe, ".yaml")):
        if path and path.suffix != ending:
            raise UsageError(f"{flag} {path}: expected a name that ends in {ending}, found {path.name}; rename it")
    what, known = expanded(what), editors_of(files)
    fixed = all(step.strength is not None for step in steps)
    plan = Plan(learned(known, steps), [0.0] if fixed else strengths or AUTO, strengths is None and not fixed)
    written = outputs(output, what, plan.marks if paste_back else [], files.paths())
    model = store.load(files.generator)
    examiner = Examiner.of(model, files.judges, files.density, files.latents)
    if plan.auto:
        verify_known([s.attribute for s in plan.steps if s.strength is None], examiner)
    strip = Strip(output, model, what, ["face", "code", *plan.labels], lines=len(steps) + 2)
    people = Subjects(what, face, files.generator, files.latents, model, files.heads)
    made, certificates, pairs = [output], {}, []
    for person in people:
        codes = plan.codes(known, person.code)
        plain, *pictures = [*decoded(model, person.code), *decoded(model, codes)]
        mask = person.cut.mask > 127 if person.cut else None
        found = examiner.examine([s.attribute for s in plan.steps], person.code, codes, [plain, *pictures], mask)
        shown = plan.shown(found)
        if person.cut and paste_back:
            changes = [pictures[i].astype(np.float32) - plain for i in shown]
            save_changed(person.name, person.cut, changes, written[person.place])
            made += written[person.place]
        strip.add(person, [plain, *(pictures[i] for i in shown)], [found[i].foot for i in shown])
        pairs.append((Path(person.name).stem, plain, pictures[shown[-1]]))
        certificates[person.name] = {f"{plan.trials[i]:+g}" if not fixed else "edit": found[i].told() for i in shown}
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


def joined(codes: Sequence[Codes]) -> Codes:
    """Codes of one space as one."""
    import torch

    from fgcli.codes import Codes

    conditions = [c.condition for c in codes if c.condition is not None]
    values = torch.cat([c.values for c in codes])
    return Codes(values, codes[0].space, torch.cat(conditions) if conditions else None)


def editors_of(files: Files) -> Editors:
    """The editors of the generator's codes.

    Raises:
        FgError: they are another generator's, or learned nothing.
    """
    from fgcli import artifacts
    from fgcli.editors import load
    from fgcli.generators import store

    store.verify(files.editor, files.generator)
    known = load(files.editor)
    if not any(method.arrays() for method in known.methods.values()):
        told = artifacts.load(files.editor, artifacts.EDITOR, ()).meta["choice"]
        raise FgError(f"{files.editor}: expected an editor that learned an attribute, found one that {told}")
    return known


def learned(known: Editors, steps: Sequence[Step]) -> list[Step]:
    """The steps, each with the label of its editor.

    Raises:
        UsageError: no such method, or it has not learned the attribute.
    """
    arrays, found = {label: method.arrays() for label, method in known.methods.items()}, []
    for step in steps:
        knowing = [label for label, names in arrays.items() if step.attribute in names]
        method = pick(arrays, step.method, known.path) if step.method or not knowing else knowing[-1]
        if method not in knowing:
            learnt = arrays[method] if step.method else dict.fromkeys(n for names in arrays.values() for n in names)
            of = f"{method} in {known.path}" if step.method else str(known.path)
            raise UsageError(
                f"--attribute {step.attribute}: expected one of {', '.join(learnt)}, those of {of}; run fg editor"
            )
        found.append(step.model_copy(update={"method": method}))
    return found


def reconstruct(
    what: Sequence[str], output: Path, face: str, generator: Path, latents: Path, heads: HeadFiles
) -> dict[str, Any]:
    """One sheet: faces, reconstructions, predicted masks."""
    from fgcli.capabilities import Masks
    from fgcli.generators import store
    from fgcli.reports import grid
    from fgcli.reports.pictures import decoded, decoded_masks
    from fgcli.subjects import Strip, Subjects, expanded

    grid.picture_format(output)
    what, model = expanded(what), store.load(generator)
    strip = Strip(output, model, what, ["face", "code", *(["mask"] if isinstance(model, Masks) else [])])
    people = Subjects(what, face, generator, latents, model, heads)
    for person in people:
        masks = decoded_masks(model, person.code) if isinstance(model, Masks) else []
        strip.add(person, decoded(model, person.code) + masks)
    strip.save()
    return {"output": str(output), "faces": len(strip.rows), **people.told()}


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
    if len(what) < 2:
        raise UsageError(f"PHOTO|FOLDER|ROW: expected at least two faces to walk between, found {len(what)}")
    model = store.load(generator)
    grid.verify_room(output, grid.extent(len(what) - 1, frames, shown_size(model)))
    people = Subjects(what, face, generator, latents, model, heads, least=2)
    codes, times = [person.code for person in people], np.linspace(0, 1, frames).tolist()
    rows = [decoded(model, walk(a, b, times, path)) for a, b in pairwise(codes)]
    grid.save_picture(output, grid.sheet(rows, scale=enlarge(model)))
    told = {"pairs": len(rows), "frames": frames, "path": path or NATURAL[codes[0].space]}
    return {"output": str(output), **told, **people.told()}
