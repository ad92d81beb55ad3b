"""Zip files: read as folders are, whatever is wrong with them told in one sentence, nothing unpacked."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fgcli import archives
from fgcli.cli import app
from fgcli.datasets.files import own_files, photos_below
from fgcli.datasets.image_folder import image_folder
from fgcli.errors import FgError
from fgcli.faces.chunks import describe
from fgcli.faces.cutter import PhotoFile
from fgcli.faces.photos import BadPhotoError, decode


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of three pictures with a table, the same as photos.zip, and where all work."""
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(("anna.png", "more/ben.jpg", "more/deep/cleo.png")):
        path = Path("photos", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 30, 3), 40 * i, np.uint8)).save(path)
    Path("photos/labels.csv").write_text("file,odd\nanna.png,1\nmore/ben.jpg,0\n")
    Path("photos/.hidden.png").write_text("x")
    packed(
        "photos.zip", {str(p.relative_to("photos")): p.read_bytes() for p in Path("photos").rglob("*") if p.is_file()}
    )
    return tmp_path


def packed(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return Path(path)


def test_a_zip_is_listed_and_read_as_the_folder_that_it_was_made_of(photos):
    before = sorted(Path().rglob("*"))
    own, zipped = (image_folder(name, attributes=f"{name}/labels.csv", masks=name) for name in ("photos", "photos.zip"))
    assert zipped.sources == own.sources == ["anna.png", "more/ben.jpg", "more/deep/cleo.png"]
    assert zipped.attributes.tolist() == own.attributes.tolist() == [[1], [0], [-1]]
    assert zipped.ignored == own.ignored == {".csv": 1, "hidden": 1}
    for one, other in zip(own.photos, zipped.photos, strict=True):
        np.testing.assert_array_equal(decode(one.path).pixels, decode(other.path).pixels)
        assert len(other.masks) == 1
    assert image_folder("photos.zip/more").sources == ["ben.jpg", "deep/cleo.png"]
    assert sorted(Path().rglob("*")) == before


def test_a_changed_member_is_another_photo(photos):
    anna = PhotoFile(Path("photos.zip/anna.png"))
    before = describe(anna)
    assert describe(anna) == before
    packed("photos.zip", {"anna.png": Path("photos/more/ben.jpg").read_bytes()})
    assert describe(anna) != before
    assert describe(PhotoFile(Path("photos.zip/none.png")))[0][1:] == [0, 0]


def test_dvc_depends_on_the_zip_itself(photos):
    data = {"name": "image_folder", "path": "photos.zip", "attributes": "photos.zip/labels.csv"}
    assert own_files([data]) == [Path("photos.zip")]


@pytest.mark.parametrize("name", ["../anna.png", "/anna.png", "more/../../anna.png", "C:/anna.png", "..\\anna.png"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    with pytest.raises(FgError, match=r"a.zip: expected names inside of it, found .*, which leads out; pack it anew"):
        photos_below(packed(tmp_path / "a.zip", {"ok.png": b"", name: b"x"}))


def damaged(path, change):
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(bytes(content))
    os.utime(path, ns=(1, 1))


def test_encrypted_and_broken_zips_are_one_sentence(photos):
    def lock(content):
        for start in (content.index(b"PK\x03\x04") + 6, content.index(b"PK\x01\x02") + 8):
            content[start] |= 1

    damaged(Path("photos.zip"), lock)
    with pytest.raises(FgError, match=r"photos.zip: expected a zip file without a password, found one; pack it anew"):
        photos_below(Path("photos.zip"))
    Path("photos.zip").write_bytes(Path("photos.zip").read_bytes()[:200])
    with pytest.raises(FgError, match=r"photos.zip: expected a whole zip file, found file is not a zip file; pack it"):
        photos_below(Path("photos.zip"))
    Path("photos.zip").write_text("no zip")
    for command in (
        ["reconstruct", "photos.zip"],
        ["preprocess", "--set", "preprocess.datasets=[{name: image_folder, path: photos.zip}]"],
    ):
        done = CliRunner().invoke(app, [*command, "-o", "x.h5" if command[0] == "preprocess" else "x.png"])
        assert done.exit_code == 1
        assert "photos.zip: expected" in done.stderr.splitlines()[-1]


def test_a_damaged_or_huge_member_is_a_bad_photo(photos, monkeypatch):
    with zipfile.ZipFile("stored.zip", "w", zipfile.ZIP_STORED) as file:
        file.write("photos/anna.png", "anna.png")
    damaged(Path("stored.zip"), lambda content: content.__setitem__(slice(60, 64), b"\0\0\0\0"))
    with pytest.raises(BadPhotoError):
        decode(Path("stored.zip/anna.png"))
    with pytest.raises(BadPhotoError, match="no such file"):
        decode(Path("photos.zip/none.png"))
    monkeypatch.setattr(archives, "LARGEST", 10)
    with pytest.raises(BadPhotoError):
        decode(Path("photos.zip/anna.png"))
