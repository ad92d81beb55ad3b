"""Folders of photos and tables of jobs: a picture and a line for each, whatever stops, fails or is in the way."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from test_pictures import SIZE, SizedCutter, fg, files
from test_pictures import home as home
from test_pictures import out as out

from fgcli import jobs
from fgcli.errors import FgError, Interrupted
from fgcli.faces.cutter import ChoiceError, Cut, Cutter
from fgcli.faces.landmarks import Face

EDIT = ("edit", "photos", "-a", "odd", "--processes", 1)
BOXES = [Face((0, 0, 8, 8), np.zeros((68, 2)), 1.0), Face((8, 8, 16, 16), np.zeros((68, 2)), 1.0)]


class Crowd(SizedCutter):
    """Takes the whole photo for the face; one whose name says two has one in each corner. Counts what it is asked."""

    def __init__(self):
        self.settings, self.seen, self.stop_at = SimpleNamespace(face="only"), [], None

    def choosing(self, face):
        self.settings.face = face
        return self

    def photo(self, path):
        if len(self.seen) == self.stop_at:
            raise Interrupted(2)
        self.seen.append(path.name)
        if "odd" in path.name:
            raise ValueError("a defect")
        if "two" not in path.name:
            return super().photo(path)
        if self.settings.face == "only":
            cause = ChoiceError("2 faces found", BOXES)
            raise FgError(f"{path}: 2 faces found; choose with --face 1 to 2") from cause
        return self.faces(path)[int(self.settings.face) - 1]

    def faces(self, path):
        cut, small = super().photo(path), np.eye(2, 3, dtype=np.float32)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        cuts = []
        for number, part in enumerate((np.s_[:8, :8], np.s_[8:, 8:]), 1):
            here = mask.copy()
            here[part] = 255
            cuts.append(Cut(cut.image, here, cut.landmarks, small, number=number))
        return cuts


@pytest.fixture
def crowd(home, monkeypatch):
    cutter = Crowd()
    monkeypatch.setattr(Cutter, "of", lambda generator, face="only": cutter.choosing(face))
    return cutter


def table(folder):
    with open(Path(folder, "jobs.csv"), newline="") as file:
        return list(csv.DictReader(file))


def pixels(path):
    return np.asarray(Image.open(path)).astype(int)


def contents(folder):
    return {path: Path(path).read_bytes() for path in files(folder)}


def test_every_photo_has_a_picture_and_a_line(crowd):
    told, said = fg(*EDIT, "-o", "new", code=1)
    assert told["photos"] == 5
    assert (told["done"], told["failed"]) == (3, 2)
    assert said[-1].startswith("fg: new/jobs.csv: expected a picture of each of 5 photos, found 2 without one")
    assert files("new") == [f"new/{name}" for name in ("anna.png", "ben.png", "cleo.png", "jobs.csv", "jobs.png")]
    lines = table("new")
    assert [line["photo"] for line in lines] == [
        f"photos/{name}" for name in ("anna.png", "bad1.png", "bad2.jpg", "ben.png", "more/cleo.png")
    ]
    assert [line["status"] for line in lines] == ["done", "failed", "failed", "done", "done"]
    assert lines[1]["reason"] == "photos/bad1.png: no face found"
    assert lines[1]["picture"] == ""
    assert lines[3]["edit"] == "odd +1"
    assert lines[3]["likely"] in ("yes", "no")
    fg("edit", "photos/ben.png", "-a", "odd", "--strength", 1, "-o", "strip.png")
    np.testing.assert_array_equal(pixels("new/ben.png"), pixels("strip-ben-+1.png"))


def test_a_run_goes_on_after_a_stop_with_equal_bytes(crowd):
    fg(*EDIT, "-o", "whole", code=1)
    crowd.stop_at, crowd.seen = 4, []
    fg(*EDIT, "-o", "new", code=130)
    assert len(crowd.seen) == 4
    with open("new/jobs.csv", "a") as file:
        file.write("photos/more/cleo.png,cleo.p")  # half a line, as a killed run leaves it
    Path("new/.ben.png.x7.part").write_text("half a picture")
    Path("new/.mine.part").write_text("mine")
    crowd.stop_at, crowd.seen = None, []
    _, said = fg(*EDIT, "-o", "new", code=1)
    assert crowd.seen == ["bad1.png", "bad2.jpg", "cleo.png"]  # what failed is tried again
    assert said[1] == "edit: going on after 2 of 5 photos"
    for path, content in contents("whole").items():
        assert Path("new", Path(path).name).read_bytes() == content
    assert Path("new/.mine.part").read_text() == "mine"
    Path("new/.mine.part").unlink()
    assert contents("new").keys() == {path.replace("whole", "new") for path in contents("whole")}
    crowd.seen = []
    fg(*EDIT, "-o", "new", code=1)
    assert crowd.seen == ["bad1.png", "bad2.jpg"]
    Path("new/ben.png").unlink()
    fg(*EDIT, "-o", "new", code=1)
    assert contents("new").keys() == {path.replace("whole", "new") for path in contents("whole")}


def test_new_photos_are_added_and_changed_jobs_are_never_mixed(crowd):
    fg(*EDIT, "-o", "new", code=1)
    before = contents("new")
    for change in (["--strength", 2], ["-a", "odd=2"], ["--face", "1"], ["--no-paste-back"]):
        _, said = fg(*EDIT, *change, "-o", "new", code=1)
        assert "expected the jobs that it was begun with, found 3 of another photo, option" in said[-1]
    _, said = fg("reconstruct", "photos", "--processes", 1, "-o", "new", code=1)
    assert "new/jobs.csv: expected nothing or the table of these jobs, found another" in said[-1]
    Path("photos/ben.png").rename("ben.png")
    _, said = fg(*EDIT, "-o", "new", code=1)
    assert "found 1 of another photo" in said[-1]
    assert "first photos/ben.png" in said[-1]
    assert contents("new") == before
    Path("ben.png").rename("photos/ben.png")
    Image.fromarray(255 - pixels("photos/ben.png").astype(np.uint8)).save("photos/dora.png")
    crowd.seen = []
    fg(*EDIT, "-o", "new", code=1)
    assert crowd.seen == ["bad1.png", "bad2.jpg", "dora.png"]
    assert len(table("new")) == 6


def test_photos_that_share_a_name_are_added_and_none_is_done_again(crowd):
    one, more = ["edit", "photos/ben.png"], ["-a", "odd", "--processes", 1, "-o", "new"]
    fg(*one, "photos/anna.png", *more)
    before = contents("new")
    for folder in ("a", "z"):
        Path(folder).mkdir()
        Image.fromarray(255 - pixels("photos/ben.png").astype(np.uint8)).save(f"{folder}/ben.png")
    crowd.seen = []
    fg(*one, "photos/anna.png", "a/ben.png", *more)
    fg("edit", "z/ben.png", "photos/anna.png", "a/ben.png", "photos/ben.png", "a/ben.png", *more)
    assert crowd.seen == ["ben.png", "ben.png"]
    assert [line["photo"] for line in table("new")] == ["z/ben.png", "photos/anna.png", "a/ben.png", "photos/ben.png"]
    assert len({line["picture"] for line in table("new")}) == 4
    for name in ("new/anna.png", "new/ben.png"):
        assert Path(name).read_bytes() == before[name]


def test_one_photo_that_fails_in_any_way_never_ends_it(crowd):
    Image.open("photos/anna.png").save("photos/aodd.png")
    told, _ = fg(*EDIT, "-o", "new", code=1)
    assert (told["done"], told["failed"]) == (3, 3)
    assert table("new")[1]["reason"].startswith("a defect of fg: ValueError: a defect")


def test_what_is_the_users_stays(crowd):
    for name in ("ben.png", "jobs.csv", "jobs.png"):
        Path("new").mkdir(exist_ok=True)
        Path("new", name).write_text("mine")
        before = contents(".")
        _, said = fg(*EDIT, "-o", "new", code=1)
        assert f"new/{name}: expected nothing or" in said[-1]
        assert contents(".") == before
        Path("new", name).unlink()
    Path("new/notes.txt").write_text("mine")
    fg(*EDIT, "-o", "new", code=1)
    assert Path("new/notes.txt").read_text() == "mine"
    _, said = fg(*EDIT, "-o", "photos", code=2)
    assert "-o photos: expected a file of its own" in said[-1]


def test_a_table_of_jobs_has_options_for_each_photo(crowd):
    Path("lists").mkdir()
    Path("lists/mine.csv").write_text(
        "photo,attribute,strength\n../photos/anna.png,,-1\n../photos/anna.png,odd=2; odd=-1,\n7,,2\n",
        encoding="utf-8-sig",
    )
    told, _ = fg("edit", "lists/mine.csv", "-a", "odd", "--processes", 1, "-o", "new")
    assert told["done"] == 3
    assert [line["edit"] for line in table("new")] == ["odd -1", "odd +2, odd -1", "odd +2"]
    pictures = [line["picture"] for line in table("new")]
    assert len(set(pictures)) == 3
    assert [re.sub("-[0-9a-f]{8}", "-HASH", name) for name in pictures] == ["anna-HASH.png", "anna-HASH.png", "7.png"]
    fg("edit", "photos/anna.png", "-a", "odd=2", "-a", "odd=-1", "-o", "strip.png")
    np.testing.assert_array_equal(pixels(f"new/{pictures[1]}"), pixels("strip-anna-edit.png"))
    for name in pictures:
        Path("other").mkdir(exist_ok=True)
        Path("other", name).write_text("mine")
        _, said = fg("edit", "lists/mine.csv", "-a", "odd", "--processes", 1, "-o", "other", code=1)
        assert f"other/{name}: expected nothing or a .png file of fg's to replace" in said[-1]
        assert Path("other", name).read_text() == "mine"
        Path("other", name).unlink()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "photo,strenght\nphotos/anna.png,1\n",
            "mine.csv: expected columns photo, attribute, strength, method, face, ",
        ),
        ("attribute\nodd\n", "mine.csv: expected unique columns with `photo` among them, found attribute"),
        ("photo,strength\n7,x\n8,1:2:3\n", "mine.csv: line 2: --strength x: expected a finite number"),
        ("photo\n", "mine.csv: expected a line for each photo, found none"),
        ("photo\n\xe9\n", "mine.csv: expected a CSV of jobs in UTF-8, found another encoding"),
    ],
)
def test_wrong_tables_are_one_sentence_before_any_work(crowd, text, expected):
    Path("mine.csv").write_bytes(text.encode("latin-1"))
    before = files()
    code = 1 if "line for each" in expected or "UTF-8" in expected else 2
    _, said = fg("edit", "mine.csv", "-a", "odd", "--processes", 1, "-o", "new", code=code)
    assert expected in said[-1]
    assert files() == before


def test_a_wrong_line_is_told_in_its_line_and_ends_nothing(crowd):
    wrong = {
        "photos/anna.png,1:2:3,,": "--strength 1:2:3: expected one strength or auto",
        "7,x,,": "--strength x: expected a finite number",
        "7,,even,": "--attribute even: expected one of odd",
        "7,,,left": "--face left: expected only, largest, centre, all or a number",
        "7,1,,,2": "expected a photo and its options, found more than 4 values",
        ",1,,": "expected a photo and its options, found none",
        "photos/none.png,1,,": "photos/none.png: no face found",
        "half.zip/anna.png,1,,": "half.zip/anna.png: no face found",
    }
    Path("half.zip").write_bytes(b"PK half a zip file")
    header, good = "photo,strength,attribute,face\n", "photos/ben.png,2,,\n7,1,,\n"
    Path("mine.csv").write_text(header + "\n".join(wrong) + "\n" + good)
    told, _ = fg("edit", "mine.csv", "-a", "odd", "--processes", 1, "-o", "new", code=1)
    assert (told["done"], told["failed"]) == (2, 8)
    lines = table("new")
    assert [line["status"] for line in lines] == ["failed"] * 8 + ["done"] * 2
    for number, (line, reason) in enumerate(zip(lines[:8], wrong.values(), strict=True), 2):
        tried = "none.png" in reason or "zip" in reason
        assert line["reason"].startswith(reason if tried else f"mine.csv: line {number}: {reason}")
    Path("mine.csv").write_text(header + "photos/anna.png,1,,\n" + "\n".join([*wrong][1:]) + "\n" + good)
    crowd.seen = []
    fg("edit", "mine.csv", "-a", "odd", "--processes", 1, "-o", "new", code=1)
    assert crowd.seen == ["anna.png", "none.png", "anna.png"]  # what was done is not done again


@pytest.mark.parametrize("name", ["out.v2", "2024.05", "new"])
def test_a_folder_may_have_a_dot_in_its_name(crowd, name):
    told, _ = fg(*EDIT, "-o", name, code=1)
    assert told["done"] == 3
    assert len(table(name)) == 5


def test_what_may_be_a_picture_or_a_folder_is_told(crowd):
    _, said = fg("edit", "photos/ben.png", "-a", "odd", "-o", "out.v2", code=2)
    assert "-o out.v2: expected a folder or, of one photo, a picture's ending, .png, " in said[-1]
    assert "found '.v2'; make the folder first, or name another" in said[-1]
    Path("out.v2").mkdir()
    assert fg("edit", "photos/ben.png", "-a", "odd", "--processes", 1, "-o", "out.v2")[0]["done"] == 1
    Path("mine.csv").write_text("photo\n7\n")
    _, said = fg("edit", "mine.csv", "-a", "odd", "-o", "new.png", code=2)
    assert "-o new.png: expected a folder for a table of jobs, found the name of a file; name a folder" in said[-1]
    assert files() == [path for path in files() if "new" not in path]


def test_a_glob_stands_for_its_photos(crowd):
    for name, count in (("photos/[ac]*.png", 1), ("photos/**/[ac]*.png", 2)):
        assert fg("edit", name, "-a", "odd", "--processes", 1, "-o", f"new{count}")[0]["done"] == count
    _, said = fg("edit", "photos/*.webp", "-a", "odd", "-o", "none", code=1)
    assert said == ["fg: photos/*.webp: expected photos of such names in photos, found none; check the pattern"]
    assert not Path("none").exists()


def test_a_page_or_a_strip_of_strengths_wants_a_picture(crowd):
    _, said = fg(*EDIT, "--page", "p.html", "-o", "new", code=2)
    assert "-o new: expected a picture beside p.html, found a folder" in said[-1]
    _, said = fg(*EDIT, "--strength", "-1:1:3", "-o", "new", code=2)
    assert "expected one strength or auto, since -o names a folder" in said[-1]


def test_a_folder_is_reconstructed(crowd):
    fg("reconstruct", "photos/anna.png", 3, "--processes", 1, "-o", "new")
    lines = table("new")
    assert [line["status"] for line in lines] == ["done", "done"]
    assert "likely" in lines[0]
    assert pixels("new/anna.png").shape[1] > 3 * SIZE


# ---- photos of several people


def crowded(name="two"):
    Image.open("photos/anna.png").save(f"photos/{name}.png")
    return f"photos/{name}.png"


def test_several_faces_are_numbered_in_the_error_and_in_a_picture(crowd):
    photo = crowded()
    _, said = fg("edit", photo, "-a", "odd", "-o", "new/strip.png", code=1)
    assert said == [
        f"fg: {photo}: 2 faces found; choose with --face 1 to 2; new/strip-two-faces.png shows their numbers"
    ]
    assert files("new") == ["new/strip-two-faces.png"]
    assert (pixels("new/strip-two-faces.png") != pixels(photo)).any()
    Path("new/strip-two-faces.png").write_text("mine")
    _, said = fg("edit", photo, "-a", "odd", "-o", "new/strip.png", code=1)
    assert said == [f"fg: {photo}: 2 faces found; choose with --face 1 to 2"]
    assert Path("new/strip-two-faces.png").read_text() == "mine"
    fg("edit", photo, "-a", "odd", "--processes", 1, "-o", "many", code=1)
    assert "many/faces/two.png shows their numbers" in table("many")[0]["reason"]


def test_all_faces_are_edited_and_pasted_into_one_picture(crowd):
    photo = crowded()
    told, _ = fg("edit", photo, "-a", "odd", "--strength", 2, "--face", "all", "-o", "strip.png")
    assert told["output"] == ["strip.png", "strip-two-+2.png"]
    assert list(told["certificates"]) == [f"{photo}, face 1", f"{photo}, face 2"]
    for number in ("1", "2"):
        fg("edit", photo, "-a", "odd", "--strength", 2, "--face", number, "-o", f"{number}.png")
    plain, both = pixels(photo), pixels("strip-two-+2.png")
    one, two = (pixels(f"{number}-two-+2.png") for number in "12")
    assert (one != plain).any()
    assert (two != plain).any()
    np.testing.assert_array_equal(both - plain, (one - plain) + (two - plain))
    fg("edit", photo, "-a", "odd", "--strength", 2, "--face", "all", "--processes", 1, "-o", "many")
    np.testing.assert_array_equal(pixels("many/two.png"), both)
    assert table("many")[0]["face"] == "1 | 2"


def test_a_walk_between_the_faces_of_one_photo(crowd):
    assert fg("interpolate", crowded(), "--face", "all", "-o", "walk.png")[0]["pairs"] == 1
    _, said = fg("interpolate", "3", "--face", "all", "-o", "walk.png", code=1)
    assert "expected at least two faces to walk between, found 1" in said[-1]


@pytest.mark.parametrize(("command", "face"), [("edit", "0"), ("edit", "left"), ("mix", "all"), ("deblur", "all")])
def test_faces_that_are_none_are_refused(home, command, face):
    arguments = [command, "3", "--face", face, "-o", "x.png", *(["-a", "odd"] if command == "edit" else [])]
    _, said = fg(*arguments, code=2)
    assert re.search("expected one face of a photo|or a number from 1", re.sub(r"[│\s]+", " ", " ".join(said)))


def test_cells_of_a_job_keep_their_kind():
    assert jobs.cell(" a=1; b ", [], "x") == ["a=1", "b"]
    assert jobs.cell("no", False, "x") is False
    assert jobs.cell(" ", False, "x") is None
    assert json.dumps(jobs.cell("1", "", "x")) == '"1"'
    assert replace(jobs.Job("a", {}), photo="b").photo == "b"
