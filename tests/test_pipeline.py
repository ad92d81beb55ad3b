"""The whole chain on real photos, small: `dvc repro`, nothing to do the second time, and equal bytes by plain `fg`."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from fgcli import artifacts, inverters
from fgcli.cli import app
from fgcli.datasets.orl import orl
from fgcli.faces.cutter import Cutter
from fgcli.generators import store
from fgcli.pixels import tensor
from fgcli.reports.pictures import decoded

ROOT = Path(__file__).parents[1]
OUTPUTS = ["faces", "flame", "regressor", "generator", "latents", "judges", "density", "editor", "evaluation"]
STAGES = [
    *("preprocess", "data make procedural_heads", "regressor", "flame", "train"),
    *("invert", "judges", "density", "editor", "edits", "evaluate", "report"),
]
SMALL = {
    "preprocess": {
        "datasets": [{"name": "image_folder", "path": "photos", "attributes": "attributes.csv"}],
        "size": 32,
        "processes": 1,
        "val": 0.2,
        "test": 0.2,
    },
    "heads": {"n": 40, "size": 32, "head": {"name": "procedural", "detail": 0.72}, "val": 0.2, "processes": 1},
    "regressor": {"width": 8, "steps": 10, "batch": 8, "validate_steps": 5, "threads": 1, "precision": "float32"},
    "flame": {"head": {"name": "procedural", "detail": 0.72}, "max_failed": 0.5},
    "train": {
        "generator": {"name": "masked_vae", "codes": 8, "width": 0.1},
        "objective": {"name": "masked_elbo"},
        "steps": 12,
        "batch": 8,
        "warmup": 2,
        "validate_steps": 6,
        "checkpoint_steps": 6,
        "threads": 1,
    },
    "judges": {
        "network": {"name": "residual", "width": 0.1},
        "hidden": 4,
        "steps": 4,
        "batch": 8,
        "validate_steps": 2,
        "threads": 1,
        "precision": "float32",
    },
    "edits": {"trials": [1.0], "compared": 2},
    "evaluate": {"samples": 8},
    "density": {"methods": {"gmm": {"name": "gmm", "components": 2, "starts": 1}}},
    "editor": {
        "attributes": ["smiling"],
        "methods": {
            "matched_difference": {"name": "mean_difference", "match": ["eyeglasses"]},
            "latent_wasserstein": {"name": "latent_wasserstein", "match": ["eyeglasses"], "steps": 3},
        },
    },
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with eight people's photos from ORL, their attributes, small params and the project's dvc.yaml."""
    folder = tmp_path_factory.mktemp("project")
    known = orl()
    lines = ["file,identity,smiling,eyeglasses"]
    (folder / "photos").mkdir()
    for i in range(0, 80, 3):
        name = known.sources[i].replace("/", "_").replace(".pgm", ".png")
        Image.open(known.photos[i].path).save(folder / "photos" / name)
        row = dict(zip(known.attribute_names, known.attributes[i], strict=True))
        lines.append(f"{name},person{i // 10},{row['smiling']},{row['eyeglasses']}")
    (folder / "attributes.csv").write_text("\n".join(lines) + "\n")
    stages = (ROOT / "dvc.yaml").read_text()
    (folder / "dvc.yaml").write_text(stages.replace("deps: [", "deps: [photos, attributes.csv, ", 1))
    (folder / "fgcli").symlink_to(ROOT / "fgcli")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name, section in SMALL.items():
        params[name] |= section
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return folder


def dvc(folder: Path, *arguments: str) -> str:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "DVC_NO_ANALYTICS": "1",
    }
    command = [sys.executable, ROOT / "tests/forked_dvc.py", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def reproduced(project):
    """The project after `dvc repro`."""
    dvc(project, "init", "--no-scm", "--quiet")
    dvc(project, "repro")
    return project


def test_repro_writes_every_artifact_and_then_has_nothing_to_do(reproduced):
    for name in OUTPUTS:
        stored = artifacts.load(reproduced / f"out/{name}.h5", names=())
        assert stored.schema.startswith(name)
    assert (reproduced / "out/report.html").read_text().startswith("<!doctype html>")
    assert "Data and pipelines are up to date" in dvc(reproduced, "repro")
    assert "ssim" in dvc(reproduced, "metrics", "show", "--md")


def test_new_photos_make_repro_run(reproduced, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(reproduced, mine, symlinks=True)
    text, lock = (mine / "dvc.yaml").read_text(), (mine / "dvc.lock").read_text()
    (mine / "dvc.yaml").write_text(text.replace("photos, attributes.csv, ", ""))
    (mine / "dvc.lock").unlink()
    with pytest.raises(AssertionError, match=r"dvc.yaml: .* found no photos, attributes.csv; add"):
        dvc(mine, "repro", "preprocess")
    (mine / "dvc.yaml").write_text(text)
    (mine / "dvc.lock").write_text(lock)
    photos = orl().photos
    for i in (201, 203, 205):
        Image.open(photos[i].path).save(mine / f"photos/new{i}.png")
    assert "rows: 30" in dvc(mine, "repro", "preprocess")
    with open(mine / "attributes.csv", "a") as table:
        table.write("new201.png,anna,1,0\n")
    assert "modified:           attributes.csv" in dvc(mine, "status", "preprocess")


def test_faces_of_photos_go_out_and_come_back_as_the_same_bytes(reproduced, tmp_path):
    faces, folder, back = reproduced / "out/faces.h5", tmp_path / "folder", tmp_path / "faces.h5"
    for words in (["export", faces, folder], ["import", folder, "-o", back]):
        done = CliRunner().invoke(app, ["data", *map(str, words)])
        assert done.exit_code == 0, done.output
    assert "enlargement" in artifacts.layout(back)
    assert back.read_bytes() == faces.read_bytes()


def test_provenance_chains_the_files(reproduced):
    out = reproduced / "out"
    for name, inputs in {
        "flame": ["faces", "regressor"],
        "generator": ["faces"],
        "latents": ["faces", "generator"],
        "density": ["latents"],
        "editor": ["latents"],
    }.items():
        told = artifacts.load(out / f"{name}.h5", names=()).inputs
        assert told == {i: artifacts.sha256(out / f"{i}.h5") for i in inputs}
    assert b"attributes.csv" in (out / "faces.h5").read_bytes()
    assert b"attributes.csv" not in (out / "generator.h5").read_bytes()  # which is given away


def test_the_same_by_plain_commands_is_equal_byte_for_byte(reproduced, monkeypatch):
    monkeypatch.chdir(reproduced)
    first = {path.name: path.read_bytes() for path in sorted((reproduced / "out").glob("*.*"))}
    shutil.move(reproduced / "out", reproduced / "out.first")
    for stage in STAGES:
        done = CliRunner().invoke(app, [*stage.split(), "--debug"])
        assert done.exit_code == 0, done.output
    for name, content in first.items():
        assert (reproduced / "out" / name).read_bytes() == content, name


def test_a_finished_run_says_so_and_writes_the_same(reproduced, monkeypatch):
    monkeypatch.chdir(reproduced)
    before = Path("out/generator.h5").read_bytes()
    done = CliRunner().invoke(app, ["train"])
    assert "going on from step 12 of 12" in done.output
    assert Path("out/generator.h5").read_bytes() == before


def test_tensorboard_when_asked(reproduced, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(reproduced)
    done = CliRunner().invoke(app, ["train", "--tensorboard", "--steps", "6", "--folder", "tb", "-o", "tb.h5"])
    assert done.exit_code == 0, done.output
    events = EventAccumulator("tb/events").Reload()
    line = json.loads(Path("tb/stats.jsonl").read_text())
    assert events.Scalars("vae/l2")[0].value == pytest.approx(line["vae/l2"])


def test_pictures_of_photos_and_rows(reproduced, monkeypatch):
    monkeypatch.chdir(reproduced)
    photo = sorted(str(p) for p in Path("photos").iterdir())[0]
    for arguments in (
        ["edit", photo, "3", "--attribute", "smiling", "--strength", "-2:2:3", "-o", "edit.png"],
        ["sample", "-n", "6", "--columns", "3", "-o", "sample.png"],
        ["sample", "-n", "6", "--density", "prior", "-o", "prior.png"],
        ["reconstruct", photo, "0", "-o", "reconstruct.png"],
        ["interpolate", photo, "4", "--frames", "5", "-o", "walk.png"],
    ):
        done = CliRunner().invoke(app, [*arguments, "--json", "--debug"])
        assert done.exit_code == 0, done.output
        told = json.loads(done.output.splitlines()[-1])["output"]
        written = [told] if isinstance(told, str) else told
        assert all(np.asarray(Image.open(path)).std() > 5 for path in written)
    width, height = Image.open("edit.png").size
    assert width > 5 * 128
    assert height > 2 * 128


def test_edited_photos_are_whole_and_their_own(reproduced, monkeypatch):
    """A file per strength, at the photo's size; at strength 0 the photo itself."""
    monkeypatch.chdir(reproduced)
    small = Image.open(sorted(Path("photos").iterdir())[0]).convert("RGB")
    for folder in ("one", "two"):
        Path(folder).mkdir()
        small.resize((552, 672)).save(f"{folder}/anna.png")
    edit = [
        "edit",
        "one/anna.png",
        "two/anna.png",
        "3",
        "-a",
        "smiling",
        "--method",
        "matched_difference",
        "--debug",
        "--json",
    ]
    done = CliRunner().invoke(app, [*edit, "--strength", "-9:9:3", "-o", "whole/strip.png"])
    assert done.exit_code == 0, done.output
    written = json.loads(done.output.splitlines()[-1])["output"]
    names = [f"strip-{i}-anna-{s}.png" for i in (1, 2) for s in ("-9", "+0", "+9")]
    assert written == [f"whole/{name}" for name in ("strip.png", *names)]
    before, none, after = (np.asarray(Image.open("one/anna.png" if i is None else written[i])) for i in (None, 2, 3))
    assert (none == before).all()
    assert 0.005 < (after != before).any(2).mean() < 0.8  # the face nearly fills photos of ORL
    assert (after[0] == before[0]).all()
    done = CliRunner().invoke(app, [*edit, "--strength", "1", "-o", "strip.jpg"])
    assert {Image.open(path).format for path in json.loads(done.output.splitlines()[-1])["output"]} == {"JPEG"}


def test_photos_are_inverted_as_latents_were(reproduced, monkeypatch):
    """By the encoder, or by optimisation where latents.h5 was: other codes, other pictures, the same commands."""
    monkeypatch.chdir(reproduced)
    photo = sorted(str(p) for p in Path("photos").iterdir())[0]
    quick = ["--set", "invert.inverter={name: optimize, steps: 4, starts: 4}"]
    assert CliRunner().invoke(app, ["invert", "-o", "optimised.h5", *quick]).exit_code == 0
    pictures = []
    for latents in ("out/latents.h5", "optimised.h5", "optimised.h5"):
        done = CliRunner().invoke(app, ["reconstruct", photo, "--latents", latents, "-o", "one.png", "--debug"])
        assert done.exit_code == 0, done.output
        pictures.append(Path("one.png").read_bytes())
    assert pictures[0] != pictures[1] == pictures[2]
    model = store.load(Path("out/generator.h5"))
    inverter, context = inverters.load(Path("optimised.h5"), model)
    x = tensor(Cutter.of(Path("out/generator.h5")).photo(Path(photo)).image[None])
    drawn = decoded(model, inverter.invert(model, x, context))[0]
    sheet = np.asarray(Image.open("one.png"))
    assert (sheet[-4 * 32 :, -2 * 4 * 32 - 2 : -4 * 32 - 2][::4, ::4] == drawn).mean() > 0.99


def test_readmes_python_runs(reproduced, monkeypatch):
    monkeypatch.chdir(reproduced)
    shutil.copy(sorted(Path("photos").iterdir())[0], "photo.jpg")
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    names: dict[str, object] = {}
    exec(code.replace("latent_wasserstein", "matched_difference"), names)  # three steps of the one move nothing
    width, height = Image.open("smiling.png").size
    assert (width > 32, height > 2 * 64) == (True, True)
    assert names["smiling"].space == "z"
    assert not np.array_equal(names["smiling"].numpy(), names["code"].numpy())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["edit", "params.yaml", "-a", "smiling"], "params.yaml: not an image"),
        (["edit", "3", "-a", "smilin"], "--attribute smilin: expected one of smiling"),
        (["edit", "3", "-a", "smiling", "--method", "x"], "expected one of matched_difference, latent_wasserstein"),
        (["edit", "999", "-a", "smiling"], "expected a row below"),
        (["edit", "3", "-a", "smiling", "-o", "strip.bmp"], "strip.bmp: expected a picture's ending, .png, .jpg"),
        (["sample", "-o", "faces"], "faces: expected a picture's ending, .png, .jpg"),
        (
            ["edit", "a.png", "-a", "smiling", "-o", "a.png"],
            "-o a.png: expected a file of its own, found that a.png",
        ),
        (["edit", "a.png", "-a", "smiling", "--strength", "1:1:2"], "+1.png: expected a file of its own, found that"),
        (["preprocess", "--sheet", "faces.gif"], "faces.gif: expected a picture's ending, .png, .jpg"),
        (["edit", "²", "-a", "smiling"], "²: expected a photo or a row number, found no such file"),
        (["sample", "--density", "x"], "expected one of gmm, found 'x'"),
        (
            ["invert", "--faces", "out/latents.h5", "-o", "new.h5"],
            "expected a faces/2 file, found a latents/2 file",
        ),
    ],
)
def test_wrong_requests_are_refused(reproduced, monkeypatch, arguments, message):
    monkeypatch.chdir(reproduced)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code in (1, 2)
    assert message in " ".join(done.output.split())


def test_files_of_another_generator_are_refused(reproduced, monkeypatch):
    monkeypatch.chdir(reproduced)
    done = CliRunner().invoke(app, ["train", "-o", "pca.h5", "--set", "train.generator={name: pca, codes: 8}"])
    assert done.exit_code == 0, done.output
    for arguments in (["sample"], ["edit", "3", "-a", "smiling"], ["evaluate"]):
        done = CliRunner().invoke(app, [*arguments, "--generator", "pca.h5"])
        assert done.exit_code == 1
        assert "another generator" in done.output
