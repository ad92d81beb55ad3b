"""The GMM-VAE: loss against closed forms and torch.distributions, its classes, `fg classify` and `fg attack`."""

import json
import re
from functools import partial

import numpy as np
import pytest
import torch
from conftest import train_params

from fgcli import artifacts, config
from fgcli.errors import FgError, UsageError
from fgcli.generators import store
from fgcli.generators.gmm_vae import GMMVAE
from fgcli.objectives.gmm_vae import GMMELBO, chosen_labels, entropy_excess, soft_minimum
from fgcli.pixels import squared_error, tensor
from fgcli.stages import attack, classify, train
from fgcli.training.columns import tables

IMAGE, CLASSES, VARIANCE = (3, 16, 16), 3, 0.04


def network(**changes):
    torch.manual_seed(0)
    return GMMVAE(IMAGE, **{"classes": CLASSES, "codes": 5, "width": 0.1, "variance": VARIANCE} | changes)


def batch(n=6):
    images = 2 * torch.rand(n, *IMAGE, generator=torch.Generator().manual_seed(4)) - 1
    return {"images": images, "labels": LABELS[:n], "rows": torch.arange(n) + 10}


LABELS = torch.tensor([0, 1, 2, 2, 1, 0])


def rng():
    return torch.Generator().manual_seed(7)


# ---- the network


def test_means_are_one_hot_and_padded_and_the_prior_is_their_mixture():
    model = network()
    assert model.means.tolist() == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]]
    drawn = model.prior(6000, rng())[:, 0]
    label, _ = model.classify(drawn[:, None])
    shares = torch.bincount(label) / len(drawn)
    torch.testing.assert_close(shares, torch.full((3,), 1 / 3), atol=0.03, rtol=0)
    for c in range(CLASSES):
        own = drawn[label == c]
        torch.testing.assert_close(own.mean(0), model.means[c], atol=0.02, rtol=0)
        torch.testing.assert_close(own.var(0), torch.full((5,), VARIANCE), atol=0.004, rtol=0)


def test_the_class_is_that_of_the_likeliest_component_and_its_distance_mahalanobis():
    model = network()
    z = 2 * torch.randn(50, 1, 5, generator=rng())
    label, distance = model.classify(z)
    covariance = VARIANCE * torch.eye(5)
    likelihood = [torch.distributions.MultivariateNormal(m, covariance).log_prob(z[:, 0]) for m in model.means]
    assert torch.equal(label, torch.stack(likelihood).argmax(0))
    away = (z[:, 0] - model.means[label]).numpy()
    wanted = np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance.numpy()), away)
    np.testing.assert_allclose(distance, wanted, rtol=1e-4)


def test_only_the_encoder_of_variable_entropy_has_another_head():
    constant, variable = network(), network(variable_entropy=True)
    x = batch()["images"]
    mean, log_std = constant.posterior(x)
    torch.testing.assert_close(log_std, torch.full_like(mean, 0.5 * np.log(VARIANCE)))
    torch.testing.assert_close(variable.posterior(x)[1], log_std)  # it starts where the other stays
    extra = set(dict(variable.named_parameters())) - set(dict(constant.named_parameters()))
    assert extra == {"log_std.weight", "log_std.bias"}


def test_senseless_networks_are_refused():
    with pytest.raises(ValueError, match=r"gmm_vae expects classes <= codes, found 3 classes and 2 codes"):
        network(codes=2)
    with pytest.raises(ValueError, match="power of two from 16 px, found 20x20"):
        GMMVAE((3, 20, 20))


# ---- the loss


def test_the_loss_is_equation_4_6_with_noise_in_the_decoder_only():
    model = network()
    objective = GMMELBO(model, alpha=7.0)
    terms = objective.train().loss(batch(), rng())
    f = model.encode(batch()["images"])[:, 0].detach().numpy()
    noise = VARIANCE**0.5 * torch.randn(6, 5, generator=rng())
    y = model.decode(torch.from_numpy(f)[:, None] + noise[:, None]).detach().numpy()
    x = batch()["images"].numpy()
    per_image = (((x + 1) / 2 - (y + 1) / 2) ** 2).sum((1, 2, 3)) / 3
    assert terms["reconstruction"].item() == pytest.approx(per_image.mean(), rel=1e-5)
    away = ((f - np.eye(3, 5)[LABELS.numpy()]) ** 2).sum(1)
    assert terms["latent"].item() == pytest.approx(away.mean(), rel=1e-5)
    assert set(terms) == {"reconstruction", "latent"}
    total = objective.phases[0].total(terms).item()
    assert total == pytest.approx(per_image.mean() + 7 * away.mean(), rel=1e-5)
    still = objective.eval().loss(batch(), rng())
    clean = squared_error((batch()["images"] + 1) / 2, (model.decode(model.encode(batch()["images"])) + 1) / 2)
    assert still["reconstruction"].item() == pytest.approx(clean.mean().item(), rel=1e-5)


def test_grey_pictures_weigh_the_same_in_one_channel_as_in_three():
    x, y = torch.rand(2, 4, 1, 8, 8, generator=rng())
    torch.testing.assert_close(squared_error(x.repeat(1, 3, 1, 1), y.repeat(1, 3, 1, 1)), squared_error(x, y))
    torch.testing.assert_close(squared_error(x, y), (x - y).square().sum((1, 2, 3)))


def test_gradients_of_the_latent_term_by_hand():
    """d|f - mu|^2/df = 2 (f - mu); without a label the same towards every mean, weighed by the posterior."""
    objective = GMMELBO(network())
    f = torch.randn(3, 5, generator=rng()).mul(0.3).requires_grad_()
    distances = (f[:, None] - objective.network.means).square().sum(2)
    value = objective.latent(distances, torch.tensor([1, -1, -1]), VARIANCE)
    (gradient,) = torch.autograd.grad(value.sum(), f)
    away = f.detach().numpy()[:, None] - np.eye(3, 5)
    p = np.exp(-(away**2).sum(2) / (2 * VARIANCE))
    p /= p.sum(1, keepdims=True)
    p[0] = [0, 1, 0]
    np.testing.assert_allclose(gradient, (2 * p[:, :, None] * away).sum(1), rtol=1e-4, atol=1e-6)


def test_without_labels_it_is_the_mixtures_negative_log_density():
    z = torch.randn(20, 5, generator=rng(), dtype=torch.float64)
    means = torch.eye(3, 5, dtype=torch.float64)
    parts = torch.distributions.MultivariateNormal(means, VARIANCE * torch.eye(5, dtype=torch.float64))
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.ones(3)), parts)
    found = soft_minimum((z[:, None] - means).square().sum(2), VARIANCE) / (2 * VARIANCE)
    constant = np.log(3) + 2.5 * np.log(2 * np.pi * VARIANCE)
    torch.testing.assert_close(found + constant, -mixture.log_prob(z))
    objective, unlabelled = GMMELBO(network()), batch() | {"labels": torch.full((6,), -1)}
    away = (objective.network.encode(batch()["images"]) - objective.network.means).square().sum(2)
    wanted = soft_minimum(away, VARIANCE).mean()
    torch.testing.assert_close(objective.loss(unlabelled, rng())["latent"], wanted)


def test_with_variable_entropy_latent_and_entropy_are_the_divergence():
    normal = torch.distributions.Normal
    mean, log_std = torch.randn(2, 6, 5, generator=rng(), dtype=torch.float64)
    log_std.requires_grad_()
    mu = torch.eye(3, 5, dtype=torch.float64)[LABELS]
    kl = torch.distributions.kl_divergence(normal(mean, log_std.exp()), normal(mu, VARIANCE**0.5)).sum(1)
    ours = ((mean - mu).square().sum(1) + entropy_excess(log_std, VARIANCE)) / (2 * VARIANCE)
    torch.testing.assert_close(ours, kl)
    for a, b in zip(torch.autograd.grad(ours.sum(), log_std), torch.autograd.grad(kl.sum(), log_std), strict=True):
        torch.testing.assert_close(a, b)
    objective = GMMELBO(network(variable_entropy=True), alpha=7.0)
    terms = objective.loss(batch(), rng())
    assert objective.weights == {"reconstruction": 1.0, "latent": 7.0, "entropy": 7.0}
    assert terms["entropy"].item() == pytest.approx(0, abs=1e-6), "it starts at the constant's variance"


def test_a_few_labels_are_chosen_of_the_training_rows_by_seed(striped):
    identity, rows = np.arange(60) % 3, np.arange(30)
    choose = partial(chosen_labels, identity, rows, 3)
    found = choose(4, seed=0)
    assert np.bincount(found[found >= 0]).tolist() == [4, 4, 4]
    assert (found[30:] == -1).all()
    assert (found[found >= 0] == identity[found >= 0]).all()
    assert np.array_equal(found, choose(4, seed=0))
    assert not np.array_equal(found, choose(4, seed=1))
    assert np.array_equal(choose(0, seed=0), identity), "0: all"
    with pytest.raises(
        UsageError, match="labels_per_class: expected 11 training rows of class 0, found 10; ask for fewer"
    ):
        choose(11, seed=0)
    odd = chosen_labels(np.array([0, 5, -1, 3, 2]), rows, 3, 0, seed=0)
    assert odd.tolist() == [0, -1, -1, -1, 2], "what is no class has no label"
    opened = tables(GMMELBO(network(), labels_per_class=4).needs, {"faces": striped}, rows, "test")
    stored = artifacts.load(striped)["identity"]
    assert np.array_equal(opened["labels"].values, chosen_labels(stored, rows, 3, 4, seed=0))


def test_rows_without_a_label_wait_until_the_classes_are_known():
    objective, few = GMMELBO(network(), unlabelled_after=2), batch() | {"labels": torch.tensor([-1, -1, -1, 2, -1, -1])}
    (phase,) = objective.phases
    distances = (objective.network.encode(batch()["images"]) - objective.network.means).square().sum(2)
    own, free = distances[3, 2], soft_minimum(distances, VARIANCE)
    for _ in range(2):
        torch.testing.assert_close(phase.loss(few, rng())["latent"], own / 6)
        phase.after({})
    everyone = (own + free.sum() - free[3]) / 6
    torch.testing.assert_close(phase.loss(few, rng())["latent"], everyone)
    again = GMMELBO(network(), unlabelled_after=2)
    torch.testing.assert_close(again.eval().loss(few, rng())["latent"], everyone)  # validation sees no phases
    again.load_state_dict(objective.state_dict())
    torch.testing.assert_close(again.train().loss(few, rng())["latent"], everyone)  # a resumed run goes on


def test_other_generators_are_refused():
    with pytest.raises(
        UsageError, match="expected a generator that classifies, found Linear; choose one such as gmm_vae"
    ):
        GMMELBO(torch.nn.Linear(1, 1))


# ---- the stages


@pytest.fixture(scope="module")
def striped(tmp_path_factory):
    """faces.h5 of 120 grey pictures of 16 px: stripes of three directions, a class each."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    waves = [np.sin(0.8 * a + rng.uniform(0, 0.5, (40, 1, 1))) for a in (x, y, x + y)]
    images = np.stack(waves, 1).reshape(120, 16, 16) * rng.uniform(80, 120, (120, 1, 1)) + 128
    path = tmp_path_factory.mktemp("striped") / "faces.h5"
    arrays = {
        "images": np.repeat(images.astype(np.uint8)[..., None], 3, 3),
        "attributes": np.zeros((120, 0), np.int8),
        "identity": (np.arange(120) % 3).astype(np.int32),
        "split": np.repeat([0, 1, 2], [60, 30, 30]).astype(np.uint8),
        "source": [f"striped/{i}" for i in range(120)],
        "rejected/source": np.zeros(0, "S1"),
        "rejected/reason": np.zeros(0, "S1"),
    }
    meta = {
        "content": "pictures",
        "attribute_names": [],
        "datasets": [],
        "analyser": None,
        "segmenter": None,
        "identity_names": ["upright", "level", "slanted"],
    }
    artifacts.save(path, artifacts.FACES, arrays, params={}, inputs={}, meta=meta)
    return path


@pytest.fixture(scope="module")
def trained(striped, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    spec = {"name": "gmm_vae", "classes": 3, "codes": 4, "width": 0.15, "variance": 0.01}
    still = {"flip": 0.0, "shift": 0.0, "zoom": 0.0, "rotate": 0.0, "light": 0.0, "tint": 0.0, "mix": 0.0}
    params = train_params(
        generator=spec,
        objective={"name": "gmm_vae", "alpha": 20.0},
        steps=250,
        batch=20,
        clip=0.0,
        learning_rate=5e-3,
        validate_steps=250,
        checkpoint_steps=250,
        augment=still,
    )
    train.run(striped, folder / "generator.h5", folder / "run", params=params)
    return folder / "generator.h5"


def params(stage, name, **changes):
    small = {"reclassify": {"steps": 20, "learning_rate": 0.02}}
    if name == "attack":
        small = {
            "epsilons": [0.0, 0.1, 0.5],
            "methods": {
                "pgd": {"name": "pgd", "steps": 3},
                "white_box": {"name": "white_box", "steps": 5},
                "fooling": {"name": "fooling", "steps": 5},
            },
            "targeted_images": 2,
            "noise_images": 7,
            "reclassify": {"images": 5, "steps": 20, "learning_rate": 0.02},
        }
    values = config.overlay(config.defaults()[name], small)
    return config.section({name: config.overlay(values, changes)}, name, stage.Params)


def outputs(folder, **names):
    return {key: folder / name for key, name in names.items()}


CLASSIFIED = {"output": "classes.h5", "numbers": "classes.json", "curve": "curve.png", "sheet": "sheet.png"}
ATTACKED = {"output": "attacks.h5", "numbers": "attacks.json", "curve": "curve.png", "sheet": "sheet.png"}


def test_classify(striped, trained, tmp_path):
    paths = outputs(tmp_path, **CLASSIFIED)
    told = classify.run(striped, trained, **paths, params=params(classify, "classify"))
    assert told["accuracy_without_threshold"] == 1
    found, numbers = artifacts.load(paths["output"], artifacts.CLASSES), json.loads(paths["numbers"].read_text())
    assert found.meta["class_names"] == ["upright", "level", "slanted"]
    test = found["split"] == 2
    accepted, right = found["accepted"][test] == 1, found["predicted"][test] == found["label"][test]
    assert numbers["accuracy"] == pytest.approx((accepted & right).mean())
    assert numbers["error"] == pytest.approx((accepted & ~right).mean())
    assert numbers["rejected"] == pytest.approx((~accepted).mean())
    assert ((found["reclassified"] >= 0) == (test & (found["accepted"] == 0))).all()
    model = store.load(trained)
    images = tensor(artifacts.rows(striped, "images"))
    label, distance = model.classify(model.encode(images))
    np.testing.assert_array_equal(found["predicted"], label)
    np.testing.assert_allclose(found["distance"], distance, rtol=1e-3, atol=1e-3)
    kept = (found["distance"] <= numbers["thresholds"]["code"]) & (
        found["error"] <= np.array(numbers["thresholds"]["picture"], np.float32)[found["predicted"]]
    )
    np.testing.assert_array_equal(found["accepted"] == 1, kept)
    assert numbers["risk_coverage"]["coverage"][-1] == 1
    few, many = min(numbers["thresholds"]["picture_from"]), max(numbers["thresholds"]["picture_from"])
    assert 5 <= few <= many <= 10  # of 10 val pictures a class
    assert told["threshold of pictures"] == numbers["thresholds"]["picture_rule"]
    assert told["threshold of pictures"] == (
        f"the largest of {few} to {many} val pictures of a class: {few} keep {few / (few + 1):.1%} of new ones on "
        "average, and 99.73% needs 371"
    )
    modest = classify.run(striped, trained, **paths, params=params(classify, "classify", confidence=0.5))
    assert re.fullmatch(r"kept by 50.00% of the val pictures .*, \d+ at least", modest["threshold of pictures"])
    classify.run(striped, trained, **paths, params=params(classify, "classify"))
    before = {path: path.read_bytes() for path in paths.values()}
    classify.run(striped, trained, **paths, params=params(classify, "classify"))
    assert all(path.read_bytes() == content for path, content in before.items()), "equal inputs, equal bytes"
    assert classify.plan(striped, trained, params=params(classify, "classify"))["test rows with a class"] == 30


def test_attack(striped, trained, tmp_path):
    paths = outputs(tmp_path, **ATTACKED)
    told = attack.run(striped, trained, **paths, params=params(attack, "attack"))
    found, numbers = artifacts.load(paths["output"], artifacts.ATTACKS), json.loads(paths["numbers"].read_text())
    counts = {name: int((found["attack"] == name).sum()) for name in dict.fromkeys(found["attack"].tolist())}
    assert counts == {"fgsm": 90, "pgd": 30, "white_box": 3 * 2 * 2, "fooling": 7}
    assert attack.plan(striped, trained, params=params(attack, "attack"))["pictures"]["white_box"] == 12
    assert list(numbers["fgsm"]) == ["0", "0.1", "0.5"]
    for name, epsilon in (("0", 0.0), ("0.5", 0.5)):
        part = (found["attack"] == "fgsm") & (found["epsilon"] == np.float32(epsilon))
        wrong = (found["predicted"] != found["label"])[part] & (found["accepted"][part] == 1)
        assert numbers["fgsm"][name]["error"] == pytest.approx(wrong.mean())
        assert ((found["reclassified"][part] >= 0) <= (found["accepted"][part] == 0)).all()
    assert told["fgsm_largest_error"] == max(shares["error"] for shares in numbers["fgsm"].values())
    clean = classify.run(striped, trained, **outputs(tmp_path, **CLASSIFIED), params=params(classify, "classify"))
    assert numbers["fgsm"]["0"]["accuracy"] == pytest.approx(clean["accuracy"]), "no change is no attack"
    assert numbers["fgsm"]["0.5"]["accuracy_without_threshold"] < 1
    white = found["attack"] == "white_box"
    assert (found["label"][white] != found["target"][white]).all()
    deceived = (found["predicted"] != found["label"])[white] & (found["accepted"][white] == 1)
    assert numbers["white_box"]["rejected_or_correct"] == pytest.approx(1 - deceived.mean())
    noise = found["attack"] == "fooling"
    assert set(found["row"][noise]) == set(found["label"][noise]) == {-1}
    assert found["target"][noise].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert numbers["fooling"]["rejected_or_correct"] == pytest.approx((found["accepted"][noise] == 0).mean())
    assert np.isnan(found["epsilon"][white | noise]).all()


@pytest.mark.parametrize(("stage", "name"), [(classify, "classify"), (attack, "attack")])
def test_what_cannot_be_judged_is_said_in_one_sentence(stage, name, striped, trained, faces, tmp_path):
    solved = tmp_path / "pca.h5"
    train.run(striped, solved, tmp_path / "run", params=train_params(generator={"name": "pca", "codes": 4}))
    paths = outputs(tmp_path, **(CLASSIFIED if name == "classify" else ATTACKED))
    with pytest.raises(
        FgError, match=r"pca.h5: expected a generator that classifies, found PCA; choose one such as gmm_vae"
    ):
        stage.run(striped, solved, **paths, params=params(stage, name))
    whole = artifacts.load(striped)
    for split, message in ((0, "expected rows of the val split for the thresholds"), (1, "expected rows of the test")):
        path = tmp_path / f"split{split}.h5"
        arrays = whole.arrays | {"split": np.full(120, split, np.uint8)}
        artifacts.save(path, artifacts.FACES, arrays, params={}, inputs={}, meta=whole.meta)
        with pytest.raises(FgError, match=message):
            stage.run(path, trained, **paths, params=params(stage, name))
    assert not any(path.exists() for path in paths.values())
