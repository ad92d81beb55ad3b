"""`fg optimize`: the mathematics of what is asked next, and searches that are stopped, fail, and find."""

import json
import re

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from test_judges import train, write_colours
from toys import Steered
from typer.testing import CliRunner

from fgcli import artifacts, config
from fgcli.cli import app
from fgcli.codes import Codes
from fgcli.densities.gaussian import Gaussian
from fgcli.errors import FgError
from fgcli.generators import GENERATORS, store
from fgcli.reports import optimum
from fgcli.search.attribute import Attribute
from fgcli.search.candidates import inside, pool, scaled
from fgcli.search.regions import Box, Drawn, Near
from fgcli.search.surrogate import Aim, Surrogate, believed, expected_improvement
from fgcli.search.trial import Trial
from fgcli.stages import density, invert

ANYWHERE = Aim(1.0, np.array([-np.inf]), np.array([np.inf]))


# ---- what is asked next


@pytest.mark.parametrize(("mean", "deviation", "best"), [(0.0, 1.0, 0.0), (-2.0, 0.5, 0.3), (1.5, 2.0, -1.0)])
def test_expected_improvement_is_the_integral_of_what_is_gained(mean, deviation, best):
    gained = lambda f: max(f - best, 0) * norm.pdf(f, mean, deviation)  # noqa: E731
    wanted = quad(gained, best, mean + 12 * deviation)[0]
    found = expected_improvement(np.array([mean]), np.array([deviation]), best)[0]
    assert found == pytest.approx(wanted, rel=1e-6)


def test_a_promise_counts_only_what_lies_between_the_limits():
    mean, deviation = np.array([[0.5, 1.0, -0.2]]), np.array([[1.0, 0.7, 0.4]])
    aim = Aim(0.8, np.array([-np.inf, 0.5, -np.inf]), np.array([np.inf, 1.5, 0.0]))
    drawn = mean + deviation * np.random.default_rng(0).standard_normal((400_000, 3))
    valid = ((drawn > aim.low) & (drawn < aim.high)).all(1)
    assert aim.promise(mean, deviation)[0] == pytest.approx((np.maximum(drawn[:, 0] - 0.8, 0) * valid).mean(), rel=0.01)


@pytest.fixture(scope="module")
def known():
    """A surrogate of two measures over 40 rows, and 30 other rows."""
    rng = np.random.default_rng(1)
    x, others = rng.standard_normal((40, 3)), rng.standard_normal((30, 3))
    y = np.stack([np.sin(x[:, 0]) + x[:, 1], 7 + 3 * x[:, 2] ** 2], 1) + 0.05 * rng.standard_normal((40, 2))
    return Surrogate(x, y, rng), x, y, others


def test_beliefs_are_those_of_scikit_learn(known):
    surrogate, x, y, others = known
    mean, deviation = surrogate.belief(others)
    for k in range(2):
        alone = GaussianProcessRegressor(surrogate.process.kernel_, optimizer=None)
        alone.fit(x - surrogate.centre, (y[:, k] - y[:, k].mean()) / y[:, k].std())
        wanted, spread = alone.predict(others - surrogate.centre, return_std=True)
        np.testing.assert_allclose(mean[:, k], wanted * y[:, k].std() + y[:, k].mean(), rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose((deviation[:, k] / y[:, k].std()) ** 2, spread**2 - surrogate.noise, atol=1e-7)
    assert surrogate.held_out["correlation"] > 0.9


def test_believing_is_fitting_again_with_the_mean_as_the_answer(known):
    _, x, y, others = known
    surrogate, i = Surrogate(x, y[:, :1], np.random.default_rng(0)), 4
    process, at, noise = surrogate.process, others - surrogate.centre, surrogate.noise * np.eye(len(others))
    known_before = process.X_train_, process.y_train_.ravel()
    before = GaussianProcessRegressor(process.kernel_, optimizer=None).fit(*known_before)
    mean, covariance = before.predict(at, return_cov=True)
    more = [np.append(old, new, 0) for old, new in zip(known_before, (at[[i]], mean[[i]]), strict=True)]
    after = GaussianProcessRegressor(process.kernel_, optimizer=None).fit(*more)
    unmoved, wanted = after.predict(at, return_cov=True)
    np.testing.assert_allclose(unmoved, mean, atol=1e-6)
    np.testing.assert_allclose(believed(covariance - noise, i, surrogate.noise), wanted - noise, atol=1e-6)


# ---- where it is sought


CODES = (np.random.default_rng(2).standard_normal((500, 1, 4)) * [1, 2, 3, 4] + 5).astype(np.float32)


def test_regions_hold_what_they_draw_and_near_is_no_less_likely_than_the_start():
    law, rng = Gaussian().fit(CODES, 0), np.random.default_rng(0)
    start = CODES[:1]
    box, drawn, near = Box(CODES), Drawn(CODES, law, -20.0), Near(CODES, law, start, 0.3)
    assert box.holds(box.draw(100, rng)).all()
    assert not box.holds(CODES[:1] + 100).any()
    assert (law.log_prob(inside(drawn, 200, rng)) >= -20).all()
    steps = inside(near, 200, rng)
    assert (law.log_prob(steps) >= law.log_prob(start)).all()
    assert np.linalg.norm((steps - start) / CODES.std(0), axis=-1).mean() < 1.2
    with pytest.raises(FgError, match=r"expected 50 codes of 1000 draws in it, found 0"):
        inside(Drawn(CODES, law, 100.0), 50, rng)


def test_generations_reach_what_draws_do_not():
    rng, region = np.random.default_rng(3), Drawn(CODES, Gaussian().fit(CODES, 0), -20.0)
    x = scaled(CODES[:100], region)
    surrogate = Surrogate(x, x[:, :1], rng)

    def reached(generations):
        found = pool(region, surrogate, CODES[:5], ANYWHERE, 200, generations, np.random.default_rng(0))
        assert not {code.tobytes() for code in found} & {code.tobytes() for code in CODES[:5]}  # asked before
        return scaled(found, region)[:, 0].max()

    assert reached(8) > reached(0) + 0.5


# ---- what is scored


def test_a_face_is_valid_while_it_is_the_same_person_and_the_same_but_for_the_attribute():
    class Judge(torch.nn.Module):
        def forward(self, x):
            return x[:, :, 0, 0] * 4

    class Embedder:
        below = 0.6
        __call__ = lambda self, pictures: pictures[:, 0, 0, :1] / 255  # noqa: E731
        distance = lambda self, a, b: np.abs(a - b)[:, 0]  # noqa: E731

    judges = type("Judges", (), {"names": ["male", "smiling", "old"], "images": Judge()})()
    score = Attribute(judges, Embedder(), "smiling", identity_below=0.3)
    start = np.full((2, 2, 3), 128, np.uint8)
    smiles, other, older = start.copy(), start.copy(), start.copy()
    smiles[..., 1], other[..., 0], older[..., 2] = 255, 255, 200
    measured = score.measure([start, smiles, other, older], start)
    assert score.names == ["smiling", "male", "old", "identity"]
    assert measured[1] == pytest.approx([4, measured[0, 1], measured[0, 2], 0])
    low, high = score.limits(measured[0])
    assert ((measured > low) & (measured < high)).all(1).tolist() == [True, True, False, False]
    assert expit(high[1]) - expit(measured[0, 1]) == pytest.approx(0.25)


# ---- searches


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A pipeline of pictures that are red or not and bright or not, whose codes are eigenpictures, and poor judges."""
    folder = write_colours(tmp_path_factory.mktemp("optimize"), rows=120)
    build = {"name": "pca", "codes": 3}
    model = config.build(GENERATORS, build, "test", image_shape=(3, 16, 16))
    model.fit(artifacts.rows(folder / "faces.h5", "images")[...])
    about = {"ema": model.state_dict(), "build": build, "history": {}, "training": {}, "params": {}, "inputs": {}}
    store.save(folder / "generator.h5", model, **about)
    paths = {name: folder / f"{name}.h5" for name in ("faces", "generator", "latents", "density")}
    invert.run(
        paths["faces"], paths["generator"], paths["latents"],
        params=config.section(config.defaults(), "invert", invert.Params),
    )  # fmt: skip
    fitted = density.Params(methods={"gaussian": {"name": "gaussian"}}, seed=0)
    density.run(paths["latents"], paths["density"], params=fitted)
    train(folder, steps=4, validate_steps=4)
    return folder


SCORES = '''"""Scores of a test's own."""
import pathlib


def red(picture):
    with open("asked", "a") as file:
        print("asked", file=file)
    return picture[..., 0].mean() - picture[..., 1:].mean()


def dark(picture):
    return None if picture.mean() > 120 else float(picture.mean())


def broken(picture):
    if pathlib.Path("broken").exists() and sum(1 for _ in open("asked")) == 36:
        raise KeyError("no such\\nface")
    return red(picture)


def nothing(picture):
    return float("nan")
'''
SMALL = (
    "rounds=2", "batch=6", "initial=20", "pool=100", "generations=3", "region={name: box}", "device=cpu",
)  # fmt: skip


@pytest.fixture
def optimize(files, tmp_path, monkeypatch):
    """Runs `fg optimize` in a folder of its own; its results, or its message."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_scores.py").write_text(SCORES)
    paths = [f"--{name}={files / name}.h5" for name in ("generator", "latents", "density", "judges")]

    def run(score, *sets, code=0, output="optimum.h5"):
        spec = score if "{" in score else f"{{name: function, function: own_scores:{score}}}"
        words = [word for item in (f"score={spec}", *SMALL, *sets) for word in ("--set", f"optimize.{item}")]
        ended = CliRunner().invoke(
            app, ["optimize", *paths, *words, "-o", output, "--sheet", "s.png", "--metrics", "optimum.json", "--json"]
        )
        assert ended.exit_code == code, ended.output
        return json.loads(ended.stdout) if code == 0 else re.sub(r"\s+", " ", ended.output)

    return run


def test_a_search_keeps_every_candidate_and_finds_better_ones(optimize, tmp_path):
    told = optimize("red", "trials=2")
    stored = artifacts.load(tmp_path / "optimum.h5", artifacts.OPTIMUM)
    assert stored["pictures"].shape == (64, 16, 16, 3)
    assert stored["trial"].tolist() == [0] * 32 + [1] * 32
    assert stored["round"].tolist() == ([0] * 20 + [1] * 6 + [2] * 6) * 2
    value = stored["pictures"][..., 0].mean((1, 2)) - stored["pictures"][..., 1:].mean((1, 2, 3))
    np.testing.assert_allclose(stored["value"], value)
    assert np.isnan(stored["predicted"][:20]).all()
    for number, trial in enumerate(stored.meta["trials"]):
        own = np.flatnonzero(stored["trial"] == number)
        assert trial["best"] == own[np.argmax(stored["value"][own])]
        bests = [entry["best"] for entry in trial["rounds"]]
        assert bests[2] > bests[0] + 10
        assert told[f"trial {number}"]["best"] == bests[2]
        assert trial["rounds"][1]["correlation"] > 0.9
    numbers, later = json.loads((tmp_path / "optimum.json").read_text()), stored["round"] > 0
    assert (numbers["trials"], numbers["valid"]) == (2, 1)
    assert numbers["mean"] == pytest.approx(value[later].mean())  # as many of each trial
    bests = [[value[(stored["trial"] == t) & part].max() for t in (0, 1)] for part in (later, ~later)]
    assert (numbers["best"], numbers["best_known"]) == pytest.approx(tuple(np.mean(bests, 1)))


def test_a_search_that_failed_goes_on_where_it_was_and_ends_the_same(optimize, tmp_path):
    (tmp_path / "broken").touch()
    (tmp_path / "asked").touch()
    text = optimize("broken", "trials=2", code=1)
    assert "expected a number of own_scores:broken, found KeyError ('no such\\nface')" in text
    assert "for candidate 4 of round 0 of trial 1; mend it and run again: 4 answers are kept" in text
    assert not (tmp_path / "optimum.h5").exists()
    (tmp_path / "broken").unlink()
    optimize("broken", "trials=2")
    assert len((tmp_path / "asked").read_text().split()) == 64
    optimize("broken", "trials=2", output="whole.h5")
    assert (tmp_path / "whole.h5").read_bytes() == (tmp_path / "optimum.h5").read_bytes()


def test_what_has_no_value_is_never_the_answer(optimize, tmp_path):
    optimize("dark", "goal=minimise")
    stored = artifacts.load(tmp_path / "optimum.h5")
    none = np.isnan(stored["value"])
    assert 0 < none.sum() < len(none)
    assert (stored["valid"] == ~none).all()
    [trial] = stored.meta["trials"]
    assert stored["value"][trial["best"]] == np.nanmin(stored["value"])
    assert trial["rounds"][0]["valid"] == 1 - none[:20].mean()


def test_an_attribute_is_sought_near_a_row_within_its_limits(optimize, tmp_path):
    near = ("region={name: near}", "rows=[3, 5]")
    told = optimize("{name: attribute, attribute: red, same_person: false}", *near)
    stored = artifacts.load(tmp_path / "optimum.h5")
    assert [trial["row"] for trial in stored.meta["trials"]] == [3, 5]
    assert (tmp_path / "s.png").exists()
    place = told["trial 1"]["candidate"]
    first = int(np.flatnonzero(stored["trial"] == 1)[0])
    bright = expit(stored["measures/bright"])
    assert abs(bright[place] - bright[first]) < 0.25
    assert stored["value"][place] >= stored["value"][first]
    shown = optimum.section(stored, lambda places: list(stored["pictures"][places]))
    assert shown.titles == ["start", "round 0", "round 1", "round 2"]
    assert [row.label for row in shown.strips] == ["row 3", "row 5"]
    assert [line["candidates"] for line in shown.numbers] == [21, 6, 6]
    assert shown.note.startswith(
        "Maximised: attribute, attribute red, same_person False, others_below 0.25. Region: near"
    )


def test_candidates_near_a_row_are_seen_under_its_condition():
    model = Steered((3, 8, 8))
    start = Codes(torch.zeros(1, 1, 3), "z", torch.rand(1, 6, 8, 8) - 0.5)
    values = np.random.default_rng(0).standard_normal((70, 1, 3)).astype(np.float32)
    trial = Trial(0, 5, None, model, None, None, start, start)
    with torch.no_grad():
        wanted = model.decode(torch.from_numpy(values), start.condition.expand(70, -1, -1, -1))
    shown = ((wanted + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert np.abs(np.stack(trial.decoded(values)) - shown).max() <= 0.51


@pytest.mark.parametrize(
    ("score", "sets", "code", "text"),
    [
        ("nothing", (), 1, "found nan for candidate 0 of round 0 of trial 0"),
        ("missing", (), 2, "optimize.score: expected a function missing in own_scores, found none"),
        ("{name: function, function: nowhere.at_all:f}", (), 2, "expected a module nowhere.at_all, found ModuleNotF"),
        ("{name: function, function: print}", (), 2, "expected PACKAGE.MODULE:NAME, found 'print'"),
        ("{name: identity}", (), 2, "expected faces to tell people apart, found pictures taken whole"),
        ("{name: attribute, attribute: blue, same_person: false}", (), 2, "expected an attribute of red, bright"),
        ("{name: attribute, attribute: red, same_person: false}", (), 2, "expected near for a score that compares"),
        ("red", ("region={name: near}", "rows=[999]"), 2, "optimize.rows: expected rows below"),
        ("red", ("batch=21",), 2, "optimize.batch: expected at most 20"),
        ("red", ("initial=999",), 1, "expected 999 training codes, found"),
    ],
)
def test_what_is_wrong_is_one_sentence(optimize, score, sets, code, text):
    assert text in optimize(score, *sets, code=code)
