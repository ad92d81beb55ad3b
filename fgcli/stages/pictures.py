"""Generator and its companions -> pictures: edit, reconstruct, interpolate, of photos or rows of latents.h5."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgcli.config import pick
from fgcli.config.fields import whole
from fgcli.console import progress, say
from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.capabilities import Generator
    from fgcli.codes import Codes
    from fgcli.editors import Editors
    from fgcli.faces.cutter import Cut


@dataclass(frozen=True)
class Subject:
    """One face: the place and text of its argument, its code, and for photos how it was cut from the file."""

    place: int
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

    from fgcli.generators import store
    from fgcli.reports.pictures import decoded

    what = expanded(what)
    files = outputs(output, what, strengths if paste_back else [], [generator, editor, latents])
    known, chosen = learned(editor, generator, method, attribute)
    model = store.load(generator)
    strip = Strip(output, model, what, ["face", "code", *(f"{s:+g}" for s in strengths)])
    people, written = Subjects(what, face, generator, latents, model), [output]
    for person in people:
        plain = decoded(model, person.code)[0]
        changed = [decoded(model, known.edit(chosen, person.code, attribute, s))[0] for s in strengths]
        if person.cut and paste_back:
            changes = [picture.astype(np.float32) - plain for picture in changed]
            save_changed(person, person.cut, changes, files[person.place])
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


def is_photo(name: str) -> bool:
    """Whether an argument names a photo, not a row."""
    return Path(name).exists() or whole(name) is None


def expanded(what: Sequence[str]) -> list[str]:
    """The arguments, in place of each folder the photos in it; its other files, and pictures of fg's, are told.

    Raises:
        FgError: a folder without photos.
    """
    from fgcli.artifacts.outputs import ours
    from fgcli.datasets.files import IMAGE_ENDINGS, files_below, photos_among

    names: list[str] = []
    for name in what:
        folder = Path(name)
        if not folder.is_dir():
            names.append(name)
            continue
        photos, others = photos_among(files_below(folder), folder)
        own = {photo for photo in photos if os.access(photo, os.R_OK) and ours(photo, "")}
        left = Counter(others) + Counter({"written by fg": len(own)})
        found = [str(photo) for photo in photos if photo not in own]
        if not found:
            none = f"none but {len(own)} that fg wrote; name these one by one" if own else "none; check the path"
            raise FgError(f"{name}: expected photos ({' '.join(sorted(IMAGE_ENDINGS))}), found {none}")
        if left:
            told = ", ".join(f"{count} {ending}" for ending, count in left.items())
            say(f"{name}: {len(found)} photos; {left.total()} other files are not read: {told}")
        names += found
    return names


class Subjects:
    """Faces one by one: of photos, cut as the generator's training faces and inverted as those of latents.h5; of rows.

    Photos without a usable face are told and left out, as long as `least` faces can remain.

    Attributes:
        left_out: those so far.

    Raises:
        FgError: a row that does not exist, files that do not belong together; or, when they are asked for, too few
            usable faces.
    """

    def __init__(
        self, what: Sequence[str], face: str, generator: Path, latents: Path, model: Generator, least: int = 1
    ) -> None:
        from fgcli import artifacts, codes, inverters
        from fgcli.faces.cutter import Cutter
        from fgcli.generators import store

        store.verify(latents, generator)
        self.what, self.model, self.least, self.read = what, model, least, codes.reader(latents)
        rows = len(artifacts.rows(latents, "codes"))
        for name in what:
            if not is_photo(name) and int(name) >= rows:
                raise FgError(f"{latents}: expected a row below {rows}, found {name}; choose another row")
        if any(map(is_photo, what)):
            self.cutter, (self.inverter, self.context) = Cutter.of(generator, face), inverters.load(latents, model)
        self.left_out: list[str] = []

    def __iter__(self) -> Iterator[Subject]:
        many = sum(map(is_photo, self.what)) > 1
        with progress("faces", len(self.what), unit="faces") if many else nullcontext(lambda: None) as advance:
            for place, name in enumerate(self.what):
                if not is_photo(name):
                    yield Subject(place, name, self.read([int(name)]))
                elif cut := self.cut(name):
                    yield Subject(place, name, self.code(cut), cut)
                advance()

    def cut(self, name: str) -> Cut | None:
        """The face of a photo, None if it is left out."""
        try:
            return self.cutter.photo(Path(name))
        except FgError as error:
            self.left_out.append(name)
            enough = len(self.what) - len(self.left_out) >= self.least
            if not enough and len(self.left_out) == 1:
                raise
            say(f"{error}; left out")
            if not enough:
                raise FgError(
                    f"PHOTO|FOLDER|ROW: expected at least {self.least} usable among {len(self.what)} faces, found none "
                    f"in {len(self.left_out)} ({', '.join(self.left_out)}); choose others"
                ) from error
            return None

    def code(self, cut: Cut) -> Codes:
        """The code of a face."""
        from fgcli.pixels import tensor

        return self.inverter.invert(self.model, tensor(cut.image[None]), self.context)

    def told(self) -> dict[str, list[str]]:
        """What was left out, for the command's results."""
        return {"left_out": self.left_out} if self.left_out else {}


class Strip:
    """A sheet with a row for each face: the face of the photo, or what the code gives, and further pictures.

    Raises:
        UsageError: more rows than the format of `output` can hold.
    """

    def __init__(self, output: Path, model: Generator, names: Sequence[str], labels: Sequence[str]) -> None:
        from fgcli.reports import grid
        from fgcli.reports.pictures import enlarge, shown_size

        self.output, self.scale, self.labels = output, enlarge(model), labels
        stems = [Path(name).stem for name in names]
        grid.verify_room(output, grid.extent(len(names), len(labels), shown_size(model), stems, labels))
        self.rows: list[list[np.ndarray]] = []
        self.names: list[str] = []

    def add(self, person: Subject, pictures: Sequence[np.ndarray]) -> None:
        """A face's row: `pictures`, (h, w, 3), the first of them what its code gives."""
        self.rows.append([pictures[0] if person.cut is None else person.cut.image, *pictures])
        self.names.append(Path(person.name).stem)

    def save(self) -> None:
        """Writes it."""
        from fgcli.reports import grid

        grid.save_picture(self.output, grid.sheet(self.rows, self.names, self.labels, self.scale))


def outputs(
    output: Path, what: Sequence[str], strengths: Sequence[float], inputs: Sequence[Path]
) -> dict[int, list[Path]]:
    """What `edit` writes beside the strip: by the place of each photo among `what`, a file for each strength.

    They are called after the strip, the photo and the strength, as strip-anna-+1.5.png, in the format of the strip's
    name; where two photos have one name all are counted, as strip-1-anna-+1.5.png.

    Raises:
        UsageError: an ending that is no picture's, or a file named twice, or among the photos and other `inputs`.
        FgError: a file is there that fg did not write.
    """
    from fgcli.artifacts.outputs import verify_outputs
    from fgcli.reports.grid import picture_format

    picture_format(output)
    photos = {place: Path(name) for place, name in enumerate(what) if is_photo(name)}
    names = [photo.stem for photo in photos.values()]
    if len({name.casefold() for name in names}) < len(names):
        names = [f"{i}-{name}" for i, name in enumerate(names, 1)]
    files = {
        place: [output.with_stem(f"{output.stem}-{name}-{s:+g}") for s in strengths]
        for place, name in zip(photos, names, strict=True)
    }
    written = [output, *(path for paths in files.values() for path in paths)]
    flags = {f"picture {i} of -o" if i else "-o": path for i, path in enumerate(written)}
    verify_outputs([*photos.values(), *inputs], flags, dict.fromkeys(flags, ""))
    return files


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
