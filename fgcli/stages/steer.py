"""A conditional generator and the head of a face -> strips of pictures, and what in them obeyed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgcli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.capabilities import Generator
    from fgcli.heads.parameters import Parameters
    from fgcli.heads.steering import Factor
    from fgcli.steered import Files, Observer, Person, Studio


LINES = 3
"""Below each picture."""


@dataclass(frozen=True)
class Wish:
    """What a person asks of a face, in this order: neutral, what is taken from others, values, then a strip per range.

    Attributes:
        neutral: without expression and pose.
        taken: of whom (photo or row) expression, jaw and pose come, by these names.
        ranges: a number of the head and the values that it takes; one value alone makes no strip, all pictures have it.
    """

    neutral: bool
    taken: dict[str, str]
    ranges: list[tuple[Factor, list[float]]]


TAKEN = {"expression": ("expression", slice(None)), "jaw": ("pose", slice(3, 6)), "pose": ("pose", slice(0, 3))}
"""What can be taken from another face: a field of its head, and which of its numbers."""


def asked(neutral: bool, taken: dict[str, str | None], numbers: dict[str, list[str]]) -> Wish:
    """From the command's options: values as FROM:TO:COUNT or one number, of modes as MODE=VALUES.

    Raises:
        UsageError: nothing, or something else.
    """
    from fgcli.config.fields import strengths, whole
    from fgcli.heads.steering import Factor

    ranges = []
    for name, texts in numbers.items():
        for text in texts:
            mode, equals, values = text.rpartition("=")
            if name in ("yaw", "jaw"):
                mode, equals, values = "0", "=", text
            if not equals or whole(mode) is None:
                raise UsageError(f"--{name} {text}: expected MODE=FROM:TO:COUNT or MODE=VALUE; write 0=-2:2:5")
            ranges.append((Factor(name, None if name in ("yaw", "jaw") else int(mode)), strengths(values, f"--{name}")))
    sources = {name: source for name, source in taken.items() if source is not None}
    if not ranges and not sources and not neutral:
        raise UsageError("fg steer: expected what to change, found nothing; write --yaw -0.4:0.4:7")
    return Wish(neutral, sources, ranges)


def wished(options: Mapping[str, Any]) -> Wish:
    """The same from texts by the names of the options: "" where nothing is asked, lists of those that are repeated.

    Raises:
        UsageError: as `asked`.
    """
    taken = {name: options[f"{name}_from"] or None for name in TAKEN}
    ends = {name: [options[name]] if options[name] else [] for name in ("yaw", "jaw")}
    modes = {name: options[name] for name in ("expression", "shape", "texture", "light")}
    return asked(options["neutral"], taken, ends | modes)


def steer(what: str, wish: Wish, output: Path, face: str, files: Files) -> dict[str, Any]:
    """A strip for each range, and each face: the face, its reconstruction, the pictures, and below these what obeyed.

    Raises:
        UsageError: a generator that nothing steers, a mode that its head lacks, or an output that is no picture's.
        FgError: no usable face, or files that do not belong together.
    """
    import torch

    from fgcli.artifacts.outputs import verify_outputs
    from fgcli.reports import grid
    from fgcli.steered import Observer, Studio
    from fgcli.subjects import is_photo

    grid.picture_format(output)
    reads = [Path(name) for name in (what, *wish.taken.values()) if is_photo(name)]
    verify_outputs([*reads, *files.paths()], {"-o": output}, {"-o": ""})
    with torch.no_grad():
        studio = Studio(files, face, "fg steer", output)
    for factor, _ in wish.ranges:
        factor.verify(studio.head)
    verify_room(output, wish, studio.model)
    people, observer = studio.people(what), Observer(studio)
    told = save_strips(output, studio, observer, people, wish)
    missing = {"not_measured": observer.missing} if observer.missing else {}
    return {"output": str(output), "strips": told, **missing}


def save_strips(
    output: Path, studio: Studio, observer: Observer, people: Sequence[Person], wish: Wish
) -> dict[str, dict[str, Any]]:
    """Writes the strips of faces; returns what is seen in each, by its title."""
    import torch

    from fgcli.reports import grid
    from fgcli.reports.pictures import decoded, enlarge

    rows: list[list[np.ndarray]] = []
    feet: list[list[list[str]]] = []
    told = {}
    with torch.no_grad():
        for person in people:
            plain, base = decoded(studio.model, person.code), changed(studio, person.head, wish)
            strips = [(str(f), f, swept(base, f, values)) for f, values in wish.ranges if len(values) > 1]
            for title, factor, wanted in strips or [("steered", watched(wish), base)]:
                pictures, heads = studio.pictures(person, wanted)
                found = seen(observer, person, factor, pictures, heads)
                told[f"{title}, face {person.number}" if person.number else title] = found
                rows.append([person.face, *plain, *pictures])
                feet.append([["face"], ["code"], *footed(found)])
    grid.save_picture(output, grid.sheet(rows, list(told), (), enlarge(studio.model), feet))
    return told


class SteerJobs:
    """Steers one photo after the other, see `fgcli.jobs.Work`: the picture has a strip for each range.

    Args:
        files: what is read. photos: whether there are any.
    """

    columns = ("face", "asked", "found", "follows", "identity", "same person")

    def __init__(self, files: Files, photos: bool) -> None:
        import torch

        from fgcli.steered import Observer, Studio

        with torch.no_grad():
            self.studio = Studio(files, "only", "fg steer")
        self.observer = Observer(self.studio)
        self.left_out = self.observer.missing
        if photos:
            _ = self.studio.fitter, self.studio.project  # what is wrong with them is said now

    def reads(self, options: Mapping[str, Any]) -> list[str]:
        """Those whose expression, jaw or pose is taken; the options are checked."""
        from fgcli.config.fields import face

        face(options["face"])
        wish = wished(options)
        for factor, _ in wish.ranges:
            factor.verify(self.studio.head)
        return list(wish.taken.values())

    def __call__(self, photo: str, picture: Path, options: Mapping[str, Any]) -> dict[str, str]:
        """Writes the strips; returns what was asked of each number, and what is found of it."""
        from fgcli import jobs
        from fgcli.subjects import is_photo

        wish = wished(options)
        if any(map(is_photo, (photo, *wish.taken.values()))):
            self.studio.choose(options["face"], jobs.numbering(picture))
        people = self.studio.people(photo)
        told = save_strips(picture, self.studio, self.observer, people, wish)
        rows = [{name: words(found.get(name)) for name in self.columns[1:]} for found in told.values()]
        for row, (title, found) in zip(rows, told.items(), strict=True):
            number = title.rpartition(", face ")[2] if ", face " in title else options["face"]
            row |= {"face": number, "asked": f"{found['number']} {row['asked']}"}
        return jobs.joined(rows)


def words(value: Any) -> str:
    """Numbers as text; nothing where there is none."""
    if isinstance(value, list):
        return " ".join("-" if v is None else f"{v:g}" for v in value)
    return "" if value is None else f"{value:g}"


def verify_room(output: Path, wish: Wish, model: Generator) -> None:
    """Raises UsageError where the format of the output cannot hold the strips."""
    from fgcli.reports import grid
    from fgcli.reports.pictures import shown_size

    strips = {str(factor): len(values) for factor, values in wish.ranges if len(values) > 1} or {"steered": 1}
    height, width = shown_size(model)
    room = height + LINES * grid.LINE, width
    grid.verify_room(output, grid.extent(len(strips), 2 + max(strips.values()), room, list(strips)))


def changed(studio: Studio, own: Parameters, wish: Wish) -> Parameters:
    """A face's head (a single row) with all that every picture has."""
    from fgcli.heads.steering import neutral

    p = neutral(own) if wish.neutral else own
    for name, source in wish.taken.items():
        field, part = TAKEN[name]
        value = getattr(p, field).clone()
        value[:, part] = getattr(studio.head_of(source), field)[:, part]
        p = p.replace(**{field: value})
    for factor, values in wish.ranges:
        if len(values) == 1:
            p = factor.set(p, values[0])
    return p


def swept(base: Parameters, factor: Factor, values: Sequence[float]) -> Parameters:
    """A head with each of the values of a number, a row each."""
    import torch

    from fgcli.heads.parameters import Parameters

    rows = [factor.set(base, value) for value in values]
    return Parameters(**{name: torch.cat([getattr(row, name) for row in rows]) for name in vars(base)})


def watched(wish: Wish) -> Factor:
    """The number that is watched where there is no range: the first that was set, else the turn."""
    from fgcli.heads.steering import Factor

    return wish.ranges[0][0] if wish.ranges else Factor("yaw")


def seen(
    observer: Observer, person: Person, factor: Factor, pictures: Sequence[np.ndarray], heads: Parameters
) -> dict[str, Any]:
    """What was asked of a number, what is found of it in pictures, and whether they show the same person.

    follows: the slope of what is found against what was asked: 1 where it obeys, 0 where it does not.
    """
    import numpy as np

    from fgcli.backbones.dlib_embedding import THRESHOLD

    asked, found = factor.get(heads).numpy(), factor.get(observer.heads(list(pictures))).numpy()
    told: dict[str, Any] = {"number": str(factor), "asked": rounded(asked), "found": rounded(found)}
    if len(asked) > 1 and np.ptp(asked) > 0 and np.isfinite(found).all():
        told["follows"] = round(float(np.polyfit(asked, found, 1)[0]), 3)
    distances = observer.identity(person, list(pictures), heads)
    if distances:
        same = float(np.mean(np.array(distances) < THRESHOLD))
        told |= {"identity": [round(d, 3) for d in distances], "same person": round(same, 3)}
    return told


def rounded(values: np.ndarray) -> list[float | None]:
    """To three digits; None where there is no number."""
    return [round(float(value), 3) + 0.0 if value == value else None for value in values]


def footed(found: dict[str, Any]) -> list[list[str]]:
    """Lines for below each picture."""
    lines = []
    for i, (asked, seen) in enumerate(zip(found["asked"], found["found"], strict=True)):
        line = [f"{found['number']} {asked:+.2f}", "not found" if seen is None else f"found {seen:+.2f}"]
        lines.append([*line, f"identity {found['identity'][i]:.2f}"] if "identity" in found else line)
    return lines
