"""Two sets of pictures, of folders or artifacts -> every metric of sets, with its protocol and interval."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.metrics.distribution import Collection

IMAGES, AGAINST = "images", "against"
BATCH = 64
"""Pictures in memory at a time."""
GENERAL = ("pixels", "dlib_embedding", "inception", "classifier")
"""Entries of FEATURES in which any metric may compare pictures; the others belong to one."""


@dataclass(frozen=True)
class Pictures:
    """One of the two sets.

    count: how many. shape: (h, w), px. read: the pictures of some rows, uint8 (n, h, w, 3). people: (n,) equal for
    those of one person, as far as is known. landmarks: (68, 2) mean of aligned faces, px; None unknown.
    """

    name: str
    count: int
    shape: tuple[int, int]
    read: Callable[[np.ndarray], np.ndarray]
    people: np.ndarray
    landmarks: np.ndarray | None = None


def compare(
    images: str, against: str, output: Path | None, *, generator: Path, classifier: Path | None, size: int | None
) -> dict[str, Any]:
    """Measures `images` against `against`; writes `output`, .json or .h5, where it is given.

    Args:
        images: folder of pictures, faces.h5, maybe with the split as faces.h5:test, latents.h5 or samples.h5.
        against: the same, the reference.
        output: file to write.
        generator: decodes the codes of latents.h5 and samples.h5.
        classifier: classifier.h5, for metrics in its features.
        size: side to which the pictures of both are resized, px.

    Raises:
        UsageError: another ending of the output.
        FgError: no pictures, or too few, of several sizes, that cannot be read, or of another generator.
    """
    import numpy as np

    from fgcli.backbones.dlib_embedding import DlibEmbedding
    from fgcli.console import progress
    from fgcli.metrics.sets import batches

    verify_output(output)
    sets = {IMAGES: pictures(images, generator, size), AGAINST: pictures(against, generator, size)}
    verify_sets(*sets.values())
    h, w = sets[IMAGES].shape
    known = [one.landmarks for one in sets.values() if one.landmarks is not None]
    with DlibEmbedding(known[0] if known else None) as embedder:
        context = {
            "image_shape": (3, h, w), "embedder": embedder, "classifier": classifier, "device": "cpu",
            "region": np.ones((h, w), bool),
        }  # fmt: skip
        left_out: dict[str, str] = {}
        metrics, collection = made(context, left_out)
        with progress("evaluate", sum(one.count for one in sets.values()), unit="images") as advance:
            for name, one in sets.items():
                for rows in batches(np.arange(one.count), BATCH):
                    collection.update(name, one.read(rows))
                    advance(len(rows))
        numbers, protocols, arrays = measured(metrics, collection, sets, left_out)
    counts = {one.name: one.count for one in sets.values()}
    about: dict[str, Any] = {
        "sets": {name: one.name for name, one in sets.items()},
        "distribution": protocols,
        "left_out": left_out,
    }
    about |= {"intervals": intervals_told(sets), "size": f"{w}x{h} px" + (", resized" if size else "")}
    if output is not None:
        write(output, numbers, about, arrays, [images, against], counts)
    return {"images": counts, "numbers": numbers, "protocols": about}


def pictures(text: str, generator: Path, size: int | None) -> Pictures:
    """The set that a folder or artifact, maybe FILE:SPLIT, holds.

    Raises:
        FgError: none.
    """
    from fgcli import artifacts

    path, split = Path(text).expanduser(), ""
    if not path.exists() and text.rpartition(":")[2] in artifacts.SPLITS:
        path, split = Path(text.rpartition(":")[0]).expanduser(), text.rpartition(":")[2]
    if path.suffix not in (".h5", ".hdf5"):
        return of_folder(path, size)
    kind = artifacts.load(path, names=()).schema.split("/")[0]
    if kind == "faces":
        return of_faces(path, split, size)
    if kind not in ("samples", "latents"):
        raise FgError(
            f"{path}: expected a folder of pictures, faces.h5, latents.h5 or samples.h5, found a {kind} file; give one "
            "of these"
        )
    return of_codes(path, split, generator, size)


def of_folder(folder: Path, size: int | None) -> Pictures:
    """The pictures of a folder and those in it: all of one size, unless they are resized."""
    import numpy as np

    from fgcli.datasets.files import photos_below
    from fgcli.faces.photos import BadPhotoError, decode

    if not folder.exists():
        raise FgError(f"{folder}: expected a folder of pictures or an artifact, found none; check the path")
    files = photos_below(folder)
    if not files:
        raise FgError(f"{folder}: expected pictures, found none in it; check the path")

    def one(file: Path) -> np.ndarray:
        try:
            return resized(decode(file, fix=True).pixels, size)
        except BadPhotoError as error:
            raise FgError(f"{file}: expected a picture, found {error}; remove it") from error

    shape = one(files[0]).shape

    def read(rows: np.ndarray) -> np.ndarray:
        found = [one(files[row]) for row in rows]
        for row, image in zip(rows, found, strict=True):
            if image.shape != shape:
                sizes = [f"{s[1]}x{s[0]}" for s in (shape, image.shape)]
                raise FgError(
                    f"{files[row]}: expected {sizes[0]} px, as the first picture has, found {sizes[1]}; resize all "
                    "with --size"
                )
        return np.stack(found)

    return Pictures(str(folder), len(files), shape[:2], read, np.arange(len(files)))


def of_faces(faces: Path, split: str, size: int | None) -> Pictures:
    """The rows of faces.h5, or those of one split."""
    import numpy as np

    from fgcli import artifacts

    images, of = artifacts.rows(faces, "images"), artifacts.rows(faces, "split")
    rows = np.flatnonzero(of == artifacts.SPLITS.index(split)) if split else np.arange(len(of))
    landmarks = None
    if artifacts.load(faces, artifacts.FACES, ()).meta["content"] == "faces" and len(rows):
        landmarks = artifacts.rows(faces, "landmarks")[rows].mean(0) * ((size or images.shape[1]) / images.shape[1])
    read = lambda at: np.stack([resized(image, size) for image in images[rows[at]]])  # noqa: E731
    name = f"{faces}:{split}" if split else str(faces)
    shape = (size, size) if size else images.shape[1:3]
    return Pictures(name, len(rows), shape, read, artifacts.people(faces)[rows], landmarks)


def of_codes(file: Path, split: str, generator: Path, size: int | None) -> Pictures:
    """What the generator makes of codes, under the conditions beside them."""
    import numpy as np

    from fgcli import artifacts, codes
    from fgcli.capabilities import Writes
    from fgcli.generators import store
    from fgcli.pixels import u8

    store.verify(file, generator)
    model, known = store.load(generator), codes.reader(file)
    if isinstance(model, Writes):
        raise FgError(f"{file}: expected codes of pictures, found those of sentences; compare these with fg evaluate")
    rows = np.arange(len(artifacts.rows(file, "codes")))
    if split:
        if "split" not in artifacts.layout(file):
            raise UsageError(f"{file}:{split}: expected a file with splits, found drawn faces; leave :{split} out")
        rows = np.flatnonzero(artifacts.rows(file, "split") == artifacts.SPLITS.index(split))

    def read(at: np.ndarray) -> np.ndarray:
        made = u8(codes.decode(model, known(rows[at]))).numpy()
        return np.stack([resized(image, size) for image in made])

    name, shape = f"{file}:{split}" if split else str(file), model.image_shape[1:]
    return Pictures(name, len(rows), (size, size) if size else (shape[0], shape[1]), read, rows)


def resized(image: np.ndarray, size: int | None) -> np.ndarray:
    """An image uint8 (h, w, 3) as a square of this side, px, if there is one."""
    import numpy as np
    from PIL import Image

    if size is None or image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))


def verify_sets(one: Pictures, other: Pictures) -> None:
    """Raises FgError unless both have two pictures, all of one size."""
    for few in (one, other):
        if few.count < 2:
            raise FgError(f"{few.name}: expected at least 2 pictures, found {few.count}; add some")
    if one.shape != other.shape:
        sizes = [f"{w}x{h}" for h, w in (one.shape, other.shape)]
        raise FgError(
            f"{one.name}: expected pictures of {sizes[1]} px, as {other.name} has, found {sizes[0]}; resize both with "
            "--size"
        )


def verify_output(output: Path | None) -> None:
    """Raises where it has another ending, or is a file that fg did not write."""
    from fgcli.artifacts.outputs import verify_outputs

    if output is None:
        return
    if output.suffix not in (".json", ".h5"):
        raise UsageError(f"-o {output}: expected a name that ends in .json or .h5, found {output.name!r}; rename it")
    verify_outputs([], {"-o": output}, {"-o": "evaluation" if output.suffix == ".h5" else ""})


def specs() -> Iterator[dict[str, str]]:
    """Every metric of sets, in each of the features that it can have."""
    from fgcli.backbones import FEATURES
    from fgcli.capabilities import TellsClasses
    from fgcli.config import lookup
    from fgcli.metrics import METRICS

    for name in METRICS:
        kind = lookup(METRICS, name, name)
        if kind.kind != "distribution":
            continue
        if "features" not in inspect.signature(kind).parameters:
            yield {"name": name}
            continue
        for features in GENERAL:
            extractor = lookup(FEATURES, features, features)
            if not kind.classes or (isinstance(extractor, type) and issubclass(extractor, TellsClasses)):
                yield {"name": name, "features": features}


def made(context: dict[str, Any], left_out: dict[str, str]) -> tuple[list[Any], Collection]:
    """The metrics that can be made here, and their extractors; why others cannot goes to `left_out`."""
    from fgcli import backbones
    from fgcli.metrics import create, label
    from fgcli.metrics.distribution import Collection

    metrics: list[Any] = []
    extractors: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for spec in specs():
        metric = create(spec, "metric", **context)
        if metric.features not in extractors and metric.features not in missing:
            try:
                extractors[metric.features] = backbones.create(metric.features, "metric", **context)
            except FgError as error:
                missing[metric.features] = str(error)
        if metric.features in missing:
            left_out[label(spec)] = missing[metric.features]
        else:
            metrics.append(metric)
    return metrics, Collection(extractors, frozenset(m.features for m in metrics if m.classes))


def measured(
    metrics: list[Any], collection: Collection, sets: dict[str, Pictures], left_out: dict[str, str]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, np.ndarray]]:
    """Numbers by metric and set, each with its interval where there is one; protocols; features and replicates."""
    from fgcli.intervals import interval

    numbers: dict[str, Any] = {}
    protocols: dict[str, Any] = {}
    blocks = left_out_together(sets)
    arrays = {
        f"values/features/{label}/{name}": collection.rows(label, name)
        for label in collection.extractors
        for name in sets
    }
    for metric in metrics:
        extractor = collection.extractors[metric.features]
        found = collection.scores(metric, AGAINST, list(sets))
        for name, values in found.numbers.items():
            numbers[name] = {where: {"value": value} for where, value in values.items()}
            caveats = {where: metric.caveat(one.count, extractor.size) for where, one in sets.items()}
            protocols[name] = {
                **metric.protocol,
                "extractor": metric.features,
                **extractor.protocol,
                "caveats": caveats,
            }
        left_out |= {f"{metric.name}/{name}": why for name, why in found.left_out.items()}
        if metric.jackknifed and blocks is not None and metric.name in numbers:
            trials = collection.replicates(metric, AGAINST, list(numbers[metric.name]), blocks)
            for where, trial in trials.items():
                number = numbers[metric.name][where]
                low, high = interval(number["value"], trial, jackknifed=True)
                if math.isfinite(low):  # else too few were left in a trial
                    number |= {"low": low, "high": high}
                    arrays[f"replicates/{metric.name}/{where}"] = trial
    return numbers, protocols, arrays


def left_out_together(sets: dict[str, Pictures]) -> dict[str, np.ndarray] | None:
    """Blocks of people of both sets, equally many; None where one shows one person alone."""
    from fgcli.intervals import blocks

    found = {name: blocks(one.people) for name, one in sets.items()}
    number = min(int(of.max()) + 1 for of in found.values())
    return {name: of % number for name, of in found.items()} if number > 1 else None


def intervals_told(sets: dict[str, Pictures]) -> dict[str, Any]:
    """Their protocol."""
    from fgcli.intervals import LEVEL, PROTOCOL

    people = {name: len(set(one.people.tolist())) for name, one in sets.items()}
    return {"level": LEVEL, "distances of sets": PROTOCOL["distances of sets"], "people": people}


def write(
    output: Path,
    numbers: dict[str, Any],
    about: dict[str, Any],
    arrays: dict[str, np.ndarray],
    read: list[str],
    counts: dict[str, int],
) -> None:
    """The numbers and their protocols as JSON; or as HDF5, with features and replicates."""
    from fgcli import artifacts
    from fgcli.artifacts.parts import name_of

    if output.suffix == ".json":
        artifacts.write_json(output, {"images": counts, "numbers": numbers, "protocols": about})
        return
    inputs = {name: Path(text) for name, text in zip((IMAGES, AGAINST), read, strict=True) if Path(text).is_file()}
    meta = {"protocols": about | {"numbers": numbers}, "numbers": name_of(numbers)}
    artifacts.save(output, artifacts.EVALUATION, arrays, params={}, inputs=inputs, meta=meta)


def table(told: dict[str, Any]) -> list[str]:
    """The results as lines to read."""
    lines = [f"{count} images in {name}" for name, count in told["images"].items()]
    width = max(map(len, told["numbers"]), default=0)
    for name, values in told["numbers"].items():
        better = told["protocols"]["distribution"][name]["better"]
        sides = (
            [f"{where} {shown(number)}" for where, number in values.items()]
            if AGAINST in values
            else [shown(values[IMAGES])]
        )
        good = "near 1" if better == "one" else better
        lines.append(f"{name:<{width}}  {', '.join(sides)}  ({good} is better)")
    left_out = told["protocols"]["left_out"]
    reasons = {why: [name for name in left_out if left_out[name] == why] for why in left_out.values()}
    return lines + [f"left out {', '.join(names)}: {why}" for why, names in reasons.items()]


def shown(number: dict[str, float]) -> str:
    """A number with its interval."""
    around = f" [{number['low']:.4g}, {number['high']:.4g}]" if "low" in number else ""
    return f"{number['value']:.4g}{around}"
