"""The examples in docstrings are run."""

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

import fgcli

HOME = Path(fgcli.__file__).parent
WITH_EXAMPLES = [path for path in sorted(HOME.rglob("*.py")) if ">>>" in path.read_text()]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(HOME)))
def test_examples(path):
    if path.parent.name == "grammars":
        pytest.importorskip("lark")
    name = ".".join(path.relative_to(HOME.parent).with_suffix("").parts).removesuffix(".__init__")
    found = doctest.testmod(importlib.import_module(name), extraglobs={"np": np, "torch": torch})
    assert found.attempted
    assert not found.failed
