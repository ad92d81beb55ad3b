"""The pipeline's commands, made from each stage's signature and Params: a flag per path and per plain param."""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import typer

from fgcli import config
from fgcli.cli.run import guarded, quiet_libraries, show

PLAIN = (int, float, str, bool)

ParamsFiles = Annotated[
    list[str],
    typer.Option(
        metavar="FILE[:LABEL]",
        help="Params over fg's own, or those under a label of a file; repeatable; ./params.yaml if there is one.",
    ),
]
Sets = Annotated[list[str], typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override any param; repeatable.")]
Json = Annotated[bool, typer.Option("--json", help="Results as one JSON line.")]
Dry = Annotated[bool, typer.Option("--dry-run", "-n", help="Print the resolved params and what would be done.")]
Resume = Annotated[bool, typer.Option(help="Go on from what an interrupted run left.")]
Cluster = Annotated[
    str,
    typer.Option(metavar="dask:ADDRESS", envvar="FG_CLUSTER", help="Workers of a dask cluster, instead of processes."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def command(name: str) -> Any:
    """The command of one stage."""
    stage = importlib.import_module(f"fgcli.stages.{name}")
    known = config.defaults().get(name, {})
    flags = {f: option for f in stage.Params.model_fields if (option := flag(stage, f, known.get(f)))}
    paths = {k: p for k, p in inspect.signature(stage.run).parameters.items() if is_path(stage, k)}

    def call(**given: Any) -> None:
        guarded(lambda: execute(name, stage, flags, paths, given), given["debug"])

    parameters = [path_option(key, p.default, written(stage).get(key)) for key, p in paths.items()]
    parameters += [keyword("params", ParamsFiles, []), keyword("set", Sets, [])]
    if "resume" in inspect.signature(stage.run).parameters:
        parameters.append(keyword("resume", Resume, True))
    if "cluster" in inspect.signature(stage.run).parameters:
        parameters.append(keyword("cluster", Cluster, ""))
    parameters += [keyword("json", Json, False), keyword("dry_run", Dry, False), keyword("debug", Debug, False)]
    parameters += [keyword(f"param_{field}", option, None) for field, option in flags.items()]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    call.__doc__ = stage.__doc__
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command(name, context_settings={"token_normalize_func": lambda t: t.replace("_", "-")})(call)
    return typer.main.get_command(app)


def execute(name: str, stage: ModuleType, flags: Any, paths: Any, given: dict[str, Any]) -> None:
    """Resolves params, then runs the stage or tells its plan."""
    quiet_libraries()
    raw = config.read(given["params"], given["set"])
    chosen = {
        field: {"name": value} if config.is_spec(stage.Params.model_fields[field]) else value
        for field in flags
        if (value := given[f"param_{field}"]) is not None
    }
    raw = config.overlay(raw, {name: chosen})
    params = config.section(raw, name, stage.Params)
    arguments: dict[str, Any] = {"params": params}
    for key, parameter in paths.items():
        path = given[key]
        arguments[key] = own(parameter, path) if path == parameter.default else path
    if "sheet" in paths:
        from fgcli.reports.grid import picture_format

        picture_format(arguments["sheet"])  # before the work, at whose end it is written
    arguments |= {key: given[key] for key in ("resume", "cluster") if key in given}
    if given["dry_run"]:
        plan: Callable[..., dict[str, Any]] = getattr(stage, "plan", lambda **_: {})
        show({"params": params.model_dump(), "plan": plan(**arguments)}, given["json"])
    else:
        with outputs_held(stage, arguments):
            show(stage.run(**arguments), given["json"])


def written(stage: ModuleType) -> dict[str, str]:
    """The paths that a stage writes, `output` and those after it: for each what verify_outputs calls its kind."""
    positional = [p for p in inspect.signature(stage.run).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    names = [p.name for p in positional]
    outputs = positional[names.index("output") :]
    endings = {".h5": lambda path: path.stem, "": lambda path: "folder"}
    return {p.name: endings.get(p.default.suffix, lambda path: "")(p.default) for p in outputs}


@contextmanager
def outputs_held(stage: ModuleType, arguments: Mapping[str, Any]) -> Iterator[None]:
    """Inside the block a stage's outputs are its own; all can be written, and none is anything of the user's.

    Raises:
        FgError: otherwise.
    """
    from fgcli.artifacts.locks import held
    from fgcli.artifacts.outputs import verify_outputs

    kinds, names = written(stage), inspect.signature(stage.run).parameters
    reads = [arguments[key] for key in names if key not in kinds and is_path(stage, key)]
    writes = {"-o" if key == "output" else f"--{key}": (arguments[key], kind) for key, kind in kinds.items()}
    paths = {flag: path for flag, (path, _) in writes.items()}
    verify_outputs(reads, paths, {flag: kind for flag, (_, kind) in writes.items()})
    with held(paths.values()):
        yield


def is_path(stage: ModuleType, key: str) -> bool:
    """Whether `run` takes a file under this name."""
    hint = typing.get_type_hints(stage.run).get(key)
    return hint is Path or Path in typing.get_args(hint)


def own(parameter: inspect.Parameter, path: Path | None) -> Path | None:
    """A path that nobody asked for: None where there is no such file and the stage can do without."""
    return None if "None" in str(parameter.annotation) and not (path and path.exists()) else path


def path_option(key: str, default: Path | None, kind: str | None) -> inspect.Parameter:
    """A file to read, or one to write of a kind of `written`."""
    names = ["--output", "-o"] if key == "output" else [f"--{key}".replace("_", "-")]
    ending = default.suffix if default else ""
    texts = {None: f"{key} to read.", "folder": "Folder of the run.", "": f"{ending} file to write."}
    text = texts.get(kind, f"{kind}{ending} to write.")
    return keyword(key, Annotated[Path | None, typer.Option(*names, help=text)], default)


def flag(stage: ModuleType, field: str, default: Any) -> Any:
    """A param as a flag, a component by its name; None for lists and mappings, which `--set` reaches."""
    info = stage.Params.model_fields[field]
    kind = info.annotation
    choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    component = config.is_spec(info)
    if kind not in PLAIN and not choices and not component:
        return None
    text = (info.description or "").replace("\n", " ") + (f" One of {', '.join(choices)}." if choices else "")
    names = f"--{field}".replace("_", "-")
    names += f"/--no-{field}".replace("_", "-") if kind is bool else ""
    base: Any = str if choices or component else kind
    default = default["name"] if component and default else default
    return Annotated[base | None, typer.Option(names, help=text, show_default=str(default), rich_help_panel="Params")]


def keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """A keyword parameter of the generated function."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def __getattr__(name: str) -> Any:
    """The command of the stage of this name, made when asked for."""
    if name.startswith("__"):
        raise AttributeError(name)
    return command(name)
