"""Editors that look at more than sides: judges of codes, normals of planes, components, the generator's weights."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from geomloss import SamplesLoss
from sklearn.svm import LinearSVC
from torch import nn

from fgcli import artifacts, editors
from fgcli.classifiers.judges import LatentJudge
from fgcli.codes import Codes
from fgcli.editors.affine import Frame
from fgcli.editors.closed_form import ClosedForm
from fgcli.editors.interface_svm import InterfaceSVM
from fgcli.editors.latent_transformer import LatentTransformer
from fgcli.editors.latent_wasserstein import LatentWasserstein
from fgcli.editors.matching import Witness, problem
from fgcli.editors.pca import PCA
from fgcli.errors import FgError, UsageError
from fgcli.generators.dcgan import DCGAN
from fgcli.stages import editor as stage

NAMES = ["smiling", "colour", "male"]
SPREAD = torch.tensor([2.0, 4.0, 0.5])


def faces(n=600, layers=1, seed=0):
    """Codes (n, layers, 4) whose first three entries tell smiling, colour and male; smiling and colour go along."""
    rng = np.random.default_rng(seed)
    smiling = rng.random(n) < 0.5
    colour = np.where(rng.random(n) < 0.8, smiling, ~smiling)
    labels = np.stack([smiling, colour, rng.random(n) < 0.5], 1)
    means = np.concatenate([labels * 2.0 - 1, np.zeros((n, 1))], 1)
    codes = means[:, None] + 0.5 * rng.standard_normal((n, layers, 4))
    return codes.astype(np.float32), labels.astype(np.int8)


def true_judge(layers=1):
    """A judge that knows: twice the mean over layers of each of the first three entries."""
    judge = LatentJudge(3, 4 * layers, 2).eval()
    judge.net = nn.Linear(4 * layers, 3, bias=False)
    with torch.no_grad():
        judge.net.weight.copy_(2 * torch.eye(4)[:3].repeat(1, layers) / layers)
    return judge.requires_grad_(False)


def task(match=(), layers=1, edited=None, n=600):
    codes, labels = faces(n, layers)
    found = problem(codes, labels, NAMES, "smiling", match)
    witness = Witness.of(true_judge(layers), NAMES, "smiling", labels, SPREAD)
    return type(found)(**{**vars_of(found), "witness": witness, "layers": edited})


def vars_of(found):
    return {name: getattr(found, name) for name in type(found).__dataclass_fields__}


# ---- witnesses


def test_a_witness_weighs_attributes_by_how_little_they_go_along():
    _, labels = faces(4000)
    labels[::7, 1] = -1
    witness = Witness.of(true_judge(), NAMES, "smiling", labels, SPREAD)
    known = labels[:, 1] >= 0
    along = abs(np.corrcoef(labels[known, 0], labels[known, 1])[0, 1])
    assert witness.place == 0
    np.testing.assert_allclose(
        witness.kept, [0, 1 - along, 1 - abs(np.corrcoef(labels[:, 0], labels[:, 2])[0, 1])], 1e-5
    )
    assert 0.3 < witness.kept[1] < 0.5 < 0.9 < witness.kept[2]
    x = torch.randn(5, 1, 4)
    torch.testing.assert_close(witness.features(x), witness.kept.sqrt() * 2 * x[:, 0, :3] / SPREAD)


# ---- latent transformer


def test_the_transformers_loss_is_its_equation():
    found, still = task(n=60), 0.1 * torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(0))
    frame, editor = Frame.of(found.source, found.target), LatentTransformer(near=3.0, preserve=2.0)
    z = torch.from_numpy(np.concatenate([found.source, found.target])).double()
    x = (z - frame.middle) / frame.scale
    f = lambda codes: 2 * codes[:, 0, :3]  # noqa: E731
    p = f(z)[:, 0].sigmoid()
    c = torch.where(p > 0.5, -p, 1 - p)
    step = x[:, 0] @ still[0, :, :4].double().T / 2 + still[0, :, 4]  # sqrt(d) is 2
    after = x + c[:, None, None] * step[:, None]
    logits, goal = f(after * frame.scale + frame.middle), (p <= 0.5).double()
    each = F.binary_cross_entropy_with_logits(logits[:, 0], goal, reduction="none")
    balanced = (each[goal == 1].mean() + each[goal == 0].mean()) / 2
    kept = found.witnessed.kept.double().square() * (logits - f(z)).square()
    total = balanced + 3 * (after - x).square().mean() + 2 * kept.mean()
    assert editor.loss(still, found, frame).item() == pytest.approx(total.item(), rel=1e-4)


def test_the_transformer_changes_the_attribute_and_leaves_the_others():
    found, moves = task(), {}
    for preserve in (0.0, 5.0):
        editor = LatentTransformer(near=0.05, preserve=preserve, steps=300, learning_rate=0.02)
        editor.fit(found, seed=0)
        moves[preserve] = (editor.edit(found.source, "smiling", 1.0) - found.source)[:, 0].mean(0)
        assert moves[preserve][0] > 1
    assert abs(moves[5.0][2]) < 0.2


# ---- latent wasserstein with its second term


def test_the_second_term_is_the_divergence_of_weighted_logits():
    found = task(n=80)
    frame, move = Frame.of(found.source, found.target), 0.1 * torch.randn(1, 4, 5)
    core, both = LatentWasserstein(blur=0.1), LatentWasserstein(blur=0.1, preserve=3.0)
    assert not core.judged
    assert both.judged
    x = torch.from_numpy(found.source)
    step = ((x - frame.middle) / frame.scale)[:, 0] @ move[0, :, :4].T / 2 + move[0, :, 4]
    moved = x + step[:, None] * frame.scale
    kept = found.witnessed.kept
    f = lambda codes: kept.sqrt() * 2 * codes[:, 0, :3] / SPREAD  # noqa: E731
    size = kept.sum().item()
    loss = SamplesLoss("sinkhorn", p=2, blur=0.1 * (2 * size) ** 0.5, backend="tensorized")
    a = torch.full((len(x),), 1 / len(x))
    expected = core.loss(move, found, frame) + 3 * loss(a, f(moved), a, f(x)) / size
    torch.testing.assert_close(both.loss(move, found, frame), expected, rtol=1e-4, atol=1e-5)
    named = LatentWasserstein(blur=0.1, preserve_of={"smiling": 3.0, "male": 9.0})
    torch.testing.assert_close(named.loss(move, found, frame), expected, rtol=1e-4, atol=1e-5)


def test_the_second_term_keeps_what_goes_along():
    found, moves = task(n=300), {}
    for preserve in (0.0, 10.0):
        editor = LatentWasserstein(preserve=preserve, steps=80, learning_rate=0.05, batch=64)
        editor.fit(found, seed=0)
        moves[preserve] = (editor.edit(found.source, "smiling", 1.0) - found.source)[:, 0].mean(0)
    assert moves[0.0][1] > 0.8  # colour goes along
    assert moves[10.0][1] < moves[0.0][1] / 2
    assert moves[10.0][0] > 1


# ---- layers


@pytest.mark.parametrize("kind", [LatentWasserstein, LatentTransformer])
def test_maps_learn_in_the_layers_that_they_may_move_and_leave_the_others(kind):
    found = task(layers=3, edited=(0, 2))
    editor = kind(steps=60, learning_rate=0.03)
    editor.fit(found, seed=0)
    step = editor.edit(found.source, "smiling", 1.0) - found.source
    assert np.abs(step[:, 1]).max() == 0
    assert step[:, (0, 2), 0].mean() > 0.3


# ---- planes


def test_the_normal_is_that_of_scikit_learns_machine_on_standardised_codes():
    found, editor = task(), InterfaceSVM(c=2.0)
    editor.fit(found, seed=0)
    codes = np.concatenate([found.source, found.target])[:, 0]
    spread = codes.std(0)
    x, sides = (codes - codes.mean(0)) / spread, np.repeat([0, 1], [len(found.source), len(found.target)])
    plain = LinearSVC(C=2.0 / len(x), class_weight="balanced", max_iter=5000, random_state=0).fit(x, sides).coef_[0]
    unit = plain / np.linalg.norm(plain)
    step = (x[sides == 1] @ unit).mean() - (x[sides == 0] @ unit).mean()
    np.testing.assert_allclose(editor.directions["smiling"][0], step * unit * spread, rtol=1e-2, atol=1e-2)


def test_a_conditional_normal_leaves_what_it_is_conditioned_on():
    plain, conditional = InterfaceSVM(), InterfaceSVM(match=["colour"])
    plain.fit(task(), seed=0)
    scores = conditional.fit(task(("colour",)), seed=0)
    assert 0 < scores["left"] < 1
    codes, labels = faces()
    spread = codes[:, 0].std(0)
    colour = plain.normal((codes[:, 0] - codes[:, 0].mean(0)) / spread, labels[:, 1], 0)
    along = [abs(editor.directions["smiling"][0] / spread @ colour) for editor in (plain, conditional)]
    assert along[1] < 0.02 < 0.5 < along[0]
    assert conditional.directions["smiling"][0, 0] > 0.8


# ---- directions without labels


def test_components_are_those_of_a_decomposition():
    codes = faces(300, layers=2)[0]
    editor = PCA(components=3)
    found = editor.discover(codes, None, seed=0)
    flat = codes.reshape(300, -1)
    _, values, vectors = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    for i, (name, about) in enumerate(found.items()):
        assert name == f"component_{i + 1}"
        assert about["variance"] == pytest.approx(values[i] ** 2 / (values**2).sum(), rel=1e-4)
        v = editor.directions[name].reshape(-1)
        assert np.linalg.norm(v) == pytest.approx(values[i] / 299**0.5, rel=1e-4)
        assert abs(v @ vectors[i]) == pytest.approx(np.linalg.norm(v), rel=1e-4)


def test_closed_form_directions_change_the_first_layer_most():
    torch.manual_seed(0)
    generator = DCGAN((3, 16, 16), codes=6, width=0.05)
    with torch.no_grad():
        weight = generator.entrance()[0]
        weight[:, 2] *= 10
    codes = np.random.default_rng(0).standard_normal((50, 1, 6)).astype(np.float32)
    editor = ClosedForm(components=3)
    found = editor.discover(codes, generator, seed=0)
    values = np.linalg.svd(weight.detach().numpy().astype(np.float64))[1] ** 2
    assert [about["share"] for about in found.values()] == pytest.approx(list(values[:3] / values.sum()))
    first = editor.directions["direction_1"][0]
    assert first[2] / np.linalg.norm(first) > 0.95
    assert np.linalg.norm(first) == pytest.approx((codes[:, 0] @ (first / np.linalg.norm(first))).std(), rel=1e-4)


# ---- the stage


def write(folder, layers=2, generator="abc", build="stylegan2"):
    codes, labels = faces(300, layers)
    rows = len(codes)
    about = {"generator": generator, "build": {"name": build}, "inverter": {"name": "encoder"}, "seed": 0}
    artifacts.save(
        folder / "latents.h5",
        artifacts.LATENTS,
        {
            "codes": codes,
            "error": np.zeros(rows, np.float32),
            "attributes": labels,
            "split": (np.arange(rows) % 5 // 4 * 2).astype(np.uint8),
        },
        params={},
        inputs={},
        meta=about | {"space": "w+", "self_test": {}, "attribute_names": NAMES},
    )
    judge = true_judge(layers)
    state = LatentJudge(3, 4 * layers, 2).state_dict()
    artifacts.save(
        folder / "judges.h5",
        artifacts.JUDGES,
        {f"weights/codes/{k}": v.numpy() for k, v in state.items()} | image_weights(),
        params={},
        inputs={},
        meta={
            "build": {"network": {"name": "residual", "width": 0.1}, "side": 16, "codes": 4 * layers, "hidden": 2},
            "attributes": NAMES,
            "held_out": {},
            "generator": "abc",
        },
    )
    return judge


def image_weights():
    from fgcli.classifiers.residual import Residual

    return {f"weights/images/{k}": v.numpy() for k, v in Residual(3, 16, 0.1).state_dict().items()}


ALL = {
    "plain": {"name": "interface_svm"},
    "moved": {"name": "latent_transformer", "steps": 5},
    "carried": {"name": "latent_wasserstein", "steps": 5, "preserve": 1.0, "match": []},
    "parts": {"name": "pca", "components": 2},
}


def run(folder, methods=ALL, layers=None, judges=True, generator=None):
    params = stage.Params(attributes=["smiling"], methods=methods, layers=layers, seed=0)
    file = folder / "judges.h5" if judges else None
    return stage.run(folder / "latents.h5", file, generator, folder / "editor.h5", params=params)


def test_every_editor_is_fitted_kept_and_edits_its_layers_alone(tmp_path):
    write(tmp_path)
    run(tmp_path, layers=[1])
    known = editors.load(tmp_path / "editor.h5")
    codes = Codes(torch.from_numpy(faces(5, 2, seed=9)[0]), "w+")
    for label, attribute in (
        ("plain", "smiling"),
        ("moved", "smiling"),
        ("carried", "smiling"),
        ("parts", "component_1"),
    ):
        moved = known.edit(label, codes, attribute, 1.0).values - codes.values
        assert moved[:, 0].abs().max() == 0
        assert moved[:, 1].abs().max() > 0
    told = artifacts.load(tmp_path / "editor.h5", artifacts.EDITOR, ()).meta
    inner, (values, labels) = told["methods"]["plain"]["scores"]["smiling"]["change"], faces(300, 2)
    train = np.arange(300) % 5 != 4
    without = values[~train][labels[~train, 0] == 0]
    after = known.edit("plain", Codes(torch.from_numpy(without), "w+"), "smiling", 1.0).numpy()
    probes = stage.Probes(values[train], labels[train], NAMES, 0)
    assert inner == pytest.approx(probes.change(without, after))  # of the edit as it is made, in its layers
    assert set(told["methods"]["parts"]["scores"]) == {"component_1", "component_2"}
    assert set(told["methods"]["parts"]["scores"]["component_1"]["change"]) == set(NAMES)
    assert told["layers"] == [1]
    one = Codes(codes.values[:, :1], "w+")
    with pytest.raises(FgError, match=r"expected edits of codes of \(1, 4\), found those of \(2, 4\); fit"):
        known.edit("plain", one, "smiling", 1.0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layers": [2]}, FgError, r"latents.h5: expected codes of 3 layers or more to edit, found 2; lower"),
        ({"judges": False}, FgError, r"methods.moved: expected judges of codes, found no judges.h5; run fg judges, or"),
        (
            {"methods": {"own": {"name": "closed_form"}}},
            FgError,
            r"methods.own: expected generator.h5, found none; give",
        ),
    ],
)
def test_what_an_editor_needs_is_asked_for_before_anything_is_fitted(tmp_path, change, error, message):
    write(tmp_path)
    with pytest.raises(error, match=message):
        run(tmp_path, **change)
    assert not (tmp_path / "editor.h5").exists()


def test_judges_of_another_generator_are_refused(tmp_path):
    write(tmp_path, generator="other")
    with pytest.raises(FgError, match=r"judges.h5: expected judges of the codes in .*, found those of another"):
        run(tmp_path)


def test_a_generator_whose_entrance_nobody_knows_is_refused(tmp_path):
    write(tmp_path, build="conv_autoencoder")
    with pytest.raises(UsageError, match=r"closed_form"):
        run(tmp_path, methods={"own": {"name": "closed_form"}})
