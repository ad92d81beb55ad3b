"""Rendered heads -> regressor.h5: train a network that guesses a head's parameters from a crop; resumes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fgcli.config import Section
from fgcli.config.fields import Precision, Seed, Threads, TrainingDevice
from fgcli.errors import FgError

if TYPE_CHECKING:
    from fgcli.artifacts import Artifact
    from fgcli.fitting.regressor import Regressor
    from fgcli.training.devices import Compute
    from fgcli.training.session import Session


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
    seed: Seed
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
    from fgcli.training.devices import Compute
    from fgcli.training.run_folder import RunFolder

    known = artifacts.load(flame, artifacts.FLAME)
    if not (known["split"] == 0).any():
        raise FgError(f"{flame}: expected rows of the train split, found none; lower heads.val and heads.test")
    compute = Compute.of(params)
    torch.manual_seed(params.seed)
    session, regressor = _session(params, compute, {"faces": faces, "flame": flame}, known)
    same = session.name(params.model_dump(exclude={"checkpoint_seconds"}))
    ema, history, kept = session.train(RunFolder(folder, same, params.steps), resume)
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


def _session(
    params: Params, compute: Compute, files: dict[str, Path | None], known: Artifact
) -> tuple[Session, Regressor]:
    """The run at step 0, and the network."""
    import numpy as np

    from fgcli.fitting.extract import same_head
    from fgcli.fitting.regressor import Regressor, leading
    from fgcli.heads.parameters import Parameters
    from fgcli.objectives.head_regression import HeadRegression
    from fgcli.reports.pictures import save_rows
    from fgcli.training.augment import Augment
    from fgcli.training.session import Session
    from fgcli.training.settings import Settings

    head, split = same_head(known.meta["head"], known.path), known["split"]
    regressor = Regressor(leading(head), params.width)
    regressor.standardise(Parameters.from_arrays(known.arrays).rows(np.flatnonzero(split == 0)))
    course = {"betas": (0.9, 0.99), "warmup": 50, "schedule": "cosine", "ema_half_life": 50}
    settings, coloured = Settings.of(params.model_dump(), **course), Augment(light=LIGHT, tint=TINT)
    objective = HeadRegression(regressor, head)
    session = Session.of(
        objective, compute, settings, files, split, draw=save_rows, augment=coloured, section="regressor"
    )
    return session, regressor
