"""faces.h5, generator.h5 -> classes.h5, classes.json: classify pictures, and reject what is unlikely."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fgcli.config import Section
from fgcli.config.fields import Device
from fgcli.console import progress

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from fgcli.classifiers.calibration import Subject
    from fgcli.classifiers.selective import Decision, SelectiveClassifier


class Reclassify(Section):
    """How a picture that was rejected is classified by its decoder."""

    steps: Annotated[int, Field(ge=1)]
    """Adam steps on the code, from every class."""
    learning_rate: Annotated[float, Field(gt=0)]
    """Their size, in units of the code."""


class Params(Section):
    """Params of `fg classify`."""

    split: Literal["train", "val", "test"]
    """The faces that the numbers are about."""
    confidence: Annotated[float, Field(gt=0, lt=1)]
    """Share of clean pictures of the val split that each threshold keeps."""
    code_share: Annotated[float, Field(ge=0, lt=1)]
    """Share of them that the code's threshold keeps, by their distances; 0: the chi-square quantile of confidence."""
    reclassify: Reclassify
    """How a picture that was rejected is classified by its decoder."""
    batch: Annotated[int, Field(ge=1)]
    """Pictures at a time."""
    device: Device


POINTS = 50
"""Points of the risk-coverage curve in classes.json."""
SHOWN = 12
"""Rejected pictures on the sheet at most."""


def plan(
    faces: Path = Path("out/faces.h5"), generator: Path = Path("out/generator.h5"), *, params: Params, **_: Any
) -> dict[str, Any]:
    """What `run` would do."""
    from fgcli import artifacts
    from fgcli.classifiers.calibration import calibrated, chosen
    from fgcli.generators import store

    defence, subject = calibrated(store.load(generator), generator, faces, params)
    return {
        "rows": len(subject.split),
        f"{params.split} rows with a class": len(chosen(subject, params.split, faces)),
        "val rows for the thresholds": len(subject.rows("val")),
        "threshold of the code": defence.latent,
        "generator": artifacts.load(generator, names=()).meta["build"]["name"],
    }


def run(
    faces: Path = Path("out/faces.h5"),
    generator: Path = Path("out/generator.h5"),
    output: Path = Path("out/classes.h5"),
    numbers: Path = Path("out/classes.json"),
    curve: Path = Path("out/risk_coverage.png"),
    sheet: Path = Path("out/rejected.png"),
    *,
    params: Params,
) -> dict[str, Any]:
    """Classifies all rows; the numbers, the curve and the sheet of rejected pictures are of one split.

    Raises:
        FgError: a generator that cannot classify, or faces without classes.
    """
    import numpy as np

    from fgcli import artifacts
    from fgcli.classifiers.calibration import calibrated, chosen, thresholds
    from fgcli.generators import store
    from fgcli.training.devices import cpu_or_cuda

    model = store.load(generator, cpu_or_cuda(params.device))
    store.match(model, artifacts.rows(faces, "images").shape, faces)
    defence, subject = calibrated(model, generator, faces, params)
    rows = chosen(subject, params.split, faces)
    found = _decided(defence, subject, params.batch)
    again = _reclassified(defence, subject, rows[~found.accepted.numpy()[rows]], params)
    limits = thresholds(defence, params.confidence)
    artifacts.save(
        output,
        artifacts.CLASSES,
        {
            "predicted": found.predicted.numpy().astype(np.int32),
            "accepted": found.accepted.numpy().astype(np.uint8),
            "reclassified": again,
            "distance": found.distance.numpy(),
            "error": found.error.numpy(),
            "label": subject.labels.numpy().astype(np.int32),
            "split": subject.split,
        },
        params=params.model_dump(),
        inputs={"faces": faces, "generator": generator},
        meta={"generator": artifacts.sha256(generator), "class_names": subject.names, "thresholds": limits},
    )
    told = {"split": params.split, **summary(found.at(rows), subject.labels[rows], again[rows])}
    points = _curve(curve, defence.score(found).numpy()[rows], (found.predicted == subject.labels).numpy()[rows])
    artifacts.write_json(numbers, {**told, "thresholds": limits, "risk_coverage": points})
    _sheet(sheet, defence, subject, rows[~found.accepted.numpy()[rows]][:SHOWN], again)
    return {"output": str(output), "numbers": str(numbers), "threshold of pictures": limits["picture_rule"], **told}


def summary(found: Decision, labels: Tensor, again: np.ndarray) -> dict[str, Any]:
    """Shares of n pictures: without thresholds, with them, and with what was rejected taken for its decoder's class."""
    from fgcli.classifiers.calibration import rates

    told: dict[str, Any] = {"images": len(labels), **rates(found, labels)}
    rejected, guessed = ~found.accepted.numpy(), again == labels.numpy()
    if rejected.any():
        told["reclassified_accuracy"] = float(guessed[rejected].mean())
    told["accuracy_after_reclassification"] = told["accuracy"] + float((guessed & rejected).mean())
    return told


def _decided(defence: SelectiveClassifier, subject: Subject, batch: int) -> Decision:
    """The decisions about all rows."""
    import numpy as np

    from fgcli.classifiers.selective import Decision

    n, parts = len(subject.split), []
    with progress("classify", n) as advance:
        for i in range(0, n, batch):
            parts.append(defence.decide(subject.pictures(np.arange(i, min(i + batch, n)))))
            advance(len(parts[-1].predicted))
    return Decision.joined(parts)


def _reclassified(defence: SelectiveClassifier, subject: Subject, rows: np.ndarray, params: Params) -> np.ndarray:
    """The decoder's class of these rows, -1 of all others."""
    import numpy as np

    again = np.full(len(subject.split), -1, np.int32)
    step = max(1, params.batch // len(subject.names))
    with progress("reclassify", len(rows)) as advance:
        for i in range(0, len(rows), step):
            part = rows[i : i + step]
            again[part] = defence.reclassify(subject.pictures(part), **params.reclassify.model_dump()).predicted
            advance(len(part))
    return again


def _curve(path: Path, score: np.ndarray, right: np.ndarray) -> dict[str, list[float]]:
    """Draws the risk-coverage curve; returns some points of it."""
    import numpy as np

    from fgcli.classifiers.selective import risk_coverage
    from fgcli.reports.lines import save_lines

    coverage, risk = risk_coverage(score, right)
    save_lines(path, coverage.tolist(), {"risk": risk.tolist()}, "coverage", "risk")
    places = np.unique(np.linspace(0, len(score) - 1, POINTS).round().astype(int))
    return {"coverage": coverage[places].tolist(), "risk": risk[places].tolist()}


def _sheet(path: Path, defence: SelectiveClassifier, subject: Subject, rows: np.ndarray, again: np.ndarray) -> None:
    """Pictures that were rejected and what the generator makes of them; beside each its class, two guesses and why."""
    from fgcli.reports import grid
    from fgcli.reports.pictures import pictures

    if not len(rows):
        grid.save_picture(path, grid.sheet([[subject.images[0]]], ["no picture was rejected; the first"]))
        return
    x, names = subject.pictures(rows), subject.names
    decoded, found, labels = pictures(defence.reconstruct(x)), defence.decide(x), []
    for i, row in enumerate(rows):
        why = " and ".join(name for name, beyond in (("code", found.far[i]), ("picture", found.unlike[i])) if beyond)
        guesses = f"encoder {names[found.predicted[i]]}, decoder {names[again[row]]}"
        labels.append(f"{names[subject.labels[row]]} ({guesses}): unlikely {why}")
    scale = max(1, 64 // x.shape[-1])
    images = [[subject.images[row], picture] for row, picture in zip(rows, decoded, strict=True)]
    grid.save_picture(path, grid.sheet(images, labels, ["picture", "decoded"], scale=scale))
