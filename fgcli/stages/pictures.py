"""Generator and its companions -> pictures: edit, sample, reconstruct, interpolate, of photos or rows of latents.h5."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgcli.config.fields import whole
from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.capabilities import Generator
    from fgcli.codes import Codes
    from fgcli.faces.cutter import Cut


@dataclass(frozen=True)
class Subject:
    """One face: its code, and for photos how it was cut from the file."""

    name: str
    code: Codes
    cut: Cut | None = None


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

    from fgcli.editors import load
    from fgcli.generators import store
    from fgcli.reports import grid
    from fgcli.reports.pictures import decoded

    photos = photos_of(what) if paste_back else []
    written = outputs(output, photos, strengths, [generator, editor, latents])
    store.verify(editor, generator)
    known = load(editor)
    chosen = pick(known.methods, method, editor)
    learned = known.methods[chosen].arrays()
    if attribute not in learned:
        raise UsageError(f"--attribute {attribute}: expected one of {', '.join(learned)}; fit it with fg editor")
    model = store.load(generator)
    people = subjects(what, face, generator, latents, model)
    rows, whole = [], iter(written[1:])
    for person in people:
        plain = decoded(model, person.code)[0]
        changed = [decoded(model, known.edit(chosen, person.code, attribute, s))[0] for s in strengths]
        rows.append([plain if person.cut is None else person.cut.image, plain, *changed])
        if paste_back and person.cut:
            changes = [picture.astype(np.float32) - plain for picture in changed]
            save_changed(person, person.cut, changes, [next(whole) for _ in strengths])
    labels = ["face", "code", *(f"{s:+g}" for s in strengths)]
    names = [Path(person.name).stem for person in people]
    grid.save_picture(output, grid.sheet(rows, names, labels, scale=enlarge(model)))
    return {"output": list(map(str, written)), "attribute": attribute, "method": chosen, "strengths": list(strengths)}


def sample(
    count: int,
    density: str,
    seed: int,
    truncation: float,
    columns: int,
    output: Path,
    generator: Path,
    densities: Path,
    latents: Path,
) -> dict[str, Any]:
    """One sheet of new faces."""
    from fgcli import codes
    from fgcli.capabilities import Conditional
    from fgcli.densities import load
    from fgcli.generators import store
    from fgcli.reports import grid
    from fgcli.reports.pictures import decoded

    grid.picture_format(output)
    model = store.load(generator)
    conditions = None
    if isinstance(model, Conditional):
        store.verify(latents, generator)
        conditions = codes.conditions(latents)
    if density == "prior" or (not density and not densities.exists()):
        chosen, drawn = "prior", codes.prior(model, count, seed, truncation)
    else:
        if truncation != 1:
            raise UsageError(f"--truncation: expected 1 for a density, found {truncation:g}; add --density prior")
        store.verify(densities, generator)
        known = load(densities)
        chosen = pick(known.methods, density, densities)
        drawn = known.sample(chosen, count, seed)
    pictures = decoded(model, codes.conditioned(drawn, conditions, seed))
    grid.save_picture(output, grid.sheet(grid.wrap(pictures, columns), scale=enlarge(model)))
    return {"output": str(output), "faces": count, "density": chosen, "seed": seed}


def reconstruct(what: Sequence[str], output: Path, face: str, generator: Path, latents: Path) -> dict[str, Any]:
    """One sheet: faces, reconstructions, predicted masks."""
    from fgcli.capabilities import Masks
    from fgcli.generators import store
    from fgcli.reports import grid
    from fgcli.reports.pictures import decoded, decoded_masks

    grid.picture_format(output)
    model = store.load(generator)
    people = subjects(what, face, generator, latents, model)
    rows = []
    for person in people:
        pictures = decoded(model, person.code)
        if isinstance(model, Masks):
            pictures += decoded_masks(model, person.code)
        rows.append([pictures[0] if person.cut is None else person.cut.image, *pictures])
    labels = ["face", "code", "mask"][: len(rows[0])]
    names = [Path(person.name).stem for person in people]
    grid.save_picture(output, grid.sheet(rows, names, labels, scale=enlarge(model)))
    return {"output": str(output), "faces": len(people)}


def interpolate(
    what: Sequence[str], frames: int, path: str, output: Path, face: str, generator: Path, latents: Path
) -> dict[str, Any]:
    """One row of pictures per pair of neighbours."""
    import numpy as np

    from fgcli.codes import NATURAL, PATHS, walk
    from fgcli.generators import store
    from fgcli.reports import grid
    from fgcli.reports.pictures import decoded

    grid.picture_format(output)
    if path and path not in PATHS:
        raise UsageError(f"--path {path}: expected one of {', '.join(PATHS)}")
    if len(what) < 2:
        raise UsageError(f"PHOTO|ROW: expected at least two faces to walk between, found {len(what)}")
    model = store.load(generator)
    people = subjects(what, face, generator, latents, model)
    times = np.linspace(0, 1, frames).tolist()
    rows = [decoded(model, walk(a.code, b.code, times, path)) for a, b in pairwise(people)]
    grid.save_picture(output, grid.sheet(rows, scale=enlarge(model)))
    return {"output": str(output), "pairs": len(rows), "frames": frames, "path": path or NATURAL[people[0].code.space]}


def strengths(text: str) -> list[float]:
    """ "-3:3:7" as seven strengths from -3 to 3; "1.5" as one.

    Raises:
        UsageError: anything else.

    >>> strengths("-1:1:3"), strengths("1.5")
    ([-1.0, 0.0, 1.0], [1.5])
    """
    import numpy as np

    parts = text.split(":")
    start, stop, count = parts if len(parts) == 3 else (text, text, "1")
    try:
        ends = float(start), float(stop)
        if np.isfinite(ends).all() and whole(count):
            return [round(float(s), 9) for s in np.linspace(*ends, int(count))]
    except ValueError:
        pass
    raise UsageError(f"--strength {text}: expected a finite number or FROM:TO:COUNT; write -3:3:7")


def photos_of(what: Sequence[str]) -> list[str]:
    """The names of photos among those and row numbers."""
    return [name for name in what if Path(name).exists() or whole(name) is None]


def subjects(what: Sequence[str], face: str, generator: Path, latents: Path, model: Generator) -> list[Subject]:
    """Faces of photos, aligned as the generator's training faces were and inverted as those of latents.h5; or its rows.

    Raises:
        FgError: a photo without a usable face, or a row that does not exist.
    """
    from fgcli import artifacts, codes, inverters
    from fgcli.faces.cutter import Cutter
    from fgcli.generators import store
    from fgcli.pixels import tensor

    store.verify(latents, generator)
    read, rows, found = codes.reader(latents), len(artifacts.rows(latents, "codes")), []
    photos = photos_of(what)
    if photos:
        cutter, (inverter, context) = Cutter.of(generator, face), inverters.load(latents, model)
    for name in what:
        if name in photos:
            cut = cutter.photo(Path(name))
            found.append(Subject(name, inverter.invert(model, tensor(cut.image[None]), context), cut))
        elif int(name) < rows:
            found.append(Subject(name, read([int(name)])))
        else:
            raise FgError(f"{latents}: expected a row below {rows}, found {name}; choose another row")
    return found


def outputs(output: Path, photos: Sequence[str], strengths: Sequence[float], inputs: Sequence[Path]) -> list[Path]:
    """All that `edit` writes: the strip, then each of `photos` at each strength, in the format of the strip's name.

    They are called after the strip, the photo and the strength, as strip-anna-+1.5.png; where two photos have one
    name all are counted, as strip-1-anna-+1.5.png.

    Raises:
        UsageError: an ending that is no picture's, or a file named twice, or among `photos` and other `inputs`.
        FgError: a file is there that fg did not write.
    """
    from fgcli.artifacts.outputs import verify_outputs
    from fgcli.reports.grid import picture_format

    picture_format(output)
    names = [Path(photo).stem for photo in photos]
    if len({name.casefold() for name in names}) < len(names):
        names = [f"{i}-{name}" for i, name in enumerate(names, 1)]
    written = [output, *(output.with_stem(f"{output.stem}-{name}-{s:+g}") for name in names for s in strengths)]
    flags = {f"picture {i} of -o" if i else "-o": path for i, path in enumerate(written)}
    verify_outputs([*map(Path, photos), *inputs], flags, dict.fromkeys(flags, ""))
    return written


def save_changed(person: Subject, cut: Cut, changes: Sequence[np.ndarray], paths: Sequence[Path]) -> None:
    """The person's photo to each of `paths`, with one of the `changes` of its crop, float (s, s, 3), added."""
    from PIL import Image

    from fgcli.faces.align import add_change
    from fgcli.faces.photos import decode
    from fgcli.reports.grid import save_picture

    photo = decode(Path(person.name), fix=True, max_megapixels=math.inf)  # it was not too large to cut
    for change, path in zip(changes, paths, strict=True):
        pixels = photo.edited(add_change(photo.pixels, change, cut.matrix, cut.mask))
        save_picture(path, Image.fromarray(pixels), photo.profile)


def pick(known: Mapping[str, Any], label: str, path: Path) -> str:
    """The label asked for, or the last one fitted."""
    if label and label not in known:
        raise UsageError(f"{path}: expected one of {', '.join(known)}, found {label!r}; fit it or choose another")
    return label or list(known)[-1]


def enlarge(model: Generator) -> int:
    """How much small pictures are enlarged in sheets."""
    return max(1, 128 // model.image_shape[-1])
