"""Where sentences come from: a template, the molecules inside installed packages, a file of your own.

An entry of SOURCES is a function of flat arguments, and of `seed` if it draws, that returns `Texts`.
"""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fgcli.config.fields import Count, Seed
from fgcli.datasets.packages import package_folder
from fgcli.errors import FgError, UsageError
from fgcli.grammars.expressions import ANSWER
from fgcli.grammars.languages import Language

SOURCES = {
    "expressions": "fgcli.datasets.texts:expressions",
    "moses": "fgcli.datasets.texts:moses",
    "nci": "fgcli.datasets.texts:nci",
    "text": "fgcli.datasets.texts:text",
}
LEAVES, OPERATORS, BRACKETS = "x123", "+*/", ("(", "sin(", "exp(")


@dataclass(frozen=True)
class Texts:
    """Sentences, the language that they are of, and what to know of them.

    Attributes:
        places: where each stands, for messages.
    """

    name: str
    language: Language
    licence: str
    texts: list[str]
    places: list[str]


def expressions(seed: Seed, count: Count = 100_000, answer: bool = True) -> Texts:
    """Distinct expressions as the public set of Kusner et al. has them: an operation and two summands, a.b + u + v.

    u is a number, x, or one of these in brackets; v may be an operation in brackets, too: 122,880 in all.

    Args:
        seed: of the choice.
        count: how many.
        answer: may the one that is sought be among them?

    Raises:
        UsageError: there are not as many.
    """
    operations = ["".join(parts) for parts in itertools.product(LEAVES, OPERATORS, LEAVES)]
    first = [*LEAVES, *(f"{bracket}{leaf})" for bracket in BRACKETS for leaf in LEAVES)]
    second = [*first, *(f"{bracket}{operation})" for bracket in BRACKETS for operation in operations)]
    known = ["+".join(parts) for parts in itertools.product(operations, first, second)]
    known = [one for one in known if answer or one != ANSWER]
    if count > len(known):
        raise UsageError(f"sentences.source.count: expected at most {len(known)} expressions, found {count}; lower it")
    return named("expressions", "expressions", "made by fg", some(known, count, seed))


def moses(seed: Seed, count: Count = 10_000, longest: Count = 100) -> Texts:
    """Training molecules of MOSES (Polykovskiy et al. 2020), 1,584,663 of ZINC, from the installed package molsets.

    Args:
        seed: of the choice.
        count: how many.
        longest: most characters of a SMILES.

    Raises:
        FgError: molsets is not installed, or its file is damaged.
        UsageError: there are not as many.
    """
    if find_spec("moses") is None:
        raise FgError(
            "molsets: expected the installed package, found none; pip install --no-deps molsets (of which one file is "
            "read: what it depends on is not needed)"
        )
    file = package_folder("moses", "dataset/data", "grammar") / "train.csv.gz"
    try:
        with gzip.open(file, "rt", encoding="ascii") as stream:
            lines = stream.read().split("\n")[1:]
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise FgError(f"{file}: expected a whole table, found damage ({error}); install molsets again") from error
    known = [line for line in lines if 0 < len(line) <= longest]
    if count > len(known):
        raise UsageError(f"sentences.source.count: expected at most {len(known)} molecules, found {count}; lower it")
    return named("moses", "smiles", "MOSES (MIT) of ZINC, which is free for research", some(known, count, seed))


def nci(seed: Seed, count: Count = 4_999) -> Texts:
    """Molecules of the National Cancer Institute, from the installed package rdkit.

    Args:
        seed: of the choice.
        count: how many.

    Raises:
        FgError: rdkit is not installed, or has no such file.
        UsageError: there are not as many.
    """
    folder = package_folder("rdkit", "Data/NCI", "grammar")
    known = [line.split()[0] for line in read(folder / "first_5K.smi") if line.strip()]
    if count > len(known):
        raise UsageError(f"sentences.source.count: expected at most {len(known)} molecules, found {count}; lower it")
    return named("nci", "smiles", "NCI, public domain, as in rdkit (BSD)", some(known, count, seed))


def text(path: Path, language: Language = "text") -> Texts:
    """A file of your own, a sentence in each line; empty lines are left out.

    Args:
        path: of the file, UTF-8.
        language: what they are: expressions, smiles, selfies, or text, of which only its grammar is known.

    Raises:
        FgError: no such file, other bytes, or no sentence.
    """
    lines = {number: line for number, line in enumerate(read(path), 1) if line}
    if not lines:
        raise FgError(f"{path}: expected a sentence in each line, found none; write some")
    return Texts(path.name, language, "yours", list(lines.values()), [f"line {number}" for number in lines])


def read(path: Path) -> list[str]:
    """The lines of a file.

    Raises:
        FgError: no such file, or other bytes than UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        found = "other bytes" if isinstance(error, UnicodeDecodeError) else "none that can be read"
        raise FgError(f"{path}: expected a text file in UTF-8, found {found}; check the path") from error


def some(known: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` of them, in an order that the seed says."""
    return [known[i] for i in np.random.default_rng(seed).permutation(len(known))[:count]]


def named(name: str, language: Language, licence: str, texts: list[str]) -> Texts:
    """Texts that have no places but their own."""
    return Texts(name, language, licence, texts, [""] * len(texts))
