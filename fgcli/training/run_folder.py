"""The folder of a run: what lies there is known by a mark, and no run is ever lost to another."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from fgcli import artifacts
from fgcli.artifacts.parts import code
from fgcli.console import say
from fgcli.errors import FgError
from fgcli.training import checkpoint

PARTS = ("last.h5", "best.h5", "stats.jsonl", "history.json", "samples", "events")
"""What a run writes beside its mark: nothing else in the folder is ever touched."""


@dataclass(frozen=True)
class RunFolder:
    """Where a run lives.

    Attributes:
        path: the folder.
        name: of the run: a hash of all that its course depends on, fg's code apart.
        steps: that the run shall have.
    """

    path: Path
    name: str
    steps: int

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.path / "last.h5"

    @property
    def best(self) -> Path:
        """The checkpoint of the lowest score."""
        return self.path / "best.h5"

    @property
    def stats(self) -> Path:
        """One JSON line per validation: step, learning rate, mean of each term since the last, the score."""
        return self.path / "stats.jsonl"

    @property
    def mark(self) -> Path:
        """Says which run lies here."""
        return self.path / "run.json"

    def sheet(self, step: int) -> Path:
        """The sample sheet of a step."""
        return self.path / "samples" / f"{step:06d}.png"

    def take(self, resume: bool) -> None:
        """Makes room for this run: another one that lies here is set aside, and this one's is brought back.

        Raises:
            FgError: files of a run's names lie here that fg did not write.
        """
        owner = self.owner()
        if owner is None and self.parts():
            names = ", ".join(part.name for part in self.parts())
            raise FgError(
                f"{self.path}: expected a folder of runs, found {names}, which fg did not write; name another"
            )
        if owner is not None and not (resume and owner == self.name and self.fits(self.last)):
            self.set_aside(owner)
        kept = self.shelf / self.name
        if resume and not self.parts() and kept.exists() and self.fits(kept / "last.h5"):
            for part in kept.iterdir():
                part.rename(self.path / part.name)
            kept.rmdir()
            say(f"{self.path}: brought its run back from {kept}")

    def begin(self) -> None:
        """Empties the folder of what this run left here before its first checkpoint, and marks it."""
        for part in self.parts():
            shutil.rmtree(part) if part.is_dir() else part.unlink()
        (self.path / "samples").mkdir(parents=True)
        artifacts.write_json(self.mark, {"fg run": self.name})
        self.stats.touch()

    @property
    def shelf(self) -> Path:
        """Where other runs of this folder wait, each under its name."""
        return self.path.with_name(self.path.name + ".runs")

    def owner(self) -> str | None:
        """The run that lies here; none where neither a mark nor a checkpoint says so.

        Raises:
            FgError: a mark that fg did not write, or a damaged checkpoint.
        """
        if self.mark.exists():
            try:
                return str(json.loads(self.mark.read_bytes())["fg run"])
            except (ValueError, KeyError, TypeError) as error:
                raise FgError(f"{self.mark}: expected the name of a run, found another file; name another") from error
        return checkpoint.about(self.last)["fingerprint"] if self.last.exists() else None

    def fits(self, last: Path) -> bool:
        """Whether a checkpoint of this name can go on to these steps: finished, only by the same code.

        A run whose end came between two validations looked once more than a longer one does, which is another then.
        What other code has begun goes on, so that an upgrade costs nobody a run; what it has finished stays its own.
        """
        if not last.exists():
            return True
        meta = checkpoint.about(last)
        if meta["step"] == self.steps:
            return bool(meta["code"] == code())
        return meta["step"] < self.steps and not meta.get("early")

    def set_aside(self, owner: str) -> None:
        """Moves the run that lies here to the shelf."""
        place, n = self.shelf / owner, 1
        while place.exists():
            n += 1
            place = self.shelf / f"{owner}-{n}"
        place.mkdir(parents=True)
        for part in [*self.parts(), *([self.mark] if self.mark.exists() else [])]:
            part.rename(place / part.name)
        say(f"{self.path} held another run; moved it to {place}")

    def parts(self) -> list[Path]:
        """What lies here under the names of a run's parts."""
        return [self.path / name for name in PARTS if (self.path / name).exists()]
