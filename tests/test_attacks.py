"""Attacks against closed forms on a model that is linear and known, and the defence against SciPy and by hand."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch._subclasses.fake_tensor import FakeTensorMode

from fgcli import config
from fgcli.attacks import ATTACKS
from fgcli.attacks.fgsm import FGSM
from fgcli.attacks.fooling import Fooling
from fgcli.attacks.mim import MIM
from fgcli.attacks.pgd import PGD
from fgcli.attacks.pixels import class_loss, grey, threshold_loss
from fgcli.attacks.white_box import WhiteBox
from fgcli.capabilities import Classifies
from fgcli.classifiers.selective import SelectiveClassifier, least_keeping, risk_coverage
from fgcli.errors import UsageError
from fgcli.generators.gmm_vae import GMMVAE

SIZE, CLASSES, CODES, VARIANCE = 4, 3, 5, 0.1


class Linear(Classifies):
    """f(x) = A x, g(z) = B z in [-1, 1], in float64: every derivative is known."""

    image_shape, code_shape, variance, variable_entropy = (3, SIZE, SIZE), (1, CODES), VARIANCE, False

    def __init__(self, seed: int = 0, scale: float = 0.05) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        pixels = 3 * SIZE * SIZE
        self.a = scale * torch.randn(CODES, pixels, generator=rng, dtype=torch.float64)
        self.b = scale * torch.randn(pixels, CODES, generator=rng, dtype=torch.float64)
        self.means = torch.eye(CLASSES, CODES, dtype=torch.float64)

    def posterior(self, images):
        mean = images.flatten(1) @ self.a.T
        return mean, torch.zeros_like(mean)

    def decode(self, codes, condition=None):
        return (codes.flatten(1) @ self.b.T).view(-1, 3, SIZE, SIZE)


def images(n=6, seed=1, low=-0.5, high=0.5):
    rng = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(n, 3, SIZE, SIZE, generator=rng, dtype=torch.float64)


def defence(model=None, tau=2.0):
    return SelectiveClassifier(model or Linear(), 8.0, torch.tensor([tau, 1.5 * tau, 2 * tau], dtype=torch.float64))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


CLASS = torch.tensor([0, 1, 2, 0, 1, 2])


def by_hand(model, x, label):
    """Gradient in [0, 1] of the cross-entropy of softmax(-|f - mu_c|^2): dx/dp = 2, df/dx = A."""
    f = model.encode(x)[:, 0].numpy()
    means = model.means.numpy()
    d = ((f[:, None] - means) ** 2).sum(2)
    p = np.exp(-d) / np.exp(-d).sum(1, keepdims=True)
    outer = (p - np.eye(CLASSES)[label.numpy()])[:, :, None] * -2 * (f[:, None] - means)  # dJ/df
    return (2 * outer.sum(1) @ model.a.numpy()).reshape(x.shape)


def test_fgsm_is_one_step_along_the_sign_of_a_gradient_found_by_hand():
    model, x = Linear(), images()
    attacked = FGSM(0.07).craft(defence(model), x, CLASS, rng())
    np.testing.assert_allclose(attacked, x.numpy() + 2 * 0.07 * np.sign(by_hand(model, x, CLASS)), atol=1e-12)
    assert (defence().model.distances(model.encode(attacked)) > 0).all()


def test_the_encoders_loss_rises_and_is_the_cross_entropy_of_a_softmax_of_distances():
    model, x = Linear(), images()
    loss = class_loss(defence(model), CLASS)
    d = VARIANCE * model.distances(model.encode(x)).numpy()
    p = np.exp(-d) / np.exp(-d).sum(1, keepdims=True)
    np.testing.assert_allclose(loss((x + 1) / 2), -np.log(p[range(6), CLASS]), rtol=1e-10)
    for attack in (FGSM(0.05), MIM(0.05, 0.01, 8), PGD(0.05, 0.01, 8)):
        attacked = attack.craft(defence(model), x, CLASS, rng())
        assert (loss((attacked + 1) / 2) > loss((x + 1) / 2)).all()


def test_pgd_of_one_step_from_the_original_is_fgsm():
    x = images()
    one = PGD(0.1, step=0.1, steps=1, random_start=False).craft(defence(), x, CLASS, rng())
    np.testing.assert_allclose(one, FGSM(0.1).craft(defence(), x, CLASS, rng()), atol=1e-12)


def test_mim_of_one_step_is_fgsm_and_its_momentum_is_dong_et_als():
    model, x = Linear(), images()
    one = MIM(0.1, step=0.1, steps=1).craft(defence(model), x, CLASS, rng())
    np.testing.assert_allclose(one, FGSM(0.1).craft(defence(model), x, CLASS, rng()), atol=1e-12)
    point, momentum = x.numpy(), 0.0
    for _ in range(4):
        g = by_hand(model, torch.from_numpy(point), CLASS)
        momentum = 0.5 * momentum + g / np.abs(g).mean((1, 2, 3), keepdims=True)
        point = np.clip(point + 2 * 0.02 * np.sign(momentum), x - 2 * 0.05, x + 2 * 0.05).numpy()
    found = MIM(0.05, step=0.02, steps=4, decay=0.5).craft(defence(model), x, CLASS, rng())
    np.testing.assert_allclose(found, point, atol=1e-12)


@pytest.mark.parametrize("attack", [FGSM(0.3), MIM(), PGD(), PGD(0.3, 0.2, 3, random_start=False)])
def test_no_value_strays_further_than_epsilon_or_out_of_range(attack):
    x = images(low=-1.0, high=1.0)
    attacked = attack.craft(defence(), x, CLASS, rng())
    assert (attacked - x).abs().max() <= 2 * attack.epsilon + 1e-12
    assert attacked.abs().max() <= 1
    assert (attacked - x).abs().max() > attack.epsilon


def test_pgd_starts_anywhere_within_epsilon_by_its_seed():
    x = images()
    start = [PGD(0.2, step=0.0, steps=1).craft(defence(), x, CLASS, rng(seed)) for seed in (3, 3, 4)]
    assert torch.equal(start[0], start[1])
    assert not torch.equal(start[0], start[2])
    shift = ((start[0] - x) / 2).abs().flatten()
    assert 0.08 < shift.mean() < 0.12, "uniform in +-0.2"


@pytest.mark.parametrize("attack", [FGSM(), MIM(), PGD(), WhiteBox(steps=5), Fooling(steps=5)])
def test_grey_pictures_are_attacked_in_grey(attack):
    x = images()
    x[::2] = x[::2, :1]
    attacked = attack.craft(defence(), x, CLASS, rng())
    assert (grey(attacked).flatten() == grey(x).flatten()).all()
    assert not torch.equal(attacked, x)


def test_grey_fgsm_is_the_sign_of_the_gradient_summed_over_channels():
    model, x = Linear(), images()[:, :1].repeat(1, 3, 1, 1)
    attacked = FGSM(0.07).craft(defence(model), x, CLASS, rng())
    sign = np.sign(by_hand(model, x, CLASS).sum(1, keepdims=True))
    np.testing.assert_allclose(attacked, x.numpy() + 2 * 0.07 * sign, atol=1e-12)


# ---- Eq. 4.9 and 4.10


def test_the_threshold_loss_is_equation_4_10_with_the_inverse_covariance():
    model, x = Linear(), images()
    found = threshold_loss(defence(model), CLASS, 1.5, 3.0)((x + 1) / 2)
    for i, t in enumerate(CLASS.tolist()):
        p = (x[i].numpy() + 1) / 2
        f = model.a.numpy() @ x[i].numpy().ravel()
        y = ((model.b.numpy() @ f).reshape(p.shape) + 1) / 2
        error = ((p - y) ** 2).mean(0).sum()
        away = f - model.means[t].numpy()
        mahalanobis = away @ np.linalg.inv(VARIANCE * np.eye(CODES)) @ away
        tau = (2.0, 3.0, 4.0)[t]
        assert found[i].item() == pytest.approx((error / tau) ** 1.5 + (mahalanobis / 8.0) ** 3)


def test_the_white_box_attack_reaches_the_optimum_of_equation_4_9():
    model, x = Linear(), images(2, low=-0.2, high=0.2)
    target = torch.tensor([1, 0])
    attacked = WhiteBox(steps=3000, learning_rate=0.003).craft(defence(model), x, target, rng())

    def loss(p):
        return threshold_loss(defence(model), target, 2.0, 2.0)(p) + (p - (x + 1) / 2).square().mean(1).sum((1, 2))

    best = ((x + 1) / 2).clone().requires_grad_()
    newton = torch.optim.LBFGS([best], max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure():
        newton.zero_grad()
        total = loss(best).sum()
        total.backward()
        return total

    newton.step(closure)
    assert 0 < best.min() < best.max() < 1, "inside the range, so that both solve the same problem"
    assert (loss((attacked + 1) / 2) < 0.9 * loss((x + 1) / 2)).all()
    torch.testing.assert_close(loss((attacked + 1) / 2), loss(best.detach()), rtol=1e-3, atol=0)


def test_fooling_starts_from_noise_and_comes_near_its_target():
    model, x = Linear(), images()
    far = model.distances(model.encode(Fooling(steps=1).craft(defence(model), x, CLASS, rng())))
    near = model.distances(model.encode(Fooling(steps=300).craft(defence(model), x, CLASS, rng())))
    pick = CLASS[:, None]
    assert (near.gather(1, pick) < far.gather(1, pick)).all()
    one, two = (Fooling(steps=3).craft(defence(model), y, CLASS, rng()) for y in (x, images(seed=9)))
    assert torch.equal(one, two), "the images do not matter"
    assert not torch.equal(one, Fooling(steps=3).craft(defence(model), x, CLASS, rng(5)))


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [("fgsm", "epsilon", -1), ("mim", "steps", 0), ("pgd", "step", -0.1), ("white_box", "a", 1), ("fooling", "b", 0.5)],
)
def test_senseless_arguments_are_refused(name, key, value):
    with pytest.raises(UsageError, match=rf"attack.methods.x.{key}: input should be"):
        config.build(ATTACKS, {"name": name, key: value}, "attack.methods.x")


# ---- the defence


def test_decisions_follow_both_thresholds():
    model, x = Linear(scale=0.2), images(40)
    found = defence(model, tau=0.4).decide(x)
    f = model.encode(x)[:, 0].numpy()
    d = ((f[:, None] - model.means.numpy()) ** 2).sum(2) / VARIANCE
    np.testing.assert_array_equal(found.predicted, d.argmin(1))
    np.testing.assert_allclose(found.distance, d.min(1))
    np.testing.assert_array_equal(found.far, d.min(1) > 8)
    p = (x.numpy() + 1) / 2
    y = (model.decode(model.encode(x)).numpy() + 1) / 2
    error = ((p - y) ** 2).mean(1).sum((1, 2))
    np.testing.assert_allclose(found.error, error)
    np.testing.assert_array_equal(found.unlike, error > np.array([0.4, 0.6, 0.8])[d.argmin(1)])
    np.testing.assert_array_equal(found.accepted, ~(found.far | found.unlike))
    assert 0 < found.far.sum() < 40
    assert 0 < found.unlike.sum() < 40
    small = SelectiveClassifier(model, 8.0, defence(model, tau=0.4).reconstruction, batch=7)
    torch.testing.assert_close(small.decide(x).error, found.error)  # in parts it is the same
    score = defence(model, tau=0.4).score(found)
    np.testing.assert_array_equal(score <= 1, found.accepted)


def test_thresholds_are_scipys_quantile_and_the_least_error_that_keeps_its_share_of_each_class():
    model, x = Linear(scale=0.2), images(90, low=-1.0, high=1.0)
    seen = SelectiveClassifier(model, chi2(CODES).ppf(0.9973), torch.ones(CLASSES)).decide(x)
    labels = seen.predicted.clone()
    labels[:10] = (labels[:10] + 1) % CLASSES  # wrong: they must not count, nor those of unlikely codes
    counted = ((labels == seen.predicted) & ~seen.far).numpy()
    assert 20 < counted.sum() < 75
    found = SelectiveClassifier.calibrated(model, x, labels)
    assert found.latent == pytest.approx(chi2(CODES).ppf(0.9973))
    assert math.isclose(chi2.cdf(found.latent, CODES), 0.9973)
    for c in range(CLASSES):
        own = seen.error.numpy()[counted & (labels.numpy() == c)]
        assert found.reconstruction[c].item() == own.max(), "of fewer than 370 the largest"
        assert found.behind[c] == len(own)
    lonely = torch.where(labels == 2, 0, labels)
    everyone = seen.error[(lonely == seen.predicted) & (seen.distance <= chi2(CODES).ppf(0.9))].numpy()
    again = SelectiveClassifier.calibrated(model, x, lonely, 0.9)
    assert again.reconstruction[2].item() == np.quantile(everyone, 0.9, method="inverted_cdf"), "none of its own"
    shared = SelectiveClassifier.calibrated(model, x, labels, code_share=0.4)
    distances = seen.distance.numpy()[(labels == seen.predicted).numpy()]
    assert shared.latent == np.quantile(distances, 0.4, method="inverted_cdf")
    assert sum(shared.behind) == (distances <= shared.latent).sum()
    unknown = SelectiveClassifier.calibrated(model, x, torch.full_like(labels, -1))
    assert torch.isfinite(unknown.reconstruction).all()
    with pytest.raises(ValueError, match="with a likely code, found none"):
        SelectiveClassifier.calibrated(model, x, (seen.predicted + 1) % CLASSES)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.93, 0.9973])
@pytest.mark.parametrize("n", [1, 10, 100, 369, 371, 1000])
def test_no_smaller_value_keeps_the_share_that_is_stated(n, share):
    """Of 1 to n the least v with v / n >= share."""
    values = torch.randperm(n, generator=rng()) + 1.0
    kept = least_keeping(values, share).item()
    assert kept / n >= share - 1e-12
    assert (kept - 1) / n < share - 1e-12


@pytest.mark.parametrize(("codes", "radius"), [(10, 26.90), (32, 58.75), (100, 143.85)])
def test_squared_distances_of_the_thesis_sizes(codes, radius):
    """FACTS of the thesis's three data sets: k = 10, 32, 100."""
    model = Linear()
    model.code_shape = (1, codes)
    model.a = torch.zeros(codes, 3 * SIZE * SIZE, dtype=torch.float64)
    model.b, model.means = model.a.T, torch.eye(CLASSES, codes, dtype=torch.float64)
    found = SelectiveClassifier.calibrated(model, images(), torch.full((6,), -1))
    assert found.latent == pytest.approx(radius, abs=0.01)


def test_reclassification_finds_the_code_behind_a_picture():
    """g is linear, so Eq. 4.8 has one solution, that of least squares."""
    model = Linear(scale=0.3)
    z = model.means + 0.1 * torch.randn(CLASSES, CODES, generator=rng(), dtype=torch.float64)
    x = model.decode(z[:, None])
    found = defence(model).reclassify(x, steps=800, learning_rate=0.02)
    assert found.predicted.tolist() == [0, 1, 2]
    assert found.error.max() < 1e-4
    wanted = (z - model.means).square().sum(1) / VARIANCE
    torch.testing.assert_close(found.distance, wanted, rtol=0.05, atol=0.05)
    assert found.accepted.all()
    noise = images(3, seed=5, low=-1, high=1)
    solved = np.linalg.lstsq(model.b.numpy(), noise.numpy().reshape(3, -1).T, rcond=None)[0].T
    least = ((model.b.numpy() @ solved.T).T - noise.numpy().reshape(3, -1)) / 2
    rejected = defence(model, tau=0.4).reclassify(noise, steps=800, learning_rate=0.02)
    np.testing.assert_allclose(rejected.error, (least**2).sum(1) / 3, rtol=1e-3)
    assert rejected.unlike.all()
    assert not rejected.accepted.any()


def test_risk_and_coverage():
    score = np.array([0.3, 0.1, 0.9, 0.2])
    correct = np.array([True, True, False, False])
    coverage, risk = risk_coverage(score, correct)
    np.testing.assert_allclose(coverage, [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(risk, [0, 1 / 2, 1 / 3, 2 / 4])


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_and_the_defence_stay_on_the_device_of_the_model(name, monkeypatch):
    """Tensors without content, on a GPU that need not be there: an operation over two devices still fails."""
    monkeypatch.setattr(torch.autograd, "grad", lambda _, x: (torch.zeros_like(x),))  # its engine needs a real GPU
    with FakeTensorMode():
        with torch.device("cuda"):
            model = GMMVAE((3, 16, 16), codes=12, width=0.25).eval().requires_grad_(False)
        judge = SelectiveClassifier(model, 50.0, torch.ones(10), batch=4)
        pictures = torch.rand(6, 3, 16, 16)
        attack = config.build(ATTACKS, {"name": name}, "test")
        crafted = attack.craft(judge, pictures.to("cuda"), torch.arange(6).to("cuda"), torch.Generator())
        assert crafted.device.type == "cuda"
        found = judge.decide(crafted)
        assert found.predicted.device == judge.score(found).device == torch.device("cpu")
        assert judge.reclassify(pictures, 2, 0.01).error.device == torch.device("cpu")
