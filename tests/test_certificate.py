"""Certificates: what each number of an edit is, when they warn, and what `fg edit` makes of them."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from test_judges import NAMES, train, write_colours
from typer.testing import CliRunner

from fgcli import artifacts, config
from fgcli.capabilities import Encodes
from fgcli.certificate import FOOT, MOVED, Certificate, Examiner
from fgcli.classifiers.judges import load
from fgcli.cli import app
from fgcli.codes import Codes
from fgcli.densities.gaussian import Gaussian
from fgcli.errors import UsageError
from fgcli.generators import GENERATORS, store
from fgcli.reports import grid
from fgcli.stages import density, editor, invert, pictures

SOUND = Certificate({"smiling": 0.5}, {"male": 0.1}, {"smiling": 0.2}, 0.3, 1.0, True, 9.0, 2.0, 0.6, -3.0, -5.0)


# ---- one certificate


def test_a_certificate_warns_of_another_person_strange_codes_and_what_moved():
    assert SOUND.warnings == []
    assert SOUND.foot == ["smiling +0.50", "identity 0.30", "holds"]
    wrong = replace(
        SOUND, identity=0.7, likely=False, log_density=-80.4, others={"male": -MOVED, "old": 0.9, "grey": 0.24}
    )
    assert wrong.warnings == [
        "another person: 0.70 is not below 0.6",
        "unlike codes of faces: -80 is below -5",
        "old +0.90",
        "male -0.25",
    ]
    told = wrong.told()
    assert (told["holds"], told["judges_err"], told["asked"]) == (False, {"smiling": 0.2}, {"smiling": 0.5})
    unmeasured = replace(SOUND, identity=None, likely=None, identity_below=None)
    assert unmeasured.warnings == []
    assert not {"identity", "likely", "identity_below"} & set(unmeasured.told())


@pytest.mark.parametrize("worst", [{"identity": 0.71}, {"likely": False, "log_density": -1234.5}])
def test_a_warning_is_read_whole_below_a_small_picture(worst):
    foot, small = replace(SOUND, **worst).foot, np.zeros((128, 128, 3), np.uint8)
    assert foot[-1].startswith("! ")
    lines = [line for text in foot for line in grid.broken(text, 124)]
    assert " ".join(lines) == " ".join(foot)
    assert len(foot) < len(lines) <= 1 + FOOT
    assert max(map(grid.label_font().getlength, lines)) <= 124
    page = np.asarray(grid.sheet([[small]], feet=[[foot]]))
    assert page.shape == (128 + len(lines) * grid.LINE, 128, 3)
    assert (page[-grid.LINE :] < 255).any()  # the last line is there


def test_a_word_that_is_wider_than_a_picture_is_cut():
    one, other = grid.broken("C" * 40 + " end", 60)
    assert (one[-1], other) == ("…", "end")


def test_every_number_is_of_the_edit_against_the_reconstruction():
    class Model(Encodes):
        image_shape, code_shape, space = (3, 2, 2), (1, 2), "z"
        encode = decode = prior = None

    density = Gaussian().fit(np.random.default_rng(0).standard_normal((500, 1, 2)).astype(np.float32), 0)
    judge = lambda pictures: pictures[:, 0, 0, :2] / 255  # noqa: E731
    judges = type("Judges", (), {"names": ["red", "green"], "held_out": {"images": {"red": {"error": 0.25}}}})()
    judges.images = type("Judge", (), {"probabilities": staticmethod(judge)})()
    faces = type("Faces", (), {"below": 0.15, "__call__": lambda self, pictures: pictures[:, 0, 0] / 255})()
    faces.distance = lambda a, b: np.linalg.norm(a - b, axis=-1)
    examiner = Examiner(Model(), judges, faces, None, density, least=-5.0)
    plain, one, two = (np.zeros((2, 2, 3), np.uint8) for _ in range(3))
    one[0, 0] = 51, 0, 0
    two[0, 0], two[1, 1] = (51, 102, 0), (30, 30, 30)
    mask = np.array([[True, False], [False, False]])
    after = Codes(torch.tensor([[[0.1, 0.0]], [[9.0, 9.0]]]), "z")
    first, second = examiner.examine(["red"], after[:1], after, [plain, one, two], mask)
    assert (first.asked, first.others) == ({"red": pytest.approx(0.2)}, {"green": 0.0})
    assert second.others == {"green": pytest.approx(0.4)}
    assert (first.errors, first.likely, second.likely) == ({"red": 0.25}, True, False)
    assert first.log_density_least == -5.0
    assert second.log_density < -30
    assert first.identity == pytest.approx(0.2)
    assert first.warnings == ["another person: 0.20 is not below 0.15"]
    assert (first.chroma, second.chroma) == (51.0, 102.0)
    assert (first.inside, first.outside) == (pytest.approx(17.0), 0.0)
    assert (second.inside, second.outside) == (pytest.approx(51.0), pytest.approx(10.0))
    [all_over] = replace(examiner, mask=None).examine(["red"], after[:1], after[:1], [plain, one], None)
    assert all_over.inside == pytest.approx(17 / 4)


# ---- fg edit


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A pipeline of pictures that are red or not and bright or not, whose codes are eigenpictures."""
    folder = write_colours(tmp_path_factory.mktemp("edits"))
    build = {"name": "pca", "codes": 4}
    model = config.build(GENERATORS, build, "test", image_shape=(3, 16, 16))
    model.fit(artifacts.rows(folder / "faces.h5", "images")[...])
    cut = {"preprocess": {}}
    about = {"ema": model.state_dict(), "build": build, "history": {}, "training": cut, "params": {}, "inputs": {}}
    store.save(folder / "generator.h5", model, **about)
    paths = {name: folder / f"{name}.h5" for name in ("faces", "generator", "latents", "density", "editor")}
    params = lambda name, stage: config.section({name: config.defaults()[name]}, name, stage.Params)  # noqa: E731
    invert.run(paths["faces"], paths["generator"], paths["latents"], params=params("invert", invert))
    fitted = density.Params(methods={"gaussian": {"name": "gaussian"}}, seed=0)
    density.run(paths["latents"], paths["density"], params=fitted)
    methods = {"mean": {"name": "mean_difference"}, "parts": {"name": "pca", "components": 2}}
    learned = editor.Params(methods=methods, attributes=["red", "bright"], layers=None, seed=0)
    editor.run(paths["latents"], None, None, paths["editor"], params=learned)
    train(folder)
    return folder


@pytest.fixture
def edit(out, tmp_path, monkeypatch):
    """Runs `fg edit` in a folder of its own; its results, or its message."""
    monkeypatch.chdir(tmp_path)
    files = [f"--{name}={out / name}.h5" for name in ("generator", "latents", "editor", "judges", "density")]

    def run(*words, code=0):
        ended = CliRunner().invoke(app, ["edit", *files, *map(str, words), "--json"])
        assert ended.exit_code == code, ended.output
        return json.loads(ended.stdout) if code == 0 else re.sub(r"\s+", " ", ended.output)

    return run


def test_every_strength_has_its_certificate_and_its_foot(edit, out):
    told = edit(3, "-a", "red", "--strength", "-1:1:3", "-o", "strip.png")
    found = told["certificates"]["3"]
    assert list(found) == ["-1", "+0", "+1"]
    assert found["+0"]["asked"] == {"red": 0.0}
    assert found["+0"]["holds"]
    changes = [found[s]["asked"]["red"] for s in found]
    assert changes == sorted(changes)
    assert max(map(abs, changes)) > 0.3
    assert set(found["+1"]["others"]) == {"bright"}
    judges = load(out / "judges.h5")
    assert found["+1"]["judges_err"]["red"] == round(judges.held_out["images"]["red"]["error"], 4)
    assert "identity" not in found["+1"]  # pictures taken whole have no landmarks
    assert found["+1"]["outside"] == 0


def test_several_attributes_follow_each_other_and_a_recipe_says_the_same(edit):
    told = edit(
        3, 4, "-a", "red=1.5", "-a", "bright=-1", "-o", "a.png", "--save-recipe", "mine.yaml", "--page", "p.html"
    )
    assert told["output"] == ["a.png", "p.html", "mine.yaml"]
    assert [step["strength"] for step in told["edits"]] == [1.5, -1.0]
    assert yaml.safe_load(Path("mine.yaml").read_text())["edits"][0] == {
        "attribute": "red",
        "strength": 1.5,
        "method": "mean",
    }
    again = edit(3, 4, "--recipe", "mine.yaml", "-o", "b.png")
    assert again["certificates"] == told["certificates"]
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    page = Path("p.html").read_text()
    assert page.count("<figure>") == 2
    assert page.count("data:image/jpeg;base64,") == 4
    assert 'name="generator" content="fg"' in page


def test_auto_takes_the_largest_strength_that_holds(edit):
    trials = edit(5, "-a", "red", "--strength", "0.5:3:6", "-o", "all.png")["certificates"]["5"]
    told = edit(5, "-a", "red", "--strength", "auto", "-o", "auto.png")["certificates"]["5"]
    held = [s for s, about in trials.items() if about["holds"]]
    assert told == {s: trials[s] for s in (held or list(trials))[-1 if held else 0 :][:1]}


def test_directions_without_a_label_are_edited_and_what_they_change_is_told(edit):
    told = edit(3, "-a", "component_1", "--strength", 2, "-o", "c.png")
    assert told["edits"][0]["method"] == "parts"
    [about] = told["certificates"]["3"].values()
    assert about["asked"] == {}
    assert set(about["others"]) == set(NAMES[:2])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-a", "red="), "--attribute red=: expected NAME or NAME=STRENGTH, a finite number, found ''"),
        (("-a", "red", "--strength", "nan"), "--strength nan: expected a finite number or FROM:TO:COUNT"),
        (("--recipe", "none.yaml"), "none.yaml: edits: list should have at least 1 item"),
        (("--recipe", "type.yaml"), "type.yaml: edits.0.strength: input should be a valid number, found 'much'"),
        ((), "--attribute: expected what to change, found nothing; name one, or a --recipe"),
        (("-a", "red=much"), "--attribute red=much: expected NAME or NAME=STRENGTH, a finite number, found 'much'"),
        (("-a", "red=inf"), "found 'inf'"),
        (("-a", "red=nan"), "found 'nan'"),
        (("--recipe", "."), ".: is a directory; check the path"),
        (("-a", "old"), "--attribute old: expected one of bright, red, component_1, component_2, those of"),
        (
            ("-a", "red", "--method", "parts"),
            "--attribute red: expected one of component_1, component_2, those of parts",
        ),
        (("-a", "component_1", "--strength", "auto"), "--strength auto: expected a judge of component_1, found judges"),
        (("--recipe", "bad.yaml"), "bad.yaml: edits.0.strenght: unknown key"),
        (("-a", "red", "--page", "p.txt"), "--page p.txt: expected a name that ends in .html, found p.txt; rename it"),
        (("-a", "red", "--save-recipe", "bad.yaml"), "bad.yaml: expected nothing or"),
    ],
)
def test_what_cannot_be_edited_is_told_and_nothing_is_written(edit, words, message):
    Path("bad.yaml").write_text("edits: [{attribute: red, strenght: 1}]\n")
    Path("none.yaml").write_text("edits: []\n")
    Path("type.yaml").write_text("edits: [{attribute: red, strength: much}]\n")
    said = edit(3, *words, "-o", "x.png", code=2 - message.startswith(("bad.yaml: expected nothing", ".: ")))
    assert message in said
    assert sorted(p.name for p in Path().iterdir()) == ["bad.yaml", "none.yaml", "type.yaml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "r.yaml: edits: expected a value, found none; add it"),
        ("edits: []", "r.yaml: edits: .*at least 1 item"),
        ("edits: [{attribute: red, strength: far}]", "r.yaml: edits.0.strength: input should be a valid number, found"),
        ("edits: [{attribute: red, strength: .nan}]", "edits.0.strength: expected a finite number, found .nan"),
        ("edits: [{strength: 1}]", "r.yaml: edits.0.attribute: expected a value, found none"),
    ],
)
def test_a_recipe_that_is_none_is_told_by_its_key(tmp_path, text, message):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        pictures.asked(tmp_path / "r.yaml", [], "")


def test_a_density_of_other_codes_is_refused(edit, out):
    stored = artifacts.load(out / "density.h5", artifacts.DENSITY)
    foreign = dict(stored.meta) | {"generator": "another"}
    arrays = {name: stored[name] for name in artifacts.layout(out / "density.h5") if name.startswith("methods/")}
    artifacts.save(Path("other.h5"), artifacts.DENSITY, arrays, params={}, inputs={}, meta=foreign)
    said = edit(3, "-a", "red", "-o", "x.png", "--density", "other.h5", code=1)
    assert "other.h5: expected a density of the codes in" in said
    assert [path.name for path in Path().iterdir()] == ["other.h5"]
