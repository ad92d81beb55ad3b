"""The sentences of the page, from what the artifacts say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fgcli.reports.material import Material


def title(faces: Mapping[str, Any], generator: Mapping[str, Any]) -> str:
    """Which generator, on which faces."""
    sets = " and ".join(str(entry["name"]) for entry in faces["datasets"])
    return f"{generator['build']['name']} on {sets}"


def lead(run: Material, generator: Mapping[str, Any]) -> str:
    """What was trained on what, and what the page is about."""
    build, training = generator["build"], generator["training"]
    size = int(np.prod(run.codes.shape[1:]))
    steps = f" in {training['steps']} steps" if training.get("steps") else ""
    learned = f"{build['name']} turns {run.images.shape[1]} px faces into {size} numbers and back. "
    learned += f"It learned from {training['rows']} photos{steps}; everything shown here is about {len(run.held)} others"
    return learned + (", of people it has never seen." if strangers(run) else ".")


def strangers(run: Material) -> bool:
    """Whether every held-out face is of a known person who is not among the training faces."""
    held, train = run.identity[run.held], run.identity[run.split == 0]
    return bool((held >= 0).all() and (train >= 0).all() and not np.isin(held, train).any())


def headline_words(attribute: str) -> list[str]:
    """The columns of the pictures at the head."""
    edits = [f"{attribute} added", f"{attribute} taken away"] if attribute else []
    return ["held-out photo", "reconstruction", *edits]


def headline_note(method: str, strength: float) -> str:
    """How the pictures at the head were chosen and made."""
    chosen = "One photo per held-out person, the one whose reconstruction has that person's median error."
    return f"{chosen} Edited by {method} at strength {strength:g}." if method else chosen


def data(meta: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """How photos became crops."""
    sets = ", ".join(f"{entry['name']} ({entry['photos']} photos)" for entry in meta["datasets"])
    found = f"found and aligned by {meta['analyser']['name']}, masked by {meta['segmenter']['name']}"
    seen = "outlined is the mask, dots are the landmarks"
    size = f", {params['size']} px" if "size" in params else ""
    return f"{sets}. Crops{size} {found}; {seen}. Look for masks that miss the face: nothing later repairs them."


def training(about: Mapping[str, Any]) -> str:
    """How the kept weights were chosen."""
    best = f" The weights kept are those of step {about['best_step']}." if "best_step" in about else ""
    return f"Each term unweighted, mean since the last validation; the validation loss is their weighted sum.{best}"


def samples(with_density: bool) -> str:
    """What the sets of samples are."""
    fitted = " and from each density fitted to the training codes afterwards" if with_density else ""
    return f"Drawn from the generator's own prior{fitted}. None of these people exist."


def metrics(protocols: Mapping[str, Any], held_out: int) -> str:
    """What all numbers share."""
    pca = protocols["models"]["pca"]
    linear = f"Eigenfaces are {pca['codes']} principal components of {pca['training_images']} training faces"
    return f"All on the {held_out} faces of split {protocols['split']}. {linear}{' and their mirror images' if pca.get('mirrored') else ''}."


def contents(content: Mapping[str, Any], absent: bool) -> list[tuple[str, str]]:
    """The table of contents: (anchor, text)."""
    places = [
        ("data", "Faces", True),
        ("training", "Training", bool(content["curves"])),
        ("reconstructions", "Reconstructions", True),
        ("extremes", "Worst and best", True),
        ("samples", "New faces", True),
        ("interpolations", "Interpolations", bool(content["interpolations"])),
        ("edits", "Edits", bool(content["edits"])),
        ("metrics", "Metrics", True),
        ("left-out", "Left out", absent),
        ("params", "Params", True),
        ("provenance", "Provenance and licences", True),
    ]
    return [(anchor, text) for anchor, text, there in places if there]
