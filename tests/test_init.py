"""Projects of one's own: what fg init writes, what it refuses, and that a wheel has all of it."""

import importlib
import json
import os
import re
import subprocess
from contextlib import chdir

import pytest
import yaml
from conftest import painted
from dvc.repo import Repo
from PIL import Image
from pipeline_files import ROOT, commands, stages
from typer.testing import CliRunner

from fgcli import config
from fgcli.cli import app
from fgcli.project import own, pipelines, rule, texts

run = CliRunner().invoke


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of 12 painted photos, and a table of one attribute beside it; nobody changes them."""
    folder = tmp_path_factory.mktemp("mine") / "my photos"
    folder.mkdir()
    for i, picture in enumerate(painted(12)[0]):
        Image.fromarray(picture).save(folder / f"{i}.png")
    lines = [f"{i}.png,{i % 2}" for i in range(12)]
    (folder.parent / "labels.csv").write_text("\n".join(["file,odd", *lines]))
    return folder


@pytest.fixture(scope="module")
def project(photos):
    """A project of these photos and labels."""
    folder = photos.parent / "project"
    labels = str(photos.parent / "labels.csv")
    done = run(app, ["init", str(folder), "--photos", str(photos), "--labels", labels, "--size", "16", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["rule"] == rule.RULE
    return folder


def written(folder):
    """A project's dvc.yaml."""
    return yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]


def refused(arguments, sentence):
    done = run(app, ["init", *map(str, arguments)])
    assert done.exit_code == 2, done.output
    assert sentence in " ".join(done.output.split())
    assert len(done.output.strip().splitlines()) == 1


def test_a_project_has_the_stages_of_the_pipeline_and_no_source_of_fg(project, photos):
    made, known = written(project), yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert list(made) == [name for name in known if name not in pipelines.LEARNED]
    assert made["preprocess"].pop("deps") == [str(photos), str(photos.parent / "labels.csv")]
    for name, stage in made.items():
        whole = known[name]
        data = [path for path in whole.pop("deps") if not path.startswith(("fgcli", "out/regressor.h5"))]
        assert stage.pop("deps", []) == data
        assert stage == whole
    assert len((project / "README.md").read_text().splitlines()) == 10


def test_dvc_reads_a_project(project):
    repo = Repo(str(project))
    assert {stage.name for stage in repo.index.stages} == set(written(project))
    assert repo.index.graph.number_of_edges() > 20


def test_params_of_a_project_are_fgs_but_for_the_photos_and_the_rule(project, photos):
    with chdir(project):
        raw = config.read([])
    for name, stage in written(project).items():
        for verb in (verb for words in commands(stage["cmd"]) for verb in stages(words)):
            config.section(raw, verb, importlib.import_module(f"fgcli.stages.{verb}").Params)
        assert stage["params"] == [name]
    labels = str(photos.parent / "labels.csv")
    data = {"name": "image_folder", "path": str(photos), "attributes": labels}
    beside = [{"name": name} for name in rule.BESIDE]
    assert raw == config.overlay(config.defaults(), own.changed([data, *beside], 12 + 610, 16, "masked_vae", True))
    assert "# optimiser steps" in (project / "params.yaml").read_text()


def test_the_first_command_of_a_project_tells_its_plan(project, monkeypatch):
    monkeypatch.chdir(project)
    done = run(app, ["preprocess", "--dry-run", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["params"]["size"] == 16


def test_without_labels_nothing_judges_and_directions_have_no_names(photos, tmp_path):
    done = run(app, ["init", str(tmp_path / "new"), "--photos", str(photos), "--size", "16", "--alone"])
    assert done.exit_code == 0, done.output
    made = written(tmp_path / "new")
    assert not {"judges", "edits"} & set(made)
    assert not [name for name, stage in made.items() if "out/judges.h5" in stage.get("deps", [])]
    assert config.parse(tmp_path / "new/params.yaml")["editor"]["methods"] == own.NO_LABELS["methods"]


@pytest.mark.parametrize("generator", config.parse(own.PRESETS))
def test_presets_fit_together(generator):
    own.verify(own.changed([{"name": "image_folder", "path": "photos"}], 60, 64, generator, True))


def test_many_photos_train_alone_and_with_a_regressor_of_heads(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(rule, "FEW", 12)
    done = run(app, ["init", str(tmp_path / "new"), "--photos", str(photos), "--json"])
    assert json.loads(done.output)["beside"].startswith("no other faces, which only fewer than 12 photos up to 128 px")
    assert written(tmp_path / "new")["flame"]["deps"] == ["out/faces.h5", "out/regressor.h5"]
    assert len(config.parse(tmp_path / "new/params.yaml")["preprocess"]["datasets"]) == 1


def test_few_photos_bring_labels_and_lack_other_faces_where_the_extra_is_not_installed(photos, tmp_path, monkeypatch):
    done = run(app, ["init", str(tmp_path / "with"), "--photos", str(photos), "--size", "128", "--json"])
    assert json.loads(done.output)["beside"].startswith("210 of openpeople, since 12 alone would")
    assert "fg edit PHOTO -a smiling=1" in (tmp_path / "with/README.md").read_text()
    monkeypatch.setattr("fgcli.datasets.packages.find_spec", lambda name: None)
    done = run(app, ["init", str(tmp_path / "without"), "--photos", str(photos), "--json"])
    assert done.exit_code == 0, done.output
    assert 'pip install "fgcli[demo]", then make the project anew' in json.loads(done.output)["beside"]
    assert "judges" not in written(tmp_path / "without")


def test_what_is_there_is_never_overwritten(photos, tmp_path):
    note = tmp_path / "note.txt"
    note.write_text("mine")
    refused([tmp_path, "--photos", photos], f"fg: {tmp_path}: expected an empty folder or none, found one with files")
    refused([note, "--photos", photos], f"fg: {note}: expected an empty folder or none, found a file")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_the_empty_folder_where_one_stands_is_filled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(app, ["init", ".", "--paper", "rae"])
    assert done.exit_code == 0, done.output
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {".dvc", ".gitignore", "README.md", "dvc.yaml", "params.yaml", "pipelines"} == set(os.listdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--paper", "ray"], "--paper: expected one of adversarial_vae, "),
        (["--paper", "heads"], "found 'heads'"),
        (["--paper", "rae", "--size", "32"], "--paper rae: expected the paper's own faces and params, found --size"),
        ([], "--photos: expected a folder of photos, or --paper NAME, found neither"),
        (["--photos", "PHOTOS", "--generator", "masked"], "--generator: expected one of masked_vae, "),
        (["--photos", "PHOTOS", "--size", "4"], "preprocess.size: input should be greater than or equal to 8, found 4"),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(photos, tmp_path, arguments, sentence):
    refused([tmp_path / "new", *(str(photos) if word == "PHOTOS" else word for word in arguments)], sentence)
    assert list(tmp_path.iterdir()) == []


def test_a_project_among_its_photos_is_refused(photos):
    refused([photos / "project", "--photos", photos], "expected a folder apart from the photos, found it among them")
    assert len(list(photos.iterdir())) == 12


def test_few_photos_are_refused(tmp_path):
    (tmp_path / "few").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "few/one.png")
    refused([tmp_path / "new", "--photos", tmp_path / "few"], "expected 12 photos or more, found 1")


@pytest.mark.parametrize("name", pipelines.papers())
def test_a_papers_project_needs_no_source_and_makes_all_that_it_reads(name):
    files = pipelines.of_paper(name)
    assert "wdir" not in files["dvc.yaml"]
    assert f"out/{name}/paper.html" in files["README.md"]
    assert f"out/{name}/paper.html" in files["dvc.yaml"]
    read, made = [], []
    for path, text in files.items():
        if path.endswith("dvc.yaml"):
            for block in yaml.safe_load(text)["stages"].values():
                stage = block.get("do", block)
                read += stage.get("deps", [])
                made += [next(iter(item)) if isinstance(item, dict) else item for item in stage.get("outs", [])]
                read += re.findall(r"--params (\S+?)(?::\S+)?(?: |$)", stage["cmd"])
    above = [path.split("${")[0] for path in made]
    for path in read:
        assert path in files or any(path.startswith(one) or one.startswith(path) for one in above), path


def test_dvc_reads_a_papers_project_with_the_pipeline_that_it_rests_on(tmp_path):
    done = run(app, ["init", str(tmp_path / "new"), "--paper", "latent_wasserstein"])
    assert done.exit_code == 0, done.output
    found = {stage.relpath for stage in Repo(str(tmp_path / "new")).index.stages}
    assert any(path.endswith("pipelines/invgan/dvc.yaml") for path in found)
    assert len(found) == 2


def test_values_are_put_into_params_and_comments_stay():
    text = "a:   # first\n  b: 1       # one\n  c:\n    - 2\n  d: {name: x}\ne:\n  b: 3\n"
    changed = texts.put(text, {"a": {"b": 20, "c": [7], "d": {"name": "y", "z": 1}}})
    assert changed == "a:   # first\n  b: 20      # one\n  c: [7]\n  d: {name: y, z: 1}\ne:\n  b: 3\n"


def test_a_wheel_has_every_file_of_the_package():
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(ROOT))
    inside = {file.distribution_path for file in builder.recurse_included_files()}
    listed = subprocess.run(["git", "ls-files", "fgcli"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wanted = {path for path in listed.split() if (ROOT / path).is_file()}
    linked = [path for path in (ROOT / "fgcli/project/pipelines").rglob("*.yaml")]
    wanted |= {str(path.relative_to(ROOT)) for path in linked}
    assert len(linked) > 30
    assert wanted <= inside
