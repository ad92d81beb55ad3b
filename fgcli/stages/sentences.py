"""Text -> sentences.h5: derivations in a grammar, in place of faces.h5."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fgcli.config import Section, Spec
from fgcli.config.fields import Seed
from fgcli.errors import FgError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.datasets.texts import Texts
    from fgcli.grammars import Grammar

CHARACTERS, SELFIES = "characters", "selfies"
"""Grammars that are made of what sentences are written with."""


class Params(Section):
    """Params of `fg sentences`."""

    source: Spec
    """Name in SOURCES (fgcli/datasets/texts.py), then its arguments."""
    grammar: str
    """expressions, smiles, characters (any sequence of them), selfies, or a .lark file."""
    limit: Annotated[int, Field(ge=0, le=10_000)]
    """Rules of a sentence at most: steps of the generator; longer ones are rejected. 0: as many as the longest has."""
    val: Annotated[float, Field(ge=0, lt=1)]
    """Share that validates."""
    test: Annotated[float, Field(ge=0, lt=1)]
    """Share that is held out to test."""
    seed: Seed
    """Seed of the choice and of the split."""


def run(output: Path = Path("out/sentences.h5"), *, params: Params) -> dict[str, Any]:
    """Parses, scores and splits; what is no sentence becomes a rejected row that says where and why.

    Raises:
        FgError: a source or a grammar that is not there or is damaged, or no sentence that it takes.
    """
    import numpy as np

    from fgcli import artifacts
    from fgcli.config import supply
    from fgcli.datasets.texts import SOURCES

    source = supply(SOURCES, params.source, "sentences.source", seed=params.seed)
    language, texts = source.language, source.texts
    if params.grammar == SELFIES and language == "smiles":
        language, texts = "selfies", in_selfies(texts)
    grammar = grammar_of(params.grammar, texts)
    accepted, targets, rejected = sorted_out(grammar, language, texts, source, params.limit)
    if not accepted:
        why = rejected[0][1] if rejected else "the source has none"
        raise FgError(f"sentences: expected a sentence of {params.grammar}, found none; the first: {why}")
    steps = params.limit or max(map(len, accepted.values()))
    rules = np.full((len(accepted), steps), -1, np.int16)
    for row, derivation in zip(rules, accepted.values(), strict=True):
        row[: len(derivation)] = derivation
    split = split_of(len(accepted), params)
    arrays = {"rules": rules, "text": list(accepted), "target": np.array(targets, np.float32), "split": split}
    arrays |= {f"rejected/{key}": [row[i] for row in rejected] for i, key in enumerate(("source", "reason"))}
    about = {"grammar": grammar.text, "rules": grammar.names, "language": language}
    about |= {"source": source.name, "licence": source.licence}
    artifacts.save(output, artifacts.SENTENCES, arrays, params=params.model_dump(mode="json"), inputs={}, meta=about)
    counts = np.bincount(split, minlength=3).tolist()
    told = {"output": str(output), "sentences": len(accepted), "rejected": len(rejected), "steps": steps}
    told |= {"rules": len(grammar.rules), "split": dict(zip(artifacts.SPLITS, counts, strict=True))}
    return told | ({"score": scores(targets, language)} if np.isfinite(targets).any() else {})


def in_selfies(smiles: list[str]) -> list[str]:
    """SELFIES of SMILES; one that has none stays as it is, and is rejected as no SELFIES."""
    from fgcli.grammars.molecules import selfies_of

    found = []
    for text in smiles:
        try:
            found.append(selfies_of(text))
        except ValueError:
            found.append(text)
    return found


def grammar_of(name: str, texts: Iterable[str]) -> Grammar:
    """The grammar of a name or file; `characters` and `selfies` are made of what the texts have.

    Raises:
        FgError: no such file, or a mistake in it.
    """
    from fgcli.artifacts import blamed
    from fgcli.grammars import Grammar, alphabet
    from fgcli.grammars.shipped import SHIPPED, shipped

    if name == CHARACTERS:
        return Grammar(alphabet(sorted({character for text in texts for character in text})))
    if name == SELFIES:
        return Grammar(alphabet(sorted({symbol for text in texts for symbol in symbols(text)})))
    if name in SHIPPED:
        return Grammar(shipped(name))
    path = Path(name)
    if path.suffix != ".lark" or not path.is_file():
        known = ", ".join((*SHIPPED, CHARACTERS, SELFIES))
        raise FgError(f"sentences.grammar: expected {known}, or a .lark file, found {name}; check the path")
    with blamed(path, "correct it"):
        return Grammar(path.read_text(encoding="utf-8"))


def symbols(text: str) -> list[str]:
    """The symbols of a SELFIES, "[C][=C]" as two; none of other text."""
    return [f"[{part}" for part in text.split("[")[1:]] if text.startswith("[") and text.endswith("]") else []


def sorted_out(
    grammar: Grammar, language: Any, texts: list[str], source: Texts, limit: int
) -> tuple[dict[str, list[int]], list[float], list[tuple[str, str]]]:
    """Derivations by sentence, the number of each, and what was rejected with its reason."""
    from fgcli.console import progress
    from fgcli.grammars import languages

    accepted: dict[str, list[int]] = {}
    targets: list[float] = []
    rejected = []
    with progress("sentences", len(texts), unit="sentences") as advance:
        for text, place in zip(texts, source.places, strict=True):
            derivation, reason = derived(grammar, language, text, limit)
            if text in accepted:
                reason = "expected another sentence, found one that is there already"
            if derivation is None or reason:
                rejected.append((text, f"{place}: {reason}" if place else reason))
            else:
                accepted[text] = derivation
                targets.append(languages.score(language, text))
            advance()
    return accepted, targets, rejected


def derived(grammar: Grammar, language: Any, text: str, limit: int) -> tuple[list[int] | None, str]:
    """The derivation of a sentence; or why it is none."""
    from fgcli.grammars import NotInGrammar, languages

    try:
        derivation = grammar.parse(text)
    except NotInGrammar as error:
        return None, str(error)
    if limit and len(derivation) > limit:
        return None, f"expected at most {limit} rules, found {len(derivation)}; raise sentences.limit"
    if grammar.write(derivation) != text:
        return None, "expected a text that its rules give back, found one with parts that the grammar ignores"
    if not languages.valid(language, text):
        return None, f"expected {'a molecule' if language != 'expressions' else 'an expression'}, found none"
    return derivation, ""


def split_of(count: int, params: Params) -> np.ndarray:
    """0 train, 1 val, 2 test of each sentence, (n,) uint8.

    Raises:
        FgError: none is left that trains.
    """
    import numpy as np

    split = np.zeros(count, np.uint8)
    order = np.random.default_rng([params.seed, 1]).permutation(count)
    val, test = round(count * params.val), round(count * params.test)
    if val + test >= count:
        raise FgError(f"sentences: expected some of {count} to train, found none; lower sentences.val and .test")
    split[order[:val]], split[order[val : val + test]] = 1, 2
    return split


def scores(targets: list[float], language: str) -> dict[str, Any]:
    """The mean and the best of the sentences' numbers."""
    import numpy as np

    from fgcli.grammars.languages import LOWER, SCORES

    best = min(targets) if language in LOWER else max(targets)
    return {"what": SCORES[language], "mean": float(np.mean(targets)), "best": best}
