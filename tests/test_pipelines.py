"""The params of every pipeline, small and as in print: each key is known, and what they name can be made."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from fgcli import config
from fgcli.attacks import ATTACKS
from fgcli.config import build, supply
from fgcli.datasets import DATASETS
from fgcli.densities import DENSITIES
from fgcli.errors import FgError, UsageError
from fgcli.generators import GENERATORS
from fgcli.metrics import create
from fgcli.objectives import OBJECTIVES

PIPELINES = Path(__file__).parents[1] / "pipelines"
COMMANDS = ("preprocess", "train", "invert", "density", "evaluate", "classifier", "classify", "attack")


def labels(file):
    return list(yaml.safe_load((PIPELINES / file).read_text()))


def combinations():
    """Files of params, in the order in which dvc.yaml or the head of params.paper.yaml names them."""
    for line in labels("masked_vae/variants.yaml"):
        yield f"masked_vae/variants.yaml:{line}", "masked_vae/params.yaml"
        yield "masked_vae/params.paper.yaml", f"masked_vae/variants.yaml:{line}"
    for model in labels("rae/variants.yaml"):
        for data in ("digits", "faces"):
            yield "rae/params.yaml:common", f"rae/variants.yaml:{model}", f"rae/params.yaml:{data}"
    for line in labels("rae/variants.paper.yaml"):
        yield f"rae/variants.paper.yaml:{line}", f"rae/params.paper.yaml:{line.partition('-')[0]}"
    for model in labels("adversarial_vae/variants.yaml"):
        yield "adversarial_vae/params.yaml", f"adversarial_vae/variants.yaml:{model}"
    for data in labels("adversarial_vae/params.paper.yaml"):
        yield (f"adversarial_vae/params.paper.yaml:{data}",)
    for model in labels("gmm_vae/variants.yaml"):
        yield "gmm_vae/params.yaml", f"gmm_vae/variants.yaml:{model}"
        for data in labels("gmm_vae/params.paper.yaml"):
            yield f"gmm_vae/params.paper.yaml:{data}", f"gmm_vae/variants.yaml:{model}"


@pytest.mark.parametrize("files", combinations(), ids=" ".join)
def test_params_of_pipelines_make_what_they_name(files):
    raw = config.read(str(PIPELINES / file) for file in files)
    stages = {name: importlib.import_module(f"fgcli.stages.{name}") for name in COMMANDS}
    params = {name: config.section(raw, name, stage.Params) for name, stage in stages.items()}
    size, train = params["preprocess"].size, params["train"]
    for spec in params["preprocess"].datasets:
        assert spec["name"] in DATASETS
    with torch.device("meta"):  # layers without numbers: the published widths are large
        generator = build(GENERATORS, train.generator, "train.generator", image_shape=(3, size, size))
    known = torch.arange(200).repeat(200)
    objective = supply(OBJECTIVES, train.objective, "train.objective", generator=generator, labels=known)
    assert all(phase.parameters for phase in objective.phases)
    for label, spec in params["density"].methods.items():
        build(DENSITIES, spec, label)
    for label, spec in params["attack"].methods.items():
        build(ATTACKS, spec, label)
    for spec in params["evaluate"].metrics:
        assert mistake(spec, size) is None


def mistake(spec, size):
    """The error in a metric's params; weights that are not here and pictures too small are none."""
    try:
        create(spec, "evaluate.metrics", image_shape=(3, size, size), embedder=SimpleNamespace(verify=lambda who: None))
    except FgError as error:
        return error if isinstance(error, UsageError) else None
