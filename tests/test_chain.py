"""fg chain: stages one after the other in a folder of their own, the same as one by one."""

import inspect
from pathlib import Path

import yaml
from conftest import SMALL_RUN
from typer.testing import CliRunner

from fgcli.cli import app
from fgcli.cli.stage import own
from fgcli.stages import evaluate

run = CliRunner().invoke
DENSITY = {"methods": {"gaussian": {"name": "gaussian", "regularize": 0.3}}}


def test_chained_stages_are_the_stages_one_by_one(faces, tmp_path):
    params, variants = tmp_path / "params.yaml", tmp_path / "variants.yaml"
    params.write_text(
        yaml.safe_dump({"train": {**SMALL_RUN, "generator": {"codes": 8, "width": 0.1}}, "density": DENSITY})
    )
    variants.write_text(yaml.safe_dump({"RAE": {"train": {"generator": {"name": "conv_autoencoder"},
                                                          "objective": {"name": "rae"}}}}))  # fmt: skip
    given = ["--params", f"{variants}:RAE", "--params", str(params)]
    chain = ["chain", "train", "invert", "density", *given, "--folder", str(tmp_path / "runs"), "--seeds", "0,3"]
    done = run(app, [*chain, "--use", f"faces={faces}"])
    assert done.exit_code == 0, done.output
    home = tmp_path / "runs/seed3"
    assert {p.name for p in home.iterdir()} == {"generator.h5", "latents.h5", "density.h5", "train"}
    assert "seed3.density.rows: 48" in done.stdout

    alone = tmp_path / "alone"
    paths = {name: str(alone / f"{name}.h5") for name in ("generator", "latents", "density")}
    seeded = [*given, *(f"--set={stage}.seed=3" for stage in ("train", "invert", "density"))]
    for command in (
        ["train", "--faces", str(faces), "-o", paths["generator"], "--folder", str(alone / "train")],
        ["invert", "--faces", str(faces), "--generator", paths["generator"], "-o", paths["latents"]],
        ["density", "--latents", paths["latents"], "-o", paths["density"]],
    ):
        assert run(app, [*command, *seeded]).exit_code == 0
    for name, path in paths.items():
        assert (home / f"{name}.h5").read_bytes() == Path(path).read_bytes(), name
    other = tmp_path / "runs/seed0/generator.h5"
    assert other.read_bytes() != (home / "generator.h5").read_bytes()


def test_a_chain_says_what_it_cannot_do(tmp_path):
    for arguments, message in (
        (["trian"], "expected stages of regressor, flame, conditions, obedience, classifier, train, "),
        (["train", "--seeds", "0,x"], "--seeds: expected numbers"),
        (["train", "--seeds", "²"], "--seeds: expected numbers below 2^63"),
        (["train", "--seeds", "-1"], "--seeds: expected numbers below 2^63"),
        (["train", "--seeds", f"0,{2**63}"], "--seeds: expected numbers below 2^63"),
        (["train", "--seeds", "1" * 5000], "--seeds: expected numbers below 2^63"),
        (["train", "--use", "faces"], "--use: expected NAME=FILE"),
        (["invert"], "seed0/faces.h5: expected an fg artifact"),
        (["train", "--use", f"faces={tmp_path}/none.h5"], "none.h5: expected an fg artifact, found no such file"),
    ):
        done = run(app, ["chain", *arguments, "--folder", str(tmp_path)])
        assert done.exit_code in (1, 2)
        assert message in done.stderr, done.output
        assert done.stderr.count("\n") == 1


def test_only_a_file_that_a_stage_can_do_without_may_be_absent(tmp_path):
    parameters = inspect.signature(evaluate.run).parameters
    absent, present = tmp_path / "absent.h5", tmp_path / "present.h5"
    present.touch()
    assert own(parameters["density"], absent) is None
    assert own(parameters["density"], present) == present
    assert own(parameters["faces"], absent) == absent


def test_mistakes_are_told_before_the_first_stage(faces, tmp_path):
    chain = ["chain", "train", "invert", "--folder", str(tmp_path / "runs"), "--set", "train.steps=1"]
    done = run(app, [*chain, "--use", f"faces={faces}", "--set", "invert.bach=4"])
    assert done.exit_code == 2
    assert "invert.bach: unknown key (did you mean 'batch'?)" in done.output
    done = run(app, [*chain, "--use", f"face={faces}"])
    assert done.exit_code == 2
    assert (
        "--use: expected one of faces, output, folder, flame, conditions, init_from, generator, found 'face'"
        in done.output
    )
    assert "did you mean 'faces'?" in done.output
    assert not (tmp_path / "runs").exists()
