"""faces.h5, generator.h5 -> attacks.h5, attacks.json: try to deceive a generator that classifies."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fgcli.config import Section, Spec, build
from fgcli.config.fields import Device, Seed
from fgcli.console import progress

if TYPE_CHECKING:
    from torch import Tensor

    from fgcli.attacks.trials import Outcome, Trial
    from fgcli.classifiers.calibration import Subject
    from fgcli.classifiers.selective import SelectiveClassifier


class Reclassify(Section):
    """How pictures that were attacked by FGSM and rejected are classified by the decoder."""

    images: Annotated[int, Field(ge=0)]
    """Pictures per epsilon at most."""
    steps: Annotated[int, Field(ge=1)]
    """Adam steps on the code, from every class."""
    learning_rate: Annotated[float, Field(gt=0)]
    """Their size, in units of the code."""


class Params(Section):
    """Params of `fg attack`."""

    split: Literal["train", "val", "test"]
    """The faces that are attacked."""
    confidence: Annotated[float, Field(gt=0, lt=1)]
    """Share of clean pictures of the val split that each threshold keeps."""
    code_share: Annotated[float, Field(ge=0, lt=1)]
    """Share of them that the code's threshold keeps, by their distances; 0: the chi-square quantile of confidence."""
    epsilons: list[Annotated[float, Field(ge=0, le=1)]]
    """Sizes of FGSM's change."""
    methods: dict[str, Spec]
    """A label for each further attack: name in ATTACKS, then its arguments."""
    targeted_images: Annotated[int, Field(ge=1)]
    """Pictures of each class that a targeted attack starts from, each once towards every other class."""
    noise_images: Annotated[int, Field(ge=1)]
    """Pictures that an attack from noise makes, evenly over the classes."""
    reclassify: Reclassify
    """How pictures that were attacked by FGSM and rejected are classified by the decoder."""
    batch: Annotated[int, Field(ge=1)]
    """Pictures at a time."""
    device: Device
    seed: Seed
    """Seed of random starts and noise."""


SHOWN = 10
"""Pictures of each attack on the sheet."""
SHOWN_EPSILON = 0.3
"""The FGSM attack nearest to this size is on the sheet; CleverHans' default."""
FGSM_LABEL = "fgsm"
"""What attacks.h5 calls the attacks of params' epsilons."""


def plan(
    faces: Path = Path("out/faces.h5"), generator: Path = Path("out/generator.h5"), *, params: Params, **_: Any
) -> dict[str, Any]:
    """What `run` would do."""
    from fgcli.classifiers.calibration import calibrated
    from fgcli.generators import store

    subject = calibrated(store.load(generator), generator, faces, params)[1]
    trials = _trials(params, subject, faces)
    names = [f"{t.label} {t.epsilon:g}" if t.label == FGSM_LABEL else t.label for t in trials]
    return {
        "pictures": dict(zip(names, [len(t.rows) for t in trials], strict=True)),
        "val rows for the thresholds": len(subject.rows("val")),
    }


def run(
    faces: Path = Path("out/faces.h5"),
    generator: Path = Path("out/generator.h5"),
    output: Path = Path("out/attacks.h5"),
    numbers: Path = Path("out/attacks.json"),
    curve: Path = Path("out/fgsm.png"),
    sheet: Path = Path("out/attacks.png"),
    *,
    params: Params,
) -> dict[str, Any]:
    """Attacks the pictures of one split and counts who was deceived.

    Raises:
        FgError: a generator that cannot classify, or faces without classes.
    """
    import torch

    from fgcli import artifacts
    from fgcli.classifiers.calibration import calibrated, thresholds
    from fgcli.generators import store
    from fgcli.training.devices import cpu_or_cuda

    model = store.load(generator, cpu_or_cuda(params.device))
    store.match(model, artifacts.rows(faces, "images").shape, faces)
    defence, subject = calibrated(model, generator, faces, params)
    trials = _trials(params, subject, faces)
    rng, outcomes = torch.Generator().manual_seed(params.seed), []
    with progress("attack", sum(len(t.rows) for t in trials), unit="pictures") as advance:
        for trial in trials:
            kept = max(SHOWN, params.reclassify.images)
            outcomes.append(trial.run(defence, subject, kept, rng, partial(advance, note=trial.label)))
    again = _reclassified(defence, outcomes, params.reclassify)
    limits = thresholds(defence, params.confidence)
    artifacts.save(
        output,
        artifacts.ATTACKS,
        _table(outcomes, again),
        params=params.model_dump(),
        inputs={"faces": faces, "generator": generator},
        meta={"generator": artifacts.sha256(generator), "class_names": subject.names, "thresholds": limits},
    )
    told = results(outcomes, again)
    artifacts.write_json(numbers, {"split": params.split, **told, "thresholds": limits})
    _curve(curve, told["fgsm"])
    _sheet(sheet, defence, subject, outcomes)
    rule = {"threshold of pictures": limits["picture_rule"]}
    return {"output": str(output), "numbers": str(numbers), **rule, **{k: v for k, v in told.items() if k != "fgsm"}}


def _trials(params: Params, subject: Subject, faces: Path) -> list[Trial]:
    """FGSM at every epsilon, then the other attacks."""
    from fgcli.attacks import ATTACKS
    from fgcli.attacks.trials import planned
    from fgcli.classifiers.calibration import chosen

    rows = chosen(subject, params.split, faces)
    specs = [(FGSM_LABEL, {"name": "fgsm", "epsilon": epsilon}) for epsilon in params.epsilons]
    specs += list(params.methods.items())
    return [
        planned(
            label,
            build(ATTACKS, spec, f"attack.methods.{label}"),
            subject,
            rows,
            params.targeted_images,
            params.noise_images,
        )
        for label, spec in specs
    ]


def _reclassified(defence: SelectiveClassifier, outcomes: list[Outcome], params: Reclassify) -> list[Tensor]:
    """The decoder's class (m) for each outcome's pictures: of FGSM's first ones, where rejected; -1 else."""
    import torch

    again = [torch.full((len(o.trial.rows),), -1) for o in outcomes]
    wanted = [
        (o, classes, torch.nonzero(~o.found.accepted[: params.images])[:, 0])
        for o, classes in zip(outcomes, again, strict=True)
        if o.trial.label == FGSM_LABEL
    ]
    step = max(1, defence.batch // len(defence.model.means))
    with progress("reclassify", sum(len(places) for *_, places in wanted), unit="pictures") as advance:
        for outcome, classes, places in wanted:
            for part in places.split(step):
                found = defence.reclassify(outcome.pictures[part], params.steps, params.learning_rate)
                classes[part] = found.predicted
                advance(len(part), note=f"epsilon {outcome.trial.epsilon:g}")
    return again


def _table(outcomes: list[Outcome], again: list[Tensor]) -> dict[str, Any]:
    """The columns of attacks.h5."""
    import numpy as np

    from fgcli.classifiers.selective import Decision

    trials, found = [o.trial for o in outcomes], Decision.joined([o.found for o in outcomes])
    sizes = [len(t.rows) for t in trials]
    rows = [np.full(n, -1) if t.attack.from_noise else t.rows for t, n in zip(trials, sizes, strict=True)]
    targets = [t.aims.numpy() if t.attack.targeted else np.full(n, -1) for t, n in zip(trials, sizes, strict=True)]
    return {
        "attack": np.repeat([t.label for t in trials], sizes),
        "epsilon": np.repeat(np.array([t.epsilon for t in trials], np.float32), sizes),
        "predicted": found.predicted.numpy().astype(np.int32),
        "accepted": found.accepted.numpy().astype(np.uint8),
        "distance": found.distance.numpy(),
        "error": found.error.numpy(),
        "row": np.concatenate(rows).astype(np.int32),
        "label": np.concatenate([t.labels.numpy() for t in trials]).astype(np.int32),
        "target": np.concatenate(targets).astype(np.int32),
        "reclassified": np.concatenate([c.numpy() for c in again]).astype(np.int32),
    }


def results(outcomes: list[Outcome], again: list[Tensor]) -> dict[str, Any]:
    """Each attack's shares by its label; FGSM's by epsilon within it, and its largest error beside them."""
    told: dict[str, Any] = {"fgsm": {}}
    for outcome, classes in zip(outcomes, again, strict=True):
        shares = outcome.summary()
        if outcome.trial.label != FGSM_LABEL:
            told[outcome.trial.label] = shares
            continue
        asked = classes >= 0
        if asked.any():
            shares["reclassified_accuracy"] = float((classes == outcome.trial.labels)[asked].float().mean())
        told["fgsm"][f"{outcome.trial.epsilon:g}"] = shares
    told["fgsm_largest_error"] = max((shares["error"] for shares in told["fgsm"].values()), default=None)
    return told


def _curve(path: Path, shares: dict[str, dict[str, float]]) -> None:
    """Accuracy, error and rejection over FGSM's epsilon, as the thesis's figure 4.3."""
    from fgcli.reports.lines import save_lines

    names = {
        "accuracy": "accuracy",
        "error": "error",
        "rejected": "rejected",
        "accuracy_without_threshold": "accuracy without thresholds",
    }
    lines = {text: [told[name] for told in shares.values()] for name, text in names.items()}
    save_lines(path, [float(epsilon) for epsilon in shares], lines, "FGSM epsilon", "share")


def _sheet(path: Path, defence: SelectiveClassifier, subject: Subject, outcomes: list[Outcome]) -> None:
    """For every attack: pictures, what it made of them, and what the decoder makes of that. FGSM at one size only."""
    from fgcli.reports import grid
    from fgcli.reports.pictures import pictures

    fgsm = [o for o in outcomes if o.trial.label == FGSM_LABEL]
    nearest = min(fgsm, key=lambda o: abs(o.trial.epsilon - SHOWN_EPSILON), default=None)
    rows, labels = [], []
    for outcome in [o for o in outcomes if o.trial.label != FGSM_LABEL or o is nearest]:
        attacked, trial = outcome.pictures[:SHOWN], outcome.trial
        if not trial.attack.from_noise:
            rows.append(list(subject.images[trial.rows[: len(attacked)]]))
            labels.append("picture")
        rows += [pictures(attacked), pictures(defence.reconstruct(attacked))]
        labels += [f"{trial.label} {trial.epsilon:g}" if trial.label == FGSM_LABEL else trial.label, "decoded"]
    grid.save_picture(path, grid.sheet(rows, labels, scale=max(1, 64 // subject.images.shape[1])))
