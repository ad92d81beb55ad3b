"""Generator and its companions -> pictures: edit, reconstruct, interpolate, of photos or rows of latents.h5."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgcli.config import pick
from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    from fgcli.editors import Editors


def edit(
    what: Sequence[str],
    attribute: str,
    strengths: Sequence[float],
    *,
    method: str,
    output: Path,
    paste_back: bool,
    face: str,
    generator: Path,
    editor: Path,
    latents: Path,
) -> dict[str, Any]:
    """A strip per subject: the face, its reconstruction, then one picture per strength; and the photos, changed."""
    import numpy as np

    from fgcli.generators import store
    from fgcli.reports.pictures import decoded
    from fgcli.subjects import Strip, Subjects, expanded, outputs, save_changed

    what, labels = expanded(what), [f"{s:+g}" for s in strengths]
    files = outputs(output, what, labels if paste_back else [], [generator, editor, latents])
    known, chosen = learned(editor, generator, method, attribute)
    model = store.load(generator)
    strip = Strip(output, model, what, ["face", "code", *labels])
    people, written = Subjects(what, face, generator, latents, model), [output]
    for person in people:
        plain = decoded(model, person.code)[0]
        changed = [decoded(model, known.edit(chosen, person.code, attribute, s))[0] for s in strengths]
        if person.cut and paste_back:
            changes = [picture.astype(np.float32) - plain for picture in changed]
            save_changed(person.name, person.cut, changes, files[person.place])
            written += files[person.place]
        strip.add(person, [plain, *changed])
    strip.save()
    told = {"attribute": attribute, "method": chosen, "strengths": list(strengths)}
    return {"output": list(map(str, written)), **told, **people.told()}


def learned(editor: Path, generator: Path, method: str, attribute: str) -> tuple[Editors, str]:
    """The editors, and the label of the one that changes the attribute.

    Raises:
        UsageError: no such method, or it has not learned the attribute.
        FgError: the editors are another generator's, or learned nothing.
    """
    from fgcli import artifacts
    from fgcli.editors import load
    from fgcli.generators import store

    store.verify(editor, generator)
    known = load(editor)
    chosen = pick(known.methods, method, editor)
    attributes = known.methods[chosen].arrays()
    if not attributes:
        told = artifacts.load(editor, artifacts.EDITOR, ()).meta["choice"]
        raise FgError(f"{editor}: expected an editor that learned an attribute, found one that {told}")
    if attribute not in attributes:
        learnt = ", ".join(attributes)
        raise UsageError(f"--attribute {attribute}: expected one of {learnt}, those of {editor}; fit it with fg editor")
    return known, chosen


def reconstruct(what: Sequence[str], output: Path, face: str, generator: Path, latents: Path) -> dict[str, Any]:
    """One sheet: faces, reconstructions, predicted masks."""
    from fgcli.capabilities import Masks
    from fgcli.generators import store
    from fgcli.reports import grid
    from fgcli.reports.pictures import decoded, decoded_masks
    from fgcli.subjects import Strip, Subjects, expanded

    grid.picture_format(output)
    what, model = expanded(what), store.load(generator)
    strip = Strip(output, model, what, ["face", "code", *(["mask"] if isinstance(model, Masks) else [])])
    people = Subjects(what, face, generator, latents, model)
    for person in people:
        masks = decoded_masks(model, person.code) if isinstance(model, Masks) else []
        strip.add(person, decoded(model, person.code) + masks)
    strip.save()
    return {"output": str(output), "faces": len(strip.rows), **people.told()}


def interpolate(
    what: Sequence[str], frames: int, path: str, output: Path, face: str, generator: Path, latents: Path
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
    people = Subjects(what, face, generator, latents, model, least=2)
    codes, times = [person.code for person in people], np.linspace(0, 1, frames).tolist()
    rows = [decoded(model, walk(a, b, times, path)) for a, b in pairwise(codes)]
    grid.save_picture(output, grid.sheet(rows, scale=enlarge(model)))
    told = {"pairs": len(rows), "frames": frames, "path": path or NATURAL[codes[0].space]}
    return {"output": str(output), **told, **people.told()}
