"""fg chain: several stages in one process and one folder, once per seed."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from fgcli import config
from fgcli.cli import discovery
from fgcli.cli.pictures import command
from fgcli.cli.run import guarded, quiet_libraries, show
from fgcli.cli.stage import Debug, Json, ParamsFiles, Resume, Sets, is_path, outputs_held, own
from fgcli.config.fields import SEEDS, whole
from fgcli.errors import UsageError
from fgcli.workers import each

STAGES = tuple(name for name, stage in discovery.stages().items() if stage.reads)
"""Stages that can be chained: all that read what another one wrote."""


def chain_command(
    stages: Annotated[list[str], typer.Argument(metavar="STAGE...", help=f"In this order: {', '.join(STAGES)}.")],
    folder: Annotated[Path, typer.Option(help="Where the runs lie: FOLDER/seed0, FOLDER/seed1, ...")],
    seeds: Annotated[str, typer.Option(help="Seeds with commas between; each is every stage's seed in turn.")] = "0",
    use: Annotated[
        list[str], typer.Option(metavar="NAME=FILE", help="A file from elsewhere: faces=out/faces.h5; repeatable.")
    ] = [],  # noqa: B006, Typer's way
    params: ParamsFiles = [],  # noqa: B006
    set: Sets = [],  # noqa: B006
    processes: Annotated[int, typer.Option(min=1, max=1024, help="Seeds that run side by side.")] = 1,
    resume: Resume = True,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Run several stages one after the other in one process, in a folder of their own, once per seed.

    Files keep their names: what would be out/generator.h5 is FOLDER/seed0/generator.h5.

    Example: fg chain train invert density evaluate --folder out/rae --seeds 0,1,2 --use faces=out/faces.h5
    """

    def work() -> None:
        verify_stages(stages)
        given = files(use)
        verify_files(given, stages)
        chain = partial(Chain, stages, folder, given, params, set, resume)
        for done in each(Chain.run, numbers(seeds), chain, processes, "chain"):
            show(done, json)

    guarded(work, debug)


@dataclass(frozen=True)
class Chain:
    """What is run for every seed."""

    stages: list[str]
    folder: Path
    given: dict[str, Path]
    params: list[str]
    sets: list[str]
    resume: bool

    def run(self, seed: int) -> dict[str, Any]:
        """The stages' results, as seedS.STAGE."""
        quiet_libraries()
        done = {}
        stages = {name: importlib.import_module(f"fgcli.stages.{name}") for name in self.stages}
        sections = {name: self.section(name, stage, seed) for name, stage in stages.items()}  # mistakes show now
        files = {name: paths(stage, self.folder / f"seed{seed}", self.given) for name, stage in stages.items()}
        with ExitStack() as stack:
            for name, stage in stages.items():
                stack.enter_context(outputs_held(stage, files[name]))
            for name, stage in stages.items():
                arguments: dict[str, Any] = {"params": sections[name]}
                arguments |= paths(
                    stage, self.folder / f"seed{seed}", self.given
                )  # what earlier stages wrote is there now
                if "resume" in inspect.signature(stage.run).parameters:
                    arguments["resume"] = self.resume
                done[f"seed{seed}.{name}"] = stage.run(**arguments)
        return done

    def section(self, name: str, stage: Any, seed: int) -> Any:
        """A stage's params, with the seed where it has one."""
        seeded = [f"{name}.seed={seed}"] if "seed" in stage.Params.model_fields else []
        return config.section(config.read(self.params, [*self.sets, *seeded]), name, stage.Params)


def verify_stages(stages: list[str]) -> None:
    """Raises UsageError where a stage cannot be chained."""
    for name in stages:
        if name not in STAGES:
            near = config.near(name, STAGES)
            raise UsageError(f"chain: expected stages of {', '.join(STAGES)}, found {name!r}{near}")


def verify_files(given: Mapping[str, Path], stages: list[str]) -> None:
    """Raises UsageError where no stage takes a file of that name."""
    modules = [importlib.import_module(f"fgcli.stages.{name}") for name in stages]
    taken = dict.fromkeys(key for m in modules for key in inspect.signature(m.run).parameters if is_path(m, key))
    for name in given:
        if name not in taken:
            near = config.near(name, taken)
            raise UsageError(f"--use: expected one of {', '.join(taken)}, found {name!r}{near}")


def numbers(seeds: str) -> list[int]:
    """ "0,1,2" as numbers.

    >>> numbers("0,1,2")
    [0, 1, 2]
    """
    found = [whole(part.strip()) for part in seeds.split(",")]
    known = [seed for seed in found if seed is not None and seed < SEEDS]
    if len(known) < len(found):
        raise UsageError(f"--seeds: expected numbers below 2^63 with commas between, found {seeds!r}; write 0,1,2")
    return known


def files(use: list[str]) -> dict[str, Path]:
    """NAME=FILE pairs."""
    pairs = [item.partition("=") for item in use]
    for item, (name, equals, path) in zip(use, pairs, strict=True):
        if not (name and equals and path):
            raise UsageError(f"--use: expected NAME=FILE, found {item!r}; write faces=out/faces.h5")
    return {name: Path(path) for name, _, path in pairs}


def paths(stage: Any, home: Path, given: Mapping[str, Path]) -> dict[str, Path | None]:
    """A stage's files: those given, else the run's own; one that it can do without is None where it is not there."""
    found: dict[str, Path | None] = {}
    for name, parameter in inspect.signature(stage.run).parameters.items():
        if not is_path(stage, name):
            continue
        default = parameter.default and home / parameter.default.relative_to("out")
        found[name] = given.get(name) or own(parameter, default)
    return found


chain = command(chain_command)
