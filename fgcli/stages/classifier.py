"""faces.h5 -> classifier.h5: train a small network on the labels, for features to compare pictures by; resumes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fgcli.config import Section
from fgcli.config.fields import Precision, Threads, TrainingDevice
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
    seed: Annotated[int, Field(ge=0)]
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
    import torch

    from fgcli import artifacts
    from fgcli.artifacts.parts import fingerprint
    from fgcli.training.devices import Compute
    from fgcli.training.session import RunFolder

    about = artifacts.load(faces, artifacts.FACES, ("split", "identity"))
    classes, labels = numbered(about["identity"], about["split"], faces)
    compute = Compute.of(params)
    torch.manual_seed(params.seed)
    images, masks = artifacts.rows(faces, "images"), artifacts.masks(faces)
    rows = {name: ((about["split"] == i) & (labels >= 0)).nonzero()[0] for i, name in enumerate(artifacts.SPLITS)}
    session, network = _session(params, compute, images, masks, labels, rows, len(classes))
    same = fingerprint([params.model_dump(exclude={"checkpoint_seconds"}), artifacts.sha256(faces)])
    ema, history, kept = session.train(RunFolder(folder, same), resume)
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


def numbered(identity: np.ndarray, split: np.ndarray, faces: Path) -> tuple[list[int], np.ndarray]:
    """Identities that train, ascending, and the place of each row's among them; -1 for those that do not train.

    Raises:
        FgError: fewer than two.
    """
    import numpy as np

    classes = np.unique(identity[(split == 0) & (identity >= 0)])
    if len(classes) < 2:
        raise FgError(
            f"{faces}: expected rows of two classes or more that train, found {len(classes)}; preprocess more"
        )
    places = np.searchsorted(classes, identity).clip(max=len(classes) - 1)
    return classes.tolist(), np.where(classes[places] == identity, places, -1)


def right(network: Classifier, images: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> float:
    """Share of these rows that get their own class."""
    return float((network.probabilities(images[rows]).argmax(1) == labels[rows]).mean())


def _session(
    params: Params,
    compute: Compute,
    images: np.ndarray,
    masks: np.ndarray,
    labels: np.ndarray,
    rows: dict[str, np.ndarray],
    classes: int,
) -> tuple[Session, Classifier]:
    """The run at step 0, and the network."""
    import torch

    from fgcli.classifiers.network import Classifier
    from fgcli.objectives.classification import Classification
    from fgcli.training import Loop
    from fgcli.training.augment import Augment
    from fgcli.training.batches import Batches
    from fgcli.training.session import Session

    try:
        network = Classifier(classes, images.shape[1], params.width)
    except ValueError as error:
        raise FgError(f"{error}; preprocess larger pictures") from error
    objective = compute.place(Classification(network, torch.from_numpy(labels)))
    shared = params.model_dump(include={"steps", "learning_rate", "seed"})
    loop = Loop(objective, network, compute, betas=(0.9, 0.99), warmup=20, schedule="cosine", clip=0.0,
                ema_half_life=30, section="classifier", **shared)  # fmt: skip
    strayed = Augment(shift=SHIFT, zoom=ZOOM, rotate=ROTATE)
    batches = Batches(images, masks, rows["train"], params.batch, params.seed, strayed)
    every = params.model_dump(include={"validate_steps", "checkpoint_seconds"})
    held_out = rows["val"] if len(rows["val"]) else rows["train"]
    session = Session(loop, batches, held_out, draw=lambda *_: None, keep="last", tensorboard=False,
                      checkpoint_steps=params.steps, **every)  # fmt: skip
    return session, network
