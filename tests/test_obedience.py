"""How far pictures obey heads: the distances in closed form, and the stage on a generator that paints its heads."""

import json

import numpy as np
import pytest
import torch
from test_certificate import out  # noqa: F401 - a fixture
from typer.testing import CliRunner

from fgcli import artifacts, config
from fgcli.cli import app
from fgcli.errors import FgError
from fgcli.heads.obedience import FACTORS, apart, factor_error, only, share_between
from fgcli.heads.parameters import Parameters
from fgcli.heads.steering import JAW, YAW
from fgcli.reports.numbers import of_obedience
from fgcli.stages import evaluate, report
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


def section(stage, **changes):
    name = stage.__name__.rpartition(".")[2]
    return config.section({name: config.defaults()[name] | changes}, name, stage.Params)


def split(rendered):
    return artifacts.load(rendered["faces"], names=("split",))["split"]


@pytest.fixture(scope="module")
def measured(steered, rendered, tmp_path_factory):
    """What `fg evaluate` writes, of as many draws as there are held-out rows."""
    folder = tmp_path_factory.mktemp("measured")
    written = {"output": "evaluation.h5", "metrics": "metrics.json", "protocols": "protocols.json", "sheet": "n.png"}
    files = {name: folder / file for name, file in written.items()}
    held = int((split(rendered) == 2).sum())
    metrics = [{"name": "l1"}, {"name": "frechet", "features": "pixels"}]
    params = section(evaluate, metrics=metrics, baseline="none", samples=held)
    evaluate.run(rendered["faces"], steered["generator"], steered["latents"], None, None, **files, params=params)
    return files


def test_draws_are_measured_under_the_conditions_of_the_held_out_photos(measured):
    distances = json.loads(measured["metrics"].read_text())["distribution"]["frechet_pixels"]["generator"]
    # it paints its condition whatever the code is: its draws are its reconstructions
    assert distances["samples_prior"] == pytest.approx(distances["reconstructions"], rel=1e-6)


def test_the_report_exchanges_factors_and_tells_what_obeyed(steered, rendered, measured, tmp_path):
    files = {"faces": rendered["faces"], "evaluation": measured["output"], "metrics": measured["metrics"]}
    files |= {name: steered[name] for name in ("generator", "latents", "conditions")} | {"folder": tmp_path}
    files |= dict.fromkeys(("density", "judges", "editor", "flame", "neighbours", "optimum", "obedience", "obeyed"))
    files |= {"output": tmp_path / "report.html", "params": section(report, samples=4, people=2)}

    def page(**given):
        left_out = report.run(**files | given)["left_out"]
        return files["output"].read_text(encoding="utf-8"), left_out

    without, left_out = page(conditions=None)
    assert 'id="steered"' not in without
    assert left_out["conditions"] == "no conditions.h5 was given"
    number = {"value": 1.25, "low": 1.0, "high": 1.5}
    told = {"factors": {"pose": dict.fromkeys(("generator", "renders", "mean_head"), number)}, "preferred": number}
    told |= {"skin": {"generator": number}, "likeness": {"mean_picture": number}}
    told |= {"style_share": {"value": 0.5, "chance": 0.009}, "made_of": artifacts.sha256(steered["generator"])}
    (tmp_path / "obedience.json").write_text(json.dumps(told))
    text, _ = page(obedience=tmp_path / "obedience.json", obeyed=measured["sheet"])
    assert text.count("1.000 to 1.500") == 6
    pairs = min(3, len(set(artifacts.people(rendered["faces"])[split(rendered) == 2].tolist())) // 2)
    assert text.count("<img") == without.count("<img") + 2 * 7 * pairs + 1
    (tmp_path / "obedience.json").write_text(json.dumps(told | {"made_of": "0"}))
    with pytest.raises(FgError, match=r"obedience.json: expected the numbers of .*generator.h5, found another's; run"):
        of_obedience(tmp_path / "obedience.json", steered["generator"])


def test_a_generator_that_nothing_steers_is_refused(steered, regressor, out, tmp_path):  # noqa: F811
    arguments = ["obedience", "--conditions", str(steered["conditions"]), "--regressor", str(regressor)]
    done = CliRunner().invoke(
        app, [*arguments, "--generator", str(out / "generator.h5"), "-o", str(tmp_path / "x.json")]
    )
    assert done.exit_code == 2
    assert "fg obedience: expected a generator that is steered by a condition, found" in done.stderr
    assert not list(tmp_path.iterdir())
