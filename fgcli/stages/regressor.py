"""Rendered heads -> regressor.h5: train a network that guesses a head's parameters from a crop; resumes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fgcli.config import Section
from fgcli.config.fields import Precision, Threads, TrainingDevice
from fgcli.errors import FgError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.training import Loop
    from fgcli.training.devices import Compute


class Params(Section):
    """Params of `fg regressor`."""

    width: Annotated[int, Field(ge=4)]
    """Channels of the network's first stage."""
    steps: Annotated[int, Field(ge=1)]
    """Optimiser steps."""
    batch: Annotated[int, Field(ge=2)]
    """Pictures per step."""
    learning_rate: Annotated[float, Field(gt=0)]
    """Adam's step size at its highest."""
    validate_steps: Annotated[int, Field(ge=1)]
    """Steps between validations, log lines and sheets."""
    checkpoint_seconds: Annotated[float, Field(gt=0)]
    """Seconds between checkpoints."""
    device: TrainingDevice
    precision: Precision
    threads: Threads
    seed: Annotated[int, Field(ge=0)]
    """Seed of weights, order and spoiling."""


LIGHT, TINT = 0.15, 0.1
"""Largest relative change of brightness and of each channel while training."""


def run(
    faces: Path = Path("out/heads/faces.h5"),
    flame: Path = Path("out/heads/flame.h5"),
    output: Path = Path("out/regressor.h5"),
    folder: Path = Path("out/regressor"),
    *,
    params: Params,
    resume: bool = True,
) -> dict[str, Any]:
    """Trains on renders of known parameters, with checkpoints, stats.jsonl and sheets in `folder`.

    Raises:
        FgError: files that do not belong together, or no rows that train.
    """
    import torch

    from fgcli import artifacts
    from fgcli.artifacts.parts import fingerprint
    from fgcli.training.devices import Compute
    from fgcli.training.session import RunFolder

    known = artifacts.load(flame, artifacts.FLAME)
    if known.inputs.get("faces") != artifacts.sha256(faces):
        raise FgError(f"{flame}: expected the parameters of {faces}, found those of other faces; make both again")
    if not (known["split"] == 0).any():
        raise FgError(f"{flame}: expected rows of the train split, found none; lower heads.val and heads.test")
    compute = Compute.of(params)
    torch.manual_seed(params.seed)
    session, regressor = _session(params, compute, faces, known)
    same = fingerprint([params.model_dump(exclude={"checkpoint_seconds"}), artifacts.sha256(flame)])
    ema, history, kept = session.train(RunFolder(folder, same), resume)
    arrays = {f"weights/{k}": v.cpu().numpy() for k, v in ema.items()}
    arrays |= {f"history/{k}": v for k, v in history.items()}
    training = kept | {"rows": int((known["split"] == 0).sum()), "framing": known.params["framing"]}
    meta = {
        "build": {"sizes": regressor.sizes, "width": params.width},
        "head": known.meta["head"],
        "training": training,
    }
    inputs = {"faces": faces, "flame": flame}
    artifacts.save(output, artifacts.REGRESSOR, arrays, params=params.model_dump(), inputs=inputs, meta=meta)
    return {"output": str(output), **training, "parameters": sum(p.numel() for p in regressor.parameters())}


def _session(params: Params, compute: Compute, faces: Path, known: Any) -> tuple[Any, Any]:
    """The run at step 0, and the network."""
    import numpy as np

    from fgcli import artifacts
    from fgcli.fitting.extract import same_head
    from fgcli.fitting.regressor import Regressor, leading
    from fgcli.heads.parameters import Parameters
    from fgcli.objectives.head_regression import HeadRegression
    from fgcli.training import Loop
    from fgcli.training.augment import Augment
    from fgcli.training.batches import Batches
    from fgcli.training.session import Session

    head = same_head(known.meta["head"], known.path)
    parameters = Parameters.from_arrays(known.arrays)
    split = known["split"]
    train, val = np.flatnonzero(split == 0), np.flatnonzero(split == 1)
    regressor = Regressor(leading(head), params.width)
    regressor.standardise(parameters.rows(train))
    objective = compute.place(HeadRegression(regressor, head, parameters))
    shared = params.model_dump(include={"steps", "learning_rate", "seed"})
    loop = Loop(objective, regressor, compute, betas=(0.9, 0.99), warmup=50, schedule="cosine", clip=0.0,
                ema_half_life=50, section="regressor", **shared)  # fmt: skip
    images, masks = artifacts.rows(faces, "images"), artifacts.masks(faces)
    batches = Batches(images, masks, train, params.batch, params.seed, Augment(light=LIGHT, tint=TINT))
    every = params.model_dump(include={"validate_steps", "checkpoint_seconds"})
    session = Session(loop, batches, val if len(val) else train, draw=_draw(head), keep="last", tensorboard=False,
                      checkpoint_steps=params.steps, **every)  # fmt: skip
    return session, regressor


def _draw(head: Any) -> Any:
    """Draws a sheet of held-out pictures, and the heads that the network sees in them."""

    def draw(path: Path, loop: Loop, images: np.ndarray) -> None:
        import torch

        from fgcli.heads.render import render
        from fgcli.pixels import pixels
        from fgcli.reports import grid
        from fgcli.reports.pictures import pictures

        regressor: Any = loop.generator
        x = pixels(torch.from_numpy(images).to(loop.compute.device))
        with torch.no_grad(), loop.ema.applied(regressor):
            regressor.eval()
            p = regressor.parameters_of(regressor(x))
            regressor.train()
            size = x.shape[-1]
            drawn = render(
                head, head.vertices(p.shape, p.expression, p.pose), p.camera, size, head.albedo(p.texture), p.light
            )
        rows = {"render": list(images), "guess": pictures(drawn.image * 2 - 1)}
        grid.save_png(path, grid.sheet(list(rows.values()), list(rows), scale=2 if size < 128 else 1))

    return draw
