"""All artifacts -> metrics.json: every number with its protocol, on held-out faces, beside eigenfaces of equal size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fgcli.config import Section, Spec
from fgcli.config.fields import Device, Processes, Seed
from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.backbones.dlib_embedding import DlibEmbedding
    from fgcli.metrics.distribution import Collection
    from fgcli.metrics.floors import Floor
    from fgcli.metrics.results import Results
    from fgcli.metrics.sets import Material

GIVEN, PREDICTED = "given_mask", "predicted_mask"
MASKS = {
    GIVEN: "the mask in faces.h5",
    PREDICTED: "the generator's mask decoder above 0.5, for pca too, so that the same pixels are compared",
}
"""Pixels on which faces are compared."""
VERIFIED = 2000
"""Real faces whose pairs are compared at most."""
SHOWN = 8
"""Sentences of each set on the sheet."""
TILE = 96
"""Side of the faces on the sheet of neighbours, px, about."""


class Params(Section):
    """What is measured, on which faces."""

    split: Literal["train", "val", "test"]
    """Faces of this split are the held-out ones: every number is about them."""

    codes_split: Literal["train", "val", "test"]
    """Reconstructions and mid-points that are compared as sets are of this split (Ghosh's thesis: val, not test)."""

    baseline: Literal["pca", "none"]
    """What stands beside the generator: eigenfaces of the same code size, or nothing."""

    samples: Annotated[int, Field(ge=2)]
    """Draws from the prior and from each density, and training faces for the reference distance."""

    batch: Annotated[int, Field(ge=1)]
    """Images in memory at a time."""

    device: Device

    processes: Processes

    seed: Seed
    """Seed of draws and of the pairing for interpolations."""

    metrics: Annotated[list[Spec], Field(min_length=1)]
    """Entries of METRICS; one whose weights are missing is left out by name. Sentences have metrics of their own."""

    neighbours: str
    """Features in which draws are compared with all training faces, for the sheet: an entry of FEATURES."""


def run(
    faces: Path = Path("out/faces.h5"),
    generator: Path = Path("out/generator.h5"),
    latents: Path = Path("out/latents.h5"),
    density: Path | None = Path("out/density.h5"),
    classifier: Path | None = Path("out/classifier.h5"),
    output: Path = Path("out/evaluation.h5"),
    metrics: Path = Path("out/metrics.json"),
    protocols: Path = Path("out/protocols.json"),
    sheet: Path = Path("out/neighbours.png"),
    *,
    params: Params,
    cluster: str = "",
) -> dict[str, Any]:
    """Writes the numbers to `metrics`, how each was made to `protocols`, and every image's value to `output`.

    `sheet` shows draws from the prior and from each density above the training faces most like them.
    A killed run leaves nothing half written and simply runs again.

    Args:
        classifier: what `fg classifier` wrote; only read where a metric wants its features.

    Returns:
        The content of `metrics`, and `left_out`: what could not be measured, and why.

    Raises:
        FgError: artifacts that do not belong together, or fewer than two held-out or training faces.
    """
    from fgcli import artifacts
    from fgcli.backbones.dlib_embedding import DlibEmbedding
    from fgcli.console import progress
    from fgcli.metrics import neighbours, sets
    from fgcli.metrics.results import Results
    from fgcli.training.devices import cpu_or_cuda

    if artifacts.are_sentences(faces):
        return _sentences(faces, generator, latents, density, (output, metrics, protocols, sheet), params)
    result = Results()
    data = _load(faces, generator, latents, density, params, result)
    if not density:
        result.left_out["density"] = "no density.h5 was given: draws are from the prior alone"
    with DlibEmbedding(_mean_landmarks(faces, data), params.processes or None, cluster) as embedder:
        shape = data.models[0].generator.image_shape
        context: dict[str, Any] = {"image_shape": shape, "embedder": embedder, "classifier": classifier}
        context["device"] = cpu_or_cuda(params.device)
        context["region"] = _region(data)
        create = _creator(params, context, result)
        distances = create("distribution")  # before the work: a mistake in params shows now
        collection = _collection(distances, context, result, output.parent)
        distances = [metric for metric in distances if metric.features in collection.extractors]
        likeness = _extractor(params.neighbours, collection, context)
        total = len(data.models) * len(data.held) + len(data.train)
        total += sets.count(data, params.samples) if distances else 0
        with progress("evaluate", total, unit="images") as advance:
            _reconstruction(data, create, _floors(data, embedder, params), params, result, advance)
            _verification(faces, data, embedder, params, result)
            _distribution(data, distances, collection, context["region"], params, result, advance)
            page = neighbours.page(data, likeness, context["region"], params.batch, params.seed, advance)
    result.add_intervals(data.people[data.held])
    result.protocols |= {"split": params.split, "seed": params.seed, "left_out": result.left_out}
    inputs = {"faces": faces, "generator": generator, "latents": latents} | ({"density": density} if density else {})
    if classifier and "classifier" in [*collection.extractors, params.neighbours]:
        inputs["classifier"] = classifier
    _write(result, data.held, data.people[data.held], output, metrics, protocols, params, inputs)
    _save_sheet(sheet, page)
    return {**result.numbers, "left_out": result.left_out}


def plan(faces: Path = Path("out/faces.h5"), *, params: Params, **_: Any) -> dict[str, Any]:
    """What `run` would measure, and which metrics it would leave out for want of weights."""
    from fgcli import artifacts, assets
    from fgcli.generators.pca import FIT_BYTES
    from fgcli.metrics import label

    labels = [label(spec) for spec in params.metrics]
    wanted = {*labels, *(f"features={spec['features']}" for spec in params.metrics if "features" in spec)}
    missing = [a for a in assets.ASSETS.values() if set(a.needed_by) & wanted and not assets.find(a.name)]
    found: dict[str, Any] = {}
    if faces.exists():
        split = artifacts.rows(faces, "split")
        found["held_out_faces"] = int((split == artifacts.SPLITS.index(params.split)).sum())
    return {
        **found,
        "samples_per_set": params.samples,
        "metrics": labels,
        "missing_assets": {a.name: f"{', '.join(a.needed_by)}: {assets.how_to_get(a)}" for a in missing},
        "memory_mb": FIT_BYTES // 1_000_000,
    }


Create = Callable[[str], list[Any]]


def _load(
    faces: Path, generator: Path, latents: Path, density: Path | None, params: Params, result: Results
) -> Material:
    from fgcli import artifacts, codes
    from fgcli.generators import store
    from fgcli.generators.pca import baseline
    from fgcli.metrics.sets import Material, Model
    from fgcli.pixels import tensor
    from fgcli.training.devices import cpu_or_cuda

    content = artifacts.load(faces, artifacts.FACES, ()).meta["content"]
    images, masks = artifacts.rows(faces, "images"), artifacts.masks(faces)
    held, coded, train = _splits(faces, params.split, params.codes_split, "train")
    _verify(faces, generator, latents, density)
    device = cpu_or_cuda(params.device)
    trained = store.load(generator, device)
    store.match(trained, images.shape, faces)
    drawn, read = _draws(density), codes.reader(latents)
    models = [Model("generator", trained, lambda rows: read(rows).to(device), drawn)]
    build = artifacts.load(generator, artifacts.GENERATOR, ()).meta["build"]
    about = {"generator": {"sha256": artifacts.sha256(generator), "build": build}}
    if params.baseline == "pca":
        eigenfaces, fitted = baseline(images, train, trained)
        encode = lambda rows: codes.Codes(eigenfaces.encode(tensor(images[rows])), eigenfaces.space)  # noqa: E731
        models.append(Model("pca", eigenfaces, encode))
        about["pca"] = {
            "codes": eigenfaces.code_shape[1],
            "training_images": len(fitted),
            "mirrored": True,
            "background": "as photographed",
        }
    result.protocols["models"] = about
    return Material(content, images, masks, train, held, coded, artifacts.people(faces), models)


def _splits(faces: Path, *names: str) -> list[np.ndarray]:
    """The rows of splits.

    Raises:
        FgError: fewer than two of one.
    """
    import numpy as np

    from fgcli import artifacts

    split = artifacts.rows(faces, "split")
    found = [np.flatnonzero(split == artifacts.SPLITS.index(name)) for name in names]
    for name, rows in zip(names, found, strict=True):
        if len(rows) < 2:
            raise FgError(f"{faces}: expected at least 2 rows in split {name}, found {len(rows)}; make more of them")
    return found


def _verify(faces: Path, generator: Path, latents: Path, density: Path | None) -> None:
    """Raises FgError unless the files belong together."""
    from fgcli import artifacts
    from fgcli.generators import store

    for file in [latents] + ([density] if density else []):
        store.verify(file, generator)
    rows, coded_rows = (len(artifacts.rows(path, name)) for path, name in ((faces, "split"), (latents, "codes")))
    if coded_rows != rows:
        raise FgError(
            f"{latents}: expected the codes of the {rows} rows of {faces}, found {coded_rows}; run fg invert again"
        )


def _draws(density: Path | None) -> dict[str, Any]:
    """What draws from each density of a file."""
    from functools import partial

    from fgcli import densities

    known = densities.load(density) if density else None
    return {label: partial(known.sample, label) for label in known.methods} if known else {}


def _sentences(
    faces: Path,
    generator: Path,
    latents: Path,
    density: Path | None,
    written_to: tuple[Path, Path, Path, Path],
    params: Params,
) -> dict[str, Any]:
    """The same of sentences.h5; the sheet shows draws of each set."""
    import numpy as np

    from fgcli import artifacts, codes
    from fgcli.capabilities import Writes
    from fgcli.generators import store
    from fgcli.metrics import written
    from fgcli.metrics.results import Results
    from fgcli.reports import grid
    from fgcli.reports.written import picture
    from fgcli.training.devices import cpu_or_cuda

    result, (output, metrics, protocols, sheet) = Results(), written_to
    train, held = _splits(faces, "train", params.split)
    _verify(faces, generator, latents, density)
    model = store.load(generator, cpu_or_cuda(params.device))
    store.match(model, artifacts.pictures(faces).shape, faces)
    assert isinstance(model, Writes)
    build = artifacts.load(generator, artifacts.GENERATOR, ()).meta["build"]
    result.protocols["models"] = {"generator": {"sha256": artifacts.sha256(generator), "build": build}}
    stored = artifacts.load(faces, artifacts.SENTENCES, ("text", "rules"))
    rows = {"train": train, "held_out": held}
    about = (rows, np.array(stored["text"], object), stored["rules"], params.samples, params.seed)
    sets = written.measure(model, codes.reader(latents), _draws(density), *about, result)
    result.add_intervals(held)
    result.protocols |= {"split": params.split, "seed": params.seed, "left_out": result.left_out}
    inputs = {"faces": faces, "generator": generator, "latents": latents} | ({"density": density} if density else {})
    _write(result, held, held, output, metrics, protocols, params, inputs)
    shown = {name: [picture(model.language, text) for text in texts[:SHOWN]] for name, texts in sets.items()}
    grid.save_picture(sheet, grid.sheet(list(shown.values()), list(shown)))
    return {**result.numbers, "left_out": result.left_out}


def _region(data: Material) -> np.ndarray:
    """Where sets of images are compared (h, w): on the face, where only face pixels taught the generator."""
    import numpy as np

    from fgcli.capabilities import Masks
    from fgcli.metrics import sets

    if isinstance(data.models[0].generator, Masks):
        return sets.region(data.masks, data.train)
    return np.ones(data.images.shape[1:3], bool)


def _mean_landmarks(faces: Path, data: Material) -> np.ndarray | None:
    """(68, 2) px of the training faces; None where the rows are no faces."""
    from fgcli import artifacts

    return artifacts.rows(faces, "landmarks")[data.train].mean(0) if data.content == "faces" else None


def _creator(params: Params, context: dict[str, Any], result: Results) -> Create:
    """A function that makes all metrics of a kind; those that cannot be made are noted once."""
    from fgcli.config import lookup
    from fgcli.metrics import METRICS, create, label

    def make(kind: str) -> list[Any]:
        made = []
        for i, spec in enumerate(params.metrics):
            path = f"evaluate.metrics.{i}"
            if lookup(METRICS, spec["name"], f"{path}.name").kind != kind:
                continue
            try:
                made.append(create(spec, path, **context))
            except UsageError:
                raise
            except FgError as error:
                result.left_out[label(spec)] = str(error)
        return made

    return make


def _collection(metrics: list[Any], context: dict[str, Any], result: Results, folder: Path) -> Collection:
    """The extractors that the metrics want; a metric whose extractor cannot be made is noted."""
    from fgcli.backbones import create
    from fgcli.metrics.distribution import Collection

    extractors, missing = {}, {}
    for name in dict.fromkeys(metric.features for metric in metrics):
        try:
            extractors[name] = create(name, "evaluate.metrics", **context)
        except FgError as error:
            missing[name] = str(error)
    result.left_out |= {m.name: missing[m.features] for m in metrics if m.features in missing}
    return Collection(extractors, frozenset(m.features for m in metrics if m.classes), folder)


def _extractor(name: str, collection: Collection, context: dict[str, Any]) -> Any:
    from fgcli.backbones import create

    return collection.extractors.get(name) or create(name, "evaluate.neighbours", **context)


def _floors(data: Material, embedder: DlibEmbedding, params: Params) -> dict[str, Floor]:
    """What needs no model; look-alikes where identity is measured."""
    from fgcli.metrics.floors import LookAlike, NearestTraining

    floors: dict[str, Floor] = {"nearest": NearestTraining(data.images, data.train)}
    if _identity_wanted(data, params):
        floors["look_alike"] = LookAlike(data.images, data.train, embedder)
    return floors


def _identity_wanted(data: Material, params: Params) -> bool:
    return data.content == "faces" and any(spec["name"].startswith("identity") for spec in params.metrics)


def _reconstruction(
    data: Material,
    create: Create,
    floors: dict[str, Floor],
    params: Params,
    result: Results,
    advance: Callable[..., None],
) -> None:
    """Each held-out face against its reconstruction, on the given and on the predicted mask; whole pictures whole."""
    from fgcli.capabilities import Masks
    from fgcli.metrics.floors import FLOORS
    from fgcli.metrics.sets import batches, decode, predicted_mask

    trained = data.models[0].generator
    kinds = [GIVEN]
    if data.content == "faces":
        if isinstance(trained, Masks):
            kinds.append(PREDICTED)
        else:
            result.left_out[PREDICTED] = "the generator has no mask decoder"
    tables = {(model.name, kind): create("paired") for model in data.models for kind in kinds}
    tables |= {(name, GIVEN): create("paired") for name in floors}
    for rows in batches(data.held, params.batch):
        reference = data.images[rows]
        masks = {GIVEN: data.masks[rows] > 127}
        if isinstance(trained, Masks) and PREDICTED in kinds:
            masks[PREDICTED] = predicted_mask(trained, data.models[0].codes(rows))
        predictions = {model.name: decode(model, model.codes(rows)) for model in data.models}
        predictions |= {name: floor(reference, masks[GIVEN]) for name, floor in floors.items()}
        for (name, kind), metrics in tables.items():
            for metric in metrics:
                metric.update(reference, predictions[name], masks[kind])
        advance(len(data.models) * len(rows))
    for (name, kind), made in tables.items():
        result.add_paired(f"reconstruction/{name}/{kind}", made, data.people[data.held])
    result.protocols["models"] |= {name: {"value": FLOORS[name]} for name in floors}
    result.protocols["reconstruction"] = {metric.name: metric.protocol for metric in tables["generator", GIVEN]}
    result.protocols["masks"] = MASKS if data.content == "faces" else {GIVEN: "all"}


def _verification(faces: Path, data: Material, embedder: DlibEmbedding, params: Params, result: Results) -> None:
    """What the threshold of identity_same is worth: its errors on pairs of held-out faces of known people.

    People told by the same embeddings would prove nothing.
    """
    from fgcli import artifacts
    from fgcli.metrics.identity import verification

    identity = artifacts.load(faces, artifacts.FACES, ("identity",))["identity"]
    rows = data.held[identity[data.held] >= 0][:VERIFIED]
    if _identity_wanted(data, params) and len(rows) > 1:
        result.numbers["verification"] = verification(embedder(data.images[rows]), data.people[rows])


def _distribution(
    data: Material,
    made: list[Any],
    collection: Collection,
    region: np.ndarray,
    params: Params,
    result: Results,
    advance: Callable[..., None],
) -> None:
    """Each set of images against the held-out faces."""
    from fgcli.metrics.results import put
    from fgcli.metrics.sets import BACKGROUND, HELD_OUT, SETS, left_out_together, sets, shown

    if not made:
        return
    counts: dict[str, int] = {}
    for name, images in sets(data, samples=params.samples, batch=params.batch, seed=params.seed):
        for batch in images:
            collection.update(name, shown(batch, region))
            counts[name] = counts.get(name, 0) + len(batch)
            advance(len(batch))
    on_faces = f"where half of the training masks are; grey {BACKGROUND} elsewhere, in every set"
    shared = {
        "reference": f"{HELD_OUT}, the images of split {params.split}",
        "region": "whole pictures" if region.all() else on_faces,
    }
    for name, count in counts.items():
        put(result.numbers, f"distribution/images/{name}", count)
    result.protocols["sets"] = {name: text.replace("SPLIT", params.codes_split) for name, text in SETS.items()}
    result.protocols["distribution"] = {}
    blocks = left_out_together(data, counts, params.samples, params.seed)
    for metric in made:
        extractor = collection.extractors[metric.features]
        caveats = {name: metric.caveat(count, extractor.size) for name, count in counts.items()}
        about = {**metric.protocol, "extractor": metric.features, **extractor.protocol, **shared, "caveats": caveats}
        found = collection.scores(metric, HELD_OUT, list(counts))
        for name, values in found.numbers.items():
            for place, value in values.items():
                put(result.numbers, f"distribution/{name}/{place}", value)
            result.protocols["distribution"][name] = about
        result.values |= {f"distribution/{metric.name}/{name}": rows for name, rows in found.values.items()}
        result.left_out |= {f"distribution/{metric.name}/{name}": why for name, why in found.left_out.items()}
        if metric.jackknifed:
            measured = list(found.numbers.get(metric.name, {}))
            trials = collection.replicates(metric, HELD_OUT, measured, blocks)
            result.replicates |= {f"distribution/{metric.name}/{name}": made for name, made in trials.items()}
    for label in collection.extractors:
        result.values |= {f"features/{label}/{name}": collection.rows(label, name) for name in counts}


def _save_sheet(path: Path, page: dict[str, list[np.ndarray]]) -> None:
    from fgcli.reports import grid

    side = next(iter(page.values()))[0].shape[1]
    grid.save_picture(path, grid.sheet(list(page.values()), list(page), scale=max(1, TILE // side)))


def _write(
    result: Results,
    held: np.ndarray,
    people: np.ndarray,
    output: Path,
    metrics: Path,
    protocols: Path,
    params: Params,
    inputs: dict[str, Path],
) -> None:
    from fgcli import artifacts
    from fgcli.artifacts.parts import name_of

    arrays = {f"values/{name}": values for name, values in result.values.items()}
    arrays |= {"values/rows": held, "values/people": people}
    arrays |= {f"replicates/{name}": values for name, values in result.replicates.items()}
    meta = {"protocols": result.protocols, "numbers": name_of(result.numbers)}
    settings = params.model_dump(exclude={"processes"})
    artifacts.save(output, artifacts.EVALUATION, arrays, params=settings, inputs=inputs, meta=meta)
    artifacts.write_json(protocols, result.protocols)
    artifacts.write_json(metrics, result.numbers)
