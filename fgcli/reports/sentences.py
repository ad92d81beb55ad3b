"""The sentences of the page, from what the artifacts say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fgcli.reports.material import Material
from fgcli.reports.nouns import Nouns

ALIKE = 0.05
"""Shares of pictures in colour that differ by less are not worth a word."""


def title(faces: Mapping[str, Any], generator: Mapping[str, Any]) -> str:
    """Which generator, on which faces."""
    sets = " and ".join(str(entry["name"]) for entry in faces["datasets"])
    return f"{generator['build']['name']} on {sets}"


def lead(run: Material, generator: Mapping[str, Any]) -> str:
    """What was trained on what, and what the page is about."""
    build, training = generator["build"], generator["training"]
    size = run.codes([0]).values[0].numel()
    steps = f" in {training['steps']} steps" if training.get("steps") else ""
    said = run.nouns
    learned = f"{build['name']} turns {run.images.shape[1]} px {said.faces} into {size} numbers and back. "
    here = "rows" in training  # or its weights came from elsewhere
    taught = f"It learned from {training['rows']} {said.photos}{steps}; everything" if here else "Everything"
    learned += f"{taught} shown here is about {len(run.held)} {'others' if here else f'held-out {said.photos}'}"
    return learned + (f", of {said.people} it has never seen." if here and strangers(run) else ".")


def strangers(run: Material) -> bool:
    """Whether every held-out face is of a known person, and no training face of that person or of one who looks so."""
    train = run.split == 0
    known = (run.identity[run.held] >= 0).all() and (run.identity[train] >= 0).all()
    return bool(known and not np.isin(run.group[run.held], run.group[train]).any())


def headline_words(attribute: str, nouns: Nouns) -> list[str]:
    """The columns of the pictures at the head."""
    edits = [f"{attribute} added", f"{attribute} removed"] if attribute else []
    return [f"held-out {nouns.photo}", "reconstruction", *edits]


def headline_note(run: Material, method: str, strength: float) -> str:
    """How the pictures at the head were chosen and made."""
    person = run.nouns.person
    chosen = f"the one whose reconstruction has the median error of that {person}"
    said = [f"One held-out {run.nouns.photo} per {person}, {chosen}."]
    if method:
        said.append(f"Edited by {method} at strengths +{strength:g} and \u2212{strength:g}.")
        if run.examine:
            said.append(
                "Below each edit: how a judge's probability of the attribute changes, the distance of the embeddings "
                "(one person below 0.6), and whether nothing else does."
            )
    if run.faded:
        said.append("Only face pixels taught this generator: outside its own predicted mask its pictures fade to grey.")
    return " ".join(said)


def data(meta: Mapping[str, Any], params: Mapping[str, Any], nouns: Nouns) -> str:
    """How photos became crops."""
    sets = ", ".join(f"{entry['name']} ({entry['photos']} {nouns.photos})" for entry in meta["datasets"])
    size = f" of {params['size']} px, " if "size" in params else " "
    if nouns.whole:
        return f"{sets}. {nouns.photos.capitalize()}{size}taken whole."
    found = f"found and aligned by {meta['analyser']['name']}, masked by {meta['segmenter']['name']}"
    seen = "the outline is the mask"
    return f"{sets}. Crops{size}{found}; {seen}. Look for masks that miss the face: nothing later repairs them."


def training(about: Mapping[str, Any]) -> str:
    """How the kept weights were chosen."""
    best = f" The weights kept are those of step {about['best_step']}." if "best_step" in about else ""
    score = f"; validation is {about['score']}" if about.get("score") else ""
    return f"Each term unweighted, mean since the last validation{score}.{best}"


def inversion(about: Mapping[str, Any]) -> str:
    """How codes were found, and how near that comes where they are known."""
    test = about["self_test"]
    known = f"Codes by {about['inverter']['name']}. Of pictures drawn from the prior, whose codes are known, its are"
    return (
        f"{known} {test['picture_error']:.3f} off (root mean squared, values in [-1, 1]); the mean code's are "
        f"{test['picture_floor']:.3f} off."
    )


def samples(with_density: bool, nouns: Nouns) -> str:
    """What the sets of samples are."""
    fitted = " and from each density fitted to the training codes afterwards" if with_density else ""
    return f"Drawn from the generator's own prior{fitted}. {nouns.unreal}"


def metrics(protocols: Mapping[str, Any], held_out: int, nouns: Nouns) -> str:
    """What all numbers share."""
    pca = protocols["models"].get("pca")
    faces = f"All on the {held_out} {nouns.faces} of split {protocols['split']}"
    people = protocols.get("intervals", {}).get("held_out_people", 0)
    if people > 1:
        who = f"people, of whom there are {people}" if people < held_out else nouns.faces
        faces += f"; under a number its 95 % interval over {who}"
    if not pca:
        return f"{faces}."
    fitted = f"{pca['training_images']} training {nouns.faces}"
    fitted += " and their mirror images" if pca.get("mirrored") else ""
    linear = f"{nouns.eigenfaces.capitalize()}: the {pca['codes']} directions in which {fitted} vary most"
    return f"{faces}; the better of two models is in colour. {linear}."


def colour(attribute: str, shares: Mapping[str, float], nouns: Nouns) -> str:
    """Why an unmatched direction also moves colour: how the training pictures divide."""
    if len(shares) < 2:
        return ""
    told = {name: f"{100 * share:.0f}\u00a0%" for name, share in shares.items()}
    way = "paints" if shares["with"] > shares["without"] else "bleaches"
    known = f"Of the training {nouns.photos} with {attribute.replace('_', ' ')}, {told['with']} are in colour; "
    known += f"of those without, {told['without']}."
    if abs(shares["with"] - shares["without"]) < ALIKE:
        return known
    unmatched = f"So a direction that is not matched {way} a {nouns.face} as it adds the attribute"
    return f"{known} {unmatched}, and undoes it backwards."


def contents(content: Mapping[str, Any], absent: bool, nouns: Nouns) -> list[tuple[str, str]]:
    """The table of contents: (anchor, text)."""
    places = [
        ("data", nouns.faces.capitalize(), True),
        ("heads", "Heads", bool(content["heads"])),
        ("training", "Training", bool(content["curves"])),
        ("reconstructions", "Reconstructions", True),
        ("extremes", "Worst and best", True),
        ("samples", f"New {nouns.faces}", True),
        ("interpolations", "Interpolations", bool(content["interpolations"])),
        ("steered", "Steered by heads", bool(content["steered"])),
        ("edits", "Edits", bool(content["edits"])),
        ("search", "Search", bool(content["optimum"])),
        ("metrics", "Metrics", True),
        ("left-out", "Left out", absent),
        ("params", "Params", True),
        ("provenance", "Provenance and licences", True),
    ]
    return [(anchor, text) for anchor, text, there in places if there]
