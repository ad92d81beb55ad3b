"""`fg edits`: what its numbers are, on codes whose attributes and pictures are known."""

import json

import numpy as np
import pytest
import torch
from test_certificate import out  # noqa: F401 - a fixture

from fgcli import artifacts, config
from fgcli.codes import Codes
from fgcli.errors import FgError
from fgcli.stages import edits as stage


class Wheel:
    """A generator, an editor and judges in one: the code is what the judges see, and an edit adds its strength."""

    label = "add"

    def __init__(self, kept=1.0):
        self.names, self.images, self.codes, self.kept = ["red", "bright"], self, self, kept
        self.held_out = {}

    def edit(self, label, codes, attribute, strength):
        step = torch.tensor([1.0, 1 - self.kept])
        return codes.moved(codes.values + strength * step)

    def probabilities(self, rows):
        return np.where(rows.reshape(len(rows), -1)[:, :2] > 0, 0.9, 0.1)


def bench(wheel, monkeypatch, **params):
    given = config.defaults()["edits"] | {"trials": [0.5, 1.0, 2.0], "both_ways": True} | params
    made = stage.Bench(wheel, wheel, "add", "red", wheel, stage.Params(**given))
    monkeypatch.setattr(stage.Bench, "pictures", lambda self, codes: codes.numpy())
    return made


CODES = Codes(torch.tensor([[[-0.7, 0.5]], [[-0.4, 0.5]], [[-0.9, -0.5]], [[0.9, 0.5]]]), "z")


def test_d_is_the_weakest_strength_that_changes_enough(monkeypatch):
    d, share = bench(Wheel(), monkeypatch).strength(CODES)
    assert (d, share) == (pytest.approx(0.7, abs=1 / 64), 0.5)  # -0.4 and -0.7 of four
    d, share = bench(Wheel(), monkeypatch, reach=0.25).strength(CODES)
    assert (d, share) == (pytest.approx(0.4, abs=1 / 64), 0.25)
    assert bench(Wheel(), monkeypatch, trials=[0.1, 0.5]).strength(CODES) == (0.5, 0.25)  # and less than was asked for


def test_changes_both_ways_and_one_way(monkeypatch):
    read = lambda rows: CODES[rows.tolist()]  # noqa: E731
    rows, people = np.arange(4), np.array([0, 0, 1, 2])
    found = bench(Wheel(), monkeypatch, reach=1.0).measure(read, rows, rows, people, None)
    assert (found["d"], found["faces"]) == (pytest.approx(0.9, abs=1 / 64), 4)
    assert found["target_change"]["value"] == 1.0
    assert found["attributes_kept"]["value"] == 1.0
    assert found["curve"]["strength"] == pytest.approx(np.linspace(found["d"], 2 * found["d"], 10))
    assert found["codes_changed"] == 1.0
    assert found["really_changed"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    one_way = bench(Wheel(), monkeypatch, both_ways=False, reach=1.0).measure(read, rows[:3], rows, people, None)
    assert one_way["target_change"]["value"] == 0.75  # the red one only gets redder
    assert one_way["codes_changed"] == 0.75


def test_other_attributes_that_cross_over_are_not_kept(monkeypatch):
    rows, people = np.arange(3), np.arange(3)
    found = bench(Wheel(kept=0.5), monkeypatch, reach=1.0).measure(
        lambda r: CODES[r.tolist()], rows, rows, people, None
    )
    assert found["curve"]["attributes_kept"][0] == 1.0  # -0.5 is not yet above 0
    assert found["equal"]["strength"] == found["d"]  # the same faces
    assert (found["equal"]["target_change"], found["equal"]["attributes_kept"]["value"]) == (1.0, 1.0)
    assert found["curve"]["attributes_kept"][-1] == pytest.approx(2 / 3)


def test_codes_may_change_where_pictures_do_not(monkeypatch):
    made = bench(Wheel(), monkeypatch)
    monkeypatch.setattr(stage.Bench, "pictures", lambda self, codes: -np.ones((len(codes), 1, 2)))
    rows = np.arange(3)
    found = made.measure(lambda r: CODES[r.tolist()], rows, rows, rows, None)
    assert (found["codes_changed"], found["really_changed"]["value"]) == (1.0, 0.0)


def test_the_stage_measures_every_editor_and_draws_its_page(out, tmp_path):  # noqa: F811
    given = config.defaults()["edits"] | {"trials": [1.0, 2.0]}
    files = [out / f"{name}.h5" for name in ("generator", "latents", "editor", "judges", "faces")]
    told = stage.run(*files, tmp_path / "e.json", tmp_path / "e.html", params=stage.Params(**given))
    assert told["edits"] == {"red": ["mean"], "bright": ["mean"]}
    numbers = json.loads((tmp_path / "e.json").read_text())
    assert numbers["edits"]["red"]["mean"]["target_change"]["value"] > 0.5
    assert "identity" not in numbers["edits"]["red"]["mean"]  # pictures taken whole have none
    assert numbers["judges"]["red"]["error"] < 0.2
    parts = numbers["directions"]["parts"]
    assert list(parts) == ["component_1", "component_2"]  # the two ways in which these pictures differ
    assert all(list(part) == ["red", "bright"] for part in parts.values())
    assert max(abs(moved["value"]) for part in parts.values() for moved in part.values()) > 0.03
    page = (tmp_path / "e.html").read_text()
    assert page.count("<img") == 2 * 5
    assert page.count("<svg") == 2  # a drawing each, of what is kept
    first = (tmp_path / "e.html").read_bytes()
    stage.run(*files, tmp_path / "e.json", tmp_path / "e.html", params=stage.Params(**given))
    assert (tmp_path / "e.html").read_bytes() == first


def test_judges_of_other_codes_are_refused(out, tmp_path):  # noqa: F811
    stored = artifacts.load(out / "judges.h5", artifacts.JUDGES)
    meta = dict(stored.meta) | {"generator": "another"}
    artifacts.save(tmp_path / "j.h5", artifacts.JUDGES, dict(stored.arrays), params={}, inputs={}, meta=meta)
    files = [out / "generator.h5", out / "latents.h5", out / "editor.h5", tmp_path / "j.h5", out / "faces.h5"]
    params = stage.Params(**config.defaults()["edits"])
    with pytest.raises(FgError, match=r"j.h5: expected judges of codes of .*, found others; run fg judges again"):
        stage.run(*files, tmp_path / "e.json", tmp_path / "e.html", params=params)
    assert [path.name for path in tmp_path.iterdir()] == ["j.h5"]
