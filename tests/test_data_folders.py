"""fg data export and import: artifacts as folders of pictures and tables, and back."""

import csv
import json

import numpy as np
import pytest
from conftest import write_faces
from PIL import Image
from typer.testing import CliRunner

from fgcli import artifacts
from fgcli.cli import app
from fgcli.datasets.image_folder import image_folder
from fgcli.errors import FgError, UsageError
from fgcli.exports import face_folder
from fgcli.heads.parameters import load_npz
from fgcli.stages import data

run = CliRunner().invoke


@pytest.fixture
def folder(faces, tmp_path):
    """The export of 64 painted faces."""
    data.export(faces, tmp_path / "folder")
    return tmp_path / "folder"


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def saved(path, lines):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def test_faces_go_out_and_come_back_as_the_same_bytes(rendered, tmp_path):
    done = run(app, ["data", "export", str(rendered["faces"]), str(tmp_path / "folder")])
    assert done.exit_code == 0, done.output
    done = run(app, ["data", "import", str(tmp_path / "folder"), "-o", str(tmp_path / "faces.h5")])
    assert done.exit_code == 0, done.output
    before, after = artifacts.load(rendered["faces"]), artifacts.load(tmp_path / "faces.h5")
    assert (before.meta, before.params) == (after.meta, after.params)
    assert list(before.arrays) == list(after.arrays)
    for name, array in before.arrays.items():
        np.testing.assert_array_equal(array, after[name])
        assert array.dtype == after[name].dtype, name
    assert (tmp_path / "faces.h5").read_bytes() == rendered["faces"].read_bytes()


def test_the_data_set_image_folder_reads_labels_people_and_masks(faces, folder):
    found = image_folder(str(folder / "images"), str(folder / "labels.csv"), str(folder / "masks"))
    stored = artifacts.load(faces)
    assert found.attribute_names == stored.meta["attribute_names"]
    np.testing.assert_array_equal(found.attributes, stored["attributes"])
    assert found.identities == [str(who) for who in stored["identity"]]
    assert all(photo.masks for photo in found.photos)


def test_what_is_changed_in_the_folder_is_in_the_file(folder, tmp_path):
    (folder / "images/000003.png").unlink()
    labels, lines = table(folder / "labels.csv"), table(folder / "rows.csv")
    for line in labels:
        line["tall"] = "-1"
    labels[5] |= {"odd": "0", "tall": "1", "identity": "anna"}
    lines[7]["split"] = "test"
    saved(folder / "labels.csv", [line for line in labels if line["file"] != "000003.png"])
    saved(folder / "rows.csv", lines)
    data.gather(folder, tmp_path / "faces.h5")
    stored = artifacts.load(tmp_path / "faces.h5")
    assert len(stored["split"]) == 63
    assert stored.meta["attribute_names"] == ["odd", "tall"]
    assert stored["attributes"][4].tolist() == [0, 1]
    assert stored.meta["identity_names"][stored["identity"][4]] == "anna"
    assert stored["split"][6] == 2
    assert stored["source"][3] == "painted/4"


def test_an_interrupted_export_goes_on(faces, tmp_path, monkeypatch):
    folder, save, left = tmp_path / "folder", face_folder._save, 20

    def breaks(path, pixels):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        save(path, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(face_folder, "_save", breaks)
        with pytest.raises(KeyboardInterrupt):
            data.export(faces, folder)
    with pytest.raises(FgError, match="expected a whole export, found an unfinished one"):
        data.gather(folder, tmp_path / "faces.h5")
    other = write_faces(tmp_path / "other.h5", 8)
    with pytest.raises(UsageError, match="found what another command left unfinished"):
        data.export(other, folder)
    first = (folder / "images/000000.png").stat().st_mtime_ns
    data.export(faces, folder)
    assert (folder / "images/000000.png").stat().st_mtime_ns == first
    assert len(list((folder / "images").iterdir())) == 64
    assert not (folder / data.UNFINISHED).exists()


def test_a_folder_with_files_is_left_as_it_is(faces, folder, tmp_path):
    for place in (folder, tmp_path):
        with pytest.raises(UsageError, match="expected an empty folder or none, found one with files in it"):
            data.export(faces, place)
    (tmp_path / "empty").mkdir()
    assert data.export(faces, tmp_path / "empty")["images"] == 64


def test_heads_go_out_as_numbers(rendered, tmp_path):
    told = data.export(rendered["flame"], tmp_path / "heads")
    assert told["heads"] == told["ok"] == 24
    stored, lines = artifacts.load(rendered["flame"]), table(tmp_path / "heads/parameters.csv")
    assert [np.float32(line["shape3"]) for line in lines] == stored["shape"][:, 3].tolist()
    assert lines[0]["status"] == "ok"
    with np.load(tmp_path / "heads/parameters.npz") as arrays:
        np.testing.assert_array_equal(arrays["pose"], stored["pose"])
    assert len(load_npz(tmp_path / "heads/parameters.npz")) == 24
    assert json.loads((tmp_path / "heads/head.json").read_text())["head"] == stored.meta["head"]


def spoilt(folder, what):
    lines = table(folder / "rows.csv")
    if what == "about":
        (folder / "about.json").unlink()
    elif what == "split":
        lines[0]["split"] = "dev"
    elif what == "row":
        lines = lines[1:]
    elif what == "number":
        lines[2]["x7"] = "left"
    elif what == "size":
        Image.new("RGB", (9, 9)).save(folder / "images/000002.png")
    elif what == "mask":
        (folder / "masks/000002.png").unlink()
    elif what == "picture":
        (folder / "images/000002.png").write_text("no picture")
    saved(folder / "rows.csv", lines)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("about", "expected a folder of fg data export with its about.json, found none"),
        ("split", "expected train, val, test as the split of 000000.png, found 'dev'"),
        ("row", "expected a line for every picture, found none for 000000.png"),
        ("number", "expected numbers for 000002.png, found could not convert string to float: 'left'"),
        ("size", "images/000002.png: expected 16x16 px, as the first, found 9x9"),
        ("mask", "images/000002.png: expected a mask of its name in masks, found none"),
        ("picture", "images/000002.png: expected a picture of fg data export, found not an image"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_no_file(folder, tmp_path, what, sentence):
    spoilt(folder, what)
    done = run(app, ["data", "import", str(folder), "-o", str(tmp_path / "faces.h5")])
    assert done.exit_code == 1
    assert sentence in " ".join(done.output.split())
    assert not (tmp_path / "faces.h5").exists()


def test_other_files_are_refused(tmp_path, regressor):
    with pytest.raises(FgError, match=r"expected faces.h5 or flame.h5, found a regressor file"):
        data.export(regressor, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
