"""Latent edits: moving a code so that one attribute changes.

An editor has `fit(problem)` for one attribute after the other, `edit(codes (n, l, d), attribute, strength)`,
`arrays()` and `from_arrays(arrays)`. Strength 1 carries the codes without the attribute to those with it, -1 back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fgcli import artifacts, config

EDITORS = {
    "mean_difference": "fgcli.editors.mean_difference:MeanDifference",
    "latent_wasserstein": "fgcli.editors.latent_wasserstein:LatentWasserstein",
}


def load(path: Path) -> dict[str, Any]:
    """The fitted editors of editor.h5, by their names in params.

    Raises:
        FgError: not an editor file.
    """
    stored = artifacts.load(path, artifacts.EDITOR)
    return {
        name: config.lookup(EDITORS, about["build"]["name"], str(path)).from_arrays(stored.group(f"methods/{name}"))
        for name, about in stored.meta["methods"].items()
    }
