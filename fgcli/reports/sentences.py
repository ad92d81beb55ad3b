"""The sentences of the page, from what the artifacts say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fgcli.reports.material import Material

ALIKE = 0.05
"""Shares of photos in colour that differ by less are not worth a word."""


def title(faces: Mapping[str, Any], generator: Mapping[str, Any]) -> str:
    """Which generator, on which faces."""
    sets = " and ".join(str(entry["name"]) for entry in faces["datasets"])
    return f"{generator['build']['name']} on {sets}"


def lead(run: Material, generator: Mapping[str, Any]) -> str:
    """What was trained on what, and what the page is about."""
    build, training = generator["build"], generator["training"]
    size = run.codes([0]).values[0].numel()
    steps = f" in {training['steps']} steps" if training.get("steps") else ""
    learned = f"{build['name']} turns {run.images.shape[1]} px faces into {size} numbers and back. "
    learned += (
        f"It learned from {training['rows']} photos{steps}; everything shown here is about {len(run.held)} others"
    )
    return learned + (", of people it has never seen." if strangers(run) else ".")


def strangers(run: Material) -> bool:
    """Whether every held-out face is of a known person who is not among the training faces."""
    held, train = run.identity[run.held], run.identity[run.split == 0]
    return bool((held >= 0).all() and (train >= 0).all() and not np.isin(held, train).any())


def headline_words(attribute: str) -> list[str]:
    """The columns of the pictures at the head."""
    edits = [f"{attribute} added", f"{attribute} removed"] if attribute else []
    return ["held-out photo", "reconstruction", *edits]


def headline_note(run: Material, method: str, strength: float) -> str:
    """How the pictures at the head were chosen and made."""
    said = ["One photo per held-out person, the one whose reconstruction has that person's median error."]
    if method:
        said.append(f"Edited by {method} at strengths +{strength:g} and \u2212{strength:g}.")
    if run.faded:
        said.append("Only face pixels taught this generator: outside its own predicted mask its pictures fade to grey.")
    return " ".join(said)


def data(meta: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """How photos became crops."""
    sets = ", ".join(f"{entry['name']} ({entry['photos']} photos)" for entry in meta["datasets"])
    size = f" of {params['size']} px, " if "size" in params else " "
    if meta["analyser"]["name"] == "whole":
        return f"{sets}. Pictures{size}taken whole: nothing is found, aligned or masked in them."
    found = f"found and aligned by {meta['analyser']['name']}, masked by {meta['segmenter']['name']}"
    seen = "the outline is the mask"
    return f"{sets}. Crops{size}{found}; {seen}. Look for masks that miss the face: nothing later repairs them."


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
    pca = protocols["models"].get("pca")
    faces = f"All on the {held_out} faces of split {protocols['split']}"
    if not pca:
        return f"{faces}."
    linear = f"Eigenfaces are {pca['codes']} principal components of {pca['training_images']} training faces"
    mirrored = " and their mirror images" if pca.get("mirrored") else ""
    return f"{faces}; the better of two models is in colour. {linear}{mirrored}."


def colour(attribute: str, shares: Mapping[str, float]) -> str:
    """Why an unmatched direction also moves colour: how the training photos divide."""
    if len(shares) < 2:
        return ""
    told = {name: f"{100 * share:.0f}\u00a0%" for name, share in shares.items()}
    way = "paints" if shares["with"] > shares["without"] else "bleaches"
    known = (
        f"Of the training photos with {attribute.replace('_', ' ')}, {told['with']} are in colour; of those without, "
    )
    known += f"{told['without']}."
    if abs(shares["with"] - shares["without"]) < ALIKE:
        return known
    return f"{known} So a direction that is not matched {way} a face as it adds the attribute, and undoes it backwards."


def contents(content: Mapping[str, Any], absent: bool) -> list[tuple[str, str]]:
    """The table of contents: (anchor, text)."""
    places = [
        ("data", "Faces", True),
        ("heads", "Heads", bool(content["heads"])),
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
