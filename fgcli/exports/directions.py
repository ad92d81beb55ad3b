"""editor.h5 as NPZ: what each editor adds to a code, as arrays that numpy alone applies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import fgcli
from fgcli import artifacts
from fgcli.artifacts.outputs import write_npz
from fgcli.codes import Codes
from fgcli.editors import Editors
from fgcli.errors import FgError
from fgcli.exports import NOTES

USE = (
    "codes z (n, l, d) of `space`, strength s: an array v (l, d) is a step, z + s v; one (l, d, d + 1) is an affine "
    "map, z + s (W z + b) in each layer, W its first d columns, b its last"
)


def arrays_of(editors: Editors) -> dict[str, np.ndarray]:
    """By METHOD/ATTRIBUTE, 0 in layers that are not edited.

    Raises:
        FgError: an editor that is neither steps nor affine maps.
    """
    found = {}
    for label, editor in editors.methods.items():
        for name, move in editor.arrays().items():
            if move.ndim != 2 and not (move.ndim == 3 and move.shape[2] == move.shape[1] + 1):
                raise FgError(
                    f"{editors.path} {label}: expected steps (l, d) or maps (l, d, d + 1), found {move.shape}; "
                    "leave it out of editor.methods"
                )
            kept = np.isin(np.arange(len(move)), range(len(move)) if editors.layers is None else editors.layers)
            found[f"{label}/{name}"] = np.where(kept.reshape(-1, *[1] * (move.ndim - 1)), move, 0).astype(np.float32)
    return found


def save(file: Path, editors: Editors, arrays: dict[str, np.ndarray]) -> None:
    """Writes the NPZ; its array `fg` is the notes, a JSON text."""
    stored = artifacts.load(editors.path, artifacts.EDITOR, ())
    methods = {label: entry["build"] for label, entry in stored.meta["methods"].items()}
    about: dict[str, Any] = {"fg": fgcli.__version__, "space": editors.space, "layers": editors.layers, "use": USE}
    about |= {"generator_sha256": stored.meta["generator"], "methods": methods}
    write_npz(file, {NOTES: np.array(json.dumps(about, sort_keys=True)), **arrays})


def difference(file: Path, editors: Editors, tried: Codes, strength: float = 1.0) -> dict[str, float]:
    """Largest difference, by method, of codes edited by fg and by the arrays of a file.

    Of numbers that are larger than 1 it is relative to the largest.
    """
    worst = dict.fromkeys(editors.methods, 0.0)
    with np.load(file) as arrays:
        for key in set(arrays.files) - {NOTES}:
            label, _, name = key.partition("/")
            wanted = editors.edit(label, tried, name, strength).numpy()
            gap = np.abs(wanted - applied(arrays[key], tried.numpy(), strength)).max() / max(1, np.abs(wanted).max())
            worst[label] = max(worst[label], float(np.nan_to_num(gap, nan=np.inf)))
    return worst


def applied(move: np.ndarray, codes: np.ndarray, strength: float) -> np.ndarray:
    """Codes (n, l, d) edited as USE says."""
    if move.ndim == 2:
        return codes + np.float32(strength) * move
    return codes + np.float32(strength) * (np.einsum("lij,nlj->nli", move[..., :-1], codes) + move[..., -1])
