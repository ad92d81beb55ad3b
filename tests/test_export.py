"""What leaves fg does the same outside of it, and says what it is."""

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import painted, write_faces
from PIL import Image
from safetensors import safe_open
from test_families import fitted, small
from typer.testing import CliRunner

from fgcli import artifacts
from fgcli.artifacts.outputs import ours
from fgcli.capabilities import Encodes, Generator, Mapped, Masks, Writes
from fgcli.cli import app
from fgcli.errors import FgError, UsageError
from fgcli.exports.parts import parts_of
from fgcli.generators import GENERATORS, store
from fgcli.stages import export as stage

ROOT = Path(__file__).parents[1]
LICENCE = "Painted faces: nobody's."


def stored(folder, name, faces=None):
    """generator.h5 of a registry's generator as it is built, and the generator."""
    generator, path = fitted(name).eval(), folder / "generator.h5"
    training = {"preprocess": {"framing": 0.8, "size": 16, "analyser": {"name": "dlib"}, "datasets": [{"name": "own"}]}}
    common = {"history": {}, "training": training, "params": {}, "inputs": {"faces": faces} if faces else {}}
    store.save(path, generator, ema=generator.state_dict(), build=small(GENERATORS, name), **common)
    return path, generator


def exported(path, name, output=None, faces=Path("none.h5")):
    return stage.export(path, name, output, faces)


@pytest.mark.parametrize("name", GENERATORS)
def test_every_generator_does_the_same_outside(name, tmp_path):
    path, generator = stored(tmp_path, name)
    wanted = {"decoder": Generator, "encoder": Encodes, "masks": Masks, "mapping": Mapped}
    has = {part for part, kind in wanted.items() if isinstance(generator, kind)}
    for format in ("safetensors", "torchscript"):
        if isinstance(generator, Writes) and format == "torchscript":
            with pytest.raises(UsageError, match=r"^--format torchscript: expected no generator that writes sentences"):
                exported(path, format)
            continue
        done = exported(path, format)
        assert set(done["differences"]) == has
        assert done["largest_difference"] <= stage.TOLERANCE
        assert all(ours(Path(file), "") for file in done["output"])


@pytest.mark.parametrize("name", ["masked_vae", "conv_autoencoder", "invertible_stylegan2", "dcgan", "gif"])
def test_onnx_does_the_same_for_any_number_of_rows(name, tmp_path):
    path, generator = stored(tmp_path, name)
    done = exported(path, "onnx")
    assert done["largest_difference"] <= stage.TOLERANCE
    file = tmp_path / "generator-decoder.onnx"
    assert str(file) in done["output"]
    opened = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    part = parts_of(generator)["decoder"]
    assert [entry.name for entry in opened.get_inputs()] == [*part.inputs]  # a condition is the second
    given = {key: torch.cat([value, value]).numpy()[:17] for key, value in part.inputs.items()}
    assert opened.run(None, given)[0].shape == (17, *generator.image_shape)


def test_each_format_carries_what_it_is_and_its_terms(tmp_path):
    faces = write_faces(tmp_path / "faces.h5", 4)
    told = artifacts.load(faces)
    meta = told.meta | {"datasets": [{"name": "own", "photos": 4, "licence": LICENCE}]}
    artifacts.save(faces, artifacts.FACES, told.arrays, params={}, inputs={}, meta=meta)
    path, _ = stored(tmp_path, "conv_autoencoder", faces)
    for format in ("onnx", "torchscript", "safetensors"):
        assert exported(path, format, faces=faces)["licences"] == [LICENCE]
    opened = onnxruntime.InferenceSession((tmp_path / "generator-encoder.onnx").read_bytes())
    with zipfile.ZipFile(tmp_path / "generator-encoder.pt") as inside:
        script = inside.read("archive/extra/fg")
        assert not any(str(ROOT).encode() in inside.read(name) for name in inside.namelist())
    with safe_open(tmp_path / "generator.safetensors", "pt") as weights:
        texts = [opened.get_modelmeta().custom_metadata_map["fg"], script, weights.metadata()["fg"]]
    for notes in map(json.loads, texts):
        assert (notes["space"], notes["image_shape"], notes["licences"]) == ("z", [3, 16, 16], [LICENCE])
        assert notes["preprocess"]["framing"] == 0.8
        assert "a square of 16 px" in notes["cut"]
        assert "127.5" in notes["values"]
    assert exported(path, "safetensors", tmp_path / "b")["licences"][0].endswith("ask for the terms of own")


def test_equal_generators_give_equal_files(tmp_path):
    path, _ = stored(tmp_path, "conv_autoencoder")
    for format in ("onnx", "torchscript", "safetensors"):
        one, two = (exported(path, format, tmp_path / folder / "x.1")["output"] for folder in "ab")
        assert [Path(file).read_bytes() for file in one] == [Path(file).read_bytes() for file in two]
        assert {Path(file).name[:3] for file in one} == {"x.1"}


def test_what_differs_is_not_written(tmp_path, monkeypatch):
    path, _ = stored(tmp_path, "conv_autoencoder")
    monkeypatch.setattr(stage, "TOLERANCE", -1.0)
    done = CliRunner().invoke(app, ["export", str(path), "--format", "torchscript"])
    assert done.exit_code == 1
    assert "expected the exported one to differ by -1 at most, found 0" in done.output
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_user_wrote_is_left(tmp_path):
    path, _ = stored(tmp_path, "conv_autoencoder")
    mine = tmp_path / "generator-decoder.onnx"
    mine.write_bytes(b"mine")
    with pytest.raises(FgError, match="expected nothing or a .onnx file of fg's to replace, found another file"):
        exported(path, "onnx")
    assert mine.read_bytes() == b"mine"
    assert len(list(tmp_path.iterdir())) == 2
    mine.unlink()
    for _ in range(2):  # fg's own are replaced
        exported(path, "onnx")


def test_mistakes_are_one_sentence(tmp_path, monkeypatch):
    path, _ = stored(tmp_path, "pca")
    for arguments, message in (
        ([str(path), "--format", "onyx"], "--format: expected one of onnx, safetensors, torchscript, found 'onyx'"),
        ([str(write_faces(tmp_path / "faces.h5", 4))], "expected generator.h5 or editor.h5, found a faces file"),
    ):
        done = CliRunner().invoke(app, ["export", *arguments])
        assert message in done.output
        assert len(done.output.strip().splitlines()) == 1
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else find(name))
    with pytest.raises(FgError, match=r'the package onnx, found none; pip install "fgcli\[export\]"$'):
        exported(path, "onnx")


def edits(path, layers=None):
    """An editor.h5 of codes of two layers: a step and an affine map."""
    draws = np.random.default_rng(0)
    arrays = {"step": draws.normal(size=(2, 3)), "map": draws.normal(size=(2, 3, 4))}
    arrays = {f"methods/{label}/odd": value.astype(np.float32) for label, value in arrays.items()}
    names = {"step": "mean_difference", "map": "latent_wasserstein"}
    methods = {label: {"build": {"name": name}, "scores": {}, "matched": {}} for label, name in names.items()}
    meta = {"space": "w+", "generator": "0", "attributes": ["odd"], "choice": "", "methods": methods}
    meta |= {"layers": layers} if layers else {}
    artifacts.save(path, artifacts.EDITOR, arrays, params={}, inputs={}, meta=meta)
    return path


@pytest.mark.parametrize("layers", [None, [1]])
def test_an_editor_becomes_arrays_that_numpy_applies(tmp_path, layers):
    done = exported(edits(tmp_path / "editor.h5", layers), "")
    assert done["largest_difference"] < 1e-6
    assert set(done["differences"]) == {"step", "map"}
    with np.load(tmp_path / "editor.npz") as arrays:
        notes = json.loads(str(arrays["fg"]))
        assert {key: value.shape for key, value in arrays.items() if key != "fg"} == {
            "step/odd": (2, 3),
            "map/odd": (2, 3, 4),
        }
        assert bool(arrays["map/odd"][0].any()) == (layers is None)
    assert (notes["space"], notes["layers"], notes["methods"]["step"]) == ("w+", layers, {"name": "mean_difference"})
    assert ours(tmp_path / "editor.npz", "")


def test_the_script_of_the_docs_needs_no_fg(tmp_path):
    path, generator = stored(tmp_path, "conv_autoencoder")
    exported(path, "onnx", tmp_path / "face.onnx")
    pixels = painted(1)[0]
    Image.fromarray(pixels[0]).save(tmp_path / "crop.png")
    program = ROOT / "docs/onnx_face.py"
    assert "fgcli" not in program.read_text()
    command = [sys.executable, "-I", str(program), "face", "crop.png", "again.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["space"] == "z"
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        wanted = (generator.decode(generator.encode(images))[0].permute(1, 2, 0).numpy() + 1) * 127.5
    assert np.abs(np.asarray(Image.open(tmp_path / "again.png")) - wanted).max() < 0.51
