"""Every term of the masked ELBO against another implementation, value and gradient."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from skimage.metrics import structural_similarity
from torch.distributions import Normal, kl_divergence

from fgcli import config
from fgcli.errors import UsageError
from fgcli.generators import GENERATORS
from fgcli.generators.masked_vae import MaskedVAE, UnmaskedVAE
from fgcli.objectives import OBJECTIVES
from fgcli.objectives import masked_elbo as terms
from fgcli.objectives.masked_elbo import MaskedELBO

SIZE = 16
ROOT = Path(__file__).parents[1]


def network(seed=0, mask=True):
    torch.manual_seed(seed)
    return (MaskedVAE if mask else UnmaskedVAE)((3, SIZE, SIZE), codes=4, width=0.1)


def batch(n=4, seed=0):
    images = torch.rand(n, 3, SIZE, SIZE, generator=rng(seed)) * 2 - 1
    masks = torch.zeros(n, 1, SIZE, SIZE)
    masks[:, :, 3:13, 4:12] = 1
    return {"images": images, "masks": masks, "rows": torch.arange(n)}


def objective(generator=None, **arguments):
    return MaskedELBO(generator or network(), **arguments)


def rng(seed=7):
    return torch.Generator().manual_seed(seed)


def detached(found):
    return {name: value.item() for name, value in found.items()}


ALL = {"ssim": 1.0, "l1": 4.0, "l2": 100.0, "bce": 1.0, "dice": 1.0, "kl": 1e-3}


# ---- terms


def ssim_by_patches(x, y, window=9, sigma=1.5):
    """Mean SSIM of images in [0, 1] by its definition, patch by patch, with two-dimensional weights."""
    at = torch.arange(window, dtype=x.dtype) - (window - 1) / 2
    weight = torch.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * sigma**2)).flatten()
    weight = (weight / weight.sum())[:, None]
    a, b = (F.unfold(v.flatten(0, 1)[:, None], window) for v in (x, y))
    ma, mb = (a * weight).sum(1), (b * weight).sum(1)
    va, vb = ((a - ma[:, None]) ** 2 * weight).sum(1), ((b - mb[:, None]) ** 2 * weight).sum(1)
    cov = ((a - ma[:, None]) * (b - mb[:, None]) * weight).sum(1)
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean()


def test_ssim_by_patches_is_that_of_scikit_image():
    """The reference itself; scikit-image's Gaussian of sigma 1.5 has a window of 11."""
    x, y = (batch(1, s)["images"].double() / 2 + 0.5 for s in (0, 1))
    y = 0.6 * x + 0.4 * y
    _, values = structural_similarity(
        x[0].numpy(), y[0].numpy(), data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        channel_axis=0, full=True,
    )  # fmt: skip
    assert float(ssim_by_patches(x, y, window=11)) == pytest.approx(values[:, 5:-5, 5:-5].mean(), rel=1e-10)


NAIVE = {
    "ssim": lambda x, y: 1 - ssim_by_patches(x, y),
    "l1": lambda x, y: sum(F.l1_loss(a, b) for a, b in zip(x, y, strict=True)) / len(x),
    "l2": lambda x, y: sum(F.mse_loss(a, b) for a, b in zip(x, y, strict=True)) / len(x),
}


@pytest.mark.parametrize("name", NAIVE)
def test_image_terms(name):
    x, y = (batch(2, s)["images"].double() / 2 + 0.5 for s in (0, 1))
    y = 0.5 * x + 0.5 * y
    a, b = y.clone().requires_grad_(), y.clone().requires_grad_()
    value = objective(**ALL).image_terms(x, a)[name]
    expected = NAIVE[name](x, b)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, t)[0] for v, t in ((value, a), (expected, b))))


def dice_by_hand(p, m):
    """FACTS 2: sums over the whole batch, squares in the denominator, smooth 1."""
    p, m = p.flatten().unbind(), m.flatten().unbind()
    overlap = sum(a * b for a, b in zip(p, m, strict=True))
    return 1 - (2 * overlap + 1) / (sum(a * a for a in p) + sum(b * b for b in m) + 1)


@pytest.mark.parametrize("name", ["bce", "dice"])
def test_mask_terms(name):
    logits = torch.randn(2, 1, 6, 6, dtype=torch.float64, generator=rng())
    m = (torch.rand(2, 1, 6, 6, generator=rng()) > 0.5).double()
    a, b = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    value = objective(**ALL).mask_terms(a, m)[name]
    p = 1 / (1 + torch.exp(-b))
    expected = -(m * p.log() + (1 - m) * (1 - p).log()).mean() if name == "bce" else dice_by_hand(p, m)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, t)[0] for v, t in ((value, a), (expected, b))))


def test_dice_of_perfect_and_of_empty_masks():
    m = batch()["masks"]
    assert float(terms.dice_loss(m, m)) == pytest.approx(0)
    assert float(terms.dice_loss(0 * m, 0 * m)) == 0
    assert float(terms.dice_loss(1 - m, m)) > 0.99


def test_kl_is_that_of_torch():
    mu, s = torch.randn(2, 5, 7, dtype=torch.float64, generator=rng()).unbind()
    a, b = mu.clone().requires_grad_(), s.clone().requires_grad_()
    c, d = mu.clone().requires_grad_(), s.clone().requires_grad_()
    value = terms.kl_divergence(a, b).mean()
    expected = kl_divergence(Normal(c, d.exp()), Normal(torch.zeros_like(c), torch.ones_like(c))).mean()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, (a, b)), torch.autograd.grad(expected, (c, d)))
    assert not terms.kl_divergence(torch.zeros(2, 3), torch.zeros(2, 3)).any()


# ---- the whole


def by_hand(generator, data, noise, weights, mask):
    """The weighted sum, written out again."""
    x, m = data["images"], data["masks"]
    hidden = generator.encoder(x)
    mu, s = generator.mean(hidden), generator.log_std(hidden)
    z = mu + noise * torch.exp(s)
    y = torch.sigmoid(generator.image_decoder(z[:, :, None, None]))
    x = (x + 1) / 2
    y = torch.where(m.bool(), y, x) if mask else y
    total = sum(weights[k] * NAIVE[k](x, y) for k in NAIVE if weights[k])
    if mask:
        logits = generator.mask_decoder(z[:, :, None, None])
        total = total + weights["bce"] * F.binary_cross_entropy(logits.sigmoid(), m)
        p = logits.sigmoid()
        total = total + weights["dice"] * (1 - (2 * (p * m).sum() + 1) / ((p * p).sum() + (m * m).sum() + 1))
    return total + weights["kl"] * (0.5 * (mu**2 + torch.exp(2 * s) - 1 - 2 * s)).mean()


@pytest.mark.parametrize("mask", [True, False])
def test_the_weighted_sum_and_its_gradient(mask):
    generator = network(mask=mask).eval()  # batch norm by its running statistics: both sides compute the same
    loss = objective(generator, **ALL)
    loss.training = True  # it samples
    data = batch()
    noise = torch.randn(4, 4, generator=rng())
    (phase,) = loss.phases
    total = phase.total(phase.loss(data, rng()))
    expected = by_hand(generator, data, noise, ALL, mask)
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-6)
    parts = [torch.autograd.grad(v, loss.moved(phase)) for v in (total, expected)]
    for a, b in zip(*parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()) + 1e-7)


@pytest.mark.parametrize(("mask", "zero"), [(True, True), (False, False)])
def test_only_the_face_teaches(mask, zero):
    """With masks the decoded background gets no gradient; without, every pixel does."""
    generator, data = network(mask=mask), batch()
    loss = objective(generator, ssim=1.0, l1=4.0, l2=100.0)
    seen = []
    decode = generator.decode
    generator.decode = lambda codes: seen.append(decode(codes)) or seen[-1]
    loss.train()
    image_terms = {k: v for k, v in loss.loss(data, rng()).items() if k in NAIVE}
    (gradient,) = torch.autograd.grad(sum(image_terms.values()), seen)
    outside = gradient[(data["masks"] == 0).expand_as(gradient)]
    assert (outside == 0).all() == zero
    assert (gradient[(data["masks"] == 1).expand_as(gradient)] != 0).all()


def test_the_background_of_the_prediction_changes_nothing():
    generator, data = network().eval(), batch()
    loss = objective(generator, **ALL).eval()
    before = detached(loss.loss(data, rng()))
    decode = generator.decode
    generator.decode = lambda codes: torch.where(data["masks"].bool(), decode(codes), 0.123)
    assert detached(loss.loss(data, rng())) == before


# ---- the paper's hypotheses (Toledo and Antonelo, Table 1; weights of the release)

LINES = yaml.safe_load((ROOT / "pipelines/masked_vae/variants.yaml").read_text())
TERMS = {
    "H1": {"ssim": 1, "l1": 4}, "H2": {"ssim": 1, "l1": 4}, "H3": {"l1": 4}, "H4": {"l1": 4}, "H5": {"ssim": 1},
    "H6": {"ssim": 1}, "H7": {"l2": 100}, "H8": {"l2": 100}, "H9": {"ssim": 1, "l2": 100},
    "H10": {"ssim": 1, "l2": 100},
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_hypotheses_are_one_line_each(name):
    params = config.overlay(config.defaults(), LINES[name])["train"]
    generator = config.build(
        GENERATORS, params["generator"] | {"codes": 4, "width": 0.1}, "train.generator", image_shape=(3, 16, 16)
    )
    built = config.build(OBJECTIVES, params["objective"], "train.objective", generator=generator).train()
    masked = int(name[1:]) % 2 == 1
    expected = TERMS[name] | {"kl": 1e-3} | ({"bce": 1, "dice": 1} if masked else {})
    (phase,) = built.phases
    assert phase.weights == expected
    found = phase.loss(batch(), rng())
    assert set(found) == set(expected)
    assert all(torch.isfinite(v) and v.ndim == 0 for v in found.values())
    trained = {id(p) for p in built.moved(phase)}
    assert trained == {id(p) for p in generator.parameters()}
    gradients = torch.autograd.grad(phase.total(found), built.moved(phase))
    assert len(gradients) == len(trained)


def test_a_mask_decoder_that_would_not_learn_is_refused():
    with pytest.raises(ValueError, match="expects bce or dice above 0"):
        objective(network(), bce=0.0, dice=0.0)


# ---- sampling


@pytest.mark.parametrize("legacy", [False, True])
def test_sampling(legacy):
    loss = objective(legacy_sampling=legacy)
    mu, s = torch.randn(2, 200, 4, generator=rng(1)).unbind()
    z = loss.sample(mu, s, rng(5))
    noise = torch.randn(200, 4, generator=rng(5))
    torch.testing.assert_close(z, mu + noise * (s if legacy else torch.from_numpy(np.exp(s.numpy()))))


def test_evaluation_does_not_sample():
    loss = objective().eval()
    one, two = (detached(loss.loss(batch(), rng(seed))) for seed in (1, 2))
    assert one == two
    loss.train()
    one, two = (detached(loss.loss(batch(), rng(seed))) for seed in (1, 2))
    assert one["l2"] != two["l2"]


# ---- refused


@pytest.mark.parametrize("name", ALL)
def test_negative_weights_are_refused(name):
    spec = {"name": "masked_elbo", **ALL, name: -0.5}
    with pytest.raises(UsageError, match=rf"train.objective.{name}: input should be greater than or equal to 0"):
        config.build(OBJECTIVES, spec, "train.objective", generator=network())


def test_nothing_to_learn_and_unknown_weights_are_refused():
    with pytest.raises(ValueError, match="at least one of ssim, l1, l2"):
        objective(ssim=0.0, l1=0.0, l2=0.0)
    with pytest.raises(UsageError, match=r"train.objective.sssim: unknown key.*did you mean 'ssim'"):
        config.build(OBJECTIVES, {"name": "masked_elbo", "sssim": 1}, "train.objective", generator=network())
