"""All artifacts -> report.html: one self-contained page of faces, edits, numbers and where they come from."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fgcli.config import Section
from fgcli.config.fields import Seed
from fgcli.errors import FgError

if TYPE_CHECKING:
    from fgcli.artifacts import Artifact
    from fgcli.capabilities import Generator
    from fgcli.reports.material import Material
    from fgcli.reports.nouns import Nouns

MOST_REJECTED = 200
"""Rejected photos listed by name at most."""
OPTIONAL = ("density", "judges", "editor", "flame")
STAGES = {"faces": "preprocess", "generator": "train", "latents": "invert", "evaluation": "evaluate"}
"""Stages that write an artifact of another name."""


class Params(Section):
    """What the page shows."""

    people: Annotated[int, Field(ge=2, le=12)]
    """Held-out people at the head of the page."""

    strength: Annotated[float, Field(gt=0, le=10)]
    """How strongly the first attribute is added and taken away there."""

    strengths: Annotated[list[float], Field(min_length=1, max_length=15)]
    """Strengths of the edit strips; the last one is the highest."""

    samples: Annotated[int, Field(ge=4, le=64)]
    """New faces per density."""

    seed: Seed
    """Seed of the draws."""


def run(
    faces: Path = Path("out/faces.h5"),
    generator: Path = Path("out/generator.h5"),
    latents: Path = Path("out/latents.h5"),
    density: Path | None = Path("out/density.h5"),
    judges: Path | None = Path("out/judges.h5"),
    editor: Path | None = Path("out/editor.h5"),
    flame: Path | None = Path("out/flame.h5"),
    conditions: Path | None = Path("out/conditions.h5"),
    obedience: Path | None = Path("out/obedience.json"),
    obeyed: Path | None = Path("out/obedience.png"),
    optimum: Path | None = Path("out/optimum.h5"),
    evaluation: Path = Path("out/evaluation.h5"),
    neighbours: Path | None = Path("out/neighbours.png"),
    metrics: Path = Path("out/metrics.json"),
    folder: Path = Path("out/train"),
    output: Path = Path("out/report.html"),
    *,
    params: Params,
) -> dict[str, Any]:
    """Writes the page; without densities, editors or heads their sections are left out by name.

    `conditions`, and what `fg obedience` wrote, are read where heads steer the generator.

    Raises:
        FgError: artifacts that do not belong together.
    """
    from fgcli import artifacts, codes
    from fgcli.console import progress
    from fgcli.reports import sections
    from fgcli.reports.numbers import of_evaluation
    from fgcli.reports.page import render

    if artifacts.are_sentences(faces):
        return _sentences(faces, generator, latents, density, evaluation, metrics, output, params)
    known = {"density": density, "judges": judges, "editor": editor, "flame": flame, "optimum": optimum}
    steered = codes.conditions(latents) is not None
    known |= {"conditions": conditions} if steered else {}
    optional = {name: path for name, path in known.items() if path}
    paths = {"faces": faces, "generator": generator, "latents": latents, **optional, "evaluation": evaluation}
    with progress("report", 4, unit="steps") as advance:
        stored = _load(paths)
        numbers = of_evaluation(metrics, stored["evaluation"])
        left_out = _left_out(stored, steered)
        if optimum and "optimum" not in stored:
            left_out["optimum"] = "it was made from other files than these; run fg optimize again"
        material = _material(stored, paths)
        advance(note="pictures")
        content = _pictures(material, stored, paths, numbers, folder, params, left_out)
        content["steered"] = _steered(material, stored, paths, obedience, obeyed, left_out) if steered else None
        content["neighbours"] = sections.neighbours(neighbours, material.nouns) if neighbours else None
        advance(note="numbers")
        content |= _numbers(material.nouns, stored, numbers, params, left_out)
        content |= _story(material, stored, content, params, left_out)
        advance(note="page")
        page = render(content).encode()
        with artifacts.write_aside(output) as part:
            part.write_bytes(page)
        advance()
    return {"output": str(output), "MB": round(len(page) / 1e6, 2), "left_out": left_out}


def _load(paths: dict[str, Path]) -> dict[str, Artifact]:
    """The heads of all artifacts and the small arrays of some.

    Raises:
        FgError: a file of another kind, or made from other files than these.
    """
    from fgcli import artifacts

    wanted: dict[str, tuple[str, ...] | None] = {
        "faces": ("attributes", "identity", "split", "source", "rejected/source", "rejected/reason"),
        "generator": (),
        "density": (),
        "judges": (),
        "editor": (),
        "latents": ("error",),
        "flame": None,
        "conditions": ("parameters", "status"),
    }
    if "optimum" in paths:
        wanted["optimum"] = tuple(k for k in artifacts.layout(paths["optimum"]) if k not in ("codes", "pictures"))
    schemas = artifacts.SCHEMAS
    if artifacts.are_sentences(paths["faces"]):
        schemas = schemas | {"faces": artifacts.SENTENCES}
        wanted["faces"] = ("text", "split", "rejected/source", "rejected/reason")
    stored = {n: artifacts.load(p, schemas[n], wanted.get(n)) for n, p in paths.items() if n != "evaluation"}
    histories = tuple(k for k in artifacts.layout(paths["generator"]) if k.startswith("history/"))
    stored["generator"] = artifacts.load(paths["generator"], artifacts.GENERATOR, histories)
    names = [k for k in artifacts.layout(paths["evaluation"]) if "/reconstruction/" in k or k.endswith("/rows")]
    stored["evaluation"] = artifacts.load(paths["evaluation"], artifacts.EVALUATION, tuple(names))
    hashes = {name: artifacts.sha256(path) for name, path in paths.items()}
    for name, artifact in list(stored.items()):
        for source, digest in artifact.inputs.items():
            if hashes.get(source, digest) != digest and name == "optimum":  # dvc makes none, so it may be an old one
                stored.pop(name, None)
            elif hashes.get(source, digest) != digest:
                raise FgError(
                    f"{paths[name]}: expected a file made from {paths[source]}, found one made from another "
                    f"{source}; run fg {STAGES.get(name, name)} again"
                )
    return stored


def _sentences(
    faces: Path,
    generator: Path,
    latents: Path,
    density: Path | None,
    evaluation: Path,
    metrics: Path,
    output: Path,
    params: Params,
) -> dict[str, Any]:
    """The page where the rows are sentences."""
    import numpy as np

    from fgcli import artifacts, codes, densities
    from fgcli.capabilities import Writes
    from fgcli.generators import store
    from fgcli.reports.grid import spread
    from fgcli.reports.numbers import of_evaluation
    from fgcli.reports.written_page import page

    paths = {"faces": faces, "generator": generator, "latents": latents, "evaluation": evaluation}
    stored = _load(paths | ({"density": density} if density else {}))
    numbers, model = of_evaluation(metrics, stored["evaluation"]), store.load(generator)
    store.match(model, artifacts.pictures(faces).shape, faces)
    assert isinstance(model, Writes)
    drawn = {"prior": codes.written(model, codes.prior(model, params.samples, params.seed))}
    if density:
        known = densities.load(density)
        drawn |= {n: codes.written(model, known.sample(n, params.samples, params.seed)) for n in known.methods}
    held = np.flatnonzero(stored["faces"]["split"] == 2)
    shown = held[spread(len(held), params.people)]
    given_back = list(
        zip(stored["faces"]["text"][shown], codes.written(model, codes.reader(latents)(shown)), strict=True)
    )
    left_out = stored["evaluation"].meta["protocols"].get("left_out", {})
    text = page(stored, numbers, drawn, given_back, left_out).encode()
    with artifacts.write_aside(output) as part:
        part.write_bytes(text)
    return {"output": str(output), "MB": round(len(text) / 1e6, 2), "left_out": left_out}


def _left_out(stored: dict[str, Artifact], steered: bool) -> dict[str, str]:
    """What the page goes without, and why: metrics that could not be measured, optional files that are not there.

    That pictures taken whole have no heads goes without saying.
    """
    missing = stored["evaluation"].meta["protocols"].get("left_out", {})
    reasons = {name: reason.removeprefix(f"{name}: ") for name, reason in missing.items()}
    optional = [n for n in OPTIONAL if n != "flame" or stored["faces"].meta["content"] == "faces"]
    optional += ["conditions"] if steered else []
    return reasons | {name: f"no {name}.h5 was given" for name in optional if name not in stored}


def _material(stored: dict[str, Artifact], paths: dict[str, Path]) -> Material:
    from fgcli import artifacts, codes, editors
    from fgcli.capabilities import Masks
    from fgcli.certificate import Examiner
    from fgcli.generators import store
    from fgcli.reports.material import Material
    from fgcli.reports.nouns import NOUNS
    from fgcli.reports.pictures import decoded, decoded_masks

    faces, images = stored["faces"], artifacts.rows(paths["faces"], "images")
    model = store.load(paths["generator"])
    store.match(model, images.shape, paths["faces"])
    measured = stored["evaluation"].meta["protocols"]["models"]
    nouns = NOUNS[faces.meta["content"]]
    masks = partial(decoded_masks, model) if isinstance(model, Masks) and not nouns.whole else None
    judges, density = paths.get("judges"), paths.get("density")
    return Material(
        nouns=nouns,
        images=images,
        masks=artifacts.masks(paths["faces"]),
        source=faces["source"],
        identity=faces["identity"],
        group=artifacts.people(paths["faces"]),
        split=faces["split"],
        attributes=faces["attributes"],
        names=faces.meta["attribute_names"],
        codes=codes.reader(paths["latents"]),
        error=stored["latents"]["error"],
        held=stored["evaluation"]["values/rows"],
        prior=partial(codes.prior, model),
        decode=partial(decoded, model),
        decode_masks=masks,
        baseline=_eigenfaces(images, faces["split"], model) if "pca" in measured else None,
        edit=editors.load(paths["editor"]).edit if "editor" in paths else None,
        faded=masks is not None,
        examine=Examiner.of(model, judges, density, paths["latents"]).examine if judges else None,
    )


def _eigenfaces(images: Any, split: Any, model: Generator) -> Any:
    """A function from rows to the pictures that `fg evaluate` measured of eigenfaces."""
    import numpy as np

    from fgcli.codes import Codes
    from fgcli.generators.pca import baseline
    from fgcli.pixels import tensor
    from fgcli.reports.pictures import decoded

    eigenfaces, _ = baseline(images, np.flatnonzero(split == 0), model)

    def draw(shown: np.ndarray) -> list[np.ndarray]:
        return decoded(eigenfaces, Codes(eigenfaces.encode(tensor(images[shown])), eigenfaces.space))

    return draw


def _pictures(
    run: Material,
    stored: dict[str, Artifact],
    paths: dict[str, Path],
    numbers: dict[str, Any],
    folder: Path,
    params: Params,
    left_out: dict[str, str],
) -> dict[str, Any]:
    """The picture sections, by their names in the template."""
    from fgcli.reports import sections
    from fgcli.reports.images import shown_side
    from fgcli.reports.plots import curves

    measure, values = _worst_by(stored, run)
    worst, best = sections.extremes(run, values)
    history = stored["generator"].group("history")
    if not len(history.get("step", ())):
        left_out["loss curves"] = "the generator was solved, not trained step by step"
    drawn = _drawn(run, paths, params)
    side = run.images.shape[2]
    return _edited(run, stored, params, left_out) | {
        "nouns": run.nouns,
        "tile": shown_side(side),
        "tiny": shown_side(side) > side,
        "splits": sections.contact(run, *_crops(run)),
        "curves": curves(history),
        "sheets": sections.training_sheets(folder),
        "has_masks": run.decode_masks is not None,
        "has_baseline": run.baseline is not None,
        "reconstructions": sections.reconstructions(run, run.typical(run.held, sections.COLUMNS)),
        "worst": worst,
        "best": best,
        "measure": measure,
        "samples": sections.samples(drawn),
        "samples_notes": [_sample_note(name, stored, numbers, run.nouns) for name in drawn],
        "interpolations": sections.interpolations(run, params.people),
        "heads": _heads(run, stored, paths, params) if "flame" in stored else None,
        "optimum": _optimum(run, stored["optimum"]) if "optimum" in stored else None,
    }


def _heads(run: Material, stored: dict[str, Artifact], paths: dict[str, Path], params: Params) -> Any:
    """The heads of some held-out people, and how well all of them fit."""
    from fgcli import artifacts
    from fgcli.reports import heads

    labels = {row: run.label(row) for row in run.typical(run.held, params.people)}
    landmarks = artifacts.load(paths["faces"], names=("landmarks",))["landmarks"]
    return heads.section(stored["flame"], run.images, run.masks, landmarks, labels)


def _steered(
    run: Material,
    stored: dict[str, Artifact],
    paths: dict[str, Path],
    obedience: Path | None,
    obeyed: Path | None,
    left_out: dict[str, str],
) -> Any:
    """What the generator makes of exchanged factors, and how far its pictures obey; None without conditions.h5."""
    from fgcli.generators import store
    from fgcli.reports import obedience as section
    from fgcli.reports import sections
    from fgcli.reports.numbers import of_obedience
    from fgcli.steered import steerable

    if "conditions" not in stored:
        return None
    store.verify_head(paths["conditions"], paths["generator"])
    pairs = section.exchanges(run, steerable(paths["generator"], "fg report"), stored["conditions"])
    if not obedience:
        left_out["obedience"] = "no obedience.json was given"
        return section.Steered(section.STEPS, pairs)
    numbers = section.table(of_obedience(obedience, paths["generator"]))
    return section.Steered(section.STEPS, pairs, numbers, sections.obeyed(obeyed) if obeyed else None)


def _optimum(run: Material, stored: Artifact) -> Any:
    """The searches, their pictures those that were scored, or drawn of codes where sentences were."""
    import torch

    from fgcli import artifacts
    from fgcli.codes import Codes
    from fgcli.reports import optimum

    field = "pictures" if "pictures" in artifacts.layout(stored.path) else "codes"
    kept = artifacts.rows(stored.path, field)

    def draw(places: list[int]) -> list[Any]:
        if field == "pictures":
            return list(kept[places])
        return run.decode(Codes(torch.from_numpy(kept[places]), stored.meta["space"]))

    return optimum.section(stored, draw)


def _edited(run: Material, stored: dict[str, Artifact], params: Params, left_out: dict[str, str]) -> dict[str, Any]:
    """The head of the page and the edit strips, by their names in the template."""
    from fgcli.reports import sections

    about = stored["editor"].meta if "editor" in stored else {"attributes": [], "methods": {}, "probes": {}}
    attribute = about["attributes"][0] if about["attributes"] else ""
    method = sections.strongest(about["methods"], attribute) if attribute else ""
    known = [*about["attributes"], *(name for entry in about["methods"].values() for name in entry["scores"])]
    learned = [(run.edit, a) for a in dict.fromkeys(known) if run.edit]  # directions that have no label come last
    shown = learned[: sections.ATTRIBUTES]
    edits = [sections.edits(run, edit, a, params.strengths, sections.having(about["methods"], a)) for edit, a in shown]
    if run.edit and not learned:
        left_out["edits"] = f"the editor {about['choice']}"
    elif shown != learned:
        others = ", ".join(a for _, a in learned[len(shown) :])
        left_out["more edits"] = f"the page shows {len(shown)} of {len(learned)} attributes; fg edit draws {others}"
    if edits and not any(cell.kind == "grey" for cell in edits[0].cells):
        left_out[f"chroma of edited grey {run.nouns.faces}"] = f"no held-out {run.nouns.photo} is grey"
    return {
        "headline": sections.headline(run, params.people, attribute, method, params.strength),
        "attribute": attribute,
        "method": method,
        "edits": edits,
        "probes": about["probes"],
    }


def _crops(run: Material) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """The crops of the contact sheet with their masks' outlines, and their rows, per split."""
    import numpy as np

    from fgcli import artifacts
    from fgcli.faces.overlay import overlay
    from fgcli.reports import sections

    rows = sections.contact_rows(run.split, artifacts.SPLITS)
    no_marks, side = np.zeros((0, 2)), sections.CONTACT_PX
    crops = {name: [overlay(run.images[r], run.masks[r], no_marks, side) for r in own] for name, own in rows.items()}
    return crops, rows


def _worst_by(stored: dict[str, Artifact], run: Material) -> tuple[str, Any]:
    """What the worst are the worst by: the value of each held-out face, lower being better."""
    measured = stored["evaluation"].group("values/reconstruction/generator/given_mask")
    for name in ("l2", "l1"):
        if name in measured:
            return f"{name} of evaluation.h5, on {run.nouns.region}, [0, 1] scale", measured[name]
    return f"root mean squared error in latents.h5, on {run.nouns.region}, [0, 2] scale", run.error[run.held]


def _drawn(run: Material, paths: dict[str, Path], params: Params) -> dict[str, Any]:
    """Faces to set side by side: real ones, draws from the prior, draws from each density."""
    from fgcli import codes, densities
    from fgcli.reports.grid import spread

    held = run.held[spread(len(run.held), params.samples)]
    pool, new = codes.conditions(paths["latents"]), {"prior": run.prior(params.samples, params.seed)}
    if "density" in paths:
        known = densities.load(paths["density"])
        new |= {name: known.sample(name, params.samples, params.seed) for name in known.methods}
    drawn = {f"held-out {run.nouns.photos}": list(run.images[held])}
    drawn |= {name: run.show(codes.conditioned(found, pool, params.seed)) for name, found in new.items()}
    return drawn


def _sample_note(name: str, stored: dict[str, Artifact], numbers: dict[str, Any], nouns: Nouns) -> str:
    """What was measured of a set of samples."""
    from fgcli.reports.tables import ARROWS, number

    if name == f"held-out {nouns.photos}":
        return f"For comparison: real {nouns.faces} that the generator was not trained on."
    said = []
    protocols = stored["evaluation"].meta["protocols"].get("distribution", {})
    for metric, entry in numbers.get("distribution", {}).items():
        value = entry.get("generator", {}).get(f"samples_{name}") if metric != "images" else None
        arrow = ARROWS.get(protocols.get(metric, {}).get("better"), "")
        said += [f"{metric} {number(value)} {arrow}".rstrip()] if value is not None else []
    scores = stored["density"].meta["methods"].get(name, {}).get("scores", {}) if "density" in stored else {}
    for kind, words in (("log_likelihood", ""), ("log_likelihood_at_least", "at least ")):
        if f"held_out_{kind}" in scores:
            value = scores[f"held_out_{kind}"]
            said.append(f"log-likelihood of codes outside the training split {words}{value:.1f} nats ↑")
    return "; ".join(said)


def _numbers(
    nouns: Nouns, stored: dict[str, Artifact], numbers: dict[str, Any], params: Params, left_out: dict[str, str]
) -> dict[str, Any]:
    """The tables, by their names in the template."""
    import fgcli
    from fgcli.reports import provenance, sections, tables
    from fgcli.reports.chroma import GREY_BELOW

    protocols = stored["evaluation"].meta["protocols"]
    paired, distances = tables.paired(numbers, protocols, nouns), tables.distribution(numbers, protocols, nouns)
    reasons = stored["faces"]["rejected/reason"]
    measured = [line.name for table in paired for line in table.lines]
    measured += [f"features={about['extractor']}" for about in protocols.get("distribution", {}).values()]
    used = measured if nouns.whole else ["preprocess", *measured]
    return {
        "paired": paired,
        "distances": distances,
        "keys": tables.key_numbers(paired, distances),
        "verification": tables.verification(numbers),
        "verdicts": [tables.verdict(table, nouns) for table in paired[:1]],
        "rejected": list(zip(map(str, stored["faces"]["rejected/source"]), map(str, reasons), strict=True)),
        "reasons": sections.rejected(map(str, reasons)),
        "most_rejected": MOST_REJECTED,
        "photos": len(stored["faces"]["split"]) + len(reasons),
        "left_out": left_out,
        "origins": provenance.origins(stored),
        "report_params": json.dumps(params.model_dump(), indent=2),
        "licences": provenance.licences(stored["faces"], dict.fromkeys(used), nouns),
        "grey_below": f"{GREY_BELOW:g}",
        "version": fgcli.__version__,
    }


def _story(
    run: Material, stored: dict[str, Artifact], content: dict[str, Any], params: Params, left_out: dict[str, str]
) -> dict[str, Any]:
    """The sentences of the page, and its table of contents."""
    from fgcli.reports import sentences

    faces, generator, nouns = stored["faces"], stored["generator"], run.nouns
    return {
        "title": sentences.title(faces.meta, generator.meta),
        "lead": sentences.lead(run, generator.meta),
        "headline_words": sentences.headline_words(content["attribute"], nouns),
        "headline_note": sentences.headline_note(run, content["method"], params.strength),
        "data_note": sentences.data(faces.meta, faces.params, nouns),
        "training_note": sentences.training(generator.meta["training"]),
        "inversion_note": sentences.inversion(stored["latents"].meta),
        "extremes_note": f"By {content['measure']}: the number over each {nouns.face}.",
        "samples_note": sentences.samples("density" in stored, nouns),
        "metrics_note": sentences.metrics(stored["evaluation"].meta["protocols"], len(run.held), nouns),
        "contents": sentences.contents(content, bool(left_out), nouns),
    }
