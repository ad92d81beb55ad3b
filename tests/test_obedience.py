"""How far pictures obey heads: the distances in closed form, and the stage on a generator that paints its heads."""

import json

import numpy as np
import pytest
import torch
from test_certificate import out  # noqa: F401 - a fixture
from typer.testing import CliRunner

from fgcli import artifacts, config
from fgcli.cli import app
from fgcli.heads.obedience import FACTORS, apart, factor_error, only, share_between
from fgcli.heads.parameters import Parameters
from fgcli.heads.steering import JAW, YAW
from fgcli.stages import evaluate
from fgcli.stages import obedience as stage

PARAMS = stage.Params(**config.defaults()["obedience"] | {"pictures": 20, "threads": 0})


def drawn(n=4):
    rng = torch.Generator().manual_seed(0)
    p = Parameters.zeros(n)
    return p.replace(
        **{k: 0.2 * torch.randn(getattr(p, k).shape, generator=rng) for k in ("shape", "expression", "pose")}
    )


def test_a_mode_is_as_far_as_its_vertices(head):
    told = Parameters.zeros(1)
    told.shape[0, 2] = 1.5
    moved = 1.5 * head.shape_basis[torch.from_numpy(head.regions["face"])][..., 2]
    expected = 1000 * moved.square().sum(1).mean().sqrt()
    torch.testing.assert_close(apart(head, told, Parameters.zeros(1)), expected[None], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("factor", FACTORS)
def test_only_one_factor_counts(head, factor):
    p = drawn()
    assert float(factor_error(head, factor, p, p).max()) == 0
    other = drawn().replace(**{"shape": p.shape, "expression": p.expression, "pose": p.pose})
    field, numbers = FACTORS[factor]
    changed = getattr(other, field).clone()
    changed[:, numbers] += 0.1
    other = other.replace(**{field: changed})
    for name in FACTORS:
        assert (float(factor_error(head, name, p, other).min()) > 0) == (name == factor)
    kept = only(p, factor)
    assert torch.equal(kept.texture, p.texture)
    assert float(getattr(kept, field)[:, numbers].abs().min()) > 0


def test_the_share_between_rows_is_that_of_the_analysis_of_variance():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((10, 100)) + rng.standard_normal((10, 1))
    between = 100 * np.square(values.mean(1) - values.mean()).sum()
    total = np.square(values - values.mean()).sum()
    assert share_between(torch.from_numpy(values)) == pytest.approx(between / total)
    chance = [share_between(torch.from_numpy(rng.standard_normal((10, 100)))) for _ in range(300)]
    assert np.mean(chance) == pytest.approx(9 / 999, rel=0.1)


def test_heads_of_one_factor_are_neutral_else(steered, regressor):
    bench = stage.Bench.of(steered["generator"], steered["conditions"], regressor, PARAMS)
    p = bench.alone("pose", 30, 0)
    assert not p.shape.any()
    assert not p.expression.any()
    assert not p.pose[:, 3:].any()
    assert 0.5 * YAW < float(p.pose[:, 1].abs().max()) <= YAW
    jaws = bench.alone("jaw", 30, 0).pose
    assert not jaws[:, :3].any()
    assert 0.5 * JAW < float(jaws[:, 3].max()) <= JAW


def test_a_generator_that_paints_its_heads_errs_as_renders_do(steered, regressor, tmp_path):
    written = {"output": tmp_path / "obedience.json", "sheet": tmp_path / "obedience.png"}
    stage.run(
        steered["generator"], steered["conditions"], regressor, **written, against=steered["generator"], params=PARAMS
    )
    found = json.loads(written["output"].read_text())
    assert written["sheet"].exists()
    for factor in FACTORS:
        numbers = found["factors"][factor]
        assert numbers["generator"]["value"] == pytest.approx(numbers["renders"]["value"], rel=0.05)
        assert numbers["mean_head"]["low"] <= numbers["mean_head"]["value"] <= numbers["mean_head"]["high"]
    assert found["skin"]["generator"]["value"] == pytest.approx(found["skin"]["renders"]["value"], rel=0.2)  # tanh
    assert found["likeness"]["generator"]["value"] < 0.05 < found["likeness"]["mean_picture"]["value"]
    assert found["preferred"]["value"] == 0  # equal pictures: none is nearer
    assert found["style_share"]["value"] < 0.01  # no style shows


def test_draws_are_measured_under_the_conditions_of_the_held_out_photos(steered, rendered, tmp_path):
    held = int((artifacts.load(rendered["faces"], names=("split",))["split"] == 2).sum())
    values = {"metrics": [{"name": "l1"}, {"name": "frechet", "features": "pixels"}], "baseline": "none"}
    values = config.defaults()["evaluate"] | values | {"samples": held}
    inputs = [rendered["faces"], steered["generator"], steered["latents"], None, None]
    written = {name: tmp_path / f"{name}.x" for name in ("output", "metrics", "protocols", "sheet")}
    written["sheet"] = tmp_path / "neighbours.png"
    found = evaluate.run(*inputs, **written, params=config.section({"evaluate": values}, "evaluate", evaluate.Params))
    distances = found["distribution"]["frechet_pixels"]["generator"]
    # it paints its condition whatever the code is: its draws are its reconstructions
    assert distances["samples_prior"] == pytest.approx(distances["reconstructions"], rel=1e-6)


def test_a_generator_that_nothing_steers_is_refused(steered, regressor, out, tmp_path):  # noqa: F811
    arguments = ["obedience", "--conditions", str(steered["conditions"]), "--regressor", str(regressor)]
    done = CliRunner().invoke(
        app, [*arguments, "--generator", str(out / "generator.h5"), "-o", str(tmp_path / "x.json")]
    )
    assert done.exit_code == 2
    assert "fg obedience: expected a generator that is steered by a condition, found" in done.stderr
    assert not list(tmp_path.iterdir())
