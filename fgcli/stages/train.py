"""faces.h5 -> generator.h5: train a generator; stops and goes on at any step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fgcli.config import Section, Spec, build, supply
from fgcli.config.fields import Precision, Seed, Threads, TrainingDevice
from fgcli.console import say
from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from fgcli.artifacts import Artifact
    from fgcli.capabilities import Conditional, Generator
    from fgcli.heads.head import Head
    from fgcli.training.devices import Compute
    from fgcli.training.session import Session


class AugmentParams(Section):
    """How far training pictures may stray; sentences do not."""

    flip: Annotated[float, Field(ge=0, le=1)]
    """Probability of the mirror image."""
    shift: Annotated[float, Field(ge=0, le=0.5)]
    """Largest translation, fraction of the side."""
    zoom: Annotated[float, Field(ge=0, le=1)]
    """Largest relative change of scale."""
    rotate: Annotated[float, Field(ge=0, le=3.15)]
    """Largest rotation, radians."""
    light: Annotated[float, Field(ge=0, le=1)]
    """Largest relative change of brightness and contrast."""
    tint: Annotated[float, Field(ge=0, le=1)]
    """Largest relative change of each colour channel."""
    mix: Annotated[float, Field(ge=0, le=1)]
    """Largest share of another face of the batch."""


class Params(Section):
    """Params of `fg train`."""

    generator: Spec
    """Name in GENERATORS, then its arguments."""
    objective: Spec
    """Name in OBJECTIVES, then its arguments."""
    steps: Annotated[int, Field(ge=0)]
    """Optimiser steps."""
    batch: Annotated[int, Field(ge=2)]
    """Images per step, over all devices."""
    learning_rate: Annotated[float, Field(gt=0)]
    """Adam's step size at its highest."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]]
    """Adam's decay rates."""
    warmup: Annotated[int, Field(ge=0)]
    """Steps of linear rise of the step size."""
    schedule: Literal["constant", "cosine", "plateau"]
    """Course of the step size after the warm-up; plateau: halved when the score stops to fall."""
    patience: Annotated[int, Field(ge=1)]
    """Validations without a lower score before plateau halves the step size."""
    clip: Annotated[float, Field(ge=0)]
    """Norm to which each tensor's gradient is clipped, one by one; 0 for none."""
    ema_half_life: Annotated[float, Field(ge=0)]
    """Half-life of the weights' moving average, steps."""
    augment: AugmentParams
    """How far training pictures may stray."""
    keep: Literal["best", "last"]
    """Which moving average becomes the generator: that of the lowest score (validation loss), or the last."""
    validate_steps: Annotated[int, Field(ge=1)]
    """Steps between validations, log lines and sample sheets."""
    checkpoint_steps: Annotated[int, Field(ge=1)]
    """Steps between checkpoints."""
    checkpoint_seconds: Annotated[float, Field(gt=0)]
    """Seconds between checkpoints."""
    device: TrainingDevice
    precision: Precision
    threads: Threads
    tensorboard: bool
    """Also write TensorBoard events."""
    seed: Seed
    """Seed of weights, order, augmentation and noise."""


START_ROWS = 3000
"""Training rows, evenly spaced, from which what is solved in closed form is solved at most."""
NOT_USED = 255
"""In place of the split of rows that neither train nor validate."""
FEW = 200
"""Training pictures below which a GAN only learns them by heart."""
FREE = {"checkpoint_steps", "checkpoint_seconds", "tensorboard"}
"""Params that change no result: a run may go on with others."""


def plan(
    faces: Path = Path("out/faces.h5"), *, init_from: Path | None = None, params: Params, **_: Any
) -> dict[str, Any]:
    """What `run` would do."""
    from fgcli import artifacts
    from fgcli.capabilities import Solved

    images = artifacts.pictures(faces)
    train = int((artifacts.rows(faces, "split") == 0).sum())
    generator = make_generator(completed(params, init_from, faces), images.shape)
    weights = sum(p.numel() for p in generator.parameters())
    steps = 0 if isinstance(generator, Solved) else params.steps
    return {
        "train rows": train,
        "image": "x".join(map(str, images.shape[1:])),
        "parameters": weights,
        "steps": steps,
        "epochs": round(steps * params.batch / max(train, 1), 1),
        "disk MB": round(weights * (2 * 4 + 2 * 16) / 1e6),
        "memory MB for weights": round(weights * 20 / 1e6),
    }


def run(
    faces: Path = Path("out/faces.h5"),
    output: Path = Path("out/generator.h5"),
    folder: Path = Path("out/train"),
    *,
    flame: Path | None = Path("out/flame.h5"),
    conditions: Path | None = Path("out/conditions.h5"),
    init_from: Path | None = None,
    params: Params,
    resume: bool = True,
) -> dict[str, Any]:
    """Trains, with checkpoints, stats.jsonl and sample sheets in `folder`.

    Of `flame` and `conditions` nothing is read unless the objective needs a column of them. `init_from` is a
    generator.h5 of the same network, from whose average the weights start.

    Raises:
        FgError: no rows that train, a column that is not there, or weights of another network.
    """
    import numpy as np
    import torch

    from fgcli import artifacts
    from fgcli.capabilities import Solved
    from fgcli.generators import store
    from fgcli.training.devices import Compute
    from fgcli.training.run_folder import RunFolder

    images, sentences = artifacts.pictures(faces), artifacts.are_sentences(faces)
    about = artifacts.load(faces, artifacts.SENTENCES if sentences else artifacts.FACES, ("split",))
    rows = np.flatnonzero(about["split"] == 0)
    if not len(rows):
        raise FgError(f"{faces}: expected rows of the train split, found none; lower .val and .test of its stage")
    compute = Compute.of(params)
    torch.manual_seed(params.seed)
    params = completed(params, init_from, faces)
    generator = make_generator(params, images.shape)
    if compute.rank == 0:
        warn_of_few(generator, len(rows), faces)
    training: dict[str, Any] = {"precision": compute.precision, "rows": len(rows)}
    cut = {} if sentences else {"preprocess": cutting(about)}
    history: dict[str, np.ndarray] = {}
    inputs = {"faces": faces}
    some = rows[:: -(-len(rows) // START_ROWS)]
    if init_from:
        inputs["init_from"] = init_from
    begin(generator, init_from, params, images[some])
    if isinstance(generator, Solved):
        ema = generator.state_dict()
    else:
        files = {"sentences" if sentences else "faces": faces, "flame": flame, "conditions": conditions}
        session = make_session(params, generator, compute, files, about["split"], fresh=init_from is None)
        inputs |= session.files
        training |= about_rows(session, generator, init_from)
        start = {"init_from": artifacts.sha256(init_from)} if init_from else {}
        same = session.name(params.model_dump(exclude=FREE) | start)
        ema, history, kept = session.train(RunFolder(folder, same, params.steps), resume)
        training |= kept
    if compute.rank == 0:
        store.save(
            output,
            generator.to("cpu"),
            ema=ema,
            build=params.generator,
            history=history,
            training=training | cut,
            params=params.model_dump(),
            inputs=inputs,
        )
    return {"output": str(output), **training, "parameters": sum(p.numel() for p in generator.parameters())}


def cutting(faces: Artifact) -> dict[str, Any]:
    """How a new photo must be cut for a generator of these faces: their params, but of data sets the names alone.

    Where photos lay stays with who has them; a generator is given away.
    """
    names = [{"name": data["name"]} for data in faces.meta["datasets"]]
    return faces.params | ({"datasets": names} if "datasets" in faces.params else {})


def warn_of_few(generator: Generator, rows: int, faces: Path) -> None:
    """Says so where a GAN has few pictures to learn from."""
    from fgcli.capabilities import Contested

    if isinstance(generator, Contested) and rows < FEW:
        say(
            f"{faces}: expected {FEW} or more training pictures for a GAN, found {rows}: it will learn them by "
            "heart; add photos, set train.objective.augment=ada and train.augment.flip=0.5, or train a masked_vae"
        )


def about_rows(session: Session, generator: Generator, init_from: Path | None) -> dict[str, Any]:
    """How many rows train, and which head steers them, if one does: what generator.h5 tells of them.

    Raises:
        FgError: another head than that of the generator that is wrapped.
    """
    from fgcli import artifacts
    from fgcli.capabilities import Wraps
    from fgcli.generators import store

    told: dict[str, Any] = {"rows": int((session.split == 0).sum())}
    conditions = session.files.get("conditions")
    if conditions:
        if init_from and isinstance(generator, Wraps):
            store.verify_head(conditions, init_from)
        told["head"] = artifacts.load(conditions, artifacts.CONDITIONS, ()).meta["head"]
    return told


def completed(params: Params, init_from: Path | None, faces: Path) -> Params:
    """Params with what the generator takes from the data: a style per row, a grammar; of one that wraps, of which."""
    from fgcli import artifacts
    from fgcli.capabilities import Styled, Wraps, Writes
    from fgcli.config import lookup
    from fgcli.generators import GENERATORS

    spec = params.generator
    kind = lookup(GENERATORS, spec["name"], "train.generator.name")
    if issubclass(kind, Writes) != artifacts.are_sentences(faces):
        wanted, such = ("sentences", "fg sentences") if issubclass(kind, Writes) else ("faces", "fg preprocess")
        raise UsageError(f"--faces {faces}: expected {wanted} for {spec['name']}, found other rows; make it by {such}")
    if issubclass(kind, Writes):
        about = artifacts.load(faces, artifacts.SENTENCES, ()).meta
        return params.model_copy(
            update={"generator": {**spec, "grammar": about["grammar"], "language": about["language"]}}
        )
    rows = len(artifacts.rows(faces, "split"))
    if issubclass(kind, Styled):
        if spec.get("rows", rows) not in (0, rows):
            raise UsageError(
                f"train.generator.rows: expected {rows}, as faces.h5 has, or 0, found {spec['rows']}; leave it out"
            )
        return params.model_copy(update={"generator": {"rows": rows, **spec}})
    if not issubclass(kind, Wraps) or "of" in spec:
        return params
    if init_from is None:
        raise UsageError(f"--init-from: expected the generator.h5 that {spec['name']} shall wrap, found none; name it")
    build = dict(artifacts.load(init_from, artifacts.GENERATOR, ()).meta["build"])
    build.pop("image_shape")
    return params.model_copy(update={"generator": {**spec, "of": build}})


def begin(generator: Generator, init_from: Path | None, params: Params, images: np.ndarray) -> None:
    """Gives a generator the weights to start with: another's, or what it makes of images (n, h, w, c).

    Raises:
        FgError: weights of another network.
        UsageError: none, of one that wraps another.
    """
    from fgcli.capabilities import Solved, Started, Wraps

    if isinstance(generator, Wraps):
        if init_from is None:
            name = params.generator["name"]
            raise UsageError(f"--init-from: expected the generator.h5 that {name} shall wrap, found none; name it")
        generator.inner.load_state_dict(weights_of(init_from, generator.inner, params.generator["of"]))
        generator.adopt()
    elif init_from:
        generator.load_state_dict(weights_of(init_from, generator, params.generator))
    elif isinstance(generator, Started):
        generator.start(images)
    if isinstance(generator, Solved):
        generator.fit(images)


def head_of(conditions: Path | None) -> Head | None:
    """The head that conditions.h5 shows; None of none."""
    from fgcli import artifacts
    from fgcli.fitting.extract import same_head

    if conditions is None:
        return None
    return same_head(artifacts.load(conditions, artifacts.CONDITIONS, ()).meta["head"], conditions)


def steered(generator: Conditional, files: dict[str, Path | None], split: np.ndarray, fresh: bool) -> np.ndarray:
    """The split without the rows whose status in conditions.h5 is not ok; a fresh generator meets the conditions left.

    Raises:
        FgError: no conditions.h5, one of other faces, or no row that trains.
    """
    import numpy as np

    from fgcli import artifacts
    from fgcli.codes import told
    from fgcli.training.columns import COLUMNS, stored

    values = stored(COLUMNS[generator.condition_column], files, f"train: generator {type(generator).__name__}")
    path = files["conditions"]
    assert path is not None
    well = artifacts.load(path, artifacts.CONDITIONS, ("status",))["status"] == "ok"
    if len(well) != len(split):
        raise FgError(f"{path}: expected a row for each of {len(split)} faces, found {len(well)}; make it of these")
    if not (well & (split == 0)).any():
        raise FgError(f"{path}: expected training rows whose status is ok, found none; see why with fg conditions")
    if not well.all():
        say(f"{path}: {(~well).sum()} of {len(well)} rows, whose status is not ok, are left out")
    rows = np.flatnonzero(well & (split == 0))
    if fresh:
        generator.meet(told(values[rows[:: -(-len(rows) // START_ROWS)]]))
    return np.where(well, split, NOT_USED)


def weights_of(file: Path, generator: Generator, spec: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The averaged weights of a generator.h5 of the same build; of one of other rows, with the styles that are here.

    Raises:
        FgError: it is of another.
    """
    from fgcli import artifacts
    from fgcli.capabilities import Styled
    from fgcli.generators import store

    build = dict(artifacts.load(file, artifacts.GENERATOR, ()).meta["build"])
    wanted = {**spec, "image_shape": list(generator.image_shape)}
    of_data = {"rows"} if isinstance(generator, Styled) else set()
    if {k: v for k, v in build.items() if k not in of_data} != {k: v for k, v in wanted.items() if k not in of_data}:
        raise FgError(f"{file}: expected a generator of {wanted}, found {build}; start from one of the same params")
    weights = store.load(file).state_dict()
    if isinstance(generator, Styled) and weights["styles"].shape != generator.styles.shape:
        weights["styles"] = generator.styles
    return weights


def make_generator(params: Params, shape: tuple[int, ...]) -> Generator:
    """The generator that params describe, for images of faces.h5 of `shape` (n, h, w, c)."""
    from fgcli.generators import GENERATORS

    _, h, w, c = shape
    generator: Generator = build(GENERATORS, params.generator, "train.generator", image_shape=(c, h, w))
    return generator


def make_session(
    params: Params,
    generator: Generator,
    compute: Compute,
    files: dict[str, Path | None],
    split: np.ndarray,
    fresh: bool = True,
) -> Session:
    """The run that params describe, at step 0; `fresh`: the generator has its first weights, not those of a file."""
    import inspect
    from functools import partial

    from fgcli.capabilities import Conditional, Writes
    from fgcli.config import lookup
    from fgcli.objectives import OBJECTIVES
    from fgcli.reports.pictures import save_rows, save_written
    from fgcli.training.augment import Augment
    from fgcli.training.session import Session
    from fgcli.training.settings import Settings

    given: dict[str, Any] = {"generator": generator, "seed": params.seed, "batch": params.batch}
    kind = lookup(OBJECTIVES, params.objective["name"], "train.objective.name")
    if "head" in inspect.signature(kind).parameters:
        given["head"] = head_of(files["conditions"])
    objective = supply(OBJECTIVES, params.objective, "train.objective", **given)
    if isinstance(generator, Conditional):
        split = steered(generator, files, split, fresh)
    augment, settings = Augment(**params.augment.model_dump()), Settings.of(params.model_dump())
    draw = partial(save_written, generator) if isinstance(generator, Writes) else save_rows
    return Session.of(objective, compute, settings, files, split, draw=draw, augment=augment)
