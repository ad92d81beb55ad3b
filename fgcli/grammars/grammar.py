"""A grammar's rules as tables, sentences as sequences of rules: of their leftmost derivations.

The text, in lark's format, is the only source: rules, the decoder's masks and the parser all come from it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fgcli.errors import FgError, FlawError

AHEAD = re.compile(r"\(\?[=!].*\)$")
"""What a terminal may look at beyond its text."""
SPECIAL = re.compile(r"(?<!\\)[][.^$*+?{}|()]|\\[a-zA-Z0-9]")
"""What makes a regular expression more than one text."""
SHOWN = 12
"""Expected symbols that are named at most."""


class NotInGrammar(ValueError):
    """A text that is no sentence: where it stops being one, and what was expected there."""


@dataclass(frozen=True)
class Rule:
    """head -> body.

    Attributes:
        head: number of its symbol.
        body: texts, and numbers of symbols.
    """

    head: int
    body: tuple[str | int, ...]

    @property
    def symbols(self) -> tuple[int, ...]:
        """Of its body, without texts."""
        return tuple(part for part in self.body if isinstance(part, int))


class Grammar:
    """Symbols, the rules of each, and a parser.

    Args:
        text: in lark's format: rules from `start`; terminals are texts, which may look ahead.

    Attributes:
        symbols: names; the first is where sentences start.
        rules: in the order of the text.

    Raises:
        FlawError: what is wrong with the text.
        FgError: lark is not installed.

    >>> pairs = Grammar('start: "(" start ")" | "x"')
    >>> pairs.parse("((x))"), pairs.write([0, 0, 1]), pairs.write([0, 0])
    ([0, 0, 1], '((x))', None)
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._lark = lark_of(text)
        terminals = {terminal.name: literal(terminal) for terminal in self._lark.terminals}
        heads = [str(rule.origin.name) for rule in self._lark.rules]
        self.symbols = sorted(set(heads), key=lambda name: (name != "start", heads.index(name)))
        number = {name: i for i, name in enumerate(self.symbols)}
        self.rules = [
            Rule(number[head], tuple(terminals[s.name] if s.is_term else number[str(s.name)] for s in rule.expansion))
            for head, rule in zip(heads, self._lark.rules, strict=True)
        ]
        self._verify()

    def _verify(self) -> None:
        """Raises FlawError where some symbol has no sentence, or derives itself alone."""
        lengths = self.shortest
        for name, length in zip(self.symbols, lengths, strict=True):
            if math.isinf(length):
                raise FlawError(f"expected rules that come to an end, found `{name}`, which never does")
        empty = {i for i in range(len(self.symbols)) if self._nullable(i, frozenset())}
        alone = {
            (rule.head, one)
            for rule in self.rules
            for i, one in enumerate(rule.body)
            if isinstance(one, int) and all(other in empty for j, other in enumerate(rule.body) if j != i)
        }
        for symbol in range(len(self.symbols)):
            reached: set[int] = set()
            todo = [symbol]
            while todo:
                head = todo.pop()
                new = {b for a, b in alone if a == head} - reached
                reached |= new
                todo += new
            if symbol in reached:
                raise FlawError(
                    f"expected that no symbol derives itself alone, found `{self.symbols[symbol]}`, which does: its "
                    "sentences have endless derivations"
                )

    def _nullable(self, symbol: int, above: frozenset[int]) -> bool:
        """Whether a symbol derives nothing."""
        inner = above | {symbol}
        bodies = [rule.body for rule in self.rules if rule.head == symbol]
        return any(
            all(isinstance(part, int) and part not in inner and self._nullable(part, inner) for part in body)
            for body in bodies
        )

    @cached_property
    def shortest(self) -> list[float]:
        """The fewest rules that each symbol takes to its end; infinite where it has none."""
        lengths = [math.inf] * len(self.symbols)
        for _ in self.symbols:  # a shortest derivation is no deeper than there are symbols
            for rule in self.rules:
                lengths[rule.head] = min(lengths[rule.head], 1 + sum(lengths[s] for s in rule.symbols))
        return lengths

    @property
    def names(self) -> list[str]:
        """Each rule as people read it."""
        return [
            f"{self.symbols[rule.head]} -> {' '.join(self.symbols[p] if isinstance(p, int) else p for p in rule.body)}"
            for rule in self.rules
        ]

    def allowed(self) -> np.ndarray:
        """bool (symbols + 1, rules + 1): the rules of each symbol; of none, the last row, the last: nothing follows."""
        table = np.zeros((len(self.symbols) + 1, len(self.rules) + 1), bool)
        for i, rule in enumerate(self.rules):
            table[rule.head, i] = True
        table[-1, -1] = True
        return table

    def parse(self, text: str) -> list[int]:
        """The rules of a sentence's leftmost derivation.

        Raises:
            NotInGrammar: none, with the place and what was expected there.
        """
        from lark.exceptions import UnexpectedInput

        try:
            rules: list[int] = self._lark.parse(text)
            return rules
        except UnexpectedInput as error:
            raise NotInGrammar(self._complaint(text, error)) from error
        except RecursionError as error:
            raise NotInGrammar("expected a sentence, found one nested too deeply") from error

    def _complaint(self, text: str, error: Any) -> str:
        """Where a text stops being a sentence, and what was expected there."""
        expected = getattr(error, "accepts", None) or getattr(error, "expected", None) or error.allowed or ()
        known = {terminal.name: literal(terminal) for terminal in self._lark.terminals}
        names = sorted(repr(known[name]) if name in known else "the end" for name in expected)
        more = f" or {len(names) - SHOWN} others" if len(names) > SHOWN else ""
        token = getattr(error, "token", None)
        at = len(text) if token is not None and token.type == "$END" else error.pos_in_stream
        found = repr(text[at : at + 1]) if at < len(text) else "the end"
        return f"at character {at + 1}: expected {' '.join(names[:SHOWN])}{more}, found {found}"

    def write(self, rules: Iterable[int]) -> str | None:
        """The sentence of a derivation; None where it does not finish, or is none."""
        stack: list[str | int] = [0]
        left, written = iter(rules), []
        while stack:
            part = stack.pop()
            if isinstance(part, str):
                written.append(part)
                continue
            number = next(left, -1)
            if not 0 <= number < len(self.rules) or self.rules[number].head != part:
                return None
            stack += reversed(self.rules[number].body)
        return None if next(left, -1) != -1 else "".join(written)


def lark_of(text: str) -> Any:
    """lark's parser, which gives derivations.

    Raises:
        FlawError: not a grammar that it takes.
        FgError: lark is not installed.
    """
    try:
        from lark import Lark
        from lark.exceptions import LarkError
    except ImportError as error:
        raise FgError('lark: expected the installed package, found none; pip install "fgcli[grammar]"') from error

    class Derivations(Lark):
        """Parses to the rules of a derivation, where Lark would make a tree."""

        def _prepare_callbacks(self) -> None:
            self._callbacks = {rule: step(i) for i, rule in enumerate(self.rules)}

    try:
        return Derivations(text, parser="lalr", maybe_placeholders=False, keep_all_tokens=True)
    except LarkError as error:
        told = " ".join(str(error).split())
        raise FlawError(f"expected a grammar that lark takes, found a mistake ({told[:200]})") from error


def step(number: int) -> Callable[[list[Any]], list[int]]:
    """What becomes of a rule's parts, of which symbols are lists already: the rule, then theirs from the left."""

    def joined(parts: list[Any]) -> list[int]:
        rules = [number]
        for part in parts:
            if isinstance(part, list):
                rules += part
        return rules

    return joined


def literal(terminal: Any) -> str:
    """The text of a terminal.

    Raises:
        FlawError: it has many.
    """
    pattern = terminal.pattern
    if pattern.type == "str":
        return str(pattern.value)
    text = AHEAD.sub("", pattern.value)
    if SPECIAL.search(text):
        raise FlawError(
            f"expected terminals of one text each, found {terminal.name} of /{pattern.value}/; write its texts as rules"
        )
    return re.sub(r"\\(.)", r"\1", text)


def alphabet(words: Iterable[str]) -> str:
    """The grammar of all sequences of some words, such as characters: one rule for each, and one that ends.

    >>> grammar = Grammar(alphabet("xyz"))
    >>> grammar.parse("yx"), grammar.write([3])
    ([1, 0, 3], '')
    """
    return "start: " + " | ".join(f"{json.dumps(word)} start" for word in words) + " |\n"
