"""What a generator of sentences is worth: what it gives back exactly; of its draws the shares that are valid, unique
and new, beside each other, as validity alone says nothing: a generator of one sentence has it; and scores."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from fgcli.capabilities import Writes
from fgcli.codes import PART, Codes, decode, prior, written
from fgcli.grammars import languages
from fgcli.grammars.languages import LOWER, SCORES, Language
from fgcli.intervals import bootstrap
from fgcli.metrics.results import Results, put
from fgcli.metrics.sets import Draws

BEST = 3
"""Sentences that are named."""
VALUES = {
    "exact": "share of held-out sentences that their code gives back, to the letter",
    "steps": "share of their steps with the rule that is there, where both are compared to the longer end",
    "valid": "share of draws that are sentences: finished, and an expression, or a molecule by RDKit",
    "gained": "valid, less that of draws from the prior",
    "unique": "share of the valid draws that none before them was",
    "novel": "share of the valid draws that are no training sentence",
    "score": "mean over the valid draws",
    "best": f"of the {BEST} best different ones",
}
SELFIES_NOTE = "every sequence of SELFIES is a molecule: that draws are valid is no merit of a model"


@dataclass(frozen=True)
class Judged:
    """Some texts, one by one.

    Attributes:
        valid: bool (n,). score: (n,), NaN where not valid or where the language has none.
        unique, novel: (n,) 1 or 0, NaN where not valid.
    """

    texts: Sequence[str | None]
    valid: np.ndarray
    score: np.ndarray
    unique: np.ndarray
    novel: np.ndarray

    def values(self) -> dict[str, np.ndarray]:
        """Float (n,) whose means over what is not NaN are the numbers."""
        found = {
            "valid": self.valid.astype(np.float64),
            "unique": self.unique,
            "novel": self.novel,
            "score": self.score,
        }
        return {name: values for name, values in found.items() if not np.isnan(values).all()}

    def best(self, language: Language) -> list[tuple[str, float]]:
        """The best different ones, best first."""
        known = {text: float(s) for text, s in zip(self.texts, self.score, strict=True) if text and not np.isnan(s)}
        return sorted(known.items(), key=lambda pair: (pair[1] if language in LOWER else -pair[1], pair[0]))[:BEST]


def judged(language: Language, texts: Sequence[str | None], training: Collection[str]) -> Judged:
    """Whether texts are sentences, different, new; None did not finish."""
    check = lru_cache(None)(lambda text: languages.valid(language, text))
    number = lru_cache(None)(lambda text: languages.score(language, text))
    valid = np.array([check(text) for text in texts], bool)
    seen: set[str | None] = set()
    unique, novel, score = (np.full(len(texts), np.nan) for _ in range(3))
    for i, text in enumerate(texts):
        if not valid[i]:
            continue
        unique[i], novel[i], score[i] = text not in seen, text not in training, number(text)
        seen.add(text)
    return Judged(texts, valid, score, unique, novel)


@torch.no_grad()
def measure(
    model: Writes,
    read: Callable[[np.ndarray], Codes],
    densities: Mapping[str, Draws],
    rows: Mapping[str, np.ndarray],
    texts: np.ndarray,
    rules: np.ndarray,
    samples: int,
    seed: int,
    result: Results,
) -> dict[str, list[str | None]]:
    """Adds all numbers to `result`; returns the texts of draws, by set.

    Args:
        model: the generator. read: codes of rows. densities: by label.
        rows: "train" and "held_out" of the sentences `texts` (n,), whose rules (n, t) are -1 after the end.
        samples: draws of each set. seed: of the first.
    """
    language, held = model.language, rows["held_out"]
    parts = [decode(model, part) for part in read(held).split(PART)]
    back = np.array([text for part in parts for text in model.write(part)], object)
    exact = (back == texts[held]).astype(np.float64)
    add(result, "reconstruction/generator", {"exact": exact, "steps": same_steps(model, parts, rules[held])})
    result.numbers["reconstruction"]["generator"]["sentences"] = len(held)
    training = set(texts[rows["train"]].tolist())
    best = {}
    sets: dict[str, list[str | None]] = {"real/held_out": texts[held].tolist()}
    for label, drawn in {"prior": lambda n, s: prior(model, n, s), **densities}.items():
        sets[f"generator/samples_{label}"] = written(model, drawn(samples, seed).to(model.device))
    for name, found in sets.items():
        about = judged(language, found, training)
        add(result, f"sentences/{name}", about.values())
        put(result.numbers, f"sentences/{name}/drawn", len(found))
        best[name] = about.best(language)
        for place, (_, value) in enumerate(best[name], 1):
            put(result.numbers, f"sentences/{name}/best_{place}", value)
    drawn = result.numbers["sentences"]["generator"]
    for label in densities:
        drawn[f"samples_{label}"]["gained"] = drawn[f"samples_{label}"]["valid"] - drawn["samples_prior"]["valid"]
    result.protocols |= {"reconstruction": {}, "sentences": {"values": VALUES, "score": SCORES.get(language, "none")}}
    result.protocols["sentences"]["best"] = {name: [list(pair) for pair in pairs] for name, pairs in best.items()}
    if language == "selfies":
        result.protocols["sentences"]["note"] = SELFIES_NOTE
    return {name.rpartition("/")[2]: found for name, found in sets.items()}


def same_steps(model: Writes, parts: Sequence[Tensor], rules: np.ndarray) -> np.ndarray:
    """The share of steps of each sentence (n, t), to the end of the longer one, at which its planes have the rule."""
    end = len(model.grammar.rules)
    found = np.concatenate([planes.argmax(1).flatten(1).cpu().numpy() for planes in parts])
    real = np.where(rules < 0, end, rules)
    counted = (found != end) | (real != end)
    return ((found == real) & counted).sum(1) / np.maximum(counted.sum(1), 1)


def add(result: Results, place: str, values: Mapping[str, np.ndarray]) -> None:
    """Means of values (n,) and what they would be of other sentences."""
    for name, found in values.items():
        put(result.numbers, f"{place}/{name}", float(np.nanmean(found)))
        result.values[f"{place}/{name}"] = found
        result.replicates[f"{place}/{name}"] = bootstrap(found, np.arange(len(found)))
