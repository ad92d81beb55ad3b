"""faces.h5 -> generator.h5: train a generator; stops and goes on at any step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fgcli.config import Section, Spec, build, supply
from fgcli.config.fields import Precision, Threads, TrainingDevice
from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.artifacts import Artifact
    from fgcli.training import Loop
    from fgcli.training.devices import Compute
    from fgcli.training.session import Session


class AugmentParams(Section):
    """How far training pictures may stray."""

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
    """Course of the step size after the warm-up; plateau: halved when the validation loss stops to fall."""
    patience: Annotated[int, Field(ge=1)]
    """Validations without a lower loss before plateau halves the step size."""
    clip: Annotated[float, Field(ge=0)]
    """Norm to which each tensor's gradient is clipped, one by one; 0 for none."""
    ema_half_life: Annotated[float, Field(ge=0)]
    """Half-life of the weights' moving average, steps."""
    augment: AugmentParams
    """How far training pictures may stray."""
    keep: Literal["best", "last"]
    """Which moving average becomes the generator: best validation loss, or the last."""
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
    seed: Annotated[int, Field(ge=0)]
    """Seed of weights, order, augmentation and noise."""


START_ROWS = 3000
"""Training rows, evenly spaced, from which what is solved in closed form is solved at most."""
FREE = {"checkpoint_steps", "checkpoint_seconds", "tensorboard"}
"""Params that change no result: a run may go on with others."""


def plan(faces: Path = Path("out/faces.h5"), *, params: Params, **_: Any) -> dict[str, Any]:
    """What `run` would do."""
    from fgcli import artifacts

    images = artifacts.rows(faces, "images")
    train = int((artifacts.rows(faces, "split") == 0).sum())
    weights = sum(p.numel() for p in make_generator(params, images.shape).parameters())
    return {
        "train rows": train,
        "image": "x".join(map(str, images.shape[1:])),
        "parameters": weights,
        "steps": params.steps,
        "epochs": round(params.steps * params.batch / max(train, 1), 1),
        "disk MB": round(weights * (2 * 4 + 2 * 16) / 1e6),
        "memory MB for weights": round(weights * 20 / 1e6),
    }


def run(
    faces: Path = Path("out/faces.h5"),
    output: Path = Path("out/generator.h5"),
    folder: Path = Path("out/train"),
    *,
    params: Params,
    resume: bool = True,
) -> dict[str, Any]:
    """Trains, with checkpoints, stats.jsonl and sample sheets in `folder`."""
    import numpy as np
    import torch

    from fgcli import artifacts
    from fgcli.artifacts.parts import fingerprint
    from fgcli.generators import store
    from fgcli.training.devices import Compute
    from fgcli.training.session import RunFolder

    images, masks = artifacts.rows(faces, "images"), artifacts.masks(faces)
    about = artifacts.load(faces, artifacts.FACES, ("split", "identity"))
    rows = np.flatnonzero(about["split"] == 0)
    if not len(rows):
        raise FgError(f"{faces}: expected rows of the train split, found none; lower preprocess.val and .test")
    compute = Compute.of(params)
    torch.manual_seed(params.seed)
    generator = make_generator(params, images.shape)
    if params.batch % compute.ranks:
        raise UsageError(f"train.batch: expected a multiple of the {compute.ranks} processes, found {params.batch}")
    training: dict[str, Any] = {"precision": compute.precision, "rows": len(rows)}
    cut = {"preprocess": about.params}  # how a new photo must be cut for this generator
    history: dict[str, np.ndarray] = {}
    some = rows[:: -(-len(rows) // START_ROWS)]
    if hasattr(generator, "fit"):  # solved, not trained: eigenfaces
        generator.fit(images[some])
        ema = generator.state_dict()
    else:
        if hasattr(generator, "start"):
            generator.start(images[some])
        session = make_session(params, generator, compute, images, masks, about)
        same = fingerprint([params.model_dump(exclude=FREE), artifacts.sha256(faces)])
        ema, history, kept = session.train(RunFolder(folder, same), resume)
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
            inputs={"faces": faces},
        )
    return {"output": str(output), **training, "parameters": sum(p.numel() for p in generator.parameters())}


def make_generator(params: Params, shape: tuple[int, ...]) -> Any:
    """The generator that params describe, for images of faces.h5 of `shape` (n, h, w, c)."""
    from fgcli.generators import GENERATORS

    _, h, w, c = shape
    return build(GENERATORS, params.generator, "train.generator", image_shape=(c, h, w))


def make_session(
    params: Params, generator: Any, compute: Compute, images: np.ndarray, masks: np.ndarray, about: Artifact
) -> Session:
    """The run that params describe, at step 0, on the faces that `about` tells split and identity of."""
    import numpy as np
    import torch

    from fgcli.objectives import OBJECTIVES
    from fgcli.training import Loop
    from fgcli.training.augment import Augment
    from fgcli.training.batches import Batches
    from fgcli.training.session import Session

    objective = supply(
        OBJECTIVES,
        params.objective,
        "train.objective",
        generator=generator,
        labels=torch.from_numpy(about["identity"]).long(),
        split=torch.from_numpy(about["split"]),
        seed=params.seed,
    )
    settings = params.model_dump(
        include={"steps", "learning_rate", "betas", "warmup", "schedule", "patience", "clip", "ema_half_life", "seed"}
    )
    loop = Loop(compute.place(objective), generator, compute, **settings)
    train, val = np.flatnonzero(about["split"] == 0), np.flatnonzero(about["split"] == 1)
    augment = Augment(**params.augment.model_dump())
    batches = Batches(images, masks, train, params.batch, params.seed, augment)
    every = params.model_dump(include={"validate_steps", "checkpoint_steps", "checkpoint_seconds", "tensorboard"})
    return Session(loop, batches, val if len(val) else train, draw=draw, keep=params.keep, **every)


def draw(path: Path, loop: Loop, images: np.ndarray) -> None:
    """A sheet of held-out faces, their reconstructions and masks, and draws from the prior, by the average weights."""
    import torch

    from fgcli.pixels import pixels
    from fgcli.reports import grid
    from fgcli.reports.pictures import mask_pictures, pictures
    from fgcli.training.batches import step_rng

    x = pixels(torch.from_numpy(images).to(loop.compute.device))
    generator: Any = loop.generator
    with torch.no_grad(), loop.ema.applied(generator):
        generator.eval()
        codes = generator.encode(x)
        rows = {"face": list(images), "code": pictures(generator.decode(codes))}
        if hasattr(generator, "decode_mask"):
            rows["mask"] = mask_pictures(generator.decode_mask(codes))
        rows["prior"] = pictures(generator.decode(generator.prior(len(x), step_rng(loop.seed, 0))))
        generator.train()
    grid.save_png(path, grid.sheet(list(rows.values()), list(rows), scale=2 if x.shape[-1] < 128 else 1))
