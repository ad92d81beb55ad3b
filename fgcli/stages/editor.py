"""latents.h5 -> editor.h5: learn edits of attributes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fgcli import config
from fgcli.config import Section, Spec, build
from fgcli.config.fields import Seed
from fgcli.console import progress, say
from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.artifacts import Artifact
    from fgcli.capabilities import Generator
    from fgcli.editors import Discovers, Editor, Learns
    from fgcli.editors.choice import Labels, Match
    from fgcli.editors.matching import Witness


PROBED = 20_000
"""Training rows that a probe learns from at most, and a judge's spread: more make it slower, not better."""
FLAT = 1e-3
"""Deviation of a judge's logits below which it tells nothing apart."""


class Params(Section):
    """Params of `fg editor`."""

    attributes: list[str] | None
    """Attributes to learn; null for every one that enough training rows have, and enough have not."""
    methods: Annotated[dict[str, Spec], Field(min_length=1)]
    """A label for each editor: name in EDITORS, then its arguments."""
    layers: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None
    """Layers of codes in W+ that are edited; null for all."""
    seed: Seed
    """Seed of the draws."""


def run(
    latents: Path = Path("out/latents.h5"),
    judges: Path | None = Path("out/judges.h5"),
    generator: Path | None = Path("out/generator.h5"),
    output: Path = Path("out/editor.h5"),
    *,
    params: Params,
) -> dict[str, Any]:
    """Fits on the training rows, scores on the test rows.

    Args:
        judges: judges of these codes, for editors that learn from them.
        generator: of these codes; only read by editors that look into it.

    Raises:
        UsageError: an editor that requires what the generator cannot, or an attribute that is not there.
        FgError: judges or a generator of other codes, or none where an editor needs them.
    """
    import numpy as np

    from fgcli import artifacts
    from fgcli.editors import Discovers, Learns, choice, verify_layers

    optional = ("identity",) if "identity" in artifacts.layout(latents) else ()
    stored = artifacts.load(latents, artifacts.LATENTS, ("codes", "attributes", "split", *optional))
    editors = _editors(params, stored)
    artifacts.verify_finite(f"{latents} codes", stored["codes"], "invert again")
    if params.layers:
        with artifacts.blamed(latents, "lower editor.layers, or invert in w+"):
            verify_layers(params.layers, stored["codes"])
    names, people = stored.meta["attribute_names"], stored.arrays.get("identity", np.full(len(stored["split"]), -1))
    train, test = (stored["split"] == i for i in (0, 2))
    labels = choice.Labels(names, stored["attributes"][train], people[train])
    learning = {label: editor for label, editor in editors.items() if isinstance(editor, Learns)}
    finding = {label: editor for label, editor in editors.items() if isinstance(editor, Discovers)}
    matches, told = _chosen(params, learning, labels)
    witnesses, more = _witnesses(learning, matches, labels, stored["codes"][train], judges, latents)
    model, seen = _model(finding, generator, latents)
    codes, tested = stored["codes"][train], (stored["codes"][test], stored["attributes"][test])
    probes = Probes(codes, labels.values, names, params.seed)
    about = _fitted(params, learning, matches, codes, labels, tested, probes, witnesses)
    about |= _found(params, finding, codes, model, tested[0], probes)
    arrays = {f"methods/{label}/{k}": v for label, editor in editors.items() for k, v in editor.arrays().items()}
    meta = {
        "space": stored.meta["space"],
        "generator": stored.meta["generator"],
        "attributes": list(matches),
        "choice": told,
        "methods": {label: about[label] for label in params.methods},
        "probes": probes.accuracy(*tested),
    } | ({"layers": params.layers} if params.layers else {})
    inputs = {"latents": latents} | more | seen
    artifacts.save(output, artifacts.EDITOR, arrays, params=params.model_dump(), inputs=inputs, meta=meta)
    return {"output": str(output), "scores": {label: entry["scores"] for label, entry in about.items()}}


def _editors(params: Params, stored: Artifact) -> dict[str, Editor]:
    """The editors of params, unfitted.

    Raises:
        UsageError: one that requires what the generator cannot, or an attribute that is not there.
    """
    from fgcli.capabilities import require
    from fgcli.editors import EDITORS, Learns
    from fgcli.generators import GENERATORS

    kind = config.lookup(GENERATORS, stored.meta["build"]["name"], str(stored.path))
    known = stored.meta["attribute_names"]
    editors: dict[str, Editor] = {}
    wanted: dict[str, Sequence[str]] = {"editor.attributes": params.attributes or ()}
    for label, spec in params.methods.items():
        path = f"editor.methods.{label}"
        require(kind, config.lookup(EDITORS, spec["name"], f"{path}.name").requires, by=f"{path} {spec['name']}")
        editors[label] = editor = build(EDITORS, spec, path)
        wanted[f"{path}.match"] = (editor.match if isinstance(editor, Learns) else None) or ()
    for path, names in wanted.items():
        for name in names:
            if name not in known:
                raise UsageError(
                    f"{path}: expected attributes of {stored.path}, {', '.join(known) or 'which has none'}, found "
                    f"{name!r}{config.near(name, known)}; correct it, or set null to let fg choose"
                )
    return editors


def _chosen(params: Params, editors: dict[str, Learns], labels: Labels) -> tuple[dict[str, Match], str]:
    """What each attribute to learn is matched on by default, and a line of these; tells what params leave open."""
    from fgcli.editors import choice

    attributes, left_out = (params.attributes, {}) if params.attributes is not None else choice.learned(labels)
    matches = {attribute: choice.matched(labels, attribute) for attribute in attributes}
    told = choice.told_learned(labels, attributes, left_out)
    if params.attributes is None:
        say(f"editor: {told}")
    if matches and any(editor.match is None for editor in editors.values()):
        say(f"editor: {choice.told_matched(matches)}")
    return matches, told


def _witnesses(
    editors: dict[str, Learns],
    attributes: Iterable[str],
    labels: Labels,
    codes: np.ndarray,
    judges: Path | None,
    latents: Path,
) -> tuple[dict[str, Witness], dict[str, Path]]:
    """Witnesses of attributes, by training codes (n, l, d), and the file that they are of, if an editor wants them.

    Raises:
        FgError: there is no judge of these codes, or none of an attribute.
    """
    import torch

    from fgcli import artifacts
    from fgcli.classifiers import judges as judging
    from fgcli.editors.matching import Witness

    wanting = [label for label, editor in editors.items() if editor.judged]
    if not wanting:
        return {}, {}
    by = f"editor.methods.{wanting[0]}"
    if judges is None:
        raise FgError(f"{by}: expected judges of codes, found no judges.h5; run fg judges, or leave it out")
    known = judging.load(judges)
    made = artifacts.load(latents, names=()).meta["generator"]
    if known.codes is None or known.generator != made:
        found = "none" if known.codes is None else "those of another generator"
        raise FgError(f"{judges}: expected judges of the codes in {latents}, found {found}; run fg judges again")
    places = [labels.names.index(name) for name in known.names if name in labels.names]
    names, values = [labels.names[i] for i in places], labels.values[:, places]
    judging.known_to(known, [*names, *attributes], judges)
    if names != known.names:
        raise FgError(f"{judges}: expected judges of attributes of {latents}, found others; run fg judges again")
    with torch.no_grad():
        logits = known.codes(torch.from_numpy(codes[:: -(-len(codes) // PROBED)]))
    spread = logits.std(0).clamp_min(FLAT)
    return {a: Witness.of(known.codes, names, a, values, spread) for a in attributes}, {"judges": judges}


def _model(
    editors: dict[str, Discovers], generator: Path | None, latents: Path
) -> tuple[Generator | None, dict[str, Path]]:
    """The generator, and its file, if an editor looks into it.

    Raises:
        FgError: there is none, or it is another.
    """
    from fgcli.generators import store

    wanting = [label for label, editor in editors.items() if editor.requires]
    if not wanting:
        return None, {}
    if generator is None:
        raise FgError(f"editor.methods.{wanting[0]}: expected generator.h5, found none; give it")
    store.verify(latents, generator)
    return store.load(generator), {"generator": generator}


def _fitted(
    params: Params,
    editors: dict[str, Learns],
    matches: dict[str, Match],
    codes: np.ndarray,
    labels: Labels,
    tested: tuple[np.ndarray, np.ndarray],
    probes: Probes,
    witnesses: dict[str, Witness],
) -> dict[str, Any]:
    """Fits every editor to every attribute of `matches`; of each its build, its scores and what it was matched on."""
    from fgcli.editors import edited
    from fgcli.editors.matching import problem

    about: dict[str, Any] = {label: {"build": params.methods[label], "scores": {}, "matched": {}} for label in editors}
    layers = tuple(params.layers) if params.layers else None
    with progress("editor", len(editors) * len(matches), unit="fits") as advance:
        for attribute, (chosen, _) in matches.items():  # the outer loop, so that the time left is told as it is
            without = tested[0][tested[1][:, labels.names.index(attribute)] == 0]
            for label, editor in editors.items():
                match = tuple(chosen if editor.match is None else editor.match)
                task = problem(codes, labels.values, labels.names, attribute, match)
                task = replace(task, witness=witnesses.get(attribute), layers=layers)
                scores = editor.fit(task, params.seed)
                change = probes.change(without, edited(editor, without, attribute, 1.0, layers))
                about[label]["scores"][attribute] = scores | {"change": change}
                about[label]["matched"][attribute] = match
                advance(note=f"{label} {attribute}")
    return about


def _found(
    params: Params,
    editors: dict[str, Discovers],
    codes: np.ndarray,
    model: Generator | None,
    tested: np.ndarray,
    probes: Probes,
) -> dict[str, Any]:
    """Has each editor find its directions; of each its build, and what every direction changes."""
    from fgcli.editors import edited

    about = {}
    for label, editor in editors.items():
        scores: dict[str, dict[str, Any]] = dict(editor.discover(codes, model, params.seed))
        for name in scores:
            after = edited(editor, tested, name, 1.0, params.layers)
            scores[name] = scores[name] | {"change": probes.change(tested, after)}
        about[label] = {"build": params.methods[label], "scores": scores, "matched": {}}
    return about


class Probes:
    """A logistic regression on the codes for each attribute: what an edit changes beside its own attribute."""

    def __init__(self, codes: np.ndarray, attributes: np.ndarray, names: list[str], seed: int) -> None:
        import numpy as np
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        self.models, self.names = {}, names
        if len(codes) > PROBED:
            some = np.random.default_rng(seed).choice(len(codes), PROBED, replace=False)
            codes, attributes = codes[some], attributes[some]
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
