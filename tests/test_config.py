"""Params: overlays, ranges, nearest names; registries build what params say."""

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pytest
from pydantic import Field

from fgcli import config
from fgcli.cli.discovery import stages
from fgcli.config import yaml12
from fgcli.errors import UsageError
from fgcli.stages import density, train

if TYPE_CHECKING:
    from fractions import Fraction

ROOT = Path(__file__).parents[1]


class Params(config.Section):
    steps: Annotated[int, Field(ge=1)]
    rate: float
    part: config.Spec


def test_every_section_of_params_yaml_fits_its_stage():
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
    [("a: [", "mistake"), ("- 1", "found a list"), ("trian: {}", "found 'trian' (did you mean 'train'?)")],
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


LINES = """
yes: yes
Off: off
sexagesimal: 1:30
base: 010
octal: 0o10
hex: 0x10
binary: 0b1
underscore: 1_000
date: 2024-05-01
none: ~
nothing:
bool: True
float: 1.
quoted: "no"
list: [1e3, +2, -.5]
"""


def test_yaml_is_read_as_of_version_1_2():
    words = ("yes", "off", "1:30", 10, 8, 16, "0b1", "1_000", "2024-05-01", None, None, True, 1.0, "no")
    found = yaml12.load(LINES, "x")
    assert list(found.values()) == [*words, [1000.0, 2, -0.5]]
    assert [type(v) for v in found["list"]] == [float, int, float]
    assert list(found)[:2] == ["yes", "Off"]


def test_yaml_keeps_anchors_and_merge_keys():
    found = yaml12.load("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\nc: *a\nd: {<<: [*a, {z: 4}]}\n", "x")
    assert found == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 2}, "d": {"x": 1, "y": 2, "z": 4}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:\n  steps: 1\ntrain:\n  batch: 2\n", "p.yaml, line 3: expected each key once, found 'train' again"),
        ("train:\n  augment: {flip: 0, flip: 1}", "line 2: expected each key once, found 'flip' again; keep one"),
        ("train:\n  clip: .inf", "p.yaml, line 2: train.clip: expected a finite number, found .inf; correct it"),
        ("train:\n  betas: [0.9, .NaN]", "line 2: train.betas.1: expected a finite number, found .NaN"),
        ("train: {clip: 1e999}", "line 1: train.clip: expected a finite number, found 1e999"),
        ("1: {}", "p.yaml, line 1: expected a name as a key, found 1; write a name, or the key in quotes"),
        ("train: {true: 1}", "expected a name as a key, found true"),
        ("? [a]\n: 1", "expected a name as a key, found a collection"),
        ("train: [1, 2]", "p.yaml: section train: expected keys with values, found a list"),
        ("train: 5", "p.yaml: section train: expected keys with values, found a number"),
        ("train: !!python/name:os.system", "expected YAML, found a mistake"),
        ("train: !!int x", "expected YAML, found a mistake"),
        ("train: \x00", "expected YAML, found a mistake"),
        ("[" * 5000, "p.yaml: expected YAML, found it nested too deeply; correct it"),
        ("a: &a [*a]", "p.yaml: expected YAML, found it nested too deeply; correct it"),
    ],
)
def test_faulty_yaml_is_refused_by_its_place(tmp_path, text, message):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=re.escape(message)) as error:
        config.read([str(path)])
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_utf_8_is_told(tmp_path):
    (tmp_path / "p.yaml").write_bytes(b"train: {keep: '\xff'}")
    with pytest.raises(UsageError, match=r"p.yaml: expected YAML in UTF-8, found other bytes; save it as UTF-8"):
        config.read([str(tmp_path / "p.yaml")])


@pytest.mark.parametrize("text", ["", "# nothing\n", "train:\n", "train: {}\n", "train: {augment: , generator: }\n"])
def test_nothing_in_the_place_of_keys_means_their_defaults(tmp_path, text):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    assert config.read([str(path)]) == config.defaults()
    path.write_text("A:\n")
    assert config.read([f"{path}:A"]) == config.defaults()
    path.write_text("A: [1]\n")
    with pytest.raises(UsageError, match=r"p.yaml:A: expected keys with values, found a list"):
        config.read([f"{path}:A"])


def test_an_empty_mapping_is_a_value():
    raw = config.read([], ["attack.methods={}", "train.generator={}"])
    assert raw["attack"]["methods"] == {}
    with pytest.raises(UsageError, match=r"train.generator: value error, expected a mapping with a name, found {}"):
        config.section(raw, "train", train.Params)
    with pytest.raises(UsageError, match=r"density.methods: .* at least 1 item"):
        config.section(config.read([], ["density.methods={}"]), "density", density.Params)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("train.betas=[0.9", "--set train.betas=[0.9: expected YAML, found a mistake"),
        ("train.clip=.nan", "--set train.clip=.nan, line 1: "),
        ("train.augment={flip: 1, flip: 2}", "expected each key once, found 'flip' again"),
    ],
)
def test_sets_that_are_not_yaml_are_refused(item, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        config.read([], [item])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("seed=-1", "train.seed: input should be greater than or equal to 0, found -1"),
        (f"seed={10**20}", f"train.seed: input should be less than {2**63}, found {10**20}"),
        ("seed=true", "train.seed: input should be a valid integer, found true"),
        ('steps="7"', "train.steps: input should be a valid integer, found '7'"),
        ("tensorboard='no'", "train.tensorboard: input should be a valid boolean, found 'no'"),
        ("warmup=1:30", "train.warmup: input should be a valid integer, found '1:30'"),
        ("threads=100000", "train.threads: input should be less than or equal to 1024, found 100000"),
    ],
)
def test_params_are_of_their_type(item, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        config.section(config.read([], [f"train.{item}"]), "train", train.Params)


@pytest.mark.parametrize("name", stages())
def test_seeds_threads_and_processes_have_bounds(name):
    kind = importlib.import_module(f"fgcli.stages.{name}").Params
    for key, value in (("seed", 2**63), ("seed", -1), ("threads", 1025), ("processes", 1025)):
        if key in kind.model_fields:
            with pytest.raises(UsageError, match=rf"{name}.{key}: input should be"):
                config.section({name: {**config.defaults()[name], key: value}}, name, kind)


def test_numbers_of_params_are_finite():
    for value in (float("inf"), float("nan")):
        with pytest.raises(UsageError, match=r"train.learning_rate: .*finite number, found (inf|nan)"):
            config.section({"train": {**config.defaults()["train"], "learning_rate": value}}, "train", train.Params)


def test_text_that_is_not_utf_8_is_refused():
    with pytest.raises(UsageError, match=r"a: expected text in UTF-8, found other bytes; rename it"):
        config.section({"a": {"steps": 1, "rate": 1, "part": {"name": "\udcff"}}}, "a", Params)


@pytest.mark.parametrize("item", ["train.steps", "steps=1", "trian.steps=1"])
def test_bad_sets_are_refused(item):
    with pytest.raises(UsageError, match="expected"):
        config.read([str(ROOT / "params.yaml")], [item])


REGISTRY = {"fraction": "fractions:Fraction", "path": "pathlib:PurePosixPath",
            "part": "test_config:Part", "heir": "test_config:Heir"}  # fmt: skip


def test_registries_build_by_name_and_argument():
    spec = {"name": "fraction", "numerator": 3}
    assert config.build(REGISTRY, spec, "a.b", denominator=4) == 0.75


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"name": "fractoin"},
            "a.b.name: expected one of fraction, path, part, heir, found 'fractoin' (did you mean 'fraction'?)",
        ),
        ({"name": "fraction", "numertor": 1}, "a.b.numertor: unknown key (did you mean 'numerator'?)"),
        ({"name": "fraction", "numerator": "x"}, "a.b: Invalid literal for Fraction"),
        ({"name": "part", "size": "x"}, "a.b.size: input should be a valid integer, found 'x'; correct it"),
        ({"name": "part", "names": ["a", 1]}, "a.b.names.1: input should be a valid string, found 1; correct it"),
        ({"name": "part", "path": 2024}, "a.b.path: "),
        ({"name": "part", "path": "\udcff"}, "a.b.path: expected text in UTF-8, found other bytes; rename it"),
    ],
)
def test_registries_refuse_by_path(spec, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        config.build(REGISTRY, spec, "a.b")


class Part:
    """Knows one type only from type checkers."""

    def __init__(self, data: "Fraction", size: "int" = 1, names: "tuple[str, ...]" = (), path: "Path" = ROOT) -> None:
        self.told = (data, size, names, path)


class Heir(Part):
    """Inherits its constructor."""


def test_arguments_come_as_their_annotations_say():
    spec = {"name": "heir", "names": ["a"], "path": "x"}
    assert config.build(REGISTRY, spec, "a.b", data=3).told == (3, 1, ("a",), Path("x"))
