"""The training contract and its inhabitants: groups, lazy phases, scores, columns, capabilities, codes, inversion."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import HEAD, SMALL_RUN, painted, stopped, train_params, write_faces
from sentence_files import GRAMMAR, shape_of, write_sentences
from torch import nn
from toys import Hinge, Shown, Steered, ToyGAN
from typer.testing import CliRunner

from fgcli import artifacts, capabilities, codes, config, inverters
from fgcli.capabilities import (
    Classifies,
    Conditional,
    Encodes,
    Generator,
    Halves,
    Mapped,
    Masks,
    Posterior,
    require,
)
from fgcli.cli import app
from fgcli.codes import Codes
from fgcli.editors import Editors
from fgcli.editors.mean_difference import MeanDifference
from fgcli.errors import FgError, UsageError
from fgcli.generators import GENERATORS, store
from fgcli.inverters import Context
from fgcli.objectives import OBJECTIVES
from fgcli.stages import editor, evaluate, invert, train
from fgcli.training.augment import Augment
from fgcli.training.batches import Batches
from fgcli.training.columns import COLUMNS, Column, mirrored_normals, real, tables
from fgcli.training.devices import Compute
from fgcli.training.loop import Loop
from fgcli.training.objective import Group, Objective, Phase, correction
from fgcli.training.settings import Settings

CPU = Compute(torch.device("cpu"), 0, 1, "float32")
IMAGE = (3, 16, 16)


@pytest.fixture
def toys(monkeypatch):
    """The toy GAN, its objective and the steered generator are entries of the registries."""
    monkeypatch.setitem(GENERATORS, "toy", "toys:ToyGAN")
    monkeypatch.setitem(GENERATORS, "steered", "toys:Steered")
    monkeypatch.setitem(OBJECTIVES, "hinge", "toys:Hinge")
    monkeypatch.setitem(OBJECTIVES, "shown", "toys:Shown")


def loop(objective, **changes):
    settings = {
        "steps": 8,
        "batch": 8,
        "learning_rate": 0.01,
        "seed": 0,
        "validate_steps": 4,
        "checkpoint_seconds": 99.0,
    }
    return Loop(objective, CPU, Settings(**settings | changes))


def batches(faces, objective, augment=None):
    return Batches(tables(objective.needs, {"faces": faces}, np.arange(48), "test"), np.arange(48), 8, 0, augment)


# ---- groups and phases


class Two(Objective):
    """A quadratic and a lazy one on the same parameter."""

    def __init__(self, interval=4, rate=1.0, betas=None):
        super().__init__(nn.Linear(1, 1, bias=False))
        self.unused = nn.Parameter(torch.zeros(2))
        self.groups = {"w": Group([self.network.weight, self.unused], rate, betas)}
        self.phases = [
            Phase("main", "w", lambda b, r: {"pull": (self.network.weight - 1).square().sum()}, {"pull": 1.0}),
            Phase("lazy", "w", lambda b, r: {"seven": self.network.weight.square().sum()}, {"seven": 0.1}, interval),
        ]


def test_phases_of_one_group_share_an_adam_that_is_slowed_as_stylegan2s(faces):
    """By torch: k / (k + 1) of the rate, betas to that power, the lazy gradient times k, one optimiser for both."""
    objective, k = Two(4, rate=0.5, betas=(0.5, 0.9)), 4
    run = loop(objective)
    w = objective.network.weight.detach().clone().requires_grad_()
    adam = torch.optim.Adam([w], 0.01 * 0.5 * k / (k + 1), (0.5 ** (k / (k + 1)), 0.9 ** (k / (k + 1))))
    list(run.run(batches(faces, objective)))
    for step in range(8):
        adam.zero_grad()
        (w - 1).square().sum().backward()
        adam.step()
        if step % k == 0:
            adam.zero_grad()
            (k * 0.1 * w.square().sum()).backward()
            adam.step()
    torch.testing.assert_close(objective.network.weight, w, rtol=1e-5, atol=1e-6)
    assert torch.equal(objective.unused, torch.zeros(2))  # its gradient is zero: no crash, no move


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [((1,), 1), ((1, 16), 16 / 17), ((4,), 1), ((1, 1), 1), ((1, 4, 8), 1 / (1 + 1 / 4 + 1 / 8))],
)
def test_correction_of_a_group(intervals, expected):
    phases = [Phase(str(i), "g", lambda b, r: {}, {}, interval) for i, interval in enumerate(intervals)]
    assert correction([*phases, Phase("other", "h", lambda b, r: {}, {}, 2)], "g") == pytest.approx(expected)


class Shared(Objective):
    """Two parameters whose gradient is one tensor, and one whose gradient is one number for all its values."""

    def __init__(self):
        super().__init__(nn.Linear(1, 1))
        self.a, self.b, self.c = (nn.Parameter(torch.zeros(3)) for _ in range(3))
        self.groups = {"g": Group([self.a, self.b, self.c])}
        self.phases = [Phase("lazy", "g", self.loss, {"off": 1.0}, 4)]

    def loss(self, batch, rng):
        return {"off": (self.a + self.b - 1).square().sum() + self.c.sum()}


def test_lazy_gradients_are_scaled_once_whoever_shares_them(faces, monkeypatch):
    seen = []
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self: seen.append([p.grad for p in self.param_groups[0]["params"]])
    )
    objective = Shared()
    list(loop(objective, steps=1).run(batches(faces, objective)))
    assert [g.tolist() for g in seen[0]] == [[-8.0] * 3, [-8.0] * 3, pytest.approx([4.0] * 3)]


def test_each_phase_of_a_step_draws_for_itself_or_as_others_do(faces):
    drawn = {}
    objective = Two(1)

    def noted(name):
        def loss(batch, rng):
            drawn.setdefault(name, []).append(torch.rand(2, generator=rng).tolist())
            return {"pull": objective.network.weight.square().sum()}

        return loss

    streams = {"one": "", "two": "", "three": "codes", "four": "codes"}
    objective.phases = [Phase(name, "w", noted(name), {"pull": 1.0}, draws=stream) for name, stream in streams.items()]
    list(loop(objective, steps=2).run(batches(faces, objective)))
    assert drawn["three"] == drawn["four"]
    assert len({tuple(d) for name in ("one", "two", "three") for d in drawn[name]}) == 6


def test_a_phase_of_no_weight_is_refused(faces):
    with pytest.raises(
        UsageError, match="train.objective: expected a weight other than 0 in phase r1, found none; give"
    ):
        loop(Hinge(ToyGAN(IMAGE), gamma=0.0))


def test_nothing_to_average_and_nothing_to_show(faces):
    """All groups left out of the average; a batch without images."""
    objective = Two(1)
    objective.groups["w"] = Group(objective.groups["w"].parameters, averaged=False)
    objective.network.bias = None
    run = loop(objective, steps=2, ema_half_life=3.0)
    list(run.run(batches(faces, objective)))
    assert torch.equal(run.ema.state["weight"], objective.network.weight)
    gan = Hinge(ToyGAN(IMAGE))
    assert list(loop(gan).sheet({"rows": torch.arange(3)})) == ["prior"]


def test_a_loss_that_teaches_nothing_is_a_defect(faces):
    """Such as a penalty whose gradient was detached: GIF's path length."""
    objective = Two()
    objective.phases = [Phase("path", "w", lambda b, r: {"length": torch.ones(())}, {"length": 1.0})]
    with pytest.raises(ValueError, match="phase path: expected a loss that depends on group w, found none"):
        list(loop(objective).run(batches(faces, objective)))


def test_a_lazy_term_is_logged_as_it_was(faces, toys, tmp_path):
    """A constant 7 at interval 4 is 7 in every line of stats, as it is in history."""
    params = toy_params(steps=10, validate_steps=5)
    train.run(faces, tmp_path / "g.h5", tmp_path / "run", params=params)
    lines = [json.loads(line) for line in (tmp_path / "run/stats.jsonl").read_text().splitlines()]
    assert [line["r1/constant"] for line in lines] == [7.0, 7.0]
    assert artifacts.load(tmp_path / "g.h5")["history/r1/constant"].tolist() == [7.0, 7.0]


def toy_params(**changes):
    spec = {"generator": {"name": "toy", "codes": 8}, "objective": {"name": "hinge"}, "ema_half_life": 4}
    return train_params(**spec | {"steps": 12, "learning_rate": 2e-3} | changes)


def test_the_toy_gan_goes_on_bit_for_bit(faces, toys, tmp_path, monkeypatch):
    """Stopped at step 7, gone on from the checkpoint of step 6, between the lazy steps 4 and 8."""
    params = toy_params(checkpoint_steps=6)
    train.run(faces, tmp_path / "one.h5", tmp_path / "one", params=params)
    with stopped(monkeypatch, 7):
        train.run(faces, tmp_path / "two.h5", tmp_path / "two", params=params)
    train.run(faces, tmp_path / "two.h5", tmp_path / "two", params=params)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    assert (tmp_path / "one/stats.jsonl").read_text() == (tmp_path / "two/stats.jsonl").read_text()


# ---- score and sheet


def test_the_best_checkpoint_is_that_of_the_lowest_score(faces, toys, tmp_path):
    """The score is a distance over all validation rows: that of the kept average is the lowest of the run."""
    train.run(faces, tmp_path / "g.h5", tmp_path / "run", params=toy_params(steps=30, validate_steps=5))
    stored = artifacts.load(tmp_path / "g.h5")
    history, training = stored.group("history"), stored.meta["training"]
    assert training["best_step"] == history["step"][history["validation"].argmin()]
    objective, rows = Hinge(store.load(tmp_path / "g.h5")), np.flatnonzero(artifacts.rows(faces, "split") == 1)
    again = loop(objective, ema_half_life=0.0)
    found = again.validate([batches(faces, objective).of(rows, CPU)])
    assert found == pytest.approx(training["best_loss"], rel=1e-4)


@pytest.mark.parametrize(("key", "value", "instead"), [("keep", "best", "last"), ("schedule", "plateau", "constant")])
def test_without_a_score_best_and_plateau_are_refused_before_step_0(faces, toys, tmp_path, key, value, instead):
    params = toy_params(objective={"name": "hinge", "scored": False}, **{"keep": "last", key: value})
    message = (
        rf"train.{key}: expected {instead}, found {value}, which wants a score, and the objective Hinge has none; set"
    )
    with pytest.raises(UsageError, match=message):
        train.run(faces, tmp_path / "g.h5", tmp_path / "run", params=params)
    assert not list(tmp_path.iterdir())


def test_without_a_score_a_run_keeps_the_last_and_says_no_validation(faces, toys, tmp_path):
    params = toy_params(objective={"name": "hinge", "scored": False}, keep="last")
    train.run(faces, tmp_path / "g.h5", tmp_path / "run", params=params)
    assert "history/validation" not in artifacts.load(tmp_path / "g.h5").arrays
    assert not {"best_step", "best_loss"} & set(artifacts.load(tmp_path / "g.h5").meta["training"])
    assert sorted((tmp_path / "run/samples").iterdir())


def test_the_sheet_shows_what_the_generator_can(faces):
    """A GAN has no reconstruction; a masked VAE has one, and masks."""
    masked = inhabitant_named("masked_vae")
    elbo = config.build(OBJECTIVES, {"name": "masked_elbo"}, "t", generator=masked)
    for objective, rows in ((elbo, ["face", "code", "mask", "prior"]), (Hinge(ToyGAN(IMAGE)), ["face", "prior"])):
        shown = loop(objective).sheet(batches(faces, objective).of(np.arange(3), CPU))
        assert list(shown) == rows
        assert all(images.shape[0] == 3 and images.abs().max() <= 1 for images in shown.values())


# ---- columns


def write_conditions(path, renders, inputs=None):
    """conditions.h5 of renders (n, h, w, 6), of a head that is not built."""
    n = len(renders)
    numbers = np.random.default_rng(1).normal(size=(n, 236)).astype(np.float32)
    arrays = {"renders": renders, "parameters": numbers, "status": ["ok"] * n}
    head = {"name": "procedural", "build": HEAD, "sha256": ""}
    meta = {"flame": "", "head": head}
    artifacts.save(path, artifacts.CONDITIONS, arrays, params={}, inputs=inputs or {}, meta=meta)


def test_columns_come_from_any_artifact_by_name(rendered, tmp_path):
    """Faces, heads, conditions and sentences: each as its converter makes it."""
    conditions, sentences = tmp_path / "conditions.h5", tmp_path / "sentences.h5"
    renders = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 6), np.uint8)
    write_conditions(conditions, renders)
    write_sentences(sentences, 24)
    rules = artifacts.load(sentences)["rules"]
    files = {"faces": rendered["faces"], "flame": rendered["flame"], "conditions": conditions, "sentences": sentences}
    opened = tables(COLUMNS, files, np.arange(5), "test")
    assert list(opened) == list(COLUMNS)
    assert all(isinstance(opened[name].values, np.memmap) for name in ("images", "condition", "rules", "shape"))
    rows = np.array([3, 0])
    batch = Batches(opened, np.arange(24), 4, 0).of(rows, CPU)
    known = artifacts.load(rendered["flame"])
    for name in ("shape", "expression", "pose", "camera", "texture", "light"):
        np.testing.assert_array_equal(batch[name], known[name][rows])
    np.testing.assert_allclose(batch["condition"], renders[rows].transpose(0, 3, 1, 2) / 127.5 - 1, atol=1e-6)
    assert batch["rules"].tolist() == rules[rows].tolist()
    assert batch["rules"].dtype == batch["identity"].dtype == torch.int64
    assert batch["images"].shape == (2, 3, 32, 32)


def test_a_derived_column_is_made_once_of_the_training_rows(faces):
    column = Column(
        "rank",
        "faces",
        "identity",
        real,
        derive=lambda values, rows: np.where(np.isin(np.arange(len(values)), rows), values, -1),
    )
    opened = tables([column], {"faces": faces}, np.array([2, 5]), "test")
    assert Batches(opened, np.arange(4), 2, 0).of(np.array([1, 2, 5]), CPU)["rank"].tolist() == [-1, 2, 5]


def test_a_missing_column_or_another_files_rows_are_told(faces, rendered):
    with pytest.raises(
        FgError, match=r"train: expected the column shape in flame.h5, found no such file; make it first"
    ):
        tables(["images", "shape"], {"faces": faces, "flame": None}, np.arange(3), "train")
    with pytest.raises(
        FgError, match=r"flame.h5: expected a file made from .*faces.h5, found one of other faces; make it again"
    ):
        tables(["images", "shape"], {"faces": faces, "flame": rendered["flame"]}, np.arange(3), "train")


@pytest.mark.parametrize("name", ["flip", "shift", "zoom", "rotate", "mix"])
def test_augmentations_that_make_a_column_untrue_are_refused_by_name(name):
    columns = {c: COLUMNS[c] for c in ("images", "masks", "shape")}
    with pytest.raises(
        UsageError, match=rf"train.augment.{name}: expected 0 for an objective that needs shape, found 0.1"
    ):
        Augment(**{name: 0.1}).verify(columns, "train.augment")
    Augment(light=0.1, tint=0.1).verify(columns, "train.augment")
    if name != "mix":
        Augment(**{name: 0.1}).verify({c: COLUMNS[c] for c in ("images", "masks", "identity")}, "train.augment")


@pytest.mark.parametrize("change", [{"flip": 1.0}, {"flip": 1.0, "shift": 1e-9}])
def test_a_mirrored_condition_is_turned_round_and_its_normals_with_it(change):
    """Normals' x, channel 3, points to the other side in a mirror; twice is the identity."""
    batch = {"images": torch.randn(4, 3, 8, 8).clamp(-1, 1), "condition": torch.randn(4, 6, 8, 8).clamp(-0.9, 1)}
    before, columns = {k: v.clone() for k, v in batch.items()}, {k: COLUMNS[k] for k in batch}
    Augment(**change)(batch, columns, torch.Generator().manual_seed(0))
    torch.testing.assert_close(batch["images"], before["images"].flip(3), atol=1e-5, rtol=1e-4)
    sign = torch.tensor([1, 1, 1, -1, 1, 1]).view(1, 6, 1, 1)
    torch.testing.assert_close(batch["condition"], before["condition"].flip(3) * sign, atol=1e-5, rtol=1e-4)
    assert torch.equal(mirrored_normals(mirrored_normals(before["condition"])), before["condition"])


# ---- capabilities


def inhabitant(capability):
    """A generator that declares it: of the registry, or a toy."""
    found = [n for n in GENERATORS if issubclass(config.lookup(GENERATORS, n, "t"), capability)]
    if found:
        torch.manual_seed(0)
        return inhabitant_named(found[0])
    return {Mapped: ToyGAN, Conditional: Steered}[capability](IMAGE).eval()


def kinds():
    return [
        c for c in vars(capabilities).values() if inspect.isclass(c) and issubclass(c, Generator) and c is not Generator
    ]


@pytest.mark.parametrize("capability", kinds(), ids=lambda c: c.__name__)
def test_capabilities_are_said_and_refused_by_name(capability):
    assert capability.can
    if capability.such_as:
        assert issubclass(config.lookup(GENERATORS, capability.such_as, "t"), capability)
    model = inhabitant(capability)
    require(model, (capability,), by="this")
    with pytest.raises(
        UsageError, match=rf"this: expected no generator that {capability.can}, found \w+; choose another"
    ):
        require(type(model), refused=(capability,), by="this")

    class Bare(Generator):
        def decode(self, codes, condition=None):
            return codes

    with pytest.raises(UsageError, match=rf"this: expected a generator that {capability.can}, found Bare; choose one"):
        require(Bare(), (capability,), by="this")


@torch.no_grad()
def test_each_capability_keeps_its_contract():
    x, rng = torch.rand(4, *IMAGE) * 2 - 1, torch.Generator().manual_seed(0)
    for kind in (Encodes, Posterior, Halves, Classifies, Masks, Mapped, Conditional):
        model = inhabitant(kind)
        z = model.prior(4, rng)
        assert z.shape in ((4, *model.code_shape), (4, 1, model.code_shape[1]))
        if isinstance(model, Encodes):
            assert model.encode(x).shape == (4, *model.code_shape)
        if isinstance(model, Posterior):
            mean, log_std = model.posterior(x)
            assert torch.equal(model.encode(x)[:, 0], mean)
            assert log_std.shape == mean.shape
        if isinstance(model, Halves):
            owned = {id(p) for half in (model.encoder, model.decoder) for p in half.parameters()}
            assert owned == {id(p) for p in model.parameters()}
        if isinstance(model, Classifies):
            label, distance = model.classify(z)
            assert torch.equal(distance, model.distances(z).min(1).values)
            assert (label >= 0).all()
            assert (label < len(model.means)).all()
        if isinstance(model, Masks):
            torch.testing.assert_close(model.decode_mask(z), model.mask_logits(z).sigmoid())
        if isinstance(model, Mapped):
            assert model.map(torch.randn(4, model.mapped_size)).shape == (4, 1, model.code_shape[1])
        if isinstance(model, Conditional):
            assert model.decode(z, torch.randn(4, *model.condition_shape)).shape == x.shape


@pytest.mark.parametrize("name", GENERATORS)
def test_truncation_draws_to_the_priors_mean(name):
    model = inhabitant_named(name)
    far, near, none = (model.prior(200, torch.Generator().manual_seed(1), t) for t in (1.0, 0.5, 0.0))
    torch.testing.assert_close(near - none, 0.5 * (far - none), atol=1e-5, rtol=1e-4)


TILE = {"name": "invertible_dcgan", "codes": 6, "width": 0.1}
STEERED = {"name": "gif", "codes": 6, "width": 0.1, "widest": 8, "mapping_layers": 2}


def inhabitant_named(name):
    known = inspect.signature(config.lookup(GENERATORS, name, "t")).parameters
    arguments = {"codes": 6, "classes": 3, "width": 0.1, "filters": 4, "channels": 4, "grammar": GRAMMAR}
    arguments["of"] = STEERED if name == "encoded_gif" else TILE
    small = {k: v for k, v in arguments.items() if k in known}
    return config.build(GENERATORS, {"name": name, **small}, "t", image_shape=shape_of(name, IMAGE)).eval()


def test_a_generator_with_conditions_is_refused_by_who_asks_for_none(faces, tmp_path, toys):
    params = train_params(generator={"name": "steered"}, objective={"name": "hinge"})
    with pytest.raises(
        UsageError, match="objective Hinge: expected no generator that is steered by a condition, found Steered"
    ):
        train.run(faces, tmp_path / "g.h5", tmp_path / "run", params=params)
    require(Steered(IMAGE), (Conditional,), by="x")
    Shown(Steered(IMAGE))
    with pytest.raises(
        UsageError, match="objective Shown: expected a generator that is steered by a condition, found ToyGAN"
    ):
        Shown(ToyGAN(IMAGE))


def test_inverters_and_editors_refuse_by_name_before_the_work(faces, toys, tmp_path, monkeypatch):
    train.run(faces, tmp_path / "g.h5", tmp_path / "run", params=toy_params(steps=2))
    with pytest.raises(
        UsageError,
        match="invert.inverter encoder: expected a generator that has an encoder, found ToyGAN; choose one such as "
        "conv_autoencoder, or the inverter optimize$",
    ):
        invert.run(faces, tmp_path / "g.h5", tmp_path / "l.h5", params=invert_params(inverter={"name": "encoder"}))
    invert.run(faces, tmp_path / "g.h5", tmp_path / "l.h5", params=invert_params())
    monkeypatch.setattr(MeanDifference, "requires", (Encodes,))
    params = editor.Params(attributes=["odd"], methods={"m": {"name": "mean_difference"}}, layers=None, seed=0)
    with pytest.raises(
        UsageError, match="editor.methods.m mean_difference: expected a generator that has an encoder, found ToyGAN"
    ):
        editor.run(tmp_path / "l.h5", None, None, tmp_path / "e.h5", params=params)
    assert not (tmp_path / "e.h5").exists()


def invert_params(**changes):
    values = config.defaults()["invert"] | {"inverter": {"name": "optimize", "steps": 5, "starts": 4}, "device": "cpu"}
    return config.section({"invert": config.overlay(values, changes)}, "invert", invert.Params)


# ---- codes


def test_one_row_of_a_code_serves_all_layers():
    model = ToyGAN(IMAGE).eval()
    w = model.map(torch.randn(3, 8))
    one = codes.decode(model, Codes(w, "w"))
    assert torch.equal(one, codes.decode(model, Codes(w.expand(3, 2, 8), "w+")))
    assert torch.equal(one, codes.decode(model, Codes(w, "w+")))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Codes(torch.zeros(1, 1, 8), "z"), r"expected space w\+ for ToyGAN, found z; map them by its `map`"),
        (Codes(torch.zeros(1, 2, 7), "w+"), r"expected 2 x 8 for ToyGAN, found 2 x 7; invert again"),
        (Codes(torch.zeros(1, 3, 8), "w+"), r"expected 2 x 8 for ToyGAN, found 3 x 8; invert again"),
    ],
)
def test_a_foreign_space_or_size_is_an_error_that_names_the_fix(given, message):
    with pytest.raises(FgError, match=message):
        codes.decode(ToyGAN(IMAGE), given)
    with pytest.raises(FgError, match=r"expected space z for PCA, found w; invert again"):
        codes.decode(inhabitant_named("pca"), Codes(torch.zeros(1, 1, 6), "w"))
    with pytest.raises(FgError, match=r"editor m: expected codes of space z, found w\+; fit it on these"):
        Editors({"m": MeanDifference()}, "z").edit("m", Codes(torch.zeros(1, 2, 8), "w+"), "odd", 1.0)


def test_walks_follow_the_space():
    a, b = torch.randn(2, 1, 5), torch.randn(2, 1, 5)
    for space, path in (("z", codes.slerp), ("w", codes.linear), ("w+", codes.linear)):
        way = codes.walk(Codes(a, space), Codes(b, space), [0.0, 0.5, 1.0])
        assert way.space == space
        expected = [path(x, y, t) for x, y in zip(a.numpy(), b.numpy(), strict=True) for t in (0.0, 0.5, 1.0)]
        np.testing.assert_allclose(way.numpy(), expected, atol=1e-6)
    chosen = codes.walk(Codes(a, "z"), Codes(b, "z"), [0.5], "linear")
    torch.testing.assert_close(chosen.values, (a + b) / 2)
    with pytest.raises(FgError, match="expected two codes of one space, found z and w; invert both alike"):
        codes.walk(Codes(a, "z"), Codes(b, "w"), [0.5])


def test_conditions_go_with_their_codes():
    model = Steered(IMAGE).eval()
    z, condition = torch.randn(3, 1, 3), torch.randn(3, *model.condition_shape)
    given = Codes(z, "z", condition)
    torch.testing.assert_close(codes.decode(model, given), model.decode(z, condition))
    assert torch.equal(given[[2, 0]].condition, condition[[2, 0]])
    assert torch.equal(torch.cat([part.condition for part in given.split(2)]), condition)
    way = codes.walk(given[:1], given[1:2], [0.0, 0.4, 0.5, 1.0])
    assert torch.equal(way.condition, condition[[0, 0, 1, 1]])
    with pytest.raises(FgError, match=r"expected conditions of \(6, 16, 16\) for Steered, found none; take codes"):
        codes.decode(model, Codes(z, "z"))
    pool = np.random.default_rng(0).integers(0, 256, (7, 16, 16, 6), np.uint8)
    drawn = codes.prior(model, 100, seed=3)
    whole = codes.conditioned(drawn, pool, seed=3).condition
    parts = [codes.conditioned(drawn[i : i + 8], pool, 3 + i).condition for i in range(0, 100, 8)]
    assert torch.equal(torch.cat(parts), whole)  # part by part the same
    assert len(whole.flatten(1).unique(dim=0)) == len(pool)
    assert codes.conditioned(drawn, None, 3) is drawn


def test_seeds_that_are_apart_share_no_draw():
    """A measurement is repeated with seeds 0, 1, ..., whose plain draws are the same but for one."""
    model = inhabitant_named("pca")
    one, other = (codes.prior(model, 200, codes.apart(seed)).numpy()[:, 0, 0] for seed in (0, 1))
    assert not np.isin(one, other).any()
    plain = [codes.prior(model, 200, seed).numpy() for seed in (0, 1)]
    np.testing.assert_array_equal(plain[0][1:], plain[1][:-1])
    assert len({codes.apart(seed) for seed in range(1000)}) == 1000
    assert 0 <= codes.apart(2**63 - 1) < 2**63


# ---- inversion


def test_optimisation_finds_the_codes_of_generated_pictures():
    """Of eigenfaces, whose decoder is linear: the self-test's error is near 0, and the mean code's is not."""
    pca = inhabitant_named("pca")
    pca.fit(painted(40)[0])
    inverter = inverters.create({"name": "optimize", "steps": 300, "learning_rate": 0.05}, pca, "t")
    found = inverters.self_test(inverter, pca, seed=0)
    assert found["picture_error"] < 0.05 * found["picture_floor"]
    assert found["code_error"] < 0.1
    assert inverter.resolved() == {"distance": "pixels"}


def test_the_self_test_does_not_know_the_answer():
    """One step that moves nothing is far off, although the inverter starts from draws of the same prior."""
    model = ToyGAN(IMAGE).eval()
    still = inverters.create({"name": "optimize", "steps": 1, "learning_rate": 1e-12}, model, "t")
    found = inverters.self_test(still, model, seed=0)
    assert found["picture_error"] > 0.1 * found["picture_floor"]
    assert found["code_error"] > 0.3


def test_more_steps_come_nearer_and_the_best_is_kept():
    model = inhabitant_named("conv_autoencoder")
    x = codes.decode(model, codes.prior(model, 3, 5))

    def error(**arguments):
        inverter = inverters.create({"name": "optimize", **arguments}, model, "t")
        found = inverter.invert(model, x, Context(0))
        return (codes.decode(model, found) - x).square().mean((1, 2, 3))

    few, many, wild = error(steps=1), error(steps=100), error(steps=20, learning_rate=50.0)
    assert (many < few).all()
    start = error(steps=1, learning_rate=1e-9)
    assert (wild <= start + 1e-6).all()  # steps that lead away cost nothing


def test_a_time_limit_ends_the_steps_early():
    model = inhabitant_named("pca")
    pca_images = torch.zeros(2, *IMAGE)
    inverter = inverters.create({"name": "optimize", "steps": 10**7, "seconds": 0.05}, model, "t")
    assert len(inverter.invert(model, pca_images, Context(0))) == 2


def test_lpips_that_is_not_here_is_told_and_auto_does_without():
    model = inhabitant_named("pca")
    with pytest.raises(
        FgError, match=r"optimize distance: expected images of 31 px for lpips, found 16 px; set distance"
    ):
        inverters.create({"name": "optimize", "distance": "lpips"}, model, "t")


def test_lpips_is_taken_where_its_weights_are_and_remembered(alexnet):
    model = ToyGAN((3, 32, 32)).eval()
    inverter = inverters.create({"name": "optimize", "steps": 3, "starts": 2}, model, "t")
    assert inverter.resolved() == {"distance": "lpips"}
    x = codes.decode(model, codes.prior(model, 2, 0)).detach()
    away = inverter.distance(model, x)
    expected = inverter.network(x.flip(3), x).flatten() + (x.flip(3) - x).square().mean((1, 2, 3))
    torch.testing.assert_close(away(x.flip(3)), expected)
    assert inverter.invert(model, x, Context(1)).values.shape == (2, 2, 8)
    pixels = inverters.create({"name": "optimize", "distance": "pixels"}, model, "t")
    assert pixels.network is None


def test_a_killed_inversion_goes_on_where_it_was(faces, toys, tmp_path, monkeypatch):
    from fgcli.inverters.optimize import Optimize

    train.run(faces, tmp_path / "g.h5", tmp_path / "run", params=toy_params(steps=2))
    params = invert_params(batch=16)
    invert.run(faces, tmp_path / "g.h5", tmp_path / "whole.h5", params=params)
    real_invert, calls = Optimize.invert, []

    def counted(self, *arguments):
        calls.append(1)
        if len(calls) == 4:  # the self-test, two parts, and the third
            raise KeyboardInterrupt
        return real_invert(self, *arguments)

    monkeypatch.setattr(Optimize, "invert", counted)
    with pytest.raises(KeyboardInterrupt):
        invert.run(faces, tmp_path / "g.h5", tmp_path / "l.h5", params=params)
    assert not (tmp_path / "l.h5").exists()
    invert.run(faces, tmp_path / "g.h5", tmp_path / "l.h5", params=params)
    assert len(calls) == 4 + 3  # the self-test and the two parts that were left
    assert (tmp_path / "l.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_latents_name_their_inverter_and_it_is_built_again(faces, toys, tmp_path):
    """latents.h5 names its inverter, with arguments, distance and seed; `load` builds it again."""
    train.run(faces, tmp_path / "g.h5", tmp_path / "run", params=toy_params(steps=2))
    invert.run(faces, tmp_path / "g.h5", tmp_path / "l.h5", params=invert_params(seed=5))
    model = store.load(tmp_path / "g.h5")
    inverter, context = inverters.load(tmp_path / "l.h5", model)
    assert (inverter.steps, inverter.starts, context.seed, inverter.network) == (5, 4, 5, None)
    meta = artifacts.load(tmp_path / "l.h5", names=()).meta
    assert meta["inverter"] == {"name": "optimize", "steps": 5, "starts": 4, "distance": "pixels"}
    assert set(meta["self_test"]) == {"picture_error", "picture_floor", "code_error"}


# ---- the whole chain


def test_a_generator_with_conditions_passes_the_chain(faces, toys, tmp_path):
    """train, invert and evaluate take conditions.h5; latents.h5 keeps them; without the file it is told."""
    renders = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 6), np.uint8)
    conditions = tmp_path / "conditions.h5"
    write_conditions(conditions, renders)
    still = {"augment": {"rotate": 0.0, "mix": 0.0}}
    params = train_params(generator={"name": "steered"}, objective={"name": "shown"}, steps=4, **still)
    files = (faces, tmp_path / "generator.h5", tmp_path / "run")
    with pytest.raises(
        FgError, match="expected the column condition in conditions.h5, found no such file; make it first"
    ):
        train.run(*files, conditions=None, params=params)
    other, small = tmp_path / "other.h5", tmp_path / "small.h5"
    of_others = {"faces": write_faces(tmp_path / "others.h5", 64, seed=9)}
    write_conditions(other, renders, of_others)
    write_conditions(small, renders[:, ::2, ::2])
    for bad, message in (
        (other, r"other.h5: expected a file made from .*faces.h5, found one of other faces; make it again"),
        (small, r"small.h5: expected renders of \(64, 16, 16\), as images has, found \(64, 8, 8\); make both"),
    ):
        with pytest.raises(FgError, match=message):
            train.run(*files, conditions=bad, params=params)
    train.run(*files, conditions=conditions, params=params)
    with pytest.raises(
        FgError, match=r"small.h5: expected renders of \(64, 16, 16, 6\) for Steered, found \(64, 8, 8, 6\)"
    ):
        invert.run(faces, tmp_path / "generator.h5", tmp_path / "latents.h5", conditions=small, params=invert_params())
    with pytest.raises(FgError, match=r"other.h5: expected a file made from .*faces.h5, found one of other faces"):
        invert.run(faces, tmp_path / "generator.h5", tmp_path / "latents.h5", conditions=other, params=invert_params())
    assert set(artifacts.load(tmp_path / "generator.h5").inputs) == {"faces", "conditions"}
    with pytest.raises(
        FgError, match="invert: expected conditions.h5 for Steered, which they steer, found none; give it"
    ):
        invert.run(faces, tmp_path / "generator.h5", tmp_path / "latents.h5", conditions=None, params=invert_params())
    invert.run(faces, tmp_path / "generator.h5", tmp_path / "latents.h5", conditions=conditions, params=invert_params())
    np.testing.assert_array_equal(artifacts.load(tmp_path / "latents.h5")["condition"], renders)
    values = config.overlay(
        config.defaults()["evaluate"],
        {"samples": 8, "metrics": [{"name": "l1"}, {"name": "frechet", "features": "pixels"}]},
    )
    outputs = {n: tmp_path / f"{n}.json" for n in ("metrics", "protocols")} | {
        "output": tmp_path / "evaluation.h5",
        "sheet": tmp_path / "n.png",
    }
    found = evaluate.run(
        faces, tmp_path / "generator.h5", tmp_path / "latents.h5", None, None, **outputs,
        params=config.section({"evaluate": values}, "evaluate", evaluate.Params),
    )  # fmt: skip
    assert np.isfinite(found["distribution"]["frechet_pixels"]["generator"]["samples_prior"])


def test_the_toy_gan_passes_the_chain(toys, tmp_path, monkeypatch):
    """A GAN without an encoder, from faces.h5 to report.html and to pictures, by the commands."""
    monkeypatch.chdir(tmp_path)
    write_faces(tmp_path / "out/faces.h5", 96)
    params = config.defaults()
    params["train"] |= SMALL_RUN | {
        "generator": {"name": "toy"},
        "objective": {"name": "hinge"},
        "steps": 40,
        "keep": "best",
    }
    params["train"] |= {"learning_rate": 2e-3, "validate_steps": 10}
    params["invert"] |= {"inverter": {"name": "optimize", "steps": 30, "starts": 8}, "device": "cpu"}
    params["density"] |= {"methods": {"gmm": {"name": "gmm", "components": 2, "starts": 1}}}
    params["editor"] |= {"attributes": ["odd"], "methods": {"plain": {"name": "mean_difference", "match": []}}}
    params["evaluate"] |= {"samples": 8, "metrics": [{"name": "l1"}, {"name": "frechet", "features": "pixels"}]}
    params["report"] |= {"people": 3, "samples": 4}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    for command in (
        ["train"], ["invert"], ["density"], ["editor"], ["evaluate"], ["report"],
        ["sample", "-n", "4", "--density", "prior", "--truncation", "0.5", "-o", "prior.png"],
        ["sample", "-n", "4", "-o", "samples.png"],
        ["edit", "3", "-a", "odd", "-o", "edit.png"],
        ["reconstruct", "0", "5", "-o", "reconstruction.png"],
        ["interpolate", "0", "5", "-o", "walk.png", "--json"],
    ):  # fmt: skip
        done = CliRunner().invoke(app, [*command, "--debug"])
        assert done.exit_code == 0, (command, done.output)
    assert json.loads(done.output.splitlines()[-1])["path"] == "linear"  # the space is w+
    latents = artifacts.load(tmp_path / "out/latents.h5")
    assert (latents["codes"].shape, latents.meta["space"]) == ((96, 2, 8), "w+")
    test = latents.meta["self_test"]
    assert test["picture_error"] < test["picture_floor"]
    page = Path("out/report.html").read_text()
    assert "r1/r1" in page
    assert "validation is the Fréchet distance of small pictures" in page
    assert "Codes by optimize. Of pictures drawn from the prior, whose codes are known, its are" in page
    assert "predicted mask" not in page
    found = json.loads(Path("out/metrics.json").read_text())
    assert np.isfinite(found["distribution"]["frechet_pixels"]["generator"]["samples_gmm"])
    stats = [json.loads(line) for line in Path("out/train/stats.jsonl").read_text().splitlines()]
    assert all(line["r1/constant"] == 7.0 for line in stats)
    best = artifacts.load(tmp_path / "out/generator.h5", names=()).meta["training"]
    assert best["best_loss"] == min(line["validation"] for line in stats)
