"""Sentences of a small grammar, as files and as pictures of a generator that writes."""

import numpy as np
import pytest
import torch

from fgcli import artifacts, config
from fgcli.capabilities import Writes
from fgcli.generators import GENERATORS

GRAMMAR = 'start: start "+" term | term\nterm: "x" | "1" | "(" start ")"\n'
STEPS = 9
SHAPE = (6, 1, STEPS)
"""Of its sentences as pictures."""


def grammar():
    """The small grammar; the test is skipped where lark is not installed."""
    pytest.importorskip("lark")
    from fgcli.grammars import Grammar

    return Grammar(GRAMMAR)


def shape_of(name, shape):
    """Of a generator's pictures: `shape`, or that of sentences."""
    if not issubclass(config.lookup(GENERATORS, name, "test"), Writes):
        return shape
    pytest.importorskip("lark")
    return SHAPE


def draw(grammar, rng, limit):
    """A random derivation of at most `limit` rules, each of those with which it can still end in time."""
    stack, rules, owed = [0], [], grammar.shortest[0]
    while stack:
        head = stack.pop()
        owed -= grammar.shortest[head]
        costs = {i: sum(grammar.shortest[s] for s in r.symbols) for i, r in enumerate(grammar.rules) if r.head == head}
        number = int(rng.choice([i for i, cost in costs.items() if len(rules) + 1 + cost + owed <= limit]))
        rules.append(number)
        owed += costs[number]
        stack += reversed(grammar.rules[number].symbols)
    return rules


def derivations(n, seed=0):
    """Rules (n, STEPS) int16 of random sentences, -1 after the end."""
    rng, rules = np.random.default_rng(seed), np.full((n, STEPS), -1, np.int16)
    for row in rules:
        found = draw(grammar(), rng, STEPS)
        row[: len(found)] = found
    return rules


def planes(n, seed=0):
    """The same as float pictures (n, 6, 1, STEPS)."""
    from fgcli.pixels import tensor

    return tensor(artifacts.Planes(derivations(n, seed), SHAPE[0])[:])


def write_sentences(path, n=40):
    """A sentences.h5: of ten, eight train, one validates, one tests."""
    known, rules = grammar(), derivations(n)
    arrays = {
        "rules": rules,
        "text": [known.write(row[row >= 0]) for row in rules],
        "target": np.full(n, np.nan, np.float32),
        "split": np.array([0, 0, 0, 1, 0, 2, 0, 0, 0, 0], np.uint8)[np.arange(n) % 10],
        "rejected/source": np.zeros(0, "S1"),
        "rejected/reason": np.zeros(0, "S1"),
    }
    meta = {"grammar": GRAMMAR, "rules": known.names, "language": "text", "source": "drawn", "licence": "none"}
    artifacts.save(path, artifacts.SENTENCES, arrays, params={}, inputs={}, meta=meta)
    return path


def uniform(model):
    """A generator that writes whose decoder likes everything equally: its choices are the mask's alone."""
    torch.nn.init.zeros_(model.decoder.choose.weight)
    return model
