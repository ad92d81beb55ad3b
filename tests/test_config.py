"""Params: overlays, ranges, nearest names; registries build what params say."""

import re
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from fgcli import config
from fgcli.cli.discovery import stages
from fgcli.errors import UsageError
from fgcli.stages import train

ROOT = Path(__file__).parents[1]


class Params(config.Section):
    steps: Annotated[int, Field(ge=1)]
    rate: float
    part: config.Spec


def test_every_section_of_params_yaml_fits_its_stage():
    import importlib

    raw = config.read([str(ROOT / "params.yaml")])
    assert list(raw) == list(stages())
    for name in stages():
        stage = importlib.import_module(f"fgcli.stages.{name}")
        params = config.section(raw, name, stage.Params)
        assert set(params.model_dump()) == set(raw[name] or {}), name
        assert all(f.description for f in stage.Params.model_fields.values()), name


def test_every_key_of_params_yaml_is_explained():
    bare = [
        line
        for line in (ROOT / "params.yaml").read_text().splitlines()
        if ": " in line and "#" not in line and not re.match(r"^\s*(- )?name: ", line)
    ]
    assert bare == []


def test_params_overlay_defaults_and_sets_overlay_both(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("train:\n  steps: 7\n  learning_rate: 1e-5\n")
    raw = config.read([str(path)], ["train.augment.flip=0.25", "train.generator={name: pca, codes: 4}"])
    assert (raw["train"]["steps"], raw["train"]["learning_rate"]) == (7, 1e-5)
    assert raw["train"]["batch"] == config.defaults()["train"]["batch"]
    assert raw["train"]["augment"]["flip"] == 0.25
    assert raw["train"]["generator"] == {"name": "pca", "codes": 4}, "another name replaces the component whole"


def test_labelled_components_replace_the_defaults_but_can_be_reached_one_by_one(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("density:\n  methods:\n    mine: {name: gaussian}\n")
    raw = config.read([str(path)], ["density.methods.mine.regularize=0.5"])
    assert raw["density"]["methods"] == {"mine": {"name": "gaussian", "regularize": 0.5}}
    assert raw["density"]["seed"] == config.defaults()["density"]["seed"]


def test_numbers_are_numbers():
    raw = config.apply({"a": {}}, "a.x=[1e-3, 2, -3.5, .5, 1E4, true, 0.1.2]")
    assert raw["a"]["x"] == [0.001, 2, -3.5, 0.5, 10000.0, True, "0.1.2"]
    assert [type(v) for v in raw["a"]["x"][:3]] == [float, int, float]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"step": 1, "rate": 1, "part": {"name": "x"}}, "a.steps: expected a value"),
        ({"steps": 1, "rate": 1, "part": {"name": "x"}, "rat": 1}, "a.rat: unknown key (did you mean 'rate'?)"),
        ({"steps": 0, "rate": 1, "part": {"name": "x"}}, "greater than or equal to 1, found 0"),
        ({"steps": 1, "rate": "fast", "part": {"name": "x"}}, "found 'fast'"),
        ({"steps": 1, "rate": 1, "part": {}}, "expected a mapping with a name"),
    ],
)
def test_bad_params_are_refused_by_path(section, message):
    with pytest.raises(UsageError, match=re.escape(message)) as error:
        config.section({"a": section}, "a", Params)
    assert "\n" not in str(error.value)


def test_an_unknown_key_is_told_beside_its_neighbours():
    raw = config.apply(config.defaults(), "train.augment.flipp=1")
    with pytest.raises(
        UsageError, match=r"train.augment.flipp: unknown key \(did you mean 'flip'\?\); expected one of flip,"
    ):
        config.section(raw, "train", train.Params)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "mistake"), ("- 1", "found list"), ("trian: {}", "found 'trian' (did you mean 'train'?)")],
)
def test_bad_files_are_refused(tmp_path, text, message):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=re.escape(message)) as error:
        config.read([str(path)])
    assert str(path) in str(error.value)


def test_later_files_and_labels_overlay_earlier_ones(tmp_path):
    first, second = tmp_path / "p.yaml", tmp_path / "variants.yaml"
    first.write_text("train:\n  steps: 7\n  batch: 5\n")
    second.write_text("A: {train: {steps: 8}}\nB: {train: {steps: 9}, invert: {batch: 3}}\n")
    raw = config.read([str(first), f"{second}:B"])
    assert (raw["train"]["steps"], raw["train"]["batch"], raw["invert"]["batch"]) == (9, 5, 3)
    with pytest.raises(UsageError, match=r"variants.yaml: expected one of A, B, found 'C'"):
        config.read([f"{second}:C"])
    with pytest.raises(UsageError, match=r"none.yaml: expected a params file, found none"):
        config.read([f"{tmp_path}/none.yaml:A"])


@pytest.mark.parametrize("item", ["train.steps", "steps=1", "trian.steps=1"])
def test_bad_sets_are_refused(item):
    with pytest.raises(UsageError, match="expected"):
        config.read([str(ROOT / "params.yaml")], [item])


REGISTRY = {"fraction": "fractions:Fraction", "path": "pathlib:PurePosixPath"}


def test_registries_build_by_name_and_argument():
    spec = {"name": "fraction", "numerator": 3}
    assert config.build(REGISTRY, spec, "a.b", denominator=4) == 0.75


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "fractoin"}, "a.b.name: expected one of fraction, path, found 'fractoin' (did you mean 'fraction'?)"),
        ({"name": "fraction", "numertor": 1}, "a.b.numertor: unknown key (did you mean 'numerator'?)"),
        ({"name": "fraction", "numerator": "x"}, "a.b: Invalid literal for Fraction"),
    ],
)
def test_registries_refuse_by_path(spec, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        config.build(REGISTRY, spec, "a.b")
