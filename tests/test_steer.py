"""steer and the random protocol: which numbers are set, where the head stands then, what is seen to obey."""

import csv
import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import steered_files
import torch
from PIL import Image
from typer.testing import CliRunner

from fgcli import artifacts, config
from fgcli.cli import app
from fgcli.codes import decode, reader
from fgcli.errors import FgError, UsageError
from fgcli.faces.cutter import Cut, Cutter, Settings
from fgcli.fits import Fitter
from fgcli.generators import GENERATORS, store
from fgcli.heads.camera import project
from fgcli.heads.centring import eyeballs
from fgcli.heads.head import rotation_matrices
from fgcli.heads.parameters import Parameters
from fgcli.heads.steering import JAW, YAW, Factor, condition_of, exchanged, neutral, recentred
from fgcli.pixels import u8
from fgcli.stages import steer as stage
from fgcli.steered import Observer, Person, Studio
from fgcli.subjects import HeadFiles, Subjects


@pytest.fixture
def home(steered, tmp_path, monkeypatch):
    """An empty folder; what is found in pictures is what is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fgcli.assets.find", lambda name: None)
    truth = {}
    real = Studio.pictures

    def pictures(self, person, p):
        made, truth["heads"] = real(self, person, p)
        return made, truth["heads"]

    monkeypatch.setattr(Studio, "pictures", pictures)
    monkeypatch.setattr(Observer, "heads", lambda self, made: truth["heads"])
    return tmp_path


def fg(*arguments, code=0):
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == code, (done.output, done.exception)
    return json.loads(done.stdout) if done.stdout else {}, done.stderr.splitlines()


def known(steered):
    vectors = artifacts.load(steered["conditions"], names=("parameters",))["parameters"]
    return Parameters.from_vector(torch.from_numpy(vectors), "gif")


def middle(head, p):
    return project(eyeballs(head, p.shape, p.expression, p.pose), p.camera)[..., :2].mean(1)


# ---- the numbers


def test_factors_are_exchanged_one_after_the_other(steered, head):
    one, other = known(steered).rows([0]), known(steered).rows([3])
    p = exchanged(head, one, other)
    taken = {"shape": 2, "expression": 3, "pose": 4, "texture": 5, "light": 6}
    for name, first in taken.items():
        for i in range(7):
            assert torch.equal(getattr(p, name)[[i]], getattr(other if i >= first else one, name)), (name, i)
    torch.testing.assert_close(middle(head, p.rows([1, 2, 3])), middle(head, one).expand(3, -1))
    assert torch.equal(p.rows([6]).to_vector("gif"), other.to_vector("gif"))  # its camera, too


@pytest.mark.parametrize("factor", [Factor("yaw"), Factor("jaw"), *(Factor(n, 2) for n in ("shape", "light"))], ids=str)
def test_a_number_is_set_and_all_else_stays(steered, factor):
    p = known(steered)
    changed = factor.set(p, 0.3)
    np.testing.assert_allclose(factor.get(changed), 0.3, atol=1e-5)
    np.testing.assert_allclose(factor.set(changed, 0.1).pose, factor.set(p, 0.1).pose, atol=1e-5)
    field = {"yaw": "pose", "jaw": "pose"}.get(factor.name, factor.name)
    assert all(torch.equal(getattr(changed, name), getattr(p, name)) for name in vars(p) if name != field)
    if factor.name == "yaw":  # nod and tilt stay: what is left when the turn is undone
        undone = [rotation_matrices(Factor("yaw").set(q, 0.0).pose[:, :3]) for q in (p, changed)]
        torch.testing.assert_close(*undone, atol=1e-5, rtol=0)
        torch.testing.assert_close(changed.pose[:, 3:], p.pose[:, 3:])


def test_positive_yaw_looks_to_image_right(head):
    turned = Factor("yaw").set(Parameters.zeros(1), 0.4)
    nose = head.landmark_points(turned.shape, turned.expression, turned.pose)[0, 30]
    assert nose[0] > head.landmark_points(*(torch.zeros(1, k) for k in (100, 50, 6)))[0, 30, 0] + 0.01


def test_a_turned_head_keeps_its_eyes_in_place_and_an_unchanged_one_its_camera(head, steered):
    own = known(steered).rows([3])
    torch.testing.assert_close(recentred(head, own, own).camera, own.camera, atol=1e-4, rtol=1e-4)
    changed = stage.swept(own, Factor("yaw"), [-0.4, 0.0, 0.4])
    moved = recentred(head, own, changed)
    torch.testing.assert_close(middle(head, moved), middle(head, own).expand(3, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(moved.camera[:, 0], own.camera[:, 0].expand(3))  # a turned crop is no tighter
    assert (middle(head, changed) - middle(head, own)).norm(dim=1).max() > 0.1  # the fitted camera would lose it


def test_a_condition_is_what_conditions_h5_has(head, steered):
    model = store.load(steered["generator"])
    made = u8(condition_of(model, head, known(steered).rows([5]))).numpy()
    np.testing.assert_array_equal(made, artifacts.rows(steered["conditions"], "renders")[5:6])
    model.condition_column = "parameters"
    assert condition_of(model, head, known(steered).rows([5])).shape == (1, 236)


# ---- the command


def test_each_range_makes_a_strip_and_a_single_value_is_in_all(home, steered):
    told, _ = fg(
        "steer", 3, "--yaw", "-0.3:0.3:3", "--expression", "0=-1:1:2", "--jaw", 0.2, *steered_files.flags(steered)
    )
    assert list(told["strips"]) == ["yaw", "expression 0"]
    yaw = told["strips"]["yaw"]
    assert (yaw["asked"], yaw["found"], yaw["follows"]) == ([-0.3, 0, 0.3], [-0.3, 0, 0.3], 1)
    assert told["strips"]["expression 0"]["asked"] == [-1, 1]
    assert "identity" in told["not_measured"]
    width, height = Image.open("steer.png").size
    assert width > 5 * 128
    assert height > 2 * 128
    told, _ = fg("steer", 3, "--jaw", 0.2, *steered_files.flags(steered), "-o", "one.png")
    assert told["strips"]["steered"] == {"number": "jaw", "asked": [0.2], "found": [0.2]}


def test_pictures_show_the_head_that_was_asked_for(home, head, steered):
    with torch.no_grad():
        studio = Studio(named(steered), "only", "test")
        person = studio.person("3")
        [same, turned], _ = studio.pictures(
            person, stage.swept(person.head, Factor("jaw"), [float(person.head.pose[0, 3]), 0.3])
        )
        shown = u8(decode(studio.model, reader(steered["latents"])([3])))[0].numpy()
    assert np.abs(same.astype(int) - shown).max() <= 1
    np.testing.assert_array_equal(person.face, same)
    assert np.abs(turned.astype(int) - same)[20:].max() > 30  # the mouth opens
    assert np.abs(turned.astype(int) - same)[:12].max() <= 1


def named(steered):
    from fgcli.steered import Files

    return Files(steered["generator"], steered["latents"], steered["conditions"], steered["flame"])


def test_another_ones_expression_jaw_and_pose_are_taken_and_neutral_has_none(steered):
    with torch.no_grad():
        studio, p = Studio(named(steered), "only", "test"), known(steered)
        wish = stage.asked(False, {"expression": "5", "jaw": "6", "pose": "7"}, {})
        found = stage.changed(studio, p.rows([3]), wish)
        plain = stage.changed(studio, p.rows([3]), stage.asked(True, {"jaw": "6"}, {"shape": ["1=2"]}))
    assert torch.equal(found.expression, p.expression[5:6])
    assert torch.equal(found.pose, torch.cat([p.pose[7:8, :3], p.pose[6:7, 3:]], 1))
    assert all(torch.equal(getattr(found, n), getattr(p, n)[3:4]) for n in ("shape", "texture", "light"))
    assert not plain.expression.any()
    assert not plain.pose[:, :3].any()
    assert torch.equal(plain.pose[:, 3:], p.pose[6:7, 3:])
    assert plain.shape[0, 1] == 2
    assert not neutral(p).pose.any()


def test_what_follows_is_told_and_what_does_not(steered):
    class Blind:
        def __init__(self, found):
            self.found = found

        def heads(self, pictures):
            return self.found

        def identity(self, person, pictures, p):
            return [0.5, 0.7]

    asked = stage.swept(known(steered).rows([3]), Factor("jaw"), [0.0, 0.2])
    person = Person(np.zeros((32, 32, 3), np.uint8), None, asked)
    half = stage.swept(asked.rows([0]), Factor("jaw"), [0.0, 0.1])
    told = stage.seen(Blind(half), person, Factor("jaw"), [], asked)
    assert (told["follows"], told["identity"], told["same person"]) == (0.5, [0.5, 0.7], 0.5)
    lost = half.replace(pose=torch.full_like(half.pose, torch.nan))
    told = stage.seen(Blind(lost), person, Factor("jaw"), [], asked)
    assert told["found"] == [None, None]
    assert "follows" not in told
    assert stage.footed(told)[1] == ["jaw +0.20", "not found", "identity 0.70"]


@pytest.mark.parametrize(
    ("arguments", "changes", "message", "code"),
    [
        (["3"], {}, "fg steer: expected what to change, found nothing; write --yaw -0.4:0.4:7", 2),
        (["3", "--yaw", "a"], {}, "--yaw a: expected a finite number or FROM:TO:COUNT", 2),
        (["3", "--expression", "1:2:3"], {}, "--expression 1:2:3: expected MODE=FROM:TO:COUNT or MODE=VALUE", 2),
        (["3", "--shape", "90=1"], {}, "--shape 90: expected a number below 24, as head procedural has them", 2),
        (["3", "--light", "9=1"], {}, "--light 9: expected a number below 9", 2),
        (["99", "--yaw", "0"], {}, "conditions.h5: expected a row below 24, found 99; choose another row", 1),
        (["none.jpg", "--yaw", "0"], {}, "none.jpg: expected a photo or a row number, found no such file", 1),
        (["3", "--yaw", "0"], {"conditions": "none.h5"}, "none.h5: expected an fg artifact, found no such file", 1),
        (
            ["3", "--yaw", "0"],
            {"conditions": "latents"},
            "latents.h5: expected a conditions/1 file, found a latents/2 file",
            1,
        ),
        (["3", "--yaw", "0:1:900", "-o", "x.jpg"], {}, "x.jpg: expected a picture of at most", 2),
        (["3", "--yaw", "0"], {"conditions": "other"}, "expected parameters of the head that", 1),
        (["3", "--yaw", "0"], {"conditions": "later"}, "expected the conditions that", 1),
        (
            ["3", "--yaw", "0"],
            {"generator": "plain"},
            "fg steer: expected a generator that is steered by a condition",
            2,
        ),
        (["3", "--yaw", "0", "-o", "x.txt"], {}, "x.txt: expected a folder or, of one photo, a picture's ending", 2),
    ],
)
def test_what_cannot_be_steered_is_one_sentence(home, steered, arguments, changes, message, code):
    stored = artifacts.load(steered["conditions"])
    for name, change in (("other", {"head": stored.meta["head"] | {"sha256": "0"}}), ("later", {"flame": "0"})):
        artifacts.save(
            home / f"{name}.h5", artifacts.CONDITIONS, stored.arrays, params={}, inputs={}, meta=stored.meta | change
        )
    build = {"name": "pca", "codes": 2}
    model = config.build(GENERATORS, build, "test", image_shape=(3, 32, 32))
    about = {"ema": model.state_dict(), "build": build, "history": {}, "training": {}, "params": {}, "inputs": {}}
    store.save(home / "plain.h5", model, **about)
    before = sorted(home.iterdir())
    given = steered | {name: steered.get(value, f"{value.removesuffix('.h5')}.h5") for name, value in changes.items()}
    _, said = fg("steer", *arguments, *steered_files.flags(given), code=code)
    assert message in said[-1]
    assert said[-1].count("\n") == 0
    assert sorted(home.iterdir()) == before


# ---- photos in other commands


@pytest.fixture
def album(home, head, steered, monkeypatch):
    """Photos 3.png, 5.png and 6.png of these rows: their heads are found as conditions.h5 has them, that of 6 not."""
    faces, about = artifacts.rows(steered["conditions"], "renders"), artifacts.load(steered["flame"], names=()).meta

    class Whole:
        settings = Settings(32, 0.8, "only", {"name": "exact"}, {"name": "exact"}, True, 1, 1.0)

        def choosing(self, face):
            return self

        def photo(self, path):
            return Cut(np.asarray(Image.open(path)), np.full((32, 32), 255, np.uint8), np.zeros((68, 2)), np.eye(2, 3))

    def head_of(self, cut, name):
        name = Path(name).name
        if name == "6.png":
            raise FgError("6.png: expected a face whose head can be found, found none; choose another")
        return known(steered).rows([int(name[0])])

    monkeypatch.setattr(Cutter, "of", lambda generator, face="largest": Whole())
    monkeypatch.setattr("fgcli.fits.prepare", lambda *_: (SimpleNamespace(head=head), about, ""))
    monkeypatch.setattr(Fitter, "head_of", head_of)
    for row in (3, 5, 6):
        Image.fromarray(faces[row, ..., :3]).save(f"{row}.png")
    return steered_files.flags({k: v for k, v in steered.items() if k != "conditions"})


def test_a_photo_is_inverted_under_its_own_head_as_steer_does(album, steered):
    model, heads = store.load(steered["generator"]), HeadFiles(steered["flame"], Path("none.h5"))
    (person,) = Subjects(["5.png"], "only", steered["generator"], steered["latents"], model, heads)
    with torch.no_grad():
        studio = Studio(named(steered), "only", "test")
        wanted = studio.person("5.png").code
    assert torch.equal(person.code.condition, wanted.condition)
    assert torch.equal(person.code.values, wanted.values)
    np.testing.assert_array_equal(
        u8(person.code.condition).numpy(), artifacts.rows(steered["conditions"], "renders")[5:6]
    )


def test_photos_of_a_steered_generator_are_reconstructed_and_walked_between(album):
    told, said = fg("reconstruct", "5.png", "6.png", 3, *album, code=1)
    assert (told["faces"], told["left_out"]) == (2, ["6.png"])
    assert "6.png: expected a face whose head can be found, found none; choose another; left out" in said
    told, _ = fg("interpolate", "3.png", "5.png", *album)
    assert told["pairs"] == 1
    before = sorted(path.name for path in Path().iterdir())
    _, said = fg("reconstruct", "5.png", *album[:-1], "none.h5", "-o", "no.png", code=1)
    assert said == ["fg: none.h5: expected an fg artifact, found no such file; run the stage that writes it"]
    assert sorted(path.name for path in Path().iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("inpaint", "3.png", "--hole", "4,4,9,9"),
        ("merge", "3.png", "5.png"),
        ("retouch", "3.png"),
        ("deblur", "3.png"),
        ("keyframes", ".", "-o", "frames"),
    ],
)
def test_pictures_without_a_head_are_not_put_under_one(album, arguments):
    before = sorted(path.name for path in Path().iterdir())
    _, said = fg(*arguments, *album[:4], code=2)
    wanted = "expected no generator that is steered by a condition, found Steered; choose another one"
    assert said == [f"fg: fg {arguments[0]}: {wanted}"]
    assert sorted(path.name for path in Path().iterdir()) == before


# ---- the random protocol


def test_the_random_protocol_draws_a_few_modes_turn_and_jaw_and_takes_light_of_training_rows(home, steered):
    where = steered_files.flags({k: v for k, v in steered.items() if k != "flame"})
    fg("sample", "-n", 40, "--density", "random", "--seed", 5, *where, "-o", "all.png")
    fg("sample", "-n", 1, "--density", "random", "--seed", 30, *where, "-o", "one.png")
    assert (home / "all-seed0030.png").read_bytes() == (home / "one-seed0030.png").read_bytes()
    stored = artifacts.load(home / "all.h5", artifacts.SAMPLES)
    p = Parameters.from_vector(torch.from_numpy(stored["parameters"]), "gif")
    for name in ("shape", "expression", "texture"):
        drawn = getattr(p, name)
        assert not drawn[:, 3:].any()
        assert 0.8 < drawn[:, :3].std() < 1.2
    turn, jaw = Factor("yaw").get(p), p.pose[:, 3]
    assert -YAW < turn.min() < -0.7 * YAW < 0.7 * YAW < turn.max() < YAW
    assert 0 < jaw.min() < 0.2 * JAW < 0.8 * JAW < jaw.max() < JAW == math.pi / 12
    assert not p.pose[:, [0, 2, 4, 5]].any()
    train = known(steered).light[torch.from_numpy(artifacts.load(steered["latents"])["split"] == 0)]
    assert all((train == light).flatten(1).all(1).any() for light in p.light)
    assert len(p.light.flatten(1).unique(dim=0)) > 5
    told, _ = fg("steer", 2, "--yaw", "0:0.2:2", *steered_files.flags(steered | {"latents": home / "all.h5"}))
    assert told["strips"]["yaw"]["asked"] == [0, 0.2]


def test_only_heads_that_steer_are_drawn(home, steered):
    build = {"name": "pca", "codes": 2}
    model = config.build(GENERATORS, build, "test", image_shape=(3, 32, 32))
    about = {"ema": model.state_dict(), "build": build, "history": {}, "training": {}, "params": {}, "inputs": {}}
    store.save(home / "plain.h5", model, **about)
    where = steered_files.flags({k: v for k, v in steered.items() if k != "flame"} | {"generator": home / "plain.h5"})
    _, said = fg("sample", "-n", 2, "--density", "random", *where, code=2)
    assert "--density random: expected a generator that is steered by a condition, found PCA" in said[-1]
    where = steered_files.flags({k: v for k, v in steered.items() if k != "flame"})
    _, said = fg("sample", "-n", 2, "--density", "random", "--truncation", 0.5, *where, code=2)
    assert "--truncation: expected 1 for --density random, found 0.5" in said[-1]
    assert [path.name for path in home.iterdir()] == ["plain.h5"]


def test_modes_are_whole_numbers():
    with pytest.raises(UsageError, match=r"--light x=1: expected MODE=FROM:TO:COUNT or MODE=VALUE; write 0=-2:2:5"):
        stage.asked(False, {}, {"light": ["x=1"]})


def test_a_folder_is_steered_photo_by_photo(album, steered, monkeypatch):
    Path("photos").mkdir()
    for name in ("3.png", "5.png", "6.png"):
        Path(name).rename(Path("photos", name))
    flags = [*album, "--conditions", steered["conditions"], "--processes", 1]
    told, _ = fg("steer", "photos", "--yaw", "-0.2:0.2:3", "--jaw", "0.1", *flags, "-o", "new", code=1)
    assert (told["done"], told["failed"]) == (2, 1)
    with open("new/jobs.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["status"] for line in lines] == ["done", "done", "failed"]
    assert lines[0]["asked"] == "yaw -0.2 0 0.2"
    assert lines[2]["reason"] == "6.png: expected a face whose head can be found, found none; choose another"
    fg("steer", "photos/5.png", "--yaw", "-0.2:0.2:3", "--jaw", "0.1", *flags, "-o", "one.png")
    assert Path("one.png").read_bytes() == Path("new/5.png").read_bytes()
    lines = "photo,yaw,expression,neutral,pose_from\nphotos/3.png,0.1,0=1;1=-1,yes,photos/5.png\n7,,,,\n"
    Path("mine.csv").write_text(lines)
    fg("steer", "mine.csv", "--yaw", "0.2", *flags, "-o", "jobs")
    assert sorted(path.name for path in Path("jobs").iterdir()) == ["3.png", "7.png", "jobs.csv", "jobs.png"]
    one, other = "7,,photos/3.png\n", "photos/5.png,largest,\n"
    asked = []
    monkeypatch.setattr(Studio, "choose", lambda self, face, preview: asked.append((face, preview.name)))
    for lines in (one + other, other + one):
        Path("mine.csv").write_text("photo,face,jaw_from\n" + lines)
        fg("steer", "mine.csv", "--yaw", "0.2", *flags, "-o", f"jobs{len(asked)}")
    assert sorted(asked[:2]) == sorted(asked[2:]) == [("largest", "5.png"), ("only", "7.png")]
    _, said = fg("steer", "mine.csv", "--shape", "999=1", *flags, "-o", "none", code=2)
    assert "mine.csv: line 2: " in said[-1]
    assert not Path("none").exists()
