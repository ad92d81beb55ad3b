"""What an exported file says of itself: what goes in and comes out, how photos are cut, under which terms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fgcli
from fgcli import artifacts
from fgcli.artifacts import Artifact
from fgcli.capabilities import Conditional, Generator, Writes

VALUES = (
    "images and conditions that are pictures are float32 (n, c, h, w), RGB, in [-1, 1]: x = pixel / 127.5 - 1; masks "
    "are in [0, 1]; codes are (n, l, d)"
)
SENTENCES = "images are sentences (n, k, 1, t): planes that are 1 where a rule of the grammar is taken"


def notes(stored: Artifact, generator: Generator, terms: list[str]) -> str:
    """One JSON text about generator.h5.

    Args:
        stored: its head. generator: the one in it.
        terms: as `licences` gives them.
    """
    how = stored.meta["training"].get("preprocess", {})
    about = {
        "fg": fgcli.__version__,
        "generator_sha256": artifacts.sha256(stored.path),
        "build": stored.meta["build"],
        "space": generator.space,
        "code_shape": generator.code_shape,
        "image_shape": generator.image_shape,
        "values": SENTENCES if isinstance(generator, Writes) else VALUES,
        "preprocess": how,
        "cut": cutting(how, generator),
        "licences": terms,
    }
    if isinstance(generator, Conditional):
        about |= {"condition": generator.condition_column, "condition_shape": generator.condition_shape}
    return json.dumps(about, sort_keys=True)


def cutting(how: Mapping[str, Any], generator: Generator) -> str:
    """How a photo becomes an input of the encoder, in a sentence."""
    if "framing" not in how:
        return f"pictures are taken whole, {generator.image_shape[1]} x {generator.image_shape[2]} px"
    analyser = how.get("analyser", {}).get("name", "an analyser")
    return (
        f"a square of {generator.image_shape[1]} px, turned and scaled by 68 landmarks of the face ({analyser}): with "
        "e from the centre of one eye to that of the other, left to right, and m from the eyes' middle to the middle "
        "of the mouth's corners, in px with y down, the square's x axis is along e - (-m_y, m_x), its half side is "
        f"{how['framing']} max(2 |e|, 1.8 |m|), its centre is the eyes' middle + m / 10 (FFHQ's frame at 1)"
    )


def licences(stored: Artifact, faces: Path) -> list[str]:
    """The terms of what a generator was trained on, as its faces.h5 (or sentences.h5) tells them."""
    known = stored.inputs.get("faces")
    if known is None or not faces.exists() or artifacts.sha256(faces) != known:
        names = [data["name"] for data in stored.meta["training"].get("preprocess", {}).get("datasets", [])]
        return [
            f"not known, as {faces.name} is not the file that it was trained on; ask for the terms of "
            + (", ".join(names) or "its training data")
        ]
    about = artifacts.load(faces, names=()).meta
    if "licence" in about:
        return [about["licence"]]
    notice = (about["analyser"] or {}).get("notice", "")
    return [data["licence"] for data in about["datasets"]] + ([notice] if notice else [])
