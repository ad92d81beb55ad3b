"""Damages one file of a tiny pipeline at a time and runs what reads it: python tests/mutations.py --seed 0 --n 1000

Whatever the damage, a command is to end in time with exit code 0, 1 or 2; a failure is one sentence in plain words
that names the file or the param; nothing is half written, nothing beside the outputs changes, and numbers that are not
finite do not travel on. Faults are printed with the number of their case, which `--case N` runs alone, showing all.
"""

import argparse
import gc
import hashlib
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # a child of a process with threads may wait for them for ever

import mutants
import numpy as np
from tiny_pipeline import COMMANDS, INSPECTED, PHOTOS, TABLE, Command, done, make_pipeline, rechain

from fgcli import artifacts
from fgcli.cli import main as fg
from fgcli.errors import FgError

SECONDS, MEMORY = 60, 12 << 30
"""What one case may take."""
PYTHON = re.compile(
    r"Traceback|\b[A-Z]\w*(Error|Exception|Warning)\b|a defect of fg|NoneType|\[Errno|dtype|broadcast|subscript|"
    r"ndarray|\bh5py\b|\bnumpy\b|\btorch\b|[Tt]ensor\b|state_dict|size mismatch|<class|positional|keyword|"
    r"0x[0-9a-f]{6}|"
    r"object is not|list ind|unpack|invalid literal|could not convert|dict\b|\bNone\b|unhashable|literal_error"
)
"""Words that are Python's, or of libraries, and no user's."""


# ---- one command, in a process of its own


def run(folder: Path, words: str, seconds: float = SECONDS) -> tuple[int | str, str]:
    """Exit code of fg in a folder ("hang", "signal 11"), and what it said on stderr."""
    child = os.fork()
    if not child:
        _become(folder, words)
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hang", ""
        time.sleep(0.003)
    told = (folder / ".stderr").read_text(errors="replace")
    (folder / ".stderr").unlink()
    return (os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else f"signal {os.WTERMSIG(status)}"), told


def _become(folder: Path, words: str) -> None:
    """Turns this process into `fg words` in a folder; its limits are its own."""
    code: object = 70
    try:
        os.setsid()
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        for number, name in ((1, os.devnull), (2, ".stderr")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        sys.argv = ["fg", *words.split()]
        fg()
        code = 0
    except SystemExit as error:
        code = error.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def warm(template: Path) -> None:
    """Runs everything once in this process, as making the pipeline does: what its children import is then there."""
    with tempfile.TemporaryDirectory(prefix="mutation-") as parent:
        folder = Path(parent) / "project"
        shutil.copytree(template, folder)
        for command in (*COMMANDS, *PHOTOS):
            done(folder, command.words)


# ---- cases


@dataclass(frozen=True)
class Case:
    """A command, the file that is damaged before, and how."""

    command: Command
    file: str
    damage: Callable[[np.random.Generator, Path], str]
    forged: bool = False


def draw(rng: np.random.Generator) -> Case:
    """What a case damages and runs."""
    kind = mutants.pick(rng, ["artifact"] * 12 + ["inspect"] + ["params"] * 4 + ["photo"] * 4 + ["table"])
    if kind == "photo":
        return Case(mutants.pick(rng, PHOTOS), "photos/a.png", mutants.damaged_photo)
    if kind == "table":
        return Case(TABLE, "labels.csv", mutants.damaged_table)
    if kind == "inspect":
        path = f"out/{mutants.pick(rng, INSPECTED)}.h5"
        return Case(Command(f"inspect {path}", (path,), ()), path, mutants.damaged_artifact)
    if kind == "params":
        command = mutants.pick(rng, [c for c in (*COMMANDS, *PHOTOS) if c.section])
        return Case(command, "params.yaml", lambda rng, path: mutants.damaged_params(rng, path, command.section))
    command = mutants.pick(rng, COMMANDS)
    file = mutants.pick(rng, command.reads)
    damages = {".json": mutants.damaged_json, ".jsonl": mutants.damaged_bytes, ".h5": mutants.damaged_artifact}
    return Case(command, file, damages.get(Path(file).suffix, mutants.damaged_photo), bool(rng.random() < 0.7))


def contents(folder: Path) -> dict[str, object]:
    """Every file by its name: its bytes, or what else it is."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        plain = path.is_file() and not path.is_symlink()
        found[path.relative_to(folder).as_posix()] = path.read_bytes() if plain else path.lstat().st_mode
    return found


def attempt(template: Path, seed: int, number: int) -> tuple[str, int | str, str, list[str]]:
    """One case: what was done, how it ended, what it said, and its faults."""
    rng = np.random.default_rng([seed, number])
    case = draw(rng)
    with tempfile.TemporaryDirectory(prefix="mutation-") as parent:
        folder = Path(parent) / "project"
        shutil.copytree(template, folder)
        told = case.damage(rng, folder / case.file)
        if case.forged:
            rechain(folder)
        before = contents(folder)
        code, said = run(folder, case.command.words)
        if code == "hang" and case.file == "params.yaml":  # more work was asked for
            return f"{case.file}: {told} | fg {case.command.words}", code, said, []
        faults = [] if code in (0, 1, 2) else [f"ended by {code}"]
        faults += sentence_faults(code, said, case.file, told)
        faults += file_faults(code, before, contents(folder), case.command, folder)
        if code == 0 and re.search(r"\b(nan|inf)\b", told):
            faults += poison(folder, template, case)
    title = f"{case.file}: {told}{' (forged)' if case.forged else ''} | fg {case.command.words}"
    return title, code, said, faults


def sentence_faults(code: int | str, said: str, file: str, told: str) -> list[str]:
    """What is wrong with the words of a command."""
    faults = [f"Python's word {word[0]!r}" for word in [PYTHON.search(said)] if word]
    errors = [line for line in said.splitlines() if line.startswith("fg: ")]
    if code in (1, 2) and "Usage:" not in said:
        if len(errors) != 1 or said.splitlines()[-1] != errors[0]:
            faults.append(f"{len(errors)} sentences, expected one at the end")
        keys = [key for key in told.split(" ")[0].strip(":").split(".") if key]
        names = [Path(file).name, *(keys if file == "params.yaml" else [])]
        # What is left of params means something else; what is finite but huge is met where it overflows.
        blind = (file == "params.yaml" and " at " in told) or ("value " in told and "finite losses" in said)
        if not blind and not any(name in said for name in names):
            faults.append(f"none of {names} is named")
    return faults


def file_faults(code: int | str, before: dict, after: dict, command: Command, folder: Path) -> list[str]:
    """What is wrong with the files that a command left; a training keeps how far it came, and what it moved aside."""
    faults, alive = [], {content for content in after.values() if isinstance(content, bytes)}
    folders = tuple(path for path in command.writes if not Path(path).suffix)
    parts = any(name.endswith(".npz") for name in after)
    for name in sorted(before.keys() | after.keys()):
        run = name in folders or name.startswith(tuple(f"{path}{end}" for path in folders for end in ("/", ".runs")))
        if before.get(name) == after.get(name) or (code == 0 and (run or name in command.writes)):
            continue
        if run and (name not in before or before[name] in alive or not name.endswith(".h5")):
            continue
        if name not in before and ".work" in name and parts:  # parts of the work, with which the next run goes on
            continue
        faults.append(f"{name} {'is gone' if name not in after else 'changed' if name in before else 'was left'}")
    for name in command.writes if code == 0 else ():
        if name.endswith(".h5"):
            try:
                artifacts.load(folder / name)
            except FgError as error:
                faults.append(f"what was written is not whole: {error}")
    return faults


def poison(folder: Path, template: Path, case: Case) -> list[str]:
    """Pages and pictures into which numbers that are not finite travelled; artifacts that hold some do not load."""
    faults = []
    for name in case.command.writes:
        path = folder / name
        if path.suffix == ".html" and re.search(rb">[^<]*\b(nan|inf)\b", path.read_bytes()):
            faults.append(f"{name} says nan")
        whole = Path(str(template) + ".pictures") / hashlib.sha256(case.command.words.encode()).hexdigest()[:16]
        if name == "out/s.png" and whole.exists() and whole.read_bytes() != path.read_bytes():
            faults.append(f"{name} shows what is not finite")
    return faults


def keep_pictures(template: Path) -> None:
    """The pictures that whole files give, by the hash of their command."""
    kept = Path(str(template) + ".pictures")
    kept.mkdir()
    for command in COMMANDS:
        if command.writes[:1] == ("out/s.png",):
            done(template, command.words)
            name = hashlib.sha256(command.words.encode()).hexdigest()[:16]
            shutil.move(template / "out/s.png", kept / name)
            for other in command.writes[1:]:
                (template / other).unlink()


def main() -> int:
    """Runs the cases; 1 if there are faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--n", type=int, default=1000, help="cases")
    parser.add_argument("--case", type=int, help="run this one alone and show what it said")
    parser.add_argument("--template", type=Path, help="keep the pipeline here, or take it from here")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pipeline-") as parent:
        template = asked.template or Path(parent) / "project"
        if not template.exists():
            template.mkdir(parents=True)
            make_pipeline(template)
            keep_pictures(template)
        elif asked.case is None:
            warm(template)
        if asked.case is not None:
            title, code, said, faults = attempt(template, asked.seed, asked.case)
            print(f"{title}\n{said}exit {code}; {'; '.join(faults) or 'no fault'}")
            return bool(faults)
        return campaign(template, asked.seed, asked.n)


def campaign(template: Path, seed: int, n: int) -> int:
    """All cases; prints those with faults and a summary."""
    codes: Counter = Counter()
    faulty, start = 0, time.monotonic()
    gc.freeze()  # children then copy less of this process's memory
    for number in range(n):
        title, code, said, faults = attempt(template, seed, number)
        codes[code] += 1
        if faults:
            faulty += 1
            last = (said.strip().splitlines() or [""])[-1]
            print(
                f"seed {seed} case {number}: {title}\n    exit {code}: {last[:300]}\n    {'; '.join(faults)}",
                flush=True,
            )
    ends = ", ".join(f"{count} x exit {code}" for code, count in sorted(codes.items(), key=str))
    print(f"seed {seed}: {n} cases in {time.monotonic() - start:.0f} s, {ends}; {faulty} with faults")
    return bool(faulty)


if __name__ == "__main__":
    sys.exit(main())
