"""latents.h5 -> editor.h5: learn edits of attributes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fgcli import config
from fgcli.config import Section, Spec, build
from fgcli.config.fields import Seed
from fgcli.console import progress

if TYPE_CHECKING:
    import numpy as np


class Params(Section):
    """Params of `fg editor`."""

    attributes: list[str]
    """Attributes to learn."""
    methods: Annotated[dict[str, Spec], Field(min_length=1)]
    """A label for each editor: name in EDITORS, then its arguments."""
    seed: Seed
    """Seed of the draws."""


def run(
    latents: Path = Path("out/latents.h5"), output: Path = Path("out/editor.h5"), *, params: Params
) -> dict[str, Any]:
    """Fits on the training rows, scores on the test rows.

    Raises:
        UsageError: an editor that requires what the generator cannot.
    """
    from fgcli import artifacts
    from fgcli.capabilities import require
    from fgcli.editors import EDITORS
    from fgcli.editors.matching import problem
    from fgcli.generators import GENERATORS

    stored = artifacts.load(latents, artifacts.LATENTS, ("codes", "attributes", "split"))
    kind = config.lookup(GENERATORS, stored.meta["build"]["name"], str(latents))
    for label, spec in params.methods.items():
        path = f"editor.methods.{label}"
        require(kind, config.lookup(EDITORS, spec["name"], f"{path}.name").requires, by=f"{path} {spec['name']}")
    parts = [stored["split"] == i for i in range(3)]
    artifacts.verify_finite(f"{latents} codes", stored["codes"], "invert again")
    names, codes, attributes = stored.meta["attribute_names"], stored["codes"], stored["attributes"]
    probes = Probes(codes[parts[0]], attributes[parts[0]], names)
    arrays: dict[str, np.ndarray] = {}
    about: dict[str, Any] = {}
    with progress("editor", len(params.methods) * len(params.attributes), unit="fits") as advance:
        for label, spec in params.methods.items():
            editor, scores = build(EDITORS, spec, f"editor.methods.{label}"), {}
            for attribute in params.attributes:
                task = problem(codes[parts[0]], attributes[parts[0]], names, attribute, editor.match)
                scores[attribute] = editor.fit(task, params.seed)
                test = codes[parts[2]][attributes[parts[2], names.index(attribute)] == 0]
                scores[attribute] |= {"change": probes.change(test, editor.edit(test, attribute, 1.0))}
                advance(note=f"{label} {attribute}")
            arrays |= {f"methods/{label}/{k}": v for k, v in editor.arrays().items()}
            about[label] = {"build": spec, "scores": scores}
    artifacts.save(
        output,
        artifacts.EDITOR,
        arrays,
        params=params.model_dump(),
        inputs={"latents": latents},
        meta={
            "space": stored.meta["space"],
            "generator": stored.meta["generator"],
            "attributes": params.attributes,
            "methods": about,
            "probes": probes.accuracy(codes[parts[2]], attributes[parts[2]]),
        },
    )
    return {"output": str(output), "scores": {label: entry["scores"] for label, entry in about.items()}}


class Probes:
    """A logistic regression on the codes for each attribute: what an edit changes beside its own attribute."""

    def __init__(self, codes: np.ndarray, attributes: np.ndarray, names: list[str]) -> None:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.models, self.names = {}, names
        for k, name in enumerate(names):
            known = attributes[:, k] >= 0
            if len(set(attributes[known, k].tolist())) == 2:
                probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
                self.models[name] = probe.fit(codes[known].reshape(known.sum(), -1), attributes[known, k])

    def change(self, before: np.ndarray, after: np.ndarray) -> dict[str, float]:
        """Mean change of each attribute's probability by an edit; empty without codes."""
        if not len(before):
            return {}
        flat = [x.reshape(len(x), -1) for x in (before, after)]
        return {
            name: float((probe.predict_proba(flat[1]) - probe.predict_proba(flat[0]))[:, 1].mean())
            for name, probe in self.models.items()
        }

    def accuracy(self, codes: np.ndarray, attributes: np.ndarray) -> dict[str, float]:
        """Area under the ROC curve on held-out codes, where both values occur."""
        from sklearn.metrics import roc_auc_score

        found = {}
        for name, probe in self.models.items():
            y = attributes[:, self.names.index(name)]
            known = y >= 0
            if len(set(y[known].tolist())) == 2:
                p = probe.predict_proba(codes[known].reshape(known.sum(), -1))[:, 1]
                found[name] = float(roc_auc_score(y[known], p))
        return found
