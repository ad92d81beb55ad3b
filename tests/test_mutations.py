"""Damaged files: a few of the cases of mutations.py, and the kinds of damage that it once met in defects' words."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import train_params, write_faces, write_latents
from PIL import Image

from fgcli import artifacts, codes, densities, editors
from fgcli.artifacts import FACES, LATENTS
from fgcli.artifacts.outputs import identity
from fgcli.cli import run
from fgcli.datasets.image_folder import image_folder
from fgcli.densities import DENSITIES
from fgcli.errors import FgError
from fgcli.faces.photos import BadPhotoError, decode
from fgcli.reports import sections
from fgcli.stages import train
from fgcli.training import checkpoint

SCRIPT = Path(__file__).with_name("mutations.py")


def test_some_damaged_files_end_in_one_sentence():
    done = subprocess.run([sys.executable, SCRIPT, "--seed", "7", "--n", "8"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 cases" in done.stdout


def replaced(path, name, array, **how):
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_dataset(name, data=array, **how)
    return path


def retold(path, change):
    """The head of a file, changed."""
    with h5py.File(path, "r+") as file:
        head = json.loads(file["head"][()].tobytes())
        change(head)
    return replaced(path, "head", np.frombuffer(json.dumps(head).encode(), np.uint8))


@pytest.fixture
def faces(tmp_path):
    return write_faces(tmp_path / "faces.h5", n=8)


@pytest.mark.parametrize(
    ("name", "array", "how", "told"),
    [
        ("landmarks", np.zeros((8, 68, 2)), {}, r"float32 \(n, 68, 2\) in landmarks, found float64 \(8, 68, 2\)"),
        ("landmarks", np.zeros((8, 67, 2), "f4"), {}, r"float32 \(n, 68, 2\) in landmarks, found float32 \(8, 67, 2\)"),
        ("masks", np.zeros((8, 16), "u1"), {}, r"uint8 \(n, h, w\) in masks, found uint8 \(8, 16\)"),
        ("split", np.zeros(7, "u1"), {}, r"uint8 \(n\) in split with n = 8, found uint8 \(7,\)"),
        ("attributes", np.zeros((8, 2), "i1"), {}, r"int8 \(n, k\) in attributes with k = 1, found int8 \(8, 2\)"),
        ("source", np.zeros(8), {}, r"text \(n\) in source, found float64 \(8,\)"),
        ("images", np.zeros((8, 16, 16, 3), "u1"), {"chunks": True}, "images in one piece, as fg writes it"),
    ],
)
def test_whatever_is_read_all_of_a_file_has_its_types_and_shapes(faces, name, array, how, told):
    replaced(faces, name, array, **how)
    for read in (lambda: artifacts.load(faces, FACES, ()), lambda: artifacts.rows(faces, "images")):
        with pytest.raises(FgError, match=rf"faces.h5: expected {told}.*; run the stage that writes it"):
            read()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("split", np.full(8, 3, "u1"), "expected split from 0 to 2, found 3"),
        ("attributes", np.full((8, 1), -2, "i1"), "expected attributes from -1 to 1, found -2"),
        ("crop", np.full((8, 2, 3), np.nan, "f4"), "NaN or infinity in 8 of 8 rows, the first of them 0"),
    ],
)
def test_values_are_checked_where_they_are_read(faces, name, array, message):
    replaced(faces, name, array)
    assert artifacts.load(faces, FACES, ("identity",))["identity"].shape == (8,)
    with pytest.raises(FgError, match=f"faces.h5: .*{message}; run the stage"):
        artifacts.load(faces, FACES, (name,))


def test_identities_have_names_if_any_has(faces):
    retold(faces, lambda head: head["meta"].update(identity_names=["anna"]))
    with pytest.raises(FgError, match=r"faces.h5: expected identity from -1 to 0, found 1; run"):
        artifacts.load(faces, FACES)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda head: head["meta"].update(attribute_names="odd"), r'meta attribute_names: input .*list, found "odd"'),
        (
            lambda head: head["meta"].update(datasets=[{"name": "x"}]),
            r"meta datasets.0.photos: expected a value, found",
        ),
        (lambda head: head["meta"].update(analyser={"name": 3}), r"meta analyser.name: input should be text, found 3"),
        (lambda head: head["params"].update(size=-1), r"params.size: input should be greater .*, found -1"),
        (lambda head: head["inputs"].update(faces=None), r"inputs.faces: .* found null"),
    ],
)
def test_what_a_head_says_has_its_types(faces, change, told):
    retold(faces, change)
    with pytest.raises(FgError, match=rf"faces.h5: {told}.*; run the stage that writes it"):
        artifacts.load(faces, FACES, ())


def test_what_a_head_does_not_say_is_told_where_it_is_asked_for(faces):
    with pytest.raises(FgError, match=r"faces.h5: expected params framing, found none; run"):
        artifacts.load(faces, FACES, ()).params["framing"]
    with pytest.raises(FgError, match=r"faces.h5: expected the dataset images, found none; run"):
        artifacts.load(faces, FACES, ())["images"]


def methods(path, kind, arrays, name):
    """density.h5 or editor.h5 of one method."""
    schema = {"density": artifacts.DENSITY, "editor": artifacts.EDITOR}[kind]
    about = {"m": {"build": {"name": name}, "scores": {}, "matched": {}}}
    meta = {"space": "z", "generator": "", "methods": about, "attributes": [], "choice": ""}
    stored = {f"methods/m/{key}": array for key, array in arrays.items()}
    artifacts.save(path, schema, stored, params={}, inputs={}, meta=meta)
    return path


@pytest.fixture(scope="module")
def fitted():
    """The arrays of every density, of codes (20, 1, 4)."""
    from fgcli import config

    numbers = np.random.default_rng(0).normal(size=(20, 1, 4)).astype(np.float32)
    quick = {"flow": {"transforms": 1, "hidden": 4, "epochs": 1}, "two_stage_vae": {"width": 0.01, "epochs": 1}}
    quick |= {name: {"components": 2} for name in ("gmm", "bayesian_gmm")}
    return {
        name: config.build(DENSITIES, {"name": name, **quick.get(name, {})}, name).fit(numbers, 0).arrays()
        for name in DENSITIES
    }


@pytest.mark.parametrize("name", DENSITIES)
@pytest.mark.parametrize("damage", ["gone", "an axis more", "fewer", "not finite"])
def test_a_density_of_damaged_arrays_is_told(tmp_path, fitted, name, damage):
    for key, array in fitted[name].items():
        changed = {
            "gone": {},
            "an axis more": {key: array[None]},
            "fewer": {key: array[..., :-1] if array.ndim else array[None]},
            "not finite": {key: np.full(array.shape, np.nan)},
        }[damage]
        rest = {k: v for k, v in fitted[name].items() if k != key}
        path = methods(tmp_path / "density.h5", "density", rest | changed, name)
        with pytest.raises(FgError, match=r"density.h5: expected .*, found .*; run the stage that writes it") as error:
            densities.load(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "shape"), [("mean_difference", (1, 4)), ("latent_wasserstein", (1, 4, 5))])
def test_an_editor_of_other_codes_or_damaged_arrays_is_told(tmp_path, name, shape):
    import torch

    from fgcli.codes import Codes

    known = editors.load(methods(tmp_path / "e.h5", "editor", {"odd": np.zeros(shape, np.float32)}, name))
    assert known.edit("m", Codes(torch.zeros(2, 1, 4), "z"), "odd", 1.0).values.shape == (2, 1, 4)
    with pytest.raises(FgError, match=r"e.h5: expected edits of codes of \(1, 5\), found those of \(1, 4\); fit"):
        known.edit("m", Codes(torch.zeros(2, 1, 5), "z"), "odd", 1.0)
    damaged = methods(tmp_path / "d.h5", "editor", {"odd": np.zeros(shape[-1:], np.float32)}, name)
    with pytest.raises(FgError, match=r"d.h5: expected numbers \(l, d.*\) in odd.*; run"):
        editors.load(damaged)


def test_a_state_is_that_of_this_very_run():
    import torch

    wanted = {"step": 0, "weights": {"a": torch.zeros(2)}, "groups": [{"lr": 0.1}], "moments": {}}
    checkpoint.verify_like(wanted | {"moments": {0: 3}}, wanted, "state")
    for change, told in (
        ({"weights": {"a": torch.zeros(3)}}, r"expected numbers of \(2,\) in state/weights/a, found \(3,\)"),
        ({"weights": {}}, "expected the state of this very run in state/weights, found another"),
        ({"groups": []}, "expected the state of this very run in state/groups, found another"),
        ({"step": "3"}, "expected another value in state/step, found '3'"),
    ):
        with pytest.raises(Exception, match=told):
            checkpoint.verify_like(wanted | change, wanted, "state")


def test_rows_of_codes_are_finite_where_they_are_read(tmp_path):
    numbers = np.zeros((3, 1, 2), np.float32)
    numbers[1] = np.inf
    write_latents(tmp_path / "l.h5", numbers, np.zeros((3, 1), np.int8), ["a"], np.zeros(3, np.uint8))
    shutil.copy(tmp_path / "l.h5", tmp_path / "h.h5")
    replaced(tmp_path / "h.h5", "codes", np.full((3, 1, 2), 3e38, np.float32))
    with pytest.raises(FgError, match=r"h.h5: expected codes from -1e\+09 to 1e\+09, found 3\S*e\+38; run"):
        artifacts.load(tmp_path / "h.h5", LATENTS)
    read = codes.reader(tmp_path / "l.h5")
    assert len(read([0, 2])) == 2
    with pytest.raises(FgError, match=r"l.h5 codes: expected finite numbers, .* the first of them 0; invert again"):
        read([1])


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", None])
def test_a_damaged_sheet_is_told(tmp_path, content):
    path = tmp_path / "neighbours.png"
    os.mkfifo(path) if content is None else path.write_bytes(content)
    with pytest.raises(FgError, match=r"neighbours.png: expected a picture of fg's, found a damaged file; run fg eval"):
        sections.read_sheet(path, "fg evaluate")


def test_exif_data_that_cannot_be_read_is_noted(tmp_path, recwarn):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description of some length"
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif.tobytes()[:30])
    assert decode(tmp_path / "a.jpg").notes == ("EXIF data that cannot be read ignored",)
    assert not len(recwarn)


def test_values_that_are_no_numbers_make_a_damaged_photo(tmp_path):
    Image.fromarray(np.full((40, 40), np.nan, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(BadPhotoError, match="damaged TIFF file"):
        decode(tmp_path / "a.tif", fix=True)


def test_a_table_that_cannot_be_read_is_told_in_the_systems_words(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg")
    with pytest.raises(FgError, match=r"expected a CSV of attributes, found is a directory; check the file"):
        image_folder(str(tmp_path), attributes=str(tmp_path))


@pytest.mark.parametrize("name", ["last.h5", "best.h5"])
def test_a_checkpoint_of_other_shapes_is_told(faces, tmp_path, name):
    files = {"output": tmp_path / "g.h5", "folder": tmp_path / "run"}
    train.run(faces, **files, params=train_params(steps=2, validate_steps=2))
    before = files["output"].read_bytes()
    replaced(files["folder"] / name, "state/ema/mean.weight", np.zeros((1, 1), np.float32))
    with pytest.raises(FgError, match=rf"{name}: expected numbers .* in state/ema/mean.weight, found \(1, 1\); start"):
        train.run(faces, **files, params=train_params(steps=2, validate_steps=2))
    assert files["output"].read_bytes() == before


def test_links_in_a_circle_are_files_of_their_own(tmp_path):
    (tmp_path / "a").symlink_to("a")
    assert identity(tmp_path / "a") != identity(tmp_path / "b")


def test_what_torch_says_of_memory_is_a_sentence():
    assert "expected enough memory" in run.told(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert "a defect of fg" in run.told(RuntimeError("another"))


def test_codes_of_names_that_they_do_not_have_are_told(tmp_path):
    attributes, split = np.zeros((3, 2), np.int8), np.zeros(3, np.uint8)
    write_latents(tmp_path / "l.h5", np.zeros((3, 1, 2), np.float32), attributes, ["a"], split)
    with pytest.raises(FgError, match=r"l.h5: expected int8 \(n, k\) in attributes with k = 1, found int8 \(3, 2\)"):
        artifacts.load(tmp_path / "l.h5", LATENTS, ())
