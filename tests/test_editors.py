"""Matching weights, editors, and paths between codes."""

import itertools

import numpy as np
import pytest
import torch
from conftest import write_latents
from geomloss import SamplesLoss
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from fgcli import artifacts, config, editors
from fgcli.codes import Codes, linear, slerp
from fgcli.datasets.openpeople import openpeople
from fgcli.datasets.orl import orl
from fgcli.datasets.splits import assign
from fgcli.datasets.united import unite
from fgcli.editors import EDITORS, choice
from fgcli.editors.affine import Frame, affine, parts
from fgcli.editors.latent_wasserstein import LatentWasserstein
from fgcli.editors.matching import Problem, problem, weights
from fgcli.editors.mean_difference import MeanDifference
from fgcli.errors import FgError, UsageError
from fgcli.stages import editor as stage

NAMES = ["smiling", "colour", "male"]


def labelled(n=400, seed=0):
    """Attributes (n, 3): smiling goes along with colour; male is on its own."""
    rng = np.random.default_rng(seed)
    smiling = rng.random(n) < 0.4
    colour = rng.random(n) < np.where(smiling, 0.8, 0.2)
    return np.stack([smiling, colour, rng.random(n) < 0.5], 1).astype(np.int8)


def confounded(n=2000, seed=0):
    """Codes (n, 1, 4) in which smiling adds 1 to dimension 0 and colour adds 5 to dimension 1."""
    attributes = labelled(n, seed)
    codes = np.random.default_rng([seed, 1]).standard_normal((n, 1, 4)).astype(np.float32) * 0.1
    codes[:, 0, 0] += attributes[:, 0]
    codes[:, 0, 1] += 5 * attributes[:, 1]
    return codes, attributes


# ---- matching


def shares(groups, weight):
    """Share of the mass on each combination."""
    combinations = itertools.product(*[np.unique(g) for g in groups.T])
    return {c: float(weight[(groups == c).all(1)].sum()) for c in combinations}


def sides(seed=0):
    attributes = labelled(seed=seed)
    smiling = attributes[:, 0] == 1
    return attributes[~smiling][:, 1:], attributes[smiling][:, 1:]


def printed(source, target):
    """The paper's 1 / (n_t^A n_s^A) for source codes, and equal weights for target codes."""
    n_s, n_t = (np.array([(side == row).all(1).sum() for row in source]) for side in (source, target))
    return np.where(n_t > 0, 1 / np.maximum(n_t * n_s, 1), 0.0), np.full(len(target), 1 / len(target))


def is_matched(source, target, a, b):
    """Equal total mass, and on both sides the target's share of every combination."""
    expected = shares(target, np.full(len(target), 1 / len(target)))
    found = [shares(np.concatenate([source, target]), np.concatenate(w)) for w in ((a, 0 * b), (0 * a, b))]
    return all(part == pytest.approx(expected, abs=1e-9) for part in found)


def test_weights_give_the_targets_share_of_each_combination():
    source, target = sides()
    a, b = weights(source, target)
    assert a.sum() == pytest.approx(1)
    assert b.sum() == pytest.approx(1)
    assert is_matched(source, target, a, b)
    assert not is_matched(source, target, np.full(len(a), 1 / len(a)), b)  # there was something to match
    for row in np.unique(source, axis=0):  # the formula of FACTS, decision 23: n_t^A / (n_t n_s^A)
        here, there = (source == row).all(1), (target == row).all(1)
        np.testing.assert_allclose(a[here], there.sum() / (len(target) * here.sum()))


def test_the_printed_formula_does_not():
    """Paper 001 prints 1 / (n_t^A n_s^A): its mass is the sum of 1 / n_t^A, and so are its shares."""
    source, target = sides()
    a, b = printed(source, target)
    assert a.sum() != pytest.approx(b.sum(), rel=0.1)
    assert not is_matched(source, target, a, b)
    assert not is_matched(source, target, a / a.sum(), b)  # nor once it is normalised


def test_combinations_of_one_side_weigh_nothing():
    source, target = np.array([[0], [0], [1], [2]]), np.array([[0], [1], [1], [3]])
    a, b = weights(source, target)
    np.testing.assert_allclose(a, [1 / 6, 1 / 6, 2 / 3, 0])
    np.testing.assert_allclose(b, [1 / 3, 1 / 3, 1 / 3, 0])
    a, b = weights(np.array([[0]]), np.array([[1]]))
    assert (a.tolist(), b.tolist()) == ([0], [0])


def test_without_matching_all_weigh_equally():
    a, b = weights(np.zeros((4, 0), int), np.zeros((5, 0), int))
    np.testing.assert_allclose(a, 1 / 4)
    np.testing.assert_allclose(b, 1 / 5)


def test_problem_takes_sides_and_leaves_out_the_unknown():
    attributes = np.array([[0, 1], [1, 1], [-1, 1], [0, 0], [1, -1]], np.int8)
    codes = np.arange(5, dtype=np.float32)[:, None, None]
    task = problem(codes, attributes, ["smiling", "colour"], "smiling", ("colour", "smiling"))
    assert task.source[:, 0, 0].tolist() == [0, 3]
    assert task.target[:, 0, 0].tolist() == [1, 4]
    a, b = task.weights
    assert (a.tolist(), b.tolist()) == ([1, 0], [1, 0])  # colour is 1 in rows 0 and 1 alone


def test_problems_that_cannot_be_told():
    codes, attributes = confounded(50)
    attributes[:, 1] = attributes[:, 0]
    with pytest.raises(FgError, match="none on both sides in any combination of colour"):
        problem(codes, attributes, NAMES, "smiling", ("colour",))
    attributes[:, 0] = 0
    with pytest.raises(FgError, match="expected training faces with and without it, found 0 and 50"):
        problem(codes, attributes, NAMES, "smiling", ())


# ---- mean difference


def direction(match):
    codes, attributes = confounded()
    editor = MeanDifference(match)
    editor.fit(problem(codes, attributes, NAMES, "smiling", editor.match), seed=0)
    return editor.directions["smiling"][0]


def test_matching_removes_what_goes_along():
    plain, matched = direction(()), direction(("colour", "male"))
    assert plain[0] == pytest.approx(1, abs=0.05)
    assert plain[1] == pytest.approx(5 * 0.6, abs=0.3)  # 80 % against 20 % of colour
    np.testing.assert_allclose(matched, [1, 0, 0, 0], atol=0.03)


def test_edits_are_straight_and_undo_themselves():
    codes, attributes = confounded()
    editor = MeanDifference()
    editor.fit(problem(codes, attributes, NAMES, "smiling", ()), seed=0)
    step = editor.edit(codes, "smiling", 1.0) - codes
    np.testing.assert_allclose(step, np.broadcast_to(step[:1], step.shape), atol=1e-5)
    np.testing.assert_allclose(editor.edit(codes, "smiling", 3.0) - codes, 3 * step, atol=1e-5)
    np.testing.assert_allclose(editor.edit(editor.edit(codes, "smiling", 2.0), "smiling", -2.0), codes, atol=1e-5)


# ---- latent Wasserstein


def gaussians(n=600, shift=(2.0, -1.0, 0.0, 0.5), seed=0, layers=1):
    """Source and shifted target of one Gaussian with unequal scales."""
    rng = np.random.default_rng(seed)
    spread = np.array([1, 0.5, 2, 1])
    x, y = (rng.standard_normal((n, layers, 4)) * spread for _ in range(2))
    none = np.zeros((n, 0), np.int8)
    return Problem("moved", x.astype(np.float32), (y + shift).astype(np.float32), none, none)


def test_transports_a_gaussian_to_a_shifted_one():
    task = gaussians(1200)
    editor = LatentWasserstein(steps=300, learning_rate=0.02, batch=128)
    scores = editor.fit(task, seed=0)
    moved = editor.edit(gaussians(seed=1).source, "moved", 1.0)
    new = gaussians(seed=2).target
    spread = np.array([1, 0.5, 2, 1])
    np.testing.assert_allclose(moved.mean(0)[0] / spread, new.mean(0)[0] / spread, atol=0.2)
    np.testing.assert_allclose(moved.std(0)[0] / spread, 1, atol=0.25)
    assert scores["held_out_loss"] < 0.2 * scores["held_out_loss_unedited"]


def test_starts_at_the_step_between_the_weighted_means_where_that_helps():
    codes, attributes = confounded(500)
    task = problem(codes, attributes, NAMES, "smiling", ("colour",))
    direct = MeanDifference()
    direct.fit(task, seed=0)
    frame = Frame.of(task.source, task.target)
    step = LatentWasserstein().start(task, frame) * frame.scale
    np.testing.assert_allclose(step.numpy(), direct.directions["smiling"], atol=1e-5)


def test_recovers_a_change_of_scale_which_no_shift_can():
    task = gaussians(shift=(0, 0, 0, 0))
    task = Problem("wide", task.source, task.target * np.float32(2.5), task.source_groups, task.target_groups)
    editor = LatentWasserstein(steps=300, learning_rate=0.02, batch=128)
    editor.fit(task, seed=0)
    moved = editor.edit(task.source, "wide", 1.0)
    np.testing.assert_allclose(moved.std(0) / task.source.std(0), 2.5, rtol=0.2)


def test_layers_have_maps_of_their_own():
    task = gaussians(layers=2)
    task.target[:, 1] = task.source[:, 1]
    editor = LatentWasserstein(steps=100, learning_rate=0.02, batch=64)
    editor.fit(task, seed=0)
    assert editor.maps["moved"].shape == (2, 4, 5)
    step = editor.edit(task.source, "moved", 1.0) - task.source
    assert np.abs(step[:, 0].mean(0)[:2]).min() > 0.5
    assert np.abs(step[:, 1].mean(0)).max() < 0.4


def test_stops_early_and_keeps_the_best():
    """Equal sides have nothing to learn: noise of the batches only worsens the held-out loss."""
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((120, 1, 4)).astype(np.float32)
    none = np.zeros((60, 0), np.int8)
    editor = LatentWasserstein(steps=10_000, learning_rate=0.05, batch=16, patience=10)
    scores = editor.fit(Problem("none", codes[:60], codes[60:], none, none), seed=0)
    assert scores["steps"] <= 200
    assert scores["held_out_loss"] <= scores["held_out_loss_unedited"]
    assert np.abs(editor.edit(codes, "none", 1.0) - codes).mean() < 0.5


@pytest.mark.parametrize(("better", "steps"), [((), 3), ((2,), 5), ((3,), 6), ((4,), 3)])
def test_stops_at_the_last_step_of_its_patience(monkeypatch, better, steps):
    """Held-out losses fall at the steps `better` alone; patience is 3."""
    looked, loss = [], LatentWasserstein.loss

    def planned(editor, move, task, frame):
        if move.requires_grad and torch.is_grad_enabled():
            return loss(editor, move, task, frame)
        looked.append(len(looked) - 1)  # once before the start, which is step 0
        return torch.tensor(0.0 if looked[-1] in better else 1.0)

    monkeypatch.setattr(LatentWasserstein, "loss", planned)
    scores = LatentWasserstein(steps=100, batch=16, patience=3).fit(gaussians(40), seed=0)
    assert looked[-1] == steps
    assert scores["steps"] == (better[0] if steps > 3 else 0)


def test_matching_removes_what_goes_along_in_transport():
    """The same planted confounder: dimension 1 stays where it is once the weights match."""
    codes, attributes = confounded(500)
    steps = {}
    for match in ((), ("colour",)):
        editor = LatentWasserstein(match, steps=150, learning_rate=0.03, batch=128)
        editor.fit(problem(codes, attributes, NAMES, "smiling", match), seed=0)
        source = codes[attributes[:, 0] == 0]
        steps[match] = (editor.edit(source, "smiling", 1.0) - source)[:, 0].mean(0)
    assert steps[()][0] == pytest.approx(1, abs=0.3)
    assert steps[()][1] > 2
    assert steps[("colour",)][0] == pytest.approx(1, abs=0.3)
    assert abs(steps[("colour",)][1]) < 0.75


def test_loss_is_that_of_exact_transport():
    """With little blur the divergence is the cost |x - y|^2 / 2 of the best assignment, and 0 between equal sets.

    geomloss reaches it with many steps of its annealing; the few that it takes by default stay 5 % below.
    """
    task = gaussians(40)
    editor = LatentWasserstein(blur=0.005)
    still, frame = torch.zeros(1, 4, 5), Frame(torch.zeros(1, 4), *torch.ones(2, 1, 4), torch.ones(1, 1))
    cost = cdist(task.source[:, 0], task.target[:, 0], "sqeuclidean") / 2
    expected = cost[linear_sum_assignment(cost)].mean() / 4  # per dimension
    assert editor.loss(still, task, frame).item() == pytest.approx(expected, rel=0.06)
    x, y = (torch.from_numpy(side[:, 0]) for side in (task.source, task.target))
    exact = SamplesLoss("sinkhorn", p=2, blur=0.02, scaling=0.99, backend="tensorized")(x, y)
    assert exact.item() / 4 == pytest.approx(expected, rel=1e-4)
    same = Problem("same", task.source, task.source, task.source_groups, task.source_groups)
    assert editor.loss(still, same, frame).item() == pytest.approx(0, abs=1e-6)


def test_geomloss_minds_weights():
    """A point of weight 2/3 is two points of weight 1/3."""
    x, y = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).unbind()
    loss = SamplesLoss("sinkhorn", p=2, blur=0.1, backend="tensorized")
    weighted = loss(torch.tensor([2 / 3, 1 / 3]), x[:2], torch.full((3,), 1 / 3), y)
    repeated = loss(torch.full((3,), 1 / 3), x[[0, 0, 1]], torch.full((3,), 1 / 3), y)
    assert weighted.item() == pytest.approx(repeated.item(), rel=1e-4)


def test_the_map_is_kept_in_the_codes_own_units():
    """What is learned on standardised codes is the same edit whatever their units."""
    task = gaussians(100)
    units = np.array([1, 10, 100, 0.1], np.float32)
    other = Problem("moved", task.source * units, task.target * units, task.source_groups, task.target_groups)
    one, two = LatentWasserstein(steps=20, learning_rate=0.02), LatentWasserstein(steps=20, learning_rate=0.02)
    one.fit(task, seed=0)
    two.fit(other, seed=0)
    step = one.edit(task.source, "moved", 1.0) - task.source
    np.testing.assert_allclose((two.edit(other.source, "moved", 1.0) - other.source) / units, step, atol=5e-3)


def test_affine_is_a_matrix_per_layer():
    rng = torch.Generator().manual_seed(0)
    move, z = torch.randn(2, 3, 4, generator=rng), torch.randn(5, 2, 3, generator=rng)
    expected = torch.stack([z[:, k] @ move[k, :, :3].T + move[k, :, 3] for k in range(2)], 1)
    torch.testing.assert_close(affine(move, z), expected)


def test_too_few_codes_to_hold_some_out():
    task = gaussians(4).part(np.array([0]), np.array([0]))
    with pytest.raises(FgError, match="attribute moved: expected enough faces"):
        LatentWasserstein().fit(task, seed=0)


def test_codes_are_held_out_so_that_both_parts_can_be_matched():
    """Of four codes a side, two of each combination, not every split leaves both parts a common one."""
    task = gaussians(4)
    groups = np.array([[0], [0], [1], [1]])
    task = Problem("moved", task.source, task.target, groups, groups[::-1])
    for seed in range(20):
        train, held_out = parts(task, 0.5, seed)
        assert train.weights[0].any()
        assert held_out.weights[0].any()
    task = Problem("moved", task.source, task.target, groups, groups + 1)  # one of each side, never in two parts
    with pytest.raises(FgError, match="match fewer attributes or choose mean_difference"):
        parts(task.part(np.array([0, 2]), np.array([0, 2])), 0.5, 0)


def test_many_held_out_codes_are_judged_by_some(monkeypatch):
    sizes, loss = [], LatentWasserstein.loss

    def counted(editor, move, task, frame):
        sizes.append(len(task.source))
        return loss(editor, move, task, frame)

    monkeypatch.setattr(LatentWasserstein, "loss", counted)
    LatentWasserstein(steps=1, batch=16).fit(gaussians(3000), seed=0)
    assert sizes == [16] * 4  # unedited, at the start, a step, after it


@pytest.mark.parametrize("change", [{"steps": 0}, {"batch": 0}, {"patience": 0}, {"blur": 0}, {"learning_rate": 0}])
def test_arguments_are_checked(change):
    with pytest.raises(UsageError, match=rf"editor.methods.x.{next(iter(change))}: input should be"):
        config.build(EDITORS, {"name": "latent_wasserstein", **change}, "editor.methods.x")


# ---- editor.h5


def coded(path, codes, attributes):
    """Writes latents.h5, of whose rows three in five train."""
    split = np.array([0, 0, 0, 1, 2], np.uint8)[np.arange(len(codes)) % 5]
    write_latents(path, codes, attributes, NAMES, split)


METHODS = {
    "plain": {"name": "mean_difference", "match": []},
    "matched": {"name": "mean_difference", "match": ["colour"]},
    "carried": {"name": "latent_wasserstein", "match": ["colour"], "steps": 30, "learning_rate": 0.02, "batch": 64},
}


def test_stage_fits_on_training_rows_and_keeps_each_method(tmp_path):
    codes, attributes = confounded(500)
    latents, output = tmp_path / "latents.h5", tmp_path / "editor.h5"
    coded(latents, codes, attributes)
    params = stage.Params(attributes=["smiling", "male"], methods=METHODS, layers=None, seed=0)
    stage.run(latents, None, None, output, params=params)
    loaded = editors.load(output)
    assert list(loaded.methods) == list(METHODS)  # the order of the params: commands take the last one
    train = np.arange(500) % 5 < 3
    for label, spec in METHODS.items():
        direct = config.build(EDITORS, spec, "test")
        for attribute in params.attributes:
            direct.fit(problem(codes[train], attributes[train], NAMES, attribute, direct.match), seed=0)
            edited = loaded.edit(label, Codes(torch.from_numpy(codes[:5]), "z"), attribute, -1.5)
            np.testing.assert_array_equal(edited.numpy(), direct.edit(codes[:5], attribute, -1.5))
    change = artifacts.load(output, names=()).meta["methods"]
    plain, matched = (change[m]["scores"]["smiling"]["change"] for m in ("plain", "matched"))
    assert plain["smiling"] > 0.3
    assert plain["colour"] > 0.2
    assert abs(matched["colour"]) < plain["colour"] / 2  # probes lean on what goes along, so it is not 0
    first = output.read_bytes()
    stage.run(latents, None, None, output, params=params)
    assert output.read_bytes() == first


# ---- what is learned and matched by default


DEFAULTS = {
    "plain": {"name": "mean_difference", "match": []},
    "matched": {"name": "mean_difference"},
    "carried": {"name": "latent_wasserstein", "steps": 2},
}


def by_default(tmp_path, names, values, people=None, **params):
    """Runs the stage as params.yaml has it; returns the output's meta."""
    codes = np.random.default_rng(5).standard_normal((len(values), 1, 4)).astype(np.float32)
    split = np.repeat([0, 2], [len(codes) - 20, 20]).astype(np.uint8)
    write_latents(tmp_path / "latents.h5", codes, values.astype(np.int8), names, split, people)
    given = {"attributes": None, "methods": DEFAULTS, "layers": None, "seed": 0} | params
    stage.run(tmp_path / "latents.h5", None, None, tmp_path / "editor.h5", params=stage.Params(**given))
    return artifacts.load(tmp_path / "editor.h5", artifacts.EDITOR, ()).meta


def test_one_attribute_is_learned_with_no_params(tmp_path, capsys):
    attributes = np.stack([np.arange(120) % 5 == 0, np.ones(120)], 1)
    meta = by_default(tmp_path, ["smiling", "colour"], attributes)
    assert meta["attributes"] == ["smiling"]
    assert {label: entry["matched"] for label, entry in meta["methods"].items()} == {
        label: {"smiling": []}
        for label in DEFAULTS  # colour is there, but all photos have it
    }
    learns, matches = capsys.readouterr().err.splitlines()[:2]
    assert learns.startswith("editor: learns smiling; not colour (of the photo, not of the face): by default what 10 ")
    assert matches == "editor: matches smiling on nothing"


@pytest.mark.parametrize("names", [[], ["colour"], ["smiling", "colour"]])
def test_nothing_to_learn_gives_a_file_that_says_why(tmp_path, capsys, names):
    attributes = np.zeros((120, len(names)))
    attributes[:9, :1] = 1
    meta = by_default(tmp_path, names, attributes)
    assert meta["attributes"] == []
    assert meta["choice"].startswith("learns nothing")
    assert ("smiling (9 rows with it)" in meta["choice"]) == ("smiling" in names)
    assert capsys.readouterr().err.splitlines()[0] == f"editor: {meta['choice']}"
    assert set(editors.load(tmp_path / "editor.h5").methods) == set(DEFAULTS)


def test_few_people_teach_nothing_by_default_however_many_photos():
    people = np.repeat(np.arange(60), 10)
    values = np.stack([people < 9, people < 10, people % 2, people % 2], 1).astype(np.int8)
    chosen, left_out = choice.learned(choice.Labels(["nine", "ten", "half", "colour"], values, people))
    assert chosen == ["ten", "half"]
    assert left_out == {"nine": "90 rows of 9 people with it", "colour": "of the photo, not of the face"}
    unknown = choice.Labels(["nine", "ten", "half", "colour"], values, np.full(600, -1))
    assert choice.learned(unknown)[0] == ["nine", "ten", "half"]  # then every photo is a person


@pytest.mark.parametrize(("rows", "people", "wanted"), [(40, 4, (10, 3)), (155, 30, (16, 8)), (9000, 900, (30, 10))])
def test_what_is_enough_grows_with_the_data_within_bounds(rows, people, wanted):
    labels = choice.Labels([], np.zeros((rows, 0), np.int8), np.arange(rows) % people)
    assert labels.wanted == wanted


def test_matched_by_default_is_what_stays_the_same_of_a_person(tmp_path, capsys):
    rng, people = np.random.default_rng(0), np.repeat(np.arange(40), 5)
    male, colour, smiling = people % 2, people % 4 < 2, rng.random(200) < 0.4
    glasses = rng.random(200) < 0.5
    male_once = np.where(np.arange(200) == 7, 1 - male, male)  # a wrong label
    names = ["smiling", "glasses", "male", "colour"]
    meta = by_default(tmp_path, names, np.stack([smiling, glasses, male_once, colour], 1), people)
    assert meta["attributes"] == ["smiling", "glasses", "male"]
    assert meta["methods"]["matched"]["matched"] == {
        "smiling": ["male", "colour"], "glasses": ["male", "colour"], "male": ["colour"]
    }  # fmt: skip
    assert set(map(tuple, meta["methods"]["plain"]["matched"].values())) == {()}
    assert "editor: matches smiling, glasses on male, colour; matches male on colour" in capsys.readouterr().err
    labels = choice.Labels(["smiling", "colour"], np.stack([smiling, smiling], 1).astype(np.int8), people)
    reason = f"it would leave 0 of {(~smiling).sum()} rows with counterparts"
    found = choice.matched(labels, "smiling")
    assert found == ((), {"colour": reason})
    assert choice.told_matched({"smiling": found}) == f"matches smiling on nothing, not on colour ({reason})"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"attributes": ["grin"]}, r"editor.attributes: expected attributes of .*, smiling, colour, found 'grin'"),
        ({"attributes": ["smilin"]}, r"found 'smilin' \(did you mean 'smiling'\?\); correct it, or set null"),
        (
            {"methods": DEFAULTS | {"x": {"name": "mean_difference", "match": ["hue"]}}},
            r"editor.methods.x.match: expected attributes of .*, smiling, colour, found 'hue'",
        ),
    ],
)
def test_what_is_named_must_be_there_before_anything_is_fitted(tmp_path, monkeypatch, params, message):
    monkeypatch.setattr(MeanDifference, "fit", lambda *_: pytest.fail("fitted"))
    with pytest.raises(UsageError, match=message):
        by_default(tmp_path, ["smiling", "colour"], np.arange(240).reshape(120, 2) % 3 == 0, **params)


def test_what_is_named_is_learned_though_it_would_not_be_by_default(tmp_path):
    attributes = np.stack([np.arange(120) % 30 == 0, np.arange(120) % 2], 1)
    meta = by_default(
        tmp_path, ["smiling", "colour"], attributes, attributes=["colour"], methods={"m": DEFAULTS["matched"]}
    )
    assert (meta["attributes"], meta["choice"]) == (["colour"], "learns colour")


def test_the_demo_learns_and_matches_what_readme_shows():
    """By its labels, before photos are rejected; colour is measured, and of all OpenPeople's."""
    sets = [openpeople(), orl()]
    table = unite(sets)
    table.fill_colour(slice(None), np.array([source.startswith("openpeople") for source in table.sources], np.int8))
    alike = [table.identity_names.index(f"openpeople/{person}") for person in ("P004", "P006", "P010")]
    groups = np.where(np.isin(table.identity, alike), alike[0], table.identity)
    train = assign(sets, 0.1, 0.15, groups, groups >= 0) == 0
    labels = choice.Labels(table.attribute_names, table.attributes[train], table.identity[train])
    attributes, _ = choice.learned(labels)
    assert attributes == ["smiling", "mouth_open", "eyeglasses", "facial_hair"]
    assert choice.matched(labels, "facial_hair") == (("male", "colour"), {})
    for attribute in attributes[:3]:
        assert choice.matched(labels, attribute) == (("male", "facial_hair", "colour"), {})


# ---- paths


def pair(seed=0, shape=(2, 8)):
    return np.random.default_rng(seed).standard_normal((2, *shape)).astype(np.float32)


@pytest.mark.parametrize("path", [linear, slerp])
def test_paths_begin_and_end_at_their_codes_and_can_be_walked_back(path):
    a, b = pair()
    np.testing.assert_allclose(path(a, b, 0.0), a, atol=1e-6)
    np.testing.assert_allclose(path(a, b, 1.0), b, atol=1e-6)
    for t in (0.2, 0.5, 0.9):
        np.testing.assert_allclose(path(a, b, t), path(b, a, 1 - t), atol=1e-6)
        assert path(a, b, t).shape == a.shape
        assert path(a, b, t).dtype == np.float32
        np.testing.assert_allclose(path(a, a, t), a, atol=1e-6)


def test_linear_is_straight():
    a, b = pair()
    points = np.stack([linear(a, b, t) for t in np.linspace(0, 1, 5)])
    np.testing.assert_allclose(np.diff(points, axis=0), np.broadcast_to((b - a) / 4, (4, 2, 8)), atol=1e-6)


def test_slerp_turns_evenly_on_the_sphere():
    a, b = (v / np.linalg.norm(v) * 3 for v in pair())
    points = np.stack([slerp(a, b, t).ravel() for t in np.linspace(0, 1, 9)]).astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 3, rtol=1e-5)
    cosines = (points[1:] * points[:-1]).sum(1) / 9
    whole = np.arccos((points[0] * points[-1]).sum() / 9)
    np.testing.assert_allclose(np.arccos(cosines), whole / 8, rtol=1e-3)
    right = slerp(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]), 1 / 3)
    np.testing.assert_allclose(right, [[np.cos(np.pi / 6), np.sin(np.pi / 6)]])


@pytest.mark.parametrize("factor", [2.0, -1.0])
def test_slerp_of_codes_in_one_line_is_linear(factor):
    a, _ = pair()
    found = slerp(a, np.float32(factor) * a, 0.25)
    np.testing.assert_allclose(found, linear(a, np.float32(factor) * a, 0.25), atol=1e-6)


def test_an_offset_and_a_constant_dimension_change_nothing():
    """Codes 30 standard deviations off, with one dimension that never varies, are edited as the same codes without."""
    codes, attributes = confounded(400)
    task = problem(codes, attributes, NAMES, "smiling", ())
    wide = 2 * task.target  # to which no shift leads
    task = Problem("smiling", task.source, wide, task.source_groups, task.target_groups)
    shifted = [
        np.concatenate([side + 30, np.full((len(side), 1, 1), 7, np.float32)], 2) for side in (task.source, task.target)
    ]
    moved = Problem("smiling", *shifted, task.source_groups, task.target_groups)
    plain, other = (LatentWasserstein(steps=60, learning_rate=0.002) for _ in range(2))
    scores = plain.fit(task, seed=0), other.fit(moved, seed=0)
    assert scores[0]["steps"] > 10
    assert scores[1]["held_out_loss"] == pytest.approx(scores[0]["held_out_loss"], rel=0.01)
    expected = plain.edit(task.source, "smiling", 1.0)
    found = other.edit(shifted[0], "smiling", 1.0)
    np.testing.assert_array_equal(found[..., -1], 7)
    step = np.abs(expected - task.source).mean()
    assert np.abs(found[..., :-1] - 30 - expected).mean() < 0.1 * step
    flat = Problem(
        "smiling",
        np.ones((40, 1, 3), np.float32),
        np.ones((40, 1, 3), np.float32),
        np.zeros((40, 0)),
        np.zeros((40, 0)),
    )
    with pytest.raises(
        FgError, match="attribute smiling: expected codes that differ, found constant ones; invert again"
    ):
        LatentWasserstein().fit(flat, seed=0)
