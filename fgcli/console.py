"""Progress and messages, on stderr; results belong to stdout."""

from __future__ import annotations

import io
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from fgcli.errors import FgError

Advance = Callable[..., None]
EVERY_S = 10.0
"""Between lines where there is no terminal."""


def say(message: str) -> None:
    """Prints one line for a person to read; work goes on where nobody can."""
    with suppress(OSError):
        print(readable(message), file=sys.stderr, flush=True)


def flat(results: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested results as dotted keys."""
    pairs: list[tuple[str, Any]] = []
    for key, value in results.items():
        if isinstance(value, Mapping):
            pairs += flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", value))
    return pairs


def readable(text: str) -> str:
    """A text whose every letter can be written and drawn: names of files may be other than UTF-8."""
    return text.encode(errors="backslashreplace").decode()


class _Stdout(io.FileIO):
    """Takes all that is written after its reader has gone, as `head` goes; a full disk it tells once."""

    lost = False

    def write(self, data: Any) -> int:
        try:
            return len(data) if self.lost else super().write(data) or 0
        except OSError as error:
            self.lost = True
            if not isinstance(error, BrokenPipeError):
                reason = (error.strerror or str(error)).lower()
                raise FgError(f"stdout: expected to write the results, found {reason}; send them elsewhere") from error
            return len(data)


def guard_stdout() -> None:
    """From now on printing ends neither in words of Python nor, where the reader has gone, in an error."""
    if sys.stdout is not None:
        raw = _Stdout(sys.stdout.fileno(), "w", closefd=False)
        name, terminal = sys.stdout.encoding, sys.stdout.isatty()
        # Names of files may be other than UTF-8.
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), name, errors="backslashreplace", line_buffering=terminal)


@contextmanager
def progress(title: str, total: int, done: int = 0, unit: str = "rows") -> Iterator[Advance]:
    """Yields `advance(count=1, note="")`: a bar with rate and ETA on a terminal, else a line now and then."""
    alone = multiprocessing.parent_process() is None  # bars of several processes would overwrite each other
    show = _bar if alone and sys.stderr.isatty() else _lines
    with show(title, total, done, unit) as advance:
        yield advance


@contextmanager
def _bar(title: str, total: int, done: int, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f} {unit}/s" if task.speed else "")

    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), Rate())
    times = (TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, *times, console=Console(stderr=True)) as bars:
        task = bars.add_task(title, total=total, completed=done, note="")
        yield lambda count=1, note="": bars.update(task, advance=count, **({"note": note} if note else {}))


@contextmanager
def _lines(title: str, total: int, done: int, unit: str) -> Iterator[Advance]:
    start, first, last, newest = time.monotonic(), done, time.monotonic(), ""

    def line(now: float) -> None:
        rate = (done - first) / max(now - start, 1e-9)
        eta = f", {(total - done) / rate:.0f} s left" if rate and done < total else ""
        say(f"{title}: {done}/{total} {unit}, {rate:.1f}/s{eta}" + (f", {newest}" if newest else ""))

    def advance(count: int = 1, note: str = "") -> None:
        nonlocal done, last, newest
        done, newest, now = done + count, note or newest, time.monotonic()
        if now - last >= EVERY_S:
            last = now
            line(now)

    yield advance
    line(time.monotonic())
