"""Many photos: for each a picture in a folder, and a line of a table that says what became of it.

A run that was stopped goes on: lines of pictures that are there stand, the others are done.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps

from fgcli import archives, artifacts
from fgcli.artifacts.locks import held
from fgcli.artifacts.outputs import MARKS, verify_outputs
from fgcli.artifacts.parts import fingerprint, name_of
from fgcli.config import near
from fgcli.console import progress, readable, say
from fgcli.datasets.files import IMAGE_ENDINGS
from fgcli.errors import FgError, UsageError, reason, told
from fgcli.reports import grid
from fgcli.subjects import expanded, is_photo
from fgcli.workers import cores, each

TABLE, SHEET = "jobs.csv", "jobs.png"
FIRST, LAST = ("photo", "picture", "status", "reason"), "job"
"""Columns of the table beside those of the command. job: a hash of all that a picture depends on."""
TILES, ACROSS, TILE_PX = 60, 6, 256
"""Pictures on the sheet at most, in a row, and their longer side."""
FILES = {*MARKS, *IMAGE_ENDINGS, ".csv", ".zip", ".h5"}
"""Endings by which a name is a file's."""
BOOLEAN = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

Options = Mapping[str, Any]


class Work(Protocol):
    """What a command does to one photo; holds its models.

    columns: what it tells of each, beside FIRST. left_out: what is not measured, and why.
    """

    @property
    def columns(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def left_out(self) -> Mapping[str, str]: ...  # noqa: D102

    def reads(self, options: Options) -> list[str]:
        """The further photos and rows that options name; raises UsageError where they are wrong."""

    def __call__(self, photo: str, picture: Path, options: Options) -> dict[str, str]:
        """Writes the picture; returns cells of the table. Raises FgError where it cannot."""


@dataclass(frozen=True)
class Job:
    """A photo (or row), the picture that is made of it, and by which options.

    where: "FILE: line N: " of a table of jobs, for messages. mark: of all that the picture depends on. wrong: why it
    cannot be tried, in a sentence.
    """

    photo: str
    options: Options
    where: str = ""
    picture: Path = field(default_factory=Path)
    mark: str = ""
    wrong: str = ""


def wanted(what: Sequence[str], output: Path) -> bool:
    """Whether -o names a folder, not a picture: one that is there, a name with no ending of a file; of a table always.

    >>> [wanted(["photos"], Path(name)) for name in ("new", "new.v2", "new.png")], wanted(["a.csv"], Path("new.png"))
    ([True, True, False], True)
    """
    return output.is_dir() or output.suffix.lower() not in FILES or any(map(is_table, what))


def is_table(name: str) -> bool:
    """Whether an argument names a CSV of jobs."""
    return Path(name).suffix.lower() == ".csv"


def run(
    what: Sequence[str],
    output: Path,
    given: Options,
    build: Callable[[bool], Work],
    reads: Iterable[Path],
    processes: int,
    cluster: str,
    who: str,
) -> dict[str, Any]:
    """Does what is not done yet; returns counts.

    Args:
        what: photos, folders, globs, rows, and CSV files of jobs.
        output: the folder.
        given: options of the command, as texts, which those of a table of jobs stand above.
        build: loads the models of one process, to which it travels; it is told whether there are photos, not rows.
        reads: files that all pictures depend on; those that are not there are none.
        processes: how many work side by side; 0: one per core. cluster: whose workers do it instead, see `each`.
        who: the command.

    Raises:
        UsageError: options of all jobs are wrong; or -o may be a picture as well as a folder.
        FgError: a table of other jobs, or an output that is not fg's.
    """
    files = [path for path in reads if path.exists()]
    jobs = placed(listed(what, given), output)
    verify_folder(what, [job.photo for job in jobs], output)
    verify_outputs([*map(Path, what), *files], {"-o": output}, {"-o": "folder"})
    pictures = {f"picture {i} of {job.photo}": job.picture for i, job in enumerate(jobs, 1)}
    pictures |= {"sheet of -o": output / SHEET}
    verify_outputs([Path(job.photo) for job in jobs if is_photo(job.photo)], pictures, dict.fromkeys(pictures, ""))
    with held([output / TABLE]):
        clear(output, {job.picture.name for job in jobs})
        built = partial(alone, build, any(is_photo(job.photo) for job in jobs))
        work = built()
        columns = [*FIRST, *work.columns, LAST]
        jobs = marked(jobs, work, [who, columns, *map(artifacts.sha256, files)])
        done = kept(output / TABLE, columns, jobs)
        finish(jobs, done, work, built, output / TABLE, columns, processes, cluster, who)
        clear(output, {job.picture.name for job in jobs})  # a worker may have been killed
        lines = [done[job.mark] for job in jobs]
        save(output / TABLE, columns, lines)
        save_sheet(output / SHEET, [line for line in lines if line["status"] == "done"], output)
    failed = sum(line["status"] != "done" for line in lines)
    told = {"output": str(output), "table": str(output / TABLE), "photos": len(lines), "done": len(lines) - failed}
    told |= {"not_measured": dict(work.left_out)} if work.left_out else {}
    return told | ({"failed": failed} if failed else {})


def verify_folder(what: Sequence[str], photos: Sequence[str], output: Path) -> None:
    """Raises UsageError where -o is not there, and its name may be that of a picture."""
    if output.is_dir() or not output.suffix:
        return
    if output.suffix.lower() in FILES:
        raise UsageError(f"-o {output}: expected a folder for a table of jobs, found the name of a file; name a folder")
    if list(what) == list(photos) and len(photos) == 1:
        raise UsageError(
            f"-o {output}: expected a folder or, of one photo, a picture's ending, {', '.join(grid.FORMATS)}, found "
            f"{output.suffix!r}; make the folder first, or name another"
        )


def clear(folder: Path, names: Container[str]) -> None:
    """Removes what a killed run left of pictures of these names that it was writing."""
    for left in folder.glob(".*.part"):
        if left.name[1:].rsplit(".", 2)[0] in names:
            left.unlink(missing_ok=True)


def alone(build: Callable[[bool], Work], photos: bool) -> Work:
    """The models, in a process that computes with one thread: sums of several are not equal bit for bit."""
    torch.set_num_threads(1)
    return build(photos)


def numbering(picture: Path) -> Path:
    """Where the faces of a photo are numbered, if a person has to choose."""
    return picture.parent / "faces" / picture.name


def joined(rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The cells of several faces of a photo as those of one line.

    >>> joined([{"face": "1", "likely": "yes"}, {"face": "2", "likely": "no"}])
    {'face': '1 | 2', 'likely': 'yes | no'}
    """
    return {name: " | ".join(row[name] for row in rows) for name in rows[0]}


def listed(what: Sequence[str], given: Options) -> list[Job]:
    """The photos and rows that are asked for, and their options."""
    jobs: list[Job] = []
    for name in what:
        if is_table(name):
            jobs += tabled(Path(name), given)
        else:
            jobs += [Job(photo, given) for photo in expanded([name])]
    return jobs


def tabled(path: Path, given: Options) -> list[Job]:
    """The jobs of a CSV: a column `photo`, from the folder of the file, and columns of options, blank for those given.

    A line without a photo, with too many values or one that cannot be read is a job that is wrong.

    Raises:
        FgError: no such file, another encoding, or nothing in it.
        UsageError: a column that is no option.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            header, rows = list(reader.fieldnames or []), list(reader)
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        found = "another encoding" if isinstance(error, UnicodeDecodeError) else reason(error)
        raise FgError(f"{path}: expected a CSV of jobs in UTF-8, found {found}; check the file") from error
    names = ("photo", *given)
    if "photo" not in header or len(set(header)) < len(header):
        found = ", ".join(header) or "none"
        raise UsageError(f"{path}: expected unique columns with `photo` among them, found {found}; correct it")
    for column in header:
        if column not in names:
            raise UsageError(f"{path}: expected columns {', '.join(names)}, found {column!r}{near(column, names)}")
    if not rows:
        raise FgError(f"{path}: expected a line for each photo, found none; add some")
    return [lined(path, number, row, header, given) for number, row in enumerate(rows, 2)]


def lined(path: Path, number: int, row: Mapping[str | None, Any], header: Sequence[str], given: Options) -> Job:
    """The job of a line of a CSV."""
    where, photo = f"{path}: line {number}: ", row["photo"].strip()
    if None in row or not photo:
        found = "none" if None not in row else f"more than {len(header)} values"
        return Job(photo, given, where, wrong=f"{where}expected a photo and its options, found {found}; correct it")
    photo = placed_at(path, photo)
    try:
        own = {name: cell(row[name], given[name], where + name) for name in header if name != "photo"}
    except UsageError as error:
        return Job(photo, given, where, wrong=str(error))
    own = {name: placed_at(path, v) if name.endswith("_from") else v for name, v in own.items() if v is not None}
    return Job(photo, {**given, **own}, where)


def placed_at(table: Path, name: str) -> str:
    """A photo that a table names, from the table's folder; a row as it is."""
    return str(table.parent / name) if is_photo(name) else name


def cell(text: str, like: Any, where: str) -> Any:
    """An option's value out of a cell: of options that may be repeated, split at ";"; None of a blank one."""
    text = text.strip()
    if not text:
        return None
    if isinstance(like, bool):
        if text.lower() not in BOOLEAN:
            raise UsageError(f"{where}: expected true or false, found {text!r}; correct it")
        return BOOLEAN[text.lower()]
    return [part.strip() for part in text.split(";") if part.strip()] if isinstance(like, list) else text


def placed(jobs: Sequence[Job], output: Path) -> list[Job]:
    """Jobs with the names of their pictures: those of the photos; where two are alike each has a hash of its own.

    So a name says nothing of how many others there are, which may become more. Of equal jobs one is enough.
    """
    once = {name_of([readable(job.photo), dict(job.options), job.wrong]): job for job in jobs}
    stems = [Path(readable(job.photo)).stem for job in once.values()]
    alike = Counter(stem.casefold() for stem in [*stems, Path(TABLE).stem])
    names = [f"{s}-{own[:8]}" if alike[s.casefold()] > 1 else s for s, own in zip(stems, once, strict=True)]
    return [replace(job, picture=output / f"{name}.png") for job, name in zip(once.values(), names, strict=True)]


def marked(jobs: Sequence[Job], work: Work, common: Any) -> list[Job]:
    """Jobs with their marks; those whose options are wrong say so.

    Raises:
        UsageError: they are all wrong.
    """
    found = []
    for job in jobs:
        photos, wrong = [job.photo], job.wrong
        try:
            photos += [] if wrong else work.reads(job.options)
        except UsageError as error:
            wrong = f"{job.where}{error}"
        about = [common, readable(job.photo), dict(job.options), [content(name) for name in photos]]
        found.append(replace(job, mark=fingerprint([*about, wrong]), wrong=wrong))
    if all(job.wrong for job in found):
        raise UsageError(found[0].wrong)
    return found


def content(name: str) -> str:
    """A hash of what a photo's file holds; a row's number, and the name of what cannot be read."""
    if not is_photo(name):
        return name
    try:
        with archives.opened(Path(name)) as file:
            return hashlib.sha256(file.read()).hexdigest()
    except (OSError, FgError):  # of a damaged zip file
        return readable(name)


def kept(table: Path, columns: Sequence[str], jobs: Sequence[Job]) -> dict[str, dict[str, str]]:
    """The lines of an earlier run that stand, by their marks.

    Raises:
        FgError: the table is not this command's, or has jobs that are none of these.
    """
    if not table.exists():
        return {}
    try:
        text = table.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FgError(f"{table}: expected a table that can be read, found {reason(error)}; name another -o") from error
    whole = text[: text.rfind("\n") + 1]  # a killed run may leave half a line
    reader = csv.DictReader(io.StringIO(whole, newline=""))
    if text and list(reader.fieldnames or []) != list(columns):
        raise FgError(
            f"{table}: expected nothing or the table of these jobs, found another; name another -o, or remove the file"
        )
    done = {line[LAST]: line for line in reader if line["status"] == "done"}
    asked = {job.mark for job in jobs}
    other = [line["photo"] for mark, line in done.items() if mark not in asked]
    if other:
        raise FgError(
            f"{table}: expected the jobs that it was begun with, found {len(other)} of another photo, option, model or "
            f"fg, or asked for no more (first {other[0]}); name another -o, or remove the file to begin anew"
        )
    return {mark: line for mark, line in done.items() if (table.parent / line["picture"]).exists()}


def finish(
    jobs: Sequence[Job],
    done: dict[str, dict[str, str]],
    work: Work,
    build: Callable[[], Work],
    table: Path,
    columns: Sequence[str],
    processes: int,
    cluster: str,
    who: str,
) -> None:
    """Does the jobs that are not `done`, and adds their lines to it and to the table as they come."""
    left = [job for job in jobs if job.mark not in done]
    right, bad = ([job for job in left if bool(job.wrong) == wrong] for wrong in (False, True))
    if done:
        say(f"{who}: going on after {len(done)} of {len(jobs)} photos")
    save(table, columns, done.values())
    with (
        open(table, "a", newline="", encoding="utf-8") as file,
        progress(who, len(jobs), len(done), "photos") as advance,
    ):
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        for line in chain(map(refused, bad), each(made, right, build, processes or cores(), who, work, cluster)):
            done[line[LAST]] = line
            writer.writerow(line)
            file.flush()
            advance()


def refused(job: Job) -> dict[str, str]:
    """The line of a job that is wrong."""
    return {"photo": readable(job.photo), "status": "failed", "reason": " ".join(job.wrong.split()), LAST: job.mark}


def made(work: Work, job: Job) -> dict[str, str]:
    """The line of a job that was tried."""
    line = {"photo": readable(job.photo), LAST: job.mark}
    try:
        cells = work(job.photo, job.picture, job.options)
    except Exception as error:  # whatever it is, the others are done
        return line | {"status": "failed", "reason": " ".join(told(error).split())}
    return line | {"picture": job.picture.name, "status": "done"} | cells


def save(table: Path, columns: Sequence[str], lines: Iterable[Mapping[str, str]]) -> None:
    """Writes the table."""
    with artifacts.write_aside(table) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def save_sheet(path: Path, lines: Sequence[Mapping[str, str]], folder: Path) -> None:
    """A sheet of at most TILES of the pictures, evenly spread, for eyes."""
    if not lines:
        return
    some = [lines[i] for i in grid.spread(len(lines), TILES)]
    small = [thumbnail(folder / line["picture"]) for line in some]
    room = max(page.width for page in small), max(page.height for page in small)
    tiles = [np.asarray(ImageOps.pad(page, room, color=grid.PAPER)) for page in small]
    feet = [[Path(line["picture"]).stem, line.get("warnings", "")] for line in some]
    rows = [feet[i : i + ACROSS] for i in range(0, len(feet), ACROSS)]
    grid.save_picture(path, grid.sheet(grid.wrap(tiles, ACROSS), feet=rows))


def thumbnail(path: Path) -> Image.Image:
    """A picture, made smaller."""
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((TILE_PX, TILE_PX))
    return small
