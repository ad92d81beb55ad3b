"""Numbers that stages wrote as JSON, read back and held against what they are of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fgcli import artifacts
from fgcli.artifacts import Artifact
from fgcli.artifacts.parts import name_of
from fgcli.errors import FgError


def of_evaluation(metrics: Path, evaluation: Artifact) -> dict[str, Any]:
    """metrics.json.

    Raises:
        FgError: no such file, or another evaluation's.
    """
    numbers = read(metrics, "fg evaluate")
    if name_of(numbers) != evaluation.meta["numbers"]:
        raise FgError(
            f"{metrics}: expected the numbers of {evaluation.path}, found another run's; run fg evaluate again"
        )
    return numbers


def of_obedience(obedience: Path, generator: Path) -> dict[str, Any]:
    """obedience.json.

    Raises:
        FgError: no such file, or another generator's.
    """
    numbers = read(obedience, "fg obedience")
    if numbers.get("made_of") != artifacts.sha256(generator):
        raise FgError(f"{obedience}: expected the numbers of {generator}, found another's; run fg obedience again")
    return numbers


def read(path: Path, made_by: str) -> dict[str, Any]:
    """What the stage `made_by` wrote.

    Raises:
        FgError: no such file, or something else.
    """
    try:
        numbers = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FgError(f"{path}: expected the numbers of {made_by}, found no such file; run it") from error
    except ValueError as error:
        raise FgError(f"{path}: expected JSON, found {error}; run {made_by} again") from error
    if not isinstance(numbers, dict):
        raise FgError(f"{path}: expected the numbers of {made_by}, found other JSON; run {made_by} again")
    return numbers
