"""The stage: counts, splits, bad inputs, equal bytes, and runs that were killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from dvc.repo import Repo
from PIL import Image
from test_faces import huge
from typer.testing import CliRunner

from fgcli.artifacts import FACES, load
from fgcli.cli import app
from fgcli.config import defaults, section
from fgcli.datasets.openpeople import openpeople
from fgcli.datasets.orl import orl
from fgcli.errors import FgError, UsageError
from fgcli.faces import chunks
from fgcli.stages.preprocess import Params, plan, run

cli = CliRunner().invoke
DEFAULTS = {
    "datasets": [{"name": "orl"}],
    "size": 32,
    "framing": 0.8,
    "analyser": {"name": "dlib"},
    "segmenter": {"name": "landmark_hull", "forehead": 1.5},
    "face": "only",
    "min_face": 0,
    "on_bad": "skip",
    "max_megapixels": 50,
    "min_px": 32,
    "val": 0.1,
    "test": 0.15,
    "max_rejected": 0.9,
    "processes": 1,
}


def params(**changes) -> Params:
    return section({"preprocess": DEFAULTS | changes}, "preprocess", Params)


def folder_params(folder: Path, changes: dict | None = None, **arguments) -> Params:
    return params(datasets=[{"name": "image_folder", "path": str(folder), **arguments}], **(changes or {}))


@pytest.fixture
def shots(tmp_path):
    """Six ORL photos of three people, in two folders."""
    photos = orl().photos
    for i in (0, 1, 100, 101, 200, 201):
        folder = tmp_path / "shots" / ("early" if i % 2 == 0 else "late")
        folder.mkdir(parents=True, exist_ok=True)
        Image.open(photos[i].path).save(folder / f"{i:03d}.png")
    return tmp_path / "shots"


def colour_face(path: Path) -> None:
    photo = openpeople().photos[0]
    Image.open(photo.path).crop(photo.box).save(path)


def test_rows_say_where_they_come_from(shots, tmp_path):
    colour_face(shots / "colour.png")
    labels = tmp_path / "labels.csv"
    labels.write_text("file,smiling,identity\nearly/000.png,1,a\nlate/001.png,0,a\nearly/100.png,,b\n")
    out = tmp_path / "out/faces.h5"
    found = run(out, tmp_path / "out/faces.png", params=folder_params(shots, attributes=str(labels)))
    faces = load(out, FACES)
    assert found["rows"] == len(faces["images"]) == 7
    assert faces["source"].tolist()[:2] == ["image_folder/colour.png", "image_folder/early/000.png"]
    assert faces.meta["content"] == "faces"
    assert faces.meta["attribute_names"] == ["smiling", "colour"]
    assert faces["attributes"].tolist()[:3] == [[-1, 1], [1, 0], [-1, 0]]
    assert faces["identity"].tolist() == [-1, 0, 1, -1, 0, -1, -1]
    assert found["attributes"]["colour"] == {"yes": 1, "no": 6}
    assert sum(found["splits"].values()) == 7
    assert set(np.unique(faces["masks"])) == {0, 255}
    assert "research" not in str(faces.meta["datasets"])
    assert "exclude commercial use" in faces.meta["analyser"]["notice"]
    with Image.open(tmp_path / "out/faces.png") as sheet:
        assert sheet.size == (7 * 130 - 2, 128)
    assert sorted(p.name for p in out.parent.iterdir()) == ["faces.h5", "faces.png"]


def test_what_the_user_says_of_colour_stands(shots, tmp_path):
    (tmp_path / "labels.csv").write_text("file,colour\nearly/000.png,1\nlate/001.png,-1\n")
    run(
        tmp_path / "faces.h5",
        tmp_path / "faces.png",
        params=folder_params(shots, attributes=str(tmp_path / "labels.csv")),
    )
    assert load(tmp_path / "faces.h5", FACES)["attributes"].tolist() == [[1], [0], [0], [0], [0], [0]]


def test_two_folders_are_told_apart_by_labels(shots, tmp_path):
    sets = [
        {"name": "image_folder", "path": str(shots / "early")},
        {"name": "image_folder", "path": str(shots / "late"), "label": "late"},
    ]
    run(tmp_path / "faces.h5", tmp_path / "faces.png", params=params(datasets=sets))
    assert load(tmp_path / "faces.h5", FACES)["source"].tolist() == [
        *(f"image_folder/{i}.png" for i in ("000", "100", "200")),
        *(f"late/{i}.png" for i in ("001", "101", "201")),
    ]


@pytest.mark.parametrize("changes", [{}, {"on_bad": "fix", "processes": 2}, {"on_bad": "fail"}])
def test_names_that_are_not_utf_8_end_no_run(shots, tmp_path, capsys, changes):
    (shots / "early/000.png").rename(shots / os.fsdecode(b"a\xff.png"))
    shutil.copytree(shots, tmp_path / "masks")
    if "on_bad" in changes:
        (shots / "early").rename(shots / os.fsdecode(b"early\xe9"))
    asked = folder_params(shots, changes, masks=str(tmp_path / "masks"))
    if changes != {"on_bad": "fail"}:
        (shots / os.fsdecode(b"b\xff.png")).write_text("no photo")
    assert run(tmp_path / "faces.h5", tmp_path / "s.png", params=asked)["rows"] == 6
    faces = load(tmp_path / "faces.h5", FACES)
    assert r"image_folder/a\udcff.png" in faces["source"].tolist()
    if changes != {"on_bad": "fail"}:
        assert faces["rejected/source"].tolist() == [r"image_folder/b\udcff.png"]
        assert faces["rejected/reason"].tolist() == ["not an image, whatever its name says"]


def test_bad_photos_are_listed_whatever_their_names(shots, tmp_path):
    (shots / os.fsdecode(b"b\xff.png")).write_text("no photo")
    with pytest.raises(FgError, match="found 1 bad") as error:
        run(tmp_path / "faces.h5", tmp_path / "s.png", params=folder_params(shots, {"on_bad": "fail"}))
    assert "\n" not in str(error.value)


def test_crops_can_be_found_in_their_photos(shots, tmp_path):
    run(tmp_path / "faces.h5", tmp_path / "s.png", params=folder_params(shots))
    faces = load(tmp_path / "faces.h5")
    photo = np.asarray(Image.open(shots / "early/000.png"), float)
    back = np.linalg.inv(np.vstack([faces["crop"][0], [0, 0, 1]]))
    x, y, _ = (back @ [16, 16, 1]).round().astype(int)
    assert photo[y - 1 : y + 2, x - 1 : x + 2].mean() == pytest.approx(faces["images"][0, 16, 16, 0], abs=25)
    eyes = faces["landmarks"][:, 36:48].mean(1)
    assert eyes == pytest.approx(np.tile([15.5, 13.5], (6, 1)), abs=3)


def test_two_data_sets_are_united(tmp_path, monkeypatch):
    import fgcli.datasets.openpeople as people
    import fgcli.datasets.orl as faces_of_orl

    rows = people.annotation_rows
    monkeypatch.setattr(people, "annotation_rows", lambda name: rows(name)[:2] + rows(name)[21:22])
    monkeypatch.setattr(faces_of_orl, "annotation_rows", lambda name: rows(name)[:2] + rows(name)[10:11])
    both = params(datasets=[{"name": "openpeople"}, {"name": "orl"}])
    run(tmp_path / "faces.h5", tmp_path / "s.png", params=both)
    faces = load(tmp_path / "faces.h5")
    names = faces.meta["attribute_names"]
    assert names[-1] == "colour"
    assert len(set(names)) == len(names)
    assert faces["identity"].tolist() == [0, 0, 1, 2, 2, 3]
    assert faces.meta["identity_names"] == ["openpeople/P001", "openpeople/P002", "orl/s1", "orl/s2"]
    assert faces["attributes"][:, names.index("colour")].tolist() == [1, 1, 1, 0, 0, 0]
    assert faces["attributes"][:, names.index("hand_on_face")].tolist() == [0, 0, 0, -1, -1, -1]
    assert [d["name"] for d in faces.meta["datasets"]] == ["openpeople", "orl"]


def test_photos_of_one_person_are_never_parted(tmp_path, capsys):
    """Seven people of ORL without names, half of their photos in a second folder, one photo twice."""
    photos = orl().photos
    for person in range(7):
        for i in range(4):
            folder = tmp_path / ("a" if i < 2 else "b")
            folder.mkdir(exist_ok=True)
            Image.open(photos[10 * (person + 5) + i].path).save(folder / f"{person}{i}.png")
    Image.open(tmp_path / "a/00.png").convert("RGB").save(tmp_path / "b/again.jpg", quality=95)
    sets = [{"name": "image_folder", "path": str(tmp_path / f), "label": f} for f in ("a", "b")]
    run(tmp_path / "faces.h5", tmp_path / "s.png", params=params(datasets=sets, val=0.3, test=0.3))
    faces = load(tmp_path / "faces.h5", FACES)
    person = np.array([name[2] for name in faces["source"].tolist()]).astype("U1")
    person[person == "a"] = "0"
    parts = [set(faces["split"][person == p].tolist()) for p in "0123456"]
    assert all(len(part) == 1 for part in parts)
    assert sorted(part.pop() for part in parts) == [0, 0, 0, 1, 1, 2, 2]
    assert len(np.unique(faces["group"])) == 7
    told = capsys.readouterr().err
    assert "21 photos of unknown people are split with others, as their faces are alike" in told
    assert "nearly equal photos stay together: b/again.jpg and a/00.png" in told


def test_one_person_under_two_names_is_one_person(tmp_path, monkeypatch, capsys):
    import fgcli.datasets.openpeople as people

    rows, shown = people.annotation_rows, ("P001", "P003", "P004", "P006", "P010")
    monkeypatch.setattr(people, "annotation_rows", lambda name: [r for r in rows(name) if r["person"] in shown][::3])
    run(tmp_path / "faces.h5", tmp_path / "s.png", params=params(datasets=[{"name": "openpeople"}]))
    assert "P004, openpeople/P006 and openpeople/P010 are split as one person" in capsys.readouterr().err
    faces = load(tmp_path / "faces.h5", FACES)
    names = np.array(faces.meta["identity_names"])[faces["identity"]]
    assert len({*faces["split"][np.isin(names, ["openpeople/P004", "openpeople/P006", "openpeople/P010"])]}) == 1


def test_photos_of_too_few_people_are_split_by_photo_and_that_is_told(tmp_path, capsys):
    for i in range(10):
        (tmp_path / "me").mkdir(exist_ok=True)
        Image.open(orl().photos[i].path).save(tmp_path / "me" / f"{i}.png")
    run(tmp_path / "faces.h5", tmp_path / "s.png", params=folder_params(tmp_path / "me", {"val": 0.3, "test": 0.3}))
    assert set(load(tmp_path / "faces.h5", FACES)["split"].tolist()) == {0, 1, 2}
    assert "fewer than 3 people were found" in capsys.readouterr().err


def spoil(folder: Path) -> None:
    """One bad file of each kind, and photos with no face and with five."""
    (folder / "text.jpg").write_text("no picture")
    Image.open(orl().photos[5].path).convert("CMYK").save(folder / "cmyk.jpg")
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    huge(folder / "huge.png")
    whole = folder / "cut.jpg"
    Image.open(openpeople().photos[0].path).save(whole)
    whole.write_bytes(whole.read_bytes()[:20000])
    Image.new("RGB", (200, 200), (20, 90, 20)).save(folder / "meadow.png")
    five = [np.asarray(Image.open(orl().photos[i].path)) for i in (0, 20, 40, 60, 110)]
    Image.fromarray(np.hstack(five)).save(folder / "five.png")


REASONS = {
    "cmyk.jpg": "CMYK photo",
    "cut.jpg": "truncated JPEG",
    "dot.png": "1x1 px, smaller",
    "five.png": "5 faces found, expected one",
    "huge.png": "20000x20000 px, larger",
    "meadow.png": "no face found",
    "text.jpg": "not an image",
}


def test_every_bad_photo_is_a_rejected_row(shots, tmp_path, capsys):
    spoil(shots)
    found = run(tmp_path / "faces.h5", tmp_path / "s.png", params=folder_params(shots))
    assert (found["rows"], found["rejected"]) == (6, 7)
    faces = load(tmp_path / "faces.h5")
    reasons = dict(zip(faces["rejected/source"].tolist(), faces["rejected/reason"].tolist(), strict=True))
    assert set(reasons) == {f"image_folder/{name}" for name in REASONS}
    for name, reason in REASONS.items():
        assert reasons[f"image_folder/{name}"].startswith(reason)
    command = f"fg data rejected {tmp_path / 'faces.h5'}"
    assert f"7 of 13 photos rejected ({command} lists them): 1 x" in capsys.readouterr().err


def test_the_rejected_are_listed_under_their_reasons(shots, tmp_path):
    spoil(shots)
    run(tmp_path / "faces.h5", tmp_path / "s.png", params=folder_params(shots))
    for side in (1, 2, 9):
        Image.new("RGB", (side, side)).save(shots / f"dot{side}.png")
    command = ["data", "rejected", str(tmp_path / "faces.h5")]
    assert cli(app, command).output.count("\n1 x ") == 7
    run(tmp_path / "faces.h5", tmp_path / "s.png", params=folder_params(shots))
    told = cli(app, command).output.splitlines()
    assert told[0].endswith("faces.h5: 10 of 16 photos rejected")
    assert told[2] == "4 x #x# px, smaller than preprocess.min_px=#"
    assert told[4] == "    image_folder/dot1.png: 1x1 px, smaller than preprocess.min_px=32"
    five = told.index("1 x 5 faces found, expected one; set preprocess.face=largest")
    assert told[five + 1] == "    image_folder/five.png"
    found = json.loads(cli(app, [*command, "--json"]).output)
    assert [group["count"] for group in found["groups"]] == [4, *[1] * 6]
    assert found["groups"][0]["photos"][2]["reason"].startswith("2x2 px")


def test_none_rejected(shots, tmp_path):
    run(tmp_path / "faces.h5", tmp_path / "s.png", params=folder_params(shots))
    done = cli(app, ["data", "rejected", str(tmp_path / "faces.h5")])
    assert done.output == f"{tmp_path / 'faces.h5'}: none of 6 photos was rejected\n"
    assert done.exit_code == 0


def test_fix_and_largest_take_what_can_be_taken(shots, tmp_path):
    spoil(shots)
    found = run(
        tmp_path / "f.h5", tmp_path / "s.png", params=folder_params(shots, {"on_bad": "fix", "face": "largest"})
    )
    rejected = load(tmp_path / "f.h5")["rejected/source"].tolist()
    assert found["rows"] == 8
    assert [r.split("/")[1] for r in rejected] == ["cut.jpg", "dot.png", "huge.png", "meadow.png", "text.jpg"]


@pytest.fixture
def under_dvc(shots, tmp_path, monkeypatch):
    """Runs preprocess as a stage of `dvc repro` with these deps."""
    monkeypatch.chdir(tmp_path)
    Repo.init(no_scm=True)
    monkeypatch.setenv("DVC_STAGE", "preprocess")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))

    def start(deps, **arguments):
        stage = {"cmd": "fgcli preprocess", "deps": [*deps, "params.yaml"], "outs": ["out/faces.h5"]}
        (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": {"preprocess": stage}}))
        path = arguments.pop("path", "shots")
        return run(Path("out/faces.h5"), Path("out/s.png"), params=folder_params(path, **arguments))

    return start


def test_what_is_read_under_dvc_must_be_among_its_deps(under_dvc, shots, tmp_path):
    (tmp_path / "labels.csv").write_text("file,smiling\n000.png,1\n")
    shutil.copytree(shots, tmp_path / "masks")
    told = (
        r"dvc.yaml: expected all that stage preprocess reads among its deps, .*found no shots, labels.csv, masks; add"
    )
    with pytest.raises(UsageError, match=told):
        under_dvc([], attributes="labels.csv", masks="masks")
    with pytest.raises(UsageError, match=r"found no masks; add"):
        under_dvc(["labels.csv", "shots"], attributes="labels.csv", masks="masks")
    assert not (tmp_path / "out").exists()
    assert under_dvc(["labels.csv", "masks", "shots"], attributes="labels.csv", masks="masks")["rows"] == 6


def test_deps_of_globs_links_and_folders_around(under_dvc, shots, tmp_path):
    with pytest.raises(UsageError, match=r"found no shots; add"):
        under_dvc(["shots/early"], path="shots/*/*.png")
    assert under_dvc(["shots"], path="shots/early/*.png")["rows"] == 3
    (shots / "late").rename(tmp_path / "album")
    (shots / "late").symlink_to(tmp_path / "album")
    with pytest.raises(UsageError, match=rf"found no {tmp_path}/album; add"):  # dvc follows no link in a folder
        under_dvc(["shots"])
    assert under_dvc(["shots", "album"])["rows"] == 6


def test_a_folder_with_outputs_is_no_dep(under_dvc):
    with pytest.raises(UsageError, match=r"^\.: expected a folder that dvc can depend on, found one with out/faces.h5"):
        under_dvc(["shots"], path=".")


def test_conversions_and_other_files_are_told(shots, tmp_path, capsys):
    photo = Image.open(orl().photos[5].path)
    for name in ("a.jpg", "b.jpg"):
        photo.convert("CMYK").save(shots / name)
    photo.convert("RGBA").save(shots / "c.png")
    for name in ("notes.txt", "old.txt", "raw.dng"):
        (shots / name).write_text("")
    run(tmp_path / "f.h5", tmp_path / "s.png", params=folder_params(shots, {"on_bad": "fix"}))
    told = capsys.readouterr().err
    assert "preprocess: 2 of 9 photos: CMYK converted to RGB\n" in told
    assert "preprocess: 1 of 9 photos: transparent laid on white\n" in told
    assert "image_folder: 3 other files are not read: 1 .dng, 2 .txt\n" in told
    assert load(tmp_path / "f.h5").meta["ignored"] == {".dng": 1, ".txt": 2}


def test_photos_upside_down_give_the_same_crops(shots, tmp_path):
    run(tmp_path / "f.h5", tmp_path / "s.png", params=folder_params(shots))
    for path in shots.rglob("*.png"):
        Image.open(path).transpose(Image.Transpose.ROTATE_180).save(path)
    run(tmp_path / "g.h5", tmp_path / "s.png", params=folder_params(shots))
    one, two = (load(tmp_path / name)["images"].astype(int) for name in ("f.h5", "g.h5"))
    assert np.abs(one - two).max() <= 2


def test_converting_is_the_default():
    assert section(defaults(), "preprocess", Params).on_bad == "fix"


@pytest.mark.parametrize("processes", [1, 2])
def test_fail_lists_all_bad_files_and_writes_nothing(shots, tmp_path, monkeypatch, processes):
    spoil(shots)
    monkeypatch.setattr(chunks, "ROWS", 5)
    out = tmp_path / "out/faces.h5"
    with pytest.raises(FgError, match="found 5 bad") as caught:
        run(out, tmp_path / "s.png", params=folder_params(shots, {"on_bad": "fail", "processes": processes}))
    assert all(name in str(caught.value) for name in ("cmyk.jpg", "cut.jpg", "dot.png", "huge.png", "text.jpg"))
    assert not out.exists()
    assert not list(tmp_path.rglob("*.npz"))
    assert not list(tmp_path.rglob("*.part"))


def test_too_many_rejected(shots, tmp_path):
    spoil(shots)
    with pytest.raises(FgError, match=r"at most 10% of 13 photos rejected, found 7 .*1 x no face found"):
        run(tmp_path / "faces.h5", tmp_path / "s.png", params=folder_params(shots, {"max_rejected": 0.1}))
    assert not (tmp_path / "faces.h5").exists()


def test_no_face_at_all(tmp_path):
    (tmp_path / "p").mkdir()
    Image.new("RGB", (200, 200)).save(tmp_path / "p/black.png")
    with pytest.raises(FgError, match="expected faces in 1 photos, found none: 1 x no face found"):
        run(tmp_path / "f.h5", tmp_path / "s.png", params=folder_params(tmp_path / "p", {"max_rejected": 1.0}))


def test_outputs_that_cannot_be_written(shots, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FgError, match=r"expected a folder that can be written"):
        run(tmp_path / "file/faces.h5", tmp_path / "s.png", params=folder_params(shots))


def test_no_room(shots, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(FgError, match="free disk"):
        run(tmp_path / "faces.h5", tmp_path / "s.png", params=folder_params(shots))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sise": 64}, "preprocess.sise: unknown key .did you mean 'size'"),
        ({"size": 4}, "preprocess.size"),
        ({"face": "biggest"}, "preprocess.face"),
        ({"datasets": []}, "preprocess.datasets"),
        ({"val": 0.5, "test": 0.5}, "a sum below 1, found 1"),
        ({"datasets": [{"name": "orl"}, {"name": "orl"}]}, "found 'orl' twice"),
        ({"datasets": [{"name": "orl", "path": "x"}]}, "preprocess.datasets.0.path: unknown key"),
        ({"analyser": {"name": "dlip"}}, "did you mean 'dlib'"),
    ],
)
def test_params_are_checked(tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        run(tmp_path / "faces.h5", tmp_path / "s.png", params=params(**changes))


def test_given_masks(shots, tmp_path):
    masks = tmp_path / "masks"
    for photo in shots.rglob("*.png"):
        mask = np.zeros((112, 92), np.uint8)
        mask[:, :46] = 255
        there = masks / photo.relative_to(shots)
        there.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(there)
    (masks / "late/201.png").unlink()
    Image.new("L", (50, 20)).save(masks / "late/101.png")
    run(
        tmp_path / "f.h5",
        tmp_path / "s.png",
        params=folder_params(shots, {"segmenter": {"name": "given"}}, masks=str(masks)),
    )
    faces = load(tmp_path / "f.h5")
    assert len(faces["masks"]) == 4
    assert 0.2 < (faces["masks"] > 0).mean() < 0.8
    reasons = dict(zip(faces["rejected/source"].tolist(), faces["rejected/reason"].tolist(), strict=True))
    assert "no mask file" in reasons["image_folder/late/201.png"]
    assert "has not the proportions" in reasons["image_folder/late/101.png"]


def test_plan_writes_nothing(shots, tmp_path):
    found = plan(tmp_path / "out/faces.h5", tmp_path / "s.png", params=folder_params(shots))
    assert found["photos"] == {"image_folder": 6}
    assert found["disk_mb"] > 0
    assert not (tmp_path / "out").exists()


# ---- equal bytes, whatever happened


def test_equal_bytes_for_any_number_of_processes(shots, tmp_path, monkeypatch):
    spoil(shots)
    run(tmp_path / "a.h5", tmp_path / "a.png", params=folder_params(shots))
    monkeypatch.setattr(chunks, "ROWS", 3)
    run(tmp_path / "b.h5", tmp_path / "b.png", params=folder_params(shots, {"processes": 2}))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def interrupted(monkeypatch, after: int):
    """Makes the run stop with an error after some chunks; returns what counts the chunks cut."""
    real, done = chunks.cut, []

    def cut(cutter, chunk):
        if len(done) == after:
            raise KeyboardInterrupt
        done.append(chunk.first)
        return real(cutter, chunk)

    monkeypatch.setattr(chunks, "cut", cut)
    return done


def test_an_interrupted_run_goes_on(shots, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(chunks, "ROWS", 2)
    run(tmp_path / "whole.h5", tmp_path / "whole.png", params=folder_params(shots))
    out, sheet = tmp_path / "faces.h5", tmp_path / "faces.png"
    with monkeypatch.context() as patch:
        interrupted(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run(out, sheet, params=folder_params(shots))
    assert not out.exists()
    with monkeypatch.context() as patch:
        done = interrupted(patch, 99)
        run(out, sheet, params=folder_params(shots))
    assert done == [4]
    assert "going on after 4 of 6 photos" in capsys.readouterr().err
    assert out.read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert sheet.read_bytes() == (tmp_path / "whole.png").read_bytes()
    assert not (tmp_path / ".faces.work").exists()


@pytest.mark.parametrize("how", ["params", "photo", "no resume"])
def test_old_work_is_not_taken_up(shots, tmp_path, monkeypatch, how):
    monkeypatch.setattr(chunks, "ROWS", 2)
    out, sheet = tmp_path / "faces.h5", tmp_path / "faces.png"
    with monkeypatch.context() as patch:
        interrupted(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run(out, sheet, params=folder_params(shots))
    if how == "photo":
        Image.open(shots / "late/001.png").save(shots / "early/000.png")
    done = interrupted(monkeypatch, 99)
    changes = {"framing": 0.9} if how == "params" else {}
    run(out, sheet, params=folder_params(shots, changes), resume=how != "no resume")
    assert done == [0, 2, 4]


SCRIPT = """
import sys, json
from pathlib import Path
from fgcli.faces import chunks
from fgcli.stages.preprocess import Params, run

if __name__ == "__main__":
    chunks.ROWS = 4
    run(Path(sys.argv[1]), Path(sys.argv[2]), params=Params.model_validate(json.loads(sys.argv[3])))
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="counts processes in /proc")
def test_kill_9_leaves_no_workers_and_nothing_half(tmp_path, monkeypatch, capsys):
    photos = tmp_path / "shots"
    photos.mkdir()
    for i, photo in enumerate(orl().photos[:20]):
        shutil.copy(photo.path, photos / f"{i:03d}.pgm")
    out, sheet, script = tmp_path / "faces.h5", tmp_path / "faces.png", tmp_path / "script.py"
    script.write_text(SCRIPT)
    two = folder_params(photos, {"processes": 2})
    process = subprocess.Popen([sys.executable, str(script), str(out), str(sheet), two.model_dump_json()])
    while not list(tmp_path.rglob("*.npz")):
        assert process.poll() is None
        time.sleep(0.01)
    workers = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(workers) >= 2
    assert not out.exists()
    for _ in range(1000):
        if not any(Path(f"/proc/{worker}").exists() for worker in workers):
            break
        time.sleep(0.01)
    else:
        pytest.fail("workers outlived their parent")
    monkeypatch.setattr(chunks, "ROWS", 4)
    one = folder_params(photos)
    run(out, sheet, params=one)
    assert "going on after" in capsys.readouterr().err
    run(tmp_path / "whole.h5", tmp_path / "whole.png", params=one)
    assert out.read_bytes() == (tmp_path / "whole.h5").read_bytes()


def children(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(status.parent.name))
    return found


def test_blurred_faces_are_told_and_small_ones_rejected(shots, tmp_path, capsys):
    run(tmp_path / "faces.h5", tmp_path / "s.png", params=folder_params(shots, {"size": 256}))
    faces = load(tmp_path / "faces.h5", FACES)
    sides = np.sqrt(np.abs(np.linalg.det(faces["crop"][:, :, :2])))
    np.testing.assert_allclose(faces["enlargement"], sides, rtol=1e-5)
    count = int((sides > 2).sum())
    told = capsys.readouterr().err
    assert f"{count} of 6 faces are enlarged more than 2 times, up to {sides.max():.1f}" in told
    assert "preprocess.min_face=128" in told
    least = int(np.sort(256 / sides)[2]) + 1
    asked = folder_params(shots, {"size": 64, "min_face": least})
    run(tmp_path / "faces.h5", tmp_path / "s.png", params=asked)
    faces = load(tmp_path / "faces.h5", FACES)
    assert len(faces["images"]) == 3
    assert len(faces["rejected/reason"]) == 3
    assert all(f"px, smaller than preprocess.min_face={least}" in reason for reason in faces["rejected/reason"])
    assert "enlarged" not in capsys.readouterr().err
