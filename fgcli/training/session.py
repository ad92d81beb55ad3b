"""A run and its folder: goes on after a stop, keeps the last and the best, tells its story in stats.jsonl."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from torch import Tensor

from fgcli import artifacts
from fgcli.artifacts.parts import code, name_of
from fgcli.console import progress, say
from fgcli.errors import FgError, Interrupted, Stopped, UsageError
from fgcli.training import checkpoint
from fgcli.training.augment import Augment
from fgcli.training.batches import Batches
from fgcli.training.columns import tables
from fgcli.training.devices import Compute
from fgcli.training.loop import Loop, NonFinite, Tick
from fgcli.training.objective import Batch, Objective
from fgcli.training.run_folder import RunFolder
from fgcli.training.settings import Settings

Draw = Callable[[Path, dict[str, Tensor]], None]
"""Writes rows of pictures (n, 3 or 1, h, w) in [-1, 1], by label, as a sheet."""

SHEET_FACES = 8


@dataclass
class Session:
    """One run of a loop over batches.

    Attributes:
        held_out: rows on which it validates.
        split: (N,) of all rows.
        files: the artifacts that the batches are read from, by name.
        draw: writes a sample sheet.
    """

    loop: Loop
    batches: Batches
    held_out: np.ndarray
    split: np.ndarray
    files: dict[str, Path]
    draw: Draw
    sums: dict[str, tuple[float, int]] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=lambda: {"best_step": 0, "best_loss": None})

    @classmethod
    def of(
        cls,
        objective: Objective,
        compute: Compute,
        settings: Settings,
        files: Mapping[str, Path | None],
        split: np.ndarray,
        *,
        draw: Draw,
        augment: Augment | None = None,
        section: str = "train",
    ) -> Session:
        """The run at step 0: whatever trains in fg is started here.

        Args:
            objective: what is trained, not yet placed on the device.
            compute: where. settings: how.
            files: a stage's inputs by name, from which the objective takes the columns that it needs.
            split: (N,) 0 for rows that train, 1 for those that validate, others are not used; without any to
                validate on, the training rows are.
            draw: writes sample sheets.
            augment: how far pictures stray.
            section: of params, which messages name.

        Raises:
            FgError: a column that is not there.
            UsageError: settings or augmentations that do not go with the objective.
        """
        if settings.batch % compute.ranks:
            raise UsageError(
                f"{section}.batch: expected a multiple of the {compute.ranks} processes, found {settings.batch}"
            )
        train, val = np.flatnonzero(split == 0), np.flatnonzero(split == 1)
        if not len(val) and compute.rank == 0:
            say(f"{section}: no rows to validate on; scores, sheets and what is kept as best look at training rows")
        opened = tables(objective.needs, files, train, f"{section}: objective {type(objective).__name__}")
        batches = Batches(opened, train, settings.batch, settings.seed, augment)
        batches.augment.verify(batches.columns, f"{section}.augment")
        used = {table.column.artifact for table in opened.values()}
        loop = Loop(compute.place(objective), compute, settings, section)
        read = {name: path for name, path in files.items() if path and name in used}
        return cls(loop, batches, val if len(val) else train, split, read, draw)

    def name(self, params: Mapping[str, Any]) -> str:
        """The name of this run: a hash of its params, its split and the files that it reads.

        More steps go on with a finished run, unless its course depends on their number: a cosine is another then, and
        so is a run whose end came between two validations (`RunFolder.fits`).
        """
        fixed = {key: value for key, value in params.items() if key != "steps" or params.get("schedule") == "cosine"}
        files = {name: artifacts.sha256(path) for name, path in sorted(self.files.items())}
        return name_of([fixed, self.split.tolist(), files])

    def train(self, folder: RunFolder, resume: bool) -> tuple[dict[str, Tensor], dict[str, np.ndarray], dict[str, Any]]:
        """Steps to the end; returns the kept moving average, the history and what to say of the run.

        Raises:
            NonFinite: a loss was not finite; the last good checkpoint is named.
            Stopped: the process was asked to; the same command goes on.
        """
        if self.writes:
            folder.take(resume)
        self.loop.compute.wait()  # no rank may look for a checkpoint that another is about to set aside
        resumed = resume and self.go_on(folder)
        self.loop.compute.wait()
        if not resumed and self.writes:
            folder.begin()
        with self.writer(folder) as write, stop_asked() as stop:
            self.steps(folder, write, stop)
        ema = self.loop.ema.state
        if not self.writes:
            return ema, {}, {}
        kept = {"steps": self.loop.step, "score": self.loop.score_name}
        if self.loop.settings.keep == "best" and self.best["best_step"]:
            state, _ = checkpoint.load(folder.best)
            with artifacts.blamed(folder.best, checkpoint.MEND):
                checkpoint.verify_like(state, self.loop.state(), "state")
            ema, kept = state["ema"], kept | self.best
        artifacts.write_json(folder.path / "history.json", read_lines(folder.stats))  # what DVC can plot
        return ema, read_history(folder.stats), kept

    @property
    def writes(self) -> bool:
        """Whether this rank writes files."""
        return self.loop.compute.rank == 0

    def steps(self, folder: RunFolder, write: Callable[[dict[str, Any]], None], stop: Stop) -> None:
        """The steps that are left."""
        saved, settings = time.monotonic(), self.loop.settings
        with progress(self.loop.section, self.loop.steps, self.loop.step, "steps") as advance:
            try:
                for tick in self.loop.run(self.batches):
                    self.collect(tick)
                    advance(note=" ".join(f"{k.split('/')[1]} {v:.3g}" for k, v in tick.terms.items()))
                    end = tick.step == self.loop.steps
                    if end or tick.step % settings.validate_steps == 0:
                        self.report(folder, write)
                    if not self.writes:
                        continue
                    late = time.monotonic() - saved > settings.checkpoint_seconds
                    if end or late or stop.signal or tick.step % settings.checkpoint_steps == 0:
                        self.save(folder.last, folder.name)
                        saved = time.monotonic()
                    if stop.signal and not end:
                        told = f"{folder.last}: stopped as asked at step {tick.step}; run it again to go on"
                        raise Stopped(told, stop.signal)
            except NonFinite as error:
                good = f"the last good checkpoint is {folder.last}" if folder.last.exists() else "no checkpoint yet"
                raise NonFinite(f"{error}; {good}") from error

    def collect(self, tick: Tick) -> None:
        """Adds a step to the means of the next line of stats; a lazy phase's terms count the steps on which it ran."""
        for name, value in tick.terms.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = (total + value, count + 1)

    def validation(self) -> Iterator[Batch]:
        """The held-out rows as batches, unaugmented."""
        size = self.batches.batch
        for i in range(0, len(self.held_out), size):
            yield self.batches.of(self.held_out[i : i + size], self.loop.compute)

    def report(self, folder: RunFolder, write: Callable[[dict[str, Any]], None]) -> None:
        """A line of stats, a sample sheet, and the best checkpoint when this is it."""
        step, loss = self.loop.step, self.loop.validate(self.validation())
        self.warn(folder)
        means = {name: total / count for name, (total, count) in sorted(self.sums.items())}
        self.sums = {}
        if not self.writes:
            return
        found = {} if loss is None else {"validation": loss}
        write({"step": step, "learning_rate": self.loop.rate(step - 1), **means, **found})
        shown = self.loop.sheet(self.batches.of(self.held_out[:: self.stride()], self.loop.compute))
        if shown:
            self.draw(folder.sheet(step), shown)
        if loss is not None and (self.best["best_loss"] is None or loss < self.best["best_loss"]):
            self.best = {"best_step": step, "best_loss": loss}
            self.save(folder.best, folder.name)

    def warn(self, folder: RunFolder) -> None:
        """Tells what the objective sees going wrong."""
        if self.writes and (wrong := self.loop.objective.trouble()):
            good = f"the last good checkpoint is {folder.best if folder.best.exists() else folder.last}"
            say(f"{self.loop.section}: step {self.loop.step}: {wrong}; {good}")

    def stride(self) -> int:
        """Step through the held-out rows that shows SHEET_FACES of them."""
        return max(1, -(-len(self.held_out) // SHEET_FACES))

    def save(self, path: Path, fingerprint: str) -> None:
        """Writes a checkpoint."""
        step, every = self.loop.step, self.loop.settings.validate_steps
        early = step == self.loop.steps and step % every != 0  # its last look at held-out rows came before its turn
        extra = {"best": self.best, "sums": self.sums, "code": code(), "early": early}
        checkpoint.save(path, self.loop.state(), step=self.loop.step, fingerprint=fingerprint, extra=extra)

    def go_on(self, folder: RunFolder) -> bool:
        """Restores the last checkpoint if it is of this very run."""
        if not folder.last.exists():
            return False
        state, meta = checkpoint.load(folder.last)
        if meta["fingerprint"] != folder.name:
            return False
        with artifacts.blamed(folder.last, checkpoint.MEND):
            checkpoint.verify_like(state, self.loop.state(), "state")
            self.loop.restore(state)
        self.best, self.sums = meta["best"], {name: tuple(pair) for name, pair in meta["sums"].items()}
        if self.writes:
            other = "" if meta["code"] == code() else ", begun by other code of fg"
            say(f"{self.loop.section}: going on from step {self.loop.step} of {self.loop.steps} ({folder.last}{other})")
            lines = read_lines(folder.stats) if folder.stats.exists() else []
            folder.stats.write_text("".join(json.dumps(x) + "\n" for x in lines if x["step"] <= self.loop.step))
        return True

    @contextmanager
    def writer(self, folder: RunFolder) -> Iterator[Callable[[dict[str, Any]], None]]:
        """Yields what appends a line to stats.jsonl, and to TensorBoard when asked."""
        events = None
        if self.loop.settings.tensorboard and self.writes:
            from torch.utils.tensorboard import SummaryWriter

            events = SummaryWriter(str(folder.path / "events"))

        def write(line: dict[str, Any]) -> None:
            with open(folder.stats, "a") as file:
                file.write(json.dumps(line) + "\n")
            for name, value in line.items():
                if events:
                    events.add_scalar(name, value, line["step"])

        try:
            yield write
        finally:
            if events:
                events.close()


def read_lines(stats: Path) -> list[dict[str, Any]]:
    """The whole lines of stats.jsonl; a kill may have cut the last.

    Raises:
        FgError: a line is damaged.
    """
    found = []
    for number, text in enumerate(stats.read_bytes().split(b"\n")[:-1], 1):
        try:
            line = json.loads(text)
            sound = "step" in line and all(isinstance(value, int | float) for value in line.values())
        except (ValueError, TypeError, AttributeError):
            sound = False
        if not sound:
            raise FgError(f"{stats}: expected numbers with a step in line {number}, found damage; {checkpoint.MEND}")
        found.append(line)
    return found


def read_history(stats: Path) -> dict[str, np.ndarray]:
    """stats.jsonl as one array per column, NaN where a line lacks it.

    Raises:
        FgError: a line is damaged.
    """
    lines = read_lines(stats)
    names = sorted({name for line in lines for name in line})
    return {name: np.array([line.get(name, np.nan) for line in lines], np.float64) for name in names}


@dataclass
class Stop:
    """The signal by which a person asked to stop; 0: nobody did."""

    signal: int = 0


@contextmanager
def stop_asked() -> Iterator[Stop]:
    """Yields what SIGTERM and the first Ctrl-C fill, so that a step is never cut in two."""
    asked = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(signum: int, frame: FrameType | None) -> None:
        if asked.signal and signum == signal.SIGINT:
            raise Interrupted(signum)
        asked.signal = signum

    old = {s: signal.signal(s, ask) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
