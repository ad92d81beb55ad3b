"""Under dvc: the user's files that a stage reads are among its deps, so that `dvc repro` sees new photos."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from fgcli.errors import UsageError


def verify_deps(output: Path, reads: Iterable[Path]) -> None:
    """Raises unless the stage of dvc that writes `output` depends on all of the user's files and folders `reads`.

    Without dvc there is nothing to see. A path in dvc.yaml cannot follow a param, so the user names it in both.

    Raises:
        UsageError: the deps lack some, or a folder can be none of them, since the output is in it.
    """
    if "DVC_STAGE" not in os.environ or not (known := _places(reads)):
        return
    from dvc.exceptions import OutputNotFoundError
    from dvc.repo import Repo

    try:
        stage = Repo(os.environ["DVC_ROOT"]).find_outs_by_path(str(output), strict=False)[0].stage
    except OutputNotFoundError:  # no stage says that it writes this
        return
    for real, shown in known.items():
        if output.resolve().is_relative_to(real):
            raise UsageError(
                f"{shown}: expected a folder that dvc can depend on, found one with {output} in it; "
                "move the photos to a folder of their own"
            )
    deps = [Path(dep.fs_path).resolve() for dep in stage.deps]
    lacking = [str(shown) for real, shown in known.items() if not any(real.is_relative_to(dep) for dep in deps)]
    if lacking:
        raise UsageError(
            f"{stage.relpath}: expected all that stage {stage.name} reads among its deps, for dvc repro to see new "
            f"photos, found no {', '.join(lacking)}; add what is missing to the list"
        )


def _places(reads: Iterable[Path]) -> dict[Path, Path]:
    """Real files and folders, and what to call them: `reads`, and where links in them lead, which dvc does not see."""
    known = {path.resolve(): path for path in reads}
    todo = list(known)
    for place in todo:  # which grows meanwhile
        inner = [Path(top, name) for top, folders, _ in os.walk(place) for name in folders]
        beyond = [link.resolve() for link in inner if link.is_symlink()]
        todo += [real for real in dict.fromkeys(beyond) if real not in todo]
    return {real: known.get(real, real) for real in todo}
