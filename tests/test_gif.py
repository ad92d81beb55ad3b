"""GIF: what a condition does, what its loss punishes, and conditions.h5."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import train_params
from torch.nn import functional

from fgcli import artifacts, codes, config, inverters
from fgcli.artifacts import parts
from fgcli.errors import FgError, UsageError
from fgcli.generators import GENERATORS, store
from fgcli.generators.gif import GIF
from fgcli.heads.camera import project
from fgcli.heads.centring import centred, eyes_off
from fgcli.heads.conditions import condition_images
from fgcli.heads.consistency import agreement, differences, face_texels, views
from fgcli.heads.light import directional
from fgcli.heads.parameters import Parameters
from fgcli.heads.rasteriser import rasterise
from fgcli.heads.texture import at_texels
from fgcli.inverters.optimize import multiscale
from fgcli.objectives.gif import GIFLoss, between
from fgcli.objectives.inversion import Inversion
from fgcli.stages import conditions, invert, train
from fgcli.training.columns import mirrored_normals

IMAGE = (3, 16, 16)
SMALL = {"codes": 8, "width": 1 / 64, "widest": 8, "mapping_layers": 2}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def gif(**arguments):
    torch.manual_seed(0)
    return GIF(IMAGE, **SMALL | arguments)


def batch(n=8):
    numbers = torch.randn(n, 236, generator=rng(3))
    pictures = {
        "images": torch.rand(n, *IMAGE, generator=rng(1)),
        "condition": torch.rand(n, 6, 16, 16, generator=rng(2)),
    }
    return pictures | {"parameters": numbers, "geometry": numbers, "rows": torch.arange(n), "places": torch.arange(n)}


def people(head, n=4, yaw=0.3):
    """Heads of one shape and skin that look to several sides, under a light from one of them."""
    p = Parameters.zeros(n)
    pose = torch.zeros(n, 6)
    pose[:, 1] = torch.linspace(-yaw, yaw, n)
    light = directional((0.8, 0.3, 1.0)).expand(n, -1, -1)
    return p.replace(pose=pose, camera=centred(head, p.shape, p.expression, pose, 0.8), light=light)


# ---- the generator


@pytest.mark.parametrize("injection", ["net", "conv", "scale", "released"])
@torch.no_grad()
def test_a_condition_changes_the_image_near_where_it_differs(injection):
    model = gif(injection=injection).eval()
    w, one = model.prior(1, rng()), torch.zeros(1, 6, 16, 16)
    other = one.clone()
    other[..., :2, :2] = 1
    change = (model.decode(w, one) - model.decode(w, other)).abs().mean((0, 1))
    assert change[:4, :4].mean() > 2 * change[12:, 12:].mean()


@pytest.mark.parametrize(("condition", "blind"), [("normals", slice(0, 3)), ("texture", slice(3, 6))])
@torch.no_grad()
def test_ablations_do_not_see_the_other_half_of_the_condition(condition, blind):
    model, shown = gif(condition=condition).eval(), torch.rand(4, 6, 16, 16)
    w, other = model.prior(4, rng()), shown.clone()
    other[:, blind] += 0.5
    assert torch.equal(model.decode(w, shown), model.decode(w, other))
    assert torch.equal(
        model.critic(model.decode(w, shown), None, shown), model.critic(model.decode(w, shown), None, other)
    )
    assert not torch.equal(model.decode(w, shown), model.decode(w, shown + 0.5))


@torch.no_grad()
def test_the_vector_ablation_maps_standardised_numbers_with_the_style():
    model = gif(condition="vector").eval()
    known = torch.randn(50, 236, generator=rng(5)) * 3 + 1
    known[:, 7] = 2.0
    model.meet(known)
    told = model.look(known)
    torch.testing.assert_close(told.std(0)[:7], torch.ones(7))
    assert (told[:, 7] == 0).all()  # what never varies says nothing, whatever comes later
    assert (model.look(known + 5)[:, 7] == 0).all()
    z = model.prior(2, rng())
    assert (model.space, model.condition_column, z.shape) == ("z", "parameters", (2, 1, 8))
    assert not torch.equal(model.decode(z, known[:2]), model.decode(z, known[2:4]))
    x = model.decode(z, known[:2])
    assert not torch.equal(model.critic(x, None, known[:2]), model.critic(x, None, known[2:4]))
    assert model.entrance()[0].shape == (8, 8)


def test_every_row_has_a_style_that_learns_only_if_asked_to():
    fixed, learning, drawn = gif(rows=8), gif(rows=8, trainable=True), gif()
    assert "styles" not in dict(fixed.named_parameters())
    assert "styles" in dict(learning.named_parameters())
    for model, same in ((fixed, True), (learning, True), (drawn, False)):
        objective = GIFLoss(model, batch=8, consistency=0.0)
        one, other = (objective.normal(batch(), rng(seed)) for seed in (0, 1))
        assert torch.equal(one, other) == same
    torch.testing.assert_close(GIFLoss(fixed, batch=8, consistency=0.0).normal(batch(), rng()), fixed.styles)


@pytest.mark.parametrize(("rows", "kept"), [(8, True), (5, False)])
def test_a_gif_starts_from_one_of_other_rows_with_styles_of_its_own(tmp_path, rows, kept):
    first, file = gif(rows=8), tmp_path / "generator.h5"
    build = {"name": "gif", "rows": 8} | SMALL
    store.save(file, first, ema=first.state_dict(), build=build, history={}, training={}, params={}, inputs={})
    torch.manual_seed(1)
    other = GIF(IMAGE, rows=rows, **SMALL)
    styles = other.styles.clone()
    other.load_state_dict(train.weights_of(file, other, build | {"rows": rows}))
    assert torch.equal(other.constant, first.constant)
    torch.testing.assert_close(other.styles, first.styles if kept else styles)
    with pytest.raises(FgError, match=r"generator.h5: expected a generator of .*9.*, found .*8.*; start from one"):
        train.weights_of(file, other, build | {"rows": rows, "codes": 9})


# ---- the loss


def test_the_penalty_is_of_the_images_alone():
    """The gradient by the condition's channels is not in it: by hand, of the first three of nine channels."""
    objective = GIFLoss(gif(), batch=8, gamma=1.0, consistency=0.0)
    (phase,) = [p for p in objective.phases if p.name == "penalty"]
    b = batch()
    both = torch.cat([b["images"], b["condition"]], 1).requires_grad_()
    score = objective.network.critic(both[:, :3], None, both[:, 3:])
    (slope,) = torch.autograd.grad(score.sum(), both)
    expected = slope[:, :3].square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(phase.loss(b, rng())["penalty"], expected)
    assert slope[:, 3:].abs().sum() > 0


def test_the_augmenter_leaves_every_pixel_where_its_condition_says():
    x = batch() | {"images": torch.linspace(-1, 1, 16).expand(8, 3, 16, 16)}  # brighter to the right, rows all alike
    objective = GIFLoss(gif(rows=8), batch=8, consistency=0.0, augment="fixed", strength=1.0)
    changed = objective.seen(x["images"], x, rng())
    assert not torch.equal(changed, x["images"])
    whole = (changed != 0).all(1, keepdim=True)  # a hole is of zeros
    ranks = torch.where(whole, changed, changed.new_tensor(torch.nan)).nanmedian(2).values
    assert ((ranks.diff(dim=2) > -1e-6) | ranks.diff(dim=2).isnan()).all()
    moved = objective.augmenter
    moved.moves = True
    assert not torch.equal(moved(x["images"], rng(), 8, x["places"]), changed)


def test_one_skin_has_no_texture_loss_and_another_has(head):
    """Perfect renders have almost none where the light stays and heads turn; pictures that keep still have some."""
    p = people(head)
    shown = views(head, face_texels(head, 48), p, 64)
    render = shown.condition[:, :3]
    perfect, lit = (float(agreement(shown, render, "l2", as_lit)) for as_lit in (False, True))
    still = float(agreement(shown, render[:1].expand_as(render), "l2", False))
    assert perfect < 0.5 * lit
    assert perfect < 0.1 * still
    squares, seen = differences(shown, render)
    assert float(agreement(shown, render, "sigmoid", False)) == pytest.approx(float(squares.sigmoid()[seen].mean()))
    drawn = condition_images(head, p, 64)
    np.testing.assert_allclose(shown.condition.movedim(1, 3), drawn.numpy() / 127.5 - 1, atol=1e-2)


def test_depth_hides_what_the_normal_alone_takes_for_seen(head):
    """A head that looks aside: skin behind the nose faces the camera, and lies behind the z-buffer."""
    p, table = people(head, 2, yaw=0.9), face_texels(head, 64)
    true, by_normal = (views(head, table, p, 64, flag) for flag in (False, True))
    ndc = project(head.vertices(p.shape, p.expression, p.pose), p.camera)
    depth = at_texels(table, head, ndc[..., 2:])[:, 0]
    front = rasterise(ndc, head.faces, 64).depth[:, None]
    nearest = functional.grid_sample(front, true.at, mode="nearest", align_corners=False)[:, 0, 0]
    hidden = depth < nearest - 0.1
    assert (by_normal.seen & hidden).sum() > 20
    assert not (true.seen & hidden).any()


def test_the_texture_loss_teaches_the_generator(head):
    objective = GIFLoss(gif(rows=8), batch=8, consistency=2.0, views=4, texels=32, head=head)
    b = batch() | {"geometry": people(head, 8).to_vector("gif")}
    terms = objective.phases[-1].loss(b, rng())
    assert objective.phases[-1].weights["texture"] == 2.0
    assert terms["texture"].item() > 0
    taught = torch.autograd.grad(terms["texture"], list(objective.network.layers.parameters()), allow_unused=True)
    assert sum(float(g.abs().sum()) for g in taught if g is not None) > 0


def test_heads_between_neighbours_share_texture_and_light(head):
    p = people(head, 5)
    made = between(p, 4, rng())
    share = (made.pose[0, 1] - p.pose[0, 1]) / (p.pose[1, 1] - p.pose[0, 1])
    assert 0 <= share <= 1
    torch.testing.assert_close(made.pose, p.pose[:4].lerp(p.pose[1:], share))
    assert torch.equal(made.light, p.light[:1].expand(4, -1, -1))
    assert len(made.texture) == 1


def test_texture_consistency_wants_a_head_and_neighbours(head):
    with pytest.raises(UsageError, match=r"train.objective.consistency: expected 0 where no head is known, found more"):
        GIFLoss(gif(), batch=8)
    with pytest.raises(UsageError, match=r"train.objective.views: expected from 2 to 7, one less than train.batch"):
        GIFLoss(gif(), batch=8, views=8, head=head)


def test_a_mirrored_condition_stays_black_beside_the_head(head):
    shown = views(head, face_texels(head, 16), people(head, 1), 32).condition
    mirrored = mirrored_normals(shown)
    outside = (shown == -1).all(1)
    assert outside.any()
    assert (mirrored.movedim(1, 3)[outside] == -1).all()
    torch.testing.assert_close(mirrored[:, 3][~outside], -shown[:, 3][~outside])


# ---- conditions.h5


def conditions_params(**changes):
    values = config.defaults()["conditions"] | {"device": "cpu"} | changes
    return config.section({"conditions": values}, "conditions", conditions.Params)


@pytest.fixture(scope="module")
def told(rendered, tmp_path_factory):
    """conditions.h5 of the rendered heads."""
    path = tmp_path_factory.mktemp("told") / "conditions.h5"
    conditions.run(rendered["faces"], rendered["flame"], path, params=conditions_params(eyes_off=1.0))
    return path


def test_conditions_are_the_renders_of_the_heads_in_the_order_of_the_faces(rendered, told, head):
    known, flame = artifacts.load(told, artifacts.CONDITIONS), artifacts.load(rendered["flame"])
    p = Parameters.from_arrays(flame.arrays)
    assert known["renders"].shape == (*artifacts.rows(rendered["faces"], "images").shape[:3], 6)
    np.testing.assert_array_equal(known["renders"][3:5], condition_images(head, p.rows([3, 4]), 32))
    np.testing.assert_array_equal(known["parameters"], p.to_vector("gif"))
    assert (known["status"] == "ok").all()
    assert (known.meta["head"], known.meta["flame"]) == (flame.meta["head"], artifacts.sha256(rendered["flame"]))
    assert isinstance(artifacts.rows(told, "renders"), np.memmap)


def test_killed_conditions_go_on_and_come_to_equal_bytes(rendered, told, tmp_path, monkeypatch):
    monkeypatch.setattr(conditions, "ROWS", 10)
    real, calls = parts.save_part, []

    def counted(file, arrays):
        calls.append(file)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(file, arrays)

    monkeypatch.setattr(parts, "save_part", counted)
    files = rendered["faces"], rendered["flame"], tmp_path / "c.h5"
    with pytest.raises(KeyboardInterrupt):
        conditions.run(*files, params=conditions_params(eyes_off=1.0))
    assert not files[2].exists()
    conditions.run(*files, params=conditions_params(eyes_off=1.0))
    assert len(calls) == 3 + 1
    assert files[2].read_bytes() == told.read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_eyes_that_are_not_where_crops_have_them_are_told_and_no_camera_zooms(rendered, tmp_path, head, capsys):
    flame = artifacts.load(rendered["flame"])
    off = eyes_off(head, Parameters.from_arrays(flame.arrays), 0.8).sort().values
    between_two = float(off[-3] + off[-2]) / 2
    found = conditions.run(
        rendered["faces"], rendered["flame"], tmp_path / "c.h5", params=conditions_params(eyes_off=between_two)
    )
    assert found["left out of training"] == 2
    known = artifacts.load(tmp_path / "c.h5")
    assert sum("of the side from where aligned crops have them" in status for status in known["status"]) == 2
    assert "left out of training" in capsys.readouterr().err
    np.testing.assert_array_equal(known["parameters"][:, 156:159], flame["camera"])


def test_eyes_of_a_centred_head_are_in_place_and_a_shifted_camera_puts_them_off(head):
    p = people(head)
    assert eyes_off(head, p, 0.8).max() < 1e-3
    shift = p.camera.new_tensor([0, 0.2, 0]) / p.camera[:, :1]
    moved = replace(p, camera=p.camera + shift)
    torch.testing.assert_close(eyes_off(head, moved, 0.8), torch.full((4,), 0.1), atol=2e-3, rtol=0)


def test_files_that_do_not_belong_together_are_told(rendered, told, faces, tmp_path):
    with pytest.raises(FgError, match=r"flame.h5: expected a file made from .*faces.h5, found one of other faces"):
        conditions.run(faces, rendered["flame"], tmp_path / "c.h5", params=conditions_params())
    assert not (tmp_path / "c.h5").exists()


STEERED = {"generator": {"name": "gif", **SMALL}, "objective": {"name": "gif", "views": 3, "texels": 16, "gamma": 0.1},
           "augment": dict.fromkeys(("flip", "shift", "zoom", "rotate", "light", "tint", "mix"), 0.0)}  # fmt: skip
ENCODED = {
    "generator": {"name": "encoded_gif", "channels": 4},
    "objective": {"name": "inversion"},
    "augment": STEERED["augment"],
}


def test_rows_that_are_not_ok_do_not_train_and_another_head_is_refused(rendered, told, tmp_path):
    known = artifacts.load(told, artifacts.CONDITIONS)
    inputs = {"faces": rendered["faces"], "flame": rendered["flame"]}
    split = artifacts.load(rendered["faces"], names=("split",))["split"]
    first = int(np.flatnonzero(split == 0)[0])
    status = ["no" if i == first else "ok" for i in range(len(split))]
    some, other = tmp_path / "some.h5", tmp_path / "other.h5"
    artifacts.save(
        some, artifacts.CONDITIONS, known.arrays | {"status": status}, params={}, inputs=inputs, meta=known.meta
    )
    head = {**known.meta["head"], "sha256": "0"}
    artifacts.save(
        other, artifacts.CONDITIONS, known.arrays, params={}, inputs=inputs, meta=known.meta | {"head": head}
    )
    files = (rendered["faces"], tmp_path / "g.h5", tmp_path / "run")
    params = train_params(**STEERED, steps=2, keep="last")
    with pytest.raises(FgError, match=r"other.h5: expected parameters of today's head procedural, found those of an"):
        train.run(*files, conditions=other, params=params)
    found = train.run(*files, conditions=some, params=params)
    assert found["rows"] == (split == 0).sum() - 1
    about = artifacts.load(tmp_path / "g.h5", artifacts.GENERATOR, ()).meta
    assert (about["training"]["head"], about["build"]["rows"]) == (known.meta["head"], len(split))
    with pytest.raises(
        FgError, match=r"other.h5: expected parameters of the head that .*g.h5 was trained on, procedural"
    ):
        invert.run(rendered["faces"], tmp_path / "g.h5", tmp_path / "l.h5", conditions=other, params=inverting())


def inverting():
    values = config.defaults()["invert"] | {"inverter": {"name": "optimize", "steps": 2, "starts": 2}, "device": "cpu"}
    return config.section({"invert": values}, "invert", invert.Params)


@pytest.mark.parametrize("condition", ["both", "vector"])
def test_latents_keep_pictures_or_numbers_and_decode_as_they_were(rendered, told, tmp_path, condition):
    params = train_params(**STEERED, steps=2, keep="last")
    params = params.model_copy(update={"generator": params.generator | {"condition": condition}})
    train.run(rendered["faces"], tmp_path / "g.h5", tmp_path / "run", conditions=told, params=params)
    invert.run(rendered["faces"], tmp_path / "g.h5", tmp_path / "l.h5", conditions=told, params=inverting())
    model, read = store.load(tmp_path / "g.h5"), codes.reader(tmp_path / "l.h5")
    known = artifacts.load(told)
    field = {"both": "renders", "vector": "parameters"}[condition]
    np.testing.assert_array_equal(codes.conditions(tmp_path / "l.h5"), known[field])
    found = codes.decode(model, read([4, 1]))
    torch.testing.assert_close(found, codes.decode(model, read([1, 4])).flip(0), atol=1e-4, rtol=1e-3)
    kept = codes.kept(read([4]).condition)
    ((name, values),) = kept.items()
    np.testing.assert_array_equal(values, known[field][[4]])
    assert name in artifacts.layout(tmp_path / "l.h5")


def test_a_critic_that_measures_distances_sees_the_conditions():
    model = gif().eval().requires_grad_(False)
    inverter = inverters.create({"name": "optimize", "steps": 2, "starts": 2, "distance": "critic"}, model, "t")
    b = batch(3)
    found = inverter.invert(model, b["images"], inverters.Context(0, b["condition"]))
    assert torch.equal(found.condition, b["condition"])


def untrained(path, told, **changes):
    """generator.h5 at the size of the rendered heads, which `told` are of, but for `changes` of that head."""
    spec = {"name": "gif", **SMALL, **changes.pop("spec", {})}
    model = config.build(GENERATORS, spec, "t", image_shape=(3, 32, 32))
    training = {"head": artifacts.load(told, artifacts.CONDITIONS, ()).meta["head"] | changes}
    about = {"build": spec, "history": {}, "training": training, "params": {}, "inputs": {}}
    store.save(path, model, ema=model.state_dict(), **about)
    return path


@pytest.mark.parametrize("condition", ["both", "vector"])
def test_an_encoder_is_trained_for_a_steered_generator_and_inverts_it(rendered, told, tmp_path, condition):
    inner, path = untrained(tmp_path / "g.h5", told, spec={"condition": condition}), tmp_path / "e.h5"
    params = train_params(**ENCODED, steps=3)
    train.run(rendered["faces"], path, tmp_path / "e", conditions=told, init_from=inner, params=params)
    model, gan = store.load(path), store.load(inner)
    assert (model.condition_shape, model.condition_column) == (gan.condition_shape, gan.condition_column)
    w, under = gan.prior(8, rng()), torch.rand(8, *gan.condition_shape, generator=rng(1))
    torch.testing.assert_close(model.decode(w, under), gan.decode(w, under))
    images = torch.rand(8, 3, 32, 32, generator=rng(2)) * 2 - 1
    near, nearer = (
        inverters.create(how, model, "t").invert(model, images, inverters.Context(0, under))
        for how in ({"name": "encoder"}, {"name": "hybrid", "steps": 2, "distance": "pixels"})
    )
    assert torch.equal(nearer.condition, under)
    away = multiscale(codes.decode(model, near), images), multiscale(codes.decode(model, nearer), images)
    assert (away[1] <= away[0]).all()


def test_an_encoder_learns_under_the_conditions_of_the_photos():
    spec = {"name": "encoded_gif", "channels": 4, "of": {"name": "gif", **SMALL}}
    torch.manual_seed(0)
    objective = Inversion(config.build(GENERATORS, spec, "t", image_shape=IMAGE))
    assert objective.needs == ("images", "condition")
    b = batch()
    other = b | {"condition": b["condition"].flip(0)}
    one, two = (objective.loss(known, rng()) for known in (b, other))
    assert all(one[name] != two[name] for name in ("pixels", "critic", "drawn"))
    assert one["codes"] == two["codes"]


def test_an_encoder_is_for_the_head_that_its_generator_was_trained_on(rendered, told, tmp_path):
    inner = untrained(tmp_path / "g.h5", told, sha256="0", name="mine")
    files = (rendered["faces"], tmp_path / "e.h5", tmp_path / "e")
    with pytest.raises(
        FgError, match=r"conditions.h5: expected parameters of the head that .*g.h5 was trained on, mine"
    ):
        train.run(*files, conditions=told, init_from=inner, params=train_params(**ENCODED, steps=1))
    with pytest.raises(FgError, match=r"none.h5: expected an fg artifact, found no such file"):
        train.run(*files, conditions=tmp_path / "none.h5", init_from=inner, params=train_params(**ENCODED, steps=1))
    with pytest.raises(FgError, match=r"flame.h5: expected a conditions/1 file, found a flame/1 file"):
        invert.run(rendered["faces"], inner, tmp_path / "e.h5", conditions=rendered["flame"], params=inverting())
    assert not (tmp_path / "e.h5").exists()


def test_each_wrapper_tells_what_it_wraps():
    of = {"name": "gif", **SMALL}
    for name, inner, right in (
        ("encoded", of, "encoded_gif"),
        ("encoded_gif", {"name": "dcgan", "codes": 6}, "encoded"),
    ):
        with pytest.raises(UsageError, match=rf"train.generator.name: expected {right} to wrap {inner['name']}, found"):
            config.build(GENERATORS, {"name": name, "of": inner}, "t", image_shape=IMAGE)
    spec = {"name": "tiled", "of": {"name": "encoded_gif", "of": of, "channels": 4}}
    with pytest.raises(
        UsageError, match="generator tiled: expected no generator that is steered by a condition, found"
    ):
        config.build(GENERATORS, spec, "t", image_shape=(3, 32, 32))
