"""faces.h5 -> classifier.h5: train a small network on the labels, for features to compare pictures by; resumes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fgcli.config import Section
from fgcli.config.fields import Precision, Seed, Threads, TrainingDevice
from fgcli.errors import FgError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.classifiers.network import Classifier
    from fgcli.training.devices import Compute
    from fgcli.training.session import Session


class Params(Section):
    """Params of `fg classifier`."""

    width: Annotated[float, Field(gt=0)]
    """Factor on the network's channels."""
    steps: Annotated[int, Field(ge=1)]
    """Optimiser steps."""
    batch: Annotated[int, Field(ge=2)]
    """Pictures per step."""
    learning_rate: Annotated[float, Field(gt=0)]
    """Adam's step size at its highest."""
    validate_steps: Annotated[int, Field(ge=1)]
    """Steps between validations and log lines."""
    checkpoint_seconds: Annotated[float, Field(gt=0)]
    """Seconds between checkpoints."""
    device: TrainingDevice
    precision: Precision
    threads: Threads
    seed: Seed
    """Seed of weights, order and strayed pictures."""


SHIFT, ZOOM, ROTATE = 0.06, 0.08, 0.1
"""How far training pictures stray (see Augment); never mirrored: a mirrored digit is not that digit."""


def run(
    faces: Path = Path("out/faces.h5"),
    output: Path = Path("out/classifier.h5"),
    folder: Path = Path("out/classifier"),
    *,
    params: Params,
    resume: bool = True,
) -> dict[str, Any]:
    """Trains on the identities of the training split, with checkpoints and stats.jsonl in `folder`.

    Raises:
        FgError: fewer than two classes, or pictures that are too small.
    """
    import numpy as np
    import torch

    from fgcli import artifacts
    from fgcli.objectives.classification import numbered
    from fgcli.training.devices import Compute
    from fgcli.training.run_folder import RunFolder

    about = artifacts.load(faces, artifacts.FACES, ("split", "identity"))
    classes = trained_classes(about["identity"], about["split"], faces)
    labels = numbered(classes, about["identity"])
    compute = Compute.of(params)
    torch.manual_seed(params.seed)
    images = artifacts.rows(faces, "images")
    known = np.where(labels >= 0, about["split"], len(artifacts.SPLITS))  # rows of other classes teach nothing
    rows = {name: np.flatnonzero(known == i) for i, name in enumerate(artifacts.SPLITS)}
    session, network = _session(params, compute, faces, images.shape, known, classes)
    same = session.name(params.model_dump(exclude={"checkpoint_seconds"}))
    ema, history, kept = session.train(RunFolder(folder, same, params.steps), resume)
    network.load_state_dict(ema)
    network.cpu().eval()
    accuracy = {name: right(network, images, labels, part) for name, part in rows.items() if len(part)}
    names = about.meta.get("identity_names", [])
    training = kept | {"rows": {name: len(part) for name, part in rows.items()}, "accuracy": accuracy}
    meta = {
        "build": {"classes": len(classes), "side": network.side, "width": params.width},
        "classes": classes,
        "identity_names": [names[i] for i in classes] if names else [],
        "training": training,
    }
    arrays = {f"weights/{k}": v.numpy() for k, v in network.state_dict().items()}
    arrays |= {f"history/{k}": v for k, v in history.items()}
    inputs = {"faces": faces}
    artifacts.save(output, artifacts.CLASSIFIER, arrays, params=params.model_dump(), inputs=inputs, meta=meta)
    return {"output": str(output), "classes": len(classes), **training}


def trained_classes(identity: np.ndarray, split: np.ndarray, faces: Path) -> list[int]:
    """Identities that train, ascending.

    Raises:
        FgError: fewer than two.
    """
    import numpy as np

    classes = np.unique(identity[(split == 0) & (identity >= 0)])
    if len(classes) < 2:
        raise FgError(
            f"{faces}: expected rows of two classes or more that train, found {len(classes)}; preprocess more"
        )
    return classes.tolist()


def right(network: Classifier, images: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> float:
    """Share of these rows that get their own class."""
    return float((network.probabilities(images[rows]).argmax(1) == labels[rows]).mean())


def _session(
    params: Params, compute: Compute, faces: Path, shape: tuple[int, ...], split: np.ndarray, classes: list[int]
) -> tuple[Session, Classifier]:
    """The run at step 0, and the network."""
    from fgcli.classifiers.network import Classifier
    from fgcli.objectives.classification import Classification
    from fgcli.reports.pictures import save_rows
    from fgcli.training.augment import Augment
    from fgcli.training.session import Session
    from fgcli.training.settings import Settings

    try:
        network = Classifier(len(classes), shape[1], params.width)
    except ValueError as error:
        raise FgError(f"{error}; preprocess larger pictures") from error
    course = {"betas": (0.9, 0.99), "warmup": 20, "schedule": "cosine", "ema_half_life": 30}
    settings = Settings.of(params.model_dump(), **course)
    strayed = Augment(shift=SHIFT, zoom=ZOOM, rotate=ROTATE)
    objective, files = Classification(network, classes), {"faces": faces}
    session = Session.of(
        objective, compute, settings, files, split, draw=save_rows, augment=strayed, section="classifier"
    )
    return session, network
