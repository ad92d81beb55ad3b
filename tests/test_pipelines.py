"""The params of every pipeline, small and as in print: each key is known, and what they name can be made."""

import functools
import importlib
from types import SimpleNamespace

import pytest
import torch
from pipeline_files import FOLDERS, ROOT, combinations, labels
from sentence_files import GRAMMAR, shape_of

from fgcli import config
from fgcli.attacks import ATTACKS
from fgcli.capabilities import Solved, Wraps, Writes
from fgcli.cli import discovery
from fgcli.config import build, supply
from fgcli.datasets import DATASETS
from fgcli.datasets.texts import SOURCES
from fgcli.densities import DENSITIES
from fgcli.errors import FgError, UsageError
from fgcli.generators import GENERATORS
from fgcli.metrics import create
from fgcli.objectives import OBJECTIVES
from fgcli.procedural import procedural_head
from fgcli.training.augment import Augment
from fgcli.training.columns import COLUMNS

STAGES = {name: importlib.import_module(f"fgcli.stages.{name}") for name in discovery.stages()}
READ = {files: run for folder in FOLDERS for files, run in combinations(folder).items()}


@pytest.mark.parametrize("files", READ, ids=" ".join)
def test_params_of_pipelines_make_what_they_name(files):
    raw = config.read([str(ROOT / file) for file in files])
    params = {name: config.section(raw, name, stage.Params) for name, stage in STAGES.items()}
    assert READ[files], "no stage reads them"
    for name in READ[files]:
        if name in MAKES:
            MAKES[name](params[name], params["preprocess"].size)


def makes_data_sets(params, size):
    for spec in params.datasets:
        assert spec["name"] in DATASETS


@functools.cache
def head():
    """Whose parameters conditions show."""
    return procedural_head()


def makes_sentences(params, size):
    assert params.source["name"] in SOURCES


def makes_training(params, size):
    spec, shape = params.generator, shape_of(params.generator["name"], (3, size, size))
    kind = config.lookup(GENERATORS, spec["name"], "train.generator.name")
    if issubclass(kind, Writes):  # sentences.h5 tells them
        spec, shape = {**spec, "grammar": GRAMMAR}, (*shape[:2], 40)
    if issubclass(kind, Wraps):
        spec = {**spec, "of": {"name": "invertible_stylegan2", "codes": 4, "widest": 2}}  # --init-from names it
    with torch.device("meta"):  # layers without numbers: the published widths are large
        generator = build(GENERATORS, spec, "train.generator", image_shape=shape)
    if isinstance(generator, Solved):
        return
    given = {"generator": generator, "seed": params.seed, "head": head()}
    objective = supply(OBJECTIVES, params.objective, "train.objective", **given)
    assert all(group.parameters for group in objective.groups.values())
    for need in objective.needs:  # augmentations must leave what it needs true
        column = COLUMNS[need] if isinstance(need, str) else need
        Augment(**params.augment.model_dump()).verify({column.name: column}, "train.augment")


def makes_densities(params, size):
    for label, spec in params.methods.items():
        build(DENSITIES, spec, label)


def makes_attacks(params, size):
    for label, spec in params.methods.items():
        build(ATTACKS, spec, label)


def makes_metrics(params, size):
    for spec in params.metrics:
        assert mistake(spec, size) is None


MAKES = {
    "preprocess": makes_data_sets,
    "sentences": makes_sentences,
    "train": makes_training,
    "density": makes_densities,
    "attack": makes_attacks,
    "evaluate": makes_metrics,
}


def mistake(spec, size):
    """The error in a metric's params; weights that are not here and pictures too small are none."""
    try:
        create(spec, "evaluate.metrics", image_shape=(3, size, size), embedder=SimpleNamespace(verify=lambda who: None))
    except FgError as error:
        return error if isinstance(error, UsageError) else None


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_command_reads_every_label(folder):
    known = {file for files in combinations(folder) for file in files}
    for path in folder.glob("*.yaml"):
        name = str(path.relative_to(ROOT))
        if path.name not in ("dvc.yaml", "paper.yaml") and name not in known:
            unread = [label for label in labels(path) if f"{name}:{label}" not in known]
            assert not unread, f"{name}: expected a command in dvc.yaml or in a comment for {unread}, found none"


def test_a_new_paper_is_found_by_its_commands(tmp_path):
    folder = tmp_path / "pipelines/mine"
    folder.mkdir(parents=True)
    assert combinations(folder) == {}
    for name, text in MINE.items():
        (folder / name).write_text(text)
    home = "pipelines/mine/"
    small = {(f"{home}params.yaml", f"{home}variants.yaml:{name}"): ["train", "invert"] for name in ("A", "B")}
    full = {
        (f"{home}variants.paper.yaml:{data}-{name}", f"{home}params.paper.yaml:{data}"): ["train"]
        for data, name in (("mnist", "A"), ("mnist", "B-2"), ("svhn", "A"))
    }
    assert combinations(folder) == small | full
    (folder / "dvc.yaml").unlink()
    assert combinations(folder) == full


MINE = {
    "dvc.yaml": """
stages:
  runs:
    foreach: [A, B]
    do:
      wdir: ../..
      cmd: fgcli chain train invert --params pipelines/mine/params.yaml
        --params pipelines/mine/variants.yaml:${item} --folder out/${item}
  paper:
    cmd: fgcli paper --paper paper.yaml
""",
    "params.yaml": "train: {steps: 1}\n",
    "variants.yaml": "A: {}\nB: {}\n",
    "variants.paper.yaml": "mnist-A: {}\nmnist-B-2: {}\nsvhn-A: {}\n",
    "params.paper.yaml": """
# fg aligns the faces itself. For example:
#   fg train --params pipelines/mine/variants.paper.yaml:${data}-${model} \\
#     --params pipelines/mine/params.paper.yaml:${data} -o "out/${model}.h5"
mnist: {}
svhn: {}
""",
}
