"""The autoencoder family of the thesis, term by term against closed forms and other implementations."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.func import jacrev

from fgcli import config
from fgcli.capabilities import Halves
from fgcli.errors import UsageError
from fgcli.generators import GENERATORS
from fgcli.generators.conv_autoencoder import ConvAutoencoder, ConvVAE
from fgcli.objectives import OBJECTIVES
from fgcli.objectives import jacobian as penalties
from fgcli.objectives.rae import RAE
from fgcli.objectives.vae import VAE
from fgcli.objectives.wae_mmd import SCALES, WAEMMD, mmd_imq

SHAPE = (3, 16, 16)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(n=4):
    return {"images": torch.rand(n, *SHAPE, generator=rng(1)) * 2 - 1, "rows": torch.arange(n)}


def network(kind=ConvAutoencoder, **arguments):
    torch.manual_seed(0)
    return kind(SHAPE, codes=5, width=0.05, **arguments)


class Rows(Halves):
    """A decoder without batch norm, so that every row has a Jacobian of its own; float64."""

    image_shape, code_shape = SHAPE, (1, 5)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(SHAPE), 5))
        self.decoder = nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, math.prod(SHAPE)), nn.Sigmoid())
        self.double()

    def encode(self, images):
        return self.encoder(images.double())[:, None]

    def decode(self, codes, condition=None):
        return 2 * self.decoder(codes.flatten(1).double()).unflatten(1, SHAPE) - 1


ROWS = Rows()


def unit(codes):
    return (ROWS.decode(codes) + 1) / 2


CODES = torch.randn(3, 1, 5, generator=rng(3), dtype=torch.float64)


def jacobian_norms(decode, codes):
    """||J||_F^2 of each row by reverse mode, row by row."""
    return torch.stack([jacrev(lambda z: decode(z[None])[0])(z).square().sum() for z in codes])


# ---- gradient penalty


def test_exact_penalty_is_the_squared_jacobian_norm():
    found = penalties.exact(unit, CODES, unit(CODES), rng())
    torch.testing.assert_close(found, jacobian_norms(unit, CODES))


@pytest.mark.parametrize("name", ["hutchinson", "finite_difference"])
def test_estimates_have_the_squared_jacobian_norm_as_their_mean(name):
    codes = CODES.repeat(1500, 1, 1).requires_grad_()
    draws = penalties.MODES[name](unit, codes, unit(codes), rng()).detach().unflatten(0, (1500, 3))
    error = (draws.mean(0) - jacobian_norms(unit, CODES)).abs() / (draws.std(0) / math.sqrt(len(draws)))
    assert error.max() < 4, error


@pytest.mark.parametrize("spectral", ["none", "both"])
def test_penalties_of_the_network_that_trains_agree(spectral):
    """Rows meet in batch norms there; its running statistics see each batch once."""

    def mean(mode, draws):
        found = []
        for seed in range(draws):
            generator = network(spectral=spectral)
            objective = RAE(generator, gp=1.0, gp_mode=mode).train()
            terms = objective.loss(batch(), rng(seed))
            gradients = torch.autograd.grad(objective.phases[0].total(terms), list(generator.parameters()))
            assert all(g.isfinite().all() for g in gradients)
            counts = [m.num_batches_tracked for m in generator.modules() if hasattr(m, "num_batches_tracked")]
            assert {int(count) for count in counts} == {1}
            found.append(float(terms["gradient"]))
        return sum(found) / draws

    exactly = mean("exact", 4)
    assert mean("finite_difference", 20) == pytest.approx(exactly, rel=0.05)
    assert mean("hutchinson", 40) == pytest.approx(exactly, rel=0.2)


def test_only_the_penalty_of_the_thesis_does_not_change_with_the_sign_of_a_pixel():
    """Flipping output pixels leaves ||J||_F alone; it changes pythae's term and the released code's."""
    flip = torch.where(torch.arange(16) % 2 == 0, 1.0, -1.0).double()

    def flipped(codes):
        return unit(codes) * flip

    def pythae_like(decode):
        codes = CODES.clone().requires_grad_()
        return torch.autograd.grad(decode(codes).sum(), codes)[0].square().sum((1, 2))

    def of(mode, decode):
        codes = CODES.clone().requires_grad_()
        return mode(decode, codes, decode(codes), rng()).detach()

    torch.testing.assert_close(of(penalties.exact, unit), of(penalties.exact, flipped))
    assert ((pythae_like(unit) / pythae_like(flipped)).log().abs() > 0.1).all()
    assert ((pythae_like(unit) / jacobian_norms(unit, CODES)).log().abs() > 0.1).any()
    shifted = of(penalties.reference, lambda z: unit(z) - 0.5)
    assert ((of(penalties.reference, unit) / shifted).log().abs() > 0.1).all()
    torch.testing.assert_close(of(penalties.exact, lambda z: unit(z) - 0.5), of(penalties.exact, unit))


def test_reference_penalty_by_its_formula():
    codes = CODES.clone().requires_grad_()
    found = penalties.reference(unit, codes, unit(codes), rng())
    jacobians = torch.stack([jacrev(lambda z: unit(z[None])[0])(z).flatten(0, 2).squeeze(1) for z in CODES])
    by_hand = torch.einsum("np,npd->nd", 2 * unit(CODES).flatten(1), jacobians).square().mean(1)
    torch.testing.assert_close(found.detach(), by_hand)


@pytest.mark.parametrize("mode", ["exact", "hutchinson", "finite_difference", "reference"])
def test_gradients_of_the_penalty_by_finite_differences(mode):
    decoder = Rows()
    weight = decoder.decoder[2].weight

    def value():
        codes = CODES.clone().requires_grad_()
        return penalties.MODES[mode](decoder.decode, codes, decoder.decode(codes), rng()).sum()

    (gradient,) = torch.autograd.grad(value(), [weight])
    for i, j in ((0, 0), (40, 7), (700, 11)):
        step = 1e-5
        with torch.no_grad():
            weight[i, j] += step
        ahead = value().item()
        with torch.no_grad():
            weight[i, j] -= 2 * step
        behind = value().item()
        with torch.no_grad():
            weight[i, j] += step
        assert gradient[i, j].item() == pytest.approx((ahead - behind) / (2 * step), rel=1e-4, abs=1e-7)


# ---- RAE


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_rae_by_its_formula(reduction):
    model, found = Rows(), batch()
    objective = RAE(model, beta=0.3, gp=0.2, gp_mode="exact", reduction=reduction).train()
    terms = {k: v.item() for k, v in objective.loss(found, rng()).items()}
    z = model.encode(found["images"])
    error = (found["images"].double() + 1) / 2 - unit(z)
    norms = jacobian_norms(unit, z.detach())
    pixels = math.prod(SHAPE)
    wanted = {
        "mean": (error.square().mean(), z.square().mean(), norms.mean() / pixels),
        "sum": (error.square().sum((1, 2, 3)).mean(), 0.5 * z.square().sum((1, 2)).mean(), norms.mean()),
    }[reduction]
    assert terms == {
        name: pytest.approx(value.item(), rel=1e-5)
        for name, value in zip(("reconstruction", "codes", "gradient"), wanted, strict=True)
    }


def test_rae_gradient_reaches_encoder_and_decoder():
    model, found = Rows(), batch()
    objective = RAE(model, beta=0.3, gp=0.2, gp_mode="exact", reduction="sum").train()
    phase = objective.phases[0]
    total = phase.total(phase.loss(found, rng()))
    z = model.encode(found["images"])
    error = ((found["images"].double() - model.decode(z)) / 2).square().sum((1, 2, 3)).mean()
    norms = jacobian_norms(lambda v: (model.decode(v) + 1) / 2, z)
    by_hand = error + 0.3 * 0.5 * z.square().sum((1, 2)).mean() + 0.2 * norms.mean()
    parameters = list(model.parameters())
    for mine, other in zip(
        torch.autograd.grad(total, parameters), torch.autograd.grad(by_hand, parameters), strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-8)


def test_l2_counts_the_transposed_convolutions_alone_unless_asked():
    model = network(spectral="decoder")
    convolutions = [m.parametrizations.weight.original for m in model.decoder if isinstance(m, nn.ConvTranspose2d)]
    dense = model.decoder[0].parametrizations.weight.original
    some = RAE(model, beta=0, l2=1.0).loss(batch(), rng())["l2"].item()
    more = RAE(model, beta=0, l2=1.0, l2_dense=True).loss(batch(), rng())["l2"].item()
    assert some == pytest.approx(sum(w.square().sum().item() for w in convolutions))
    assert more - some == pytest.approx(dense.square().sum().item(), rel=1e-5)


def test_the_penalty_is_computed_in_float32_under_bf16():
    model = network().train()
    objective = RAE(model, gp=1.0, gp_mode="finite_difference").train()
    values = []
    for precision in (torch.bfloat16, torch.float32):
        with torch.autocast("cpu", precision, enabled=precision == torch.bfloat16):
            values.append(objective.loss(batch(8), rng(5))["gradient"].item())
    assert values[0] == pytest.approx(values[1], rel=0.1)  # codes differ by rounding; noise would be 16 times off


def test_a_plain_autoencoder_has_one_term():
    assert set(RAE(network(), beta=0).loss(batch(), rng())) == {"reconstruction"}


@pytest.mark.parametrize(("key", "value"), [("beta", -1), ("gp_mode", "pythae"), ("reduction", "max")])
def test_rae_refuses(key, value):
    with pytest.raises(UsageError, match=f"train.objective.{key}: input should be"):
        config.build(OBJECTIVES, {"name": "rae", key: value}, "train.objective", generator=network())
    with pytest.raises(UsageError, match="RAE: expected no generator that has a posterior, found ConvVAE; choose"):
        RAE(network(ConvVAE))


# ---- VAE


def test_vae_terms_by_other_implementations():
    model, found = network(ConvVAE).eval(), batch()
    objective = VAE(model, kl=0.5, samples=3).train()
    model.eval()  # batch norm at rest, the noise on
    terms = objective.loss(found, rng(4))
    mu, log_std = model.posterior(found["images"])
    wanted = kl_divergence(Normal(mu, log_std.exp()), Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(terms["kl"], wanted)
    noise = torch.randn(3, *mu.shape, generator=rng(4))
    errors = []
    for draw in noise:
        y = model.decode((mu + log_std.exp() * draw)[:, None])
        errors.append(((found["images"] - y) / 2).square().mean(1).flatten(1).sum(1).mean())
    torch.testing.assert_close(terms["reconstruction"], torch.stack(errors).mean())
    parameters = list(model.parameters())
    mine = torch.autograd.grad(objective.phases[0].total(terms), parameters, retain_graph=True)
    other = torch.autograd.grad(torch.stack(errors).mean() + 0.5 * wanted, parameters)
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_more_samples_have_the_same_mean_and_less_spread():
    model = network(ConvVAE)

    def errors(samples):
        objective = VAE(model, samples=samples).train()
        model.eval()
        with torch.no_grad():
            return torch.stack([objective.loss(batch(), rng(i))["reconstruction"] for i in range(40)])

    one, nine = errors(1), errors(9)
    assert abs(one.mean() - nine.mean()) < 4 * one.std() / math.sqrt(40)
    assert nine.std() < 0.6 * one.std()


def test_constant_variance_vae():
    """KL(N(mu, 0.49) || N(0, 1)): the width is 0.7 itself, not its square or root (FACTS: sigma is the std)."""
    model = network()
    objective = VAE(model, std=0.7).train()
    model.eval()
    mu = model.encode(batch()["images"])[:, 0]
    terms = objective.loss(batch(), rng())
    torch.testing.assert_close(terms["kl"], kl_divergence(Normal(mu, 0.7), Normal(0.0, 1.0)).sum(1).mean())
    drawn = objective.draws(torch.zeros(4000, 5), torch.full((4000, 5), math.log(0.7)), rng())
    assert drawn.std().item() == pytest.approx(0.7, rel=0.02)


def test_vae_validates_at_the_mean_and_refuses_the_wrong_network():
    objective = VAE(network(ConvVAE), samples=5).eval()
    assert objective.loss(batch(), rng(1)) == objective.loss(batch(), rng(2))
    for generator, std in ((network(), 0.0), (network(ConvVAE), 0.7)):
        with pytest.raises(UsageError, match="objective VAE: expected (a|no) generator that has a posterior, found"):
            VAE(generator, std=std)


# ---- WAE


def mmd_by_loops(z, p):
    """The estimate by its definition, pair by pair."""
    n, d = z.shape

    def k(a, b):
        return sum(2 * d * s / (2 * d * s + ((a - b) ** 2).sum()) for s in SCALES)

    same = sum(k(v[i], v[j]) for v in (z, p) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return same - 2 * sum(k(a, b) for a in z for b in p) / n**2


def test_mmd_by_loops_value_and_gradient():
    z = torch.randn(5, 3, generator=rng(1), dtype=torch.float64).requires_grad_()
    p = torch.randn(5, 3, generator=rng(2), dtype=torch.float64)
    mine, other = mmd_imq(z, p), mmd_by_loops(z, p)
    torch.testing.assert_close(mine, other)
    torch.testing.assert_close(torch.autograd.grad(mine, z)[0], torch.autograd.grad(other, z)[0])


def test_mmd_of_one_row_is_a_number():
    z, p = torch.zeros(1, 3), torch.ones(1, 3)
    squared = 3.0
    expected = -2 * sum(6 * s / (6 * s + squared) for s in SCALES)
    assert float(mmd_imq(z, p)) == pytest.approx(expected)


def test_mmd_is_unbiased():
    """Its mean is 0 between draws of one distribution, and far from 0 between two."""
    same = torch.stack([mmd_imq(torch.randn(20, 4, generator=rng(i)), torch.randn(20, 4, generator=rng(1000 + i)))
                        for i in range(300)])  # fmt: skip
    assert abs(same.mean()) < 4 * same.std() / math.sqrt(300)
    apart = mmd_imq(torch.randn(20, 4, generator=rng(0)) + 3, torch.randn(20, 4, generator=rng(1)))
    assert apart > 20 * same.std()


def test_wae_terms():
    model, found = network(), batch()
    objective = WAEMMD(model, mmd=0.1).eval()
    terms = objective.loss(found, rng(3))
    z = model.encode(found["images"])
    torch.testing.assert_close(terms["reconstruction"], ((found["images"] - model.decode(z)) / 2).square().mean())
    goal = torch.randn(z.shape, generator=rng(3))
    torch.testing.assert_close(terms["mmd"], mmd_imq(z[:, 0], goal[:, 0]))


def test_wae_noise_is_clipped_and_only_in_training():
    objective = WAEMMD(network(), noise=0.01, reduction="sum", reconstruction=0.05, mmd=100.0)
    noise = objective.spoil(torch.zeros(4, *SHAPE), rng())
    assert noise.abs().max().item() == pytest.approx(0.01)
    assert 0.5 < (noise.abs() < 0.00999).float().mean() < 0.8  # 68 % lie within a standard deviation
    with pytest.raises(UsageError, match="WAEMMD: expected no generator that has a posterior, found ConvVAE"):
        WAEMMD(network(ConvVAE))


# ---- the network of Table A.1


@pytest.mark.parametrize(("size", "kernel", "ups"), [(32, 4, [512, 256]), (64, 5, [512, 256, 128]), (16, 4, [512])])
def test_table_a1(size, kernel, ups):
    with torch.device("meta"):
        model = ConvAutoencoder((3, size, size), codes=64, kernel=kernel)
    downs = [m for m in model.encoder if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in downs] == [128, 256, 512, 1024]
    assert {(m.kernel_size, m.stride) for m in downs} == {((kernel, kernel), (2, 2))}
    decoder = [m for m in model.decoder if isinstance(m, nn.ConvTranspose2d)]
    assert [m.out_channels for m in decoder] == [*ups, 3]
    assert [m.stride[0] for m in decoder] == [2] * len(ups) + [1]
    assert model.decoder[0].out_features == 8 * 8 * 1024
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.decoder) == len(ups)


@pytest.mark.parametrize("spectral", ["none", "decoder", "both"])
def test_spectral_normalisation_bounds_singular_values(spectral):
    model = network(spectral=spectral).train()
    with torch.no_grad():
        for _ in range(60):
            model.decode(model.encode(batch()["images"]))
    for part, bound in ((model.encoder, spectral == "both"), (model.decoder, spectral != "none")):
        layers = [m for m in part if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
        for layer in layers:
            weight = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
            largest = torch.linalg.svdvals(weight.flatten(1).detach())[0].item()
            assert (largest == pytest.approx(1, abs=0.02)) == bound


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"width": 0}, "train.generator.width: input should be greater than 0"),
        ({"codes": 0}, "train.generator.codes: input should be greater than or equal to 1"),
        ({"kernel": 3}, "train.generator.kernel: input should be 4 or 5"),
        ({"spectral": "encoder"}, "train.generator.spectral: input should be 'none'"),
    ],
)
def test_network_refuses(bad, message):
    with pytest.raises(UsageError, match=message):
        config.build(GENERATORS, {"name": "conv_autoencoder", **bad}, "train.generator", image_shape=SHAPE)
    with pytest.raises(UsageError, match="power of two"):
        config.build(GENERATORS, {"name": "conv_vae"}, "train.generator", image_shape=(3, 48, 48))


FAMILY = {
    "VAE": ("conv_vae", {"name": "vae"}),
    "CV-VAE": ("conv_autoencoder", {"name": "vae", "std": 0.7}),
    "WAE": ("conv_autoencoder", {"name": "wae_mmd"}),
    "AE": ("conv_autoencoder", {"name": "rae", "beta": 0}),
    "AE-L2": ("conv_autoencoder", {"name": "rae", "beta": 0, "l2": 1e-7}),
    "RAE": ("conv_autoencoder", {"name": "rae"}),
    "RAE-GP": ("conv_autoencoder", {"name": "rae", "gp": 1e-6}),
    "RAE-GP-L2": ("conv_autoencoder", {"name": "rae", "gp": 1e-6, "l2": 1e-7}),
}


@pytest.mark.parametrize("label", FAMILY)
@pytest.mark.parametrize("spectral", ["none", "both"])
def test_every_member_learns(label, spectral):
    """Thirty steps of Adam lower the validation loss of each, with spectral normalisation and without."""
    name, spec = FAMILY[label]
    torch.manual_seed(0)
    build = {"name": name, "codes": 8, "width": 0.05, "spectral": spectral}
    model = config.build(GENERATORS, build, "test", image_shape=SHAPE)
    objective = config.build(OBJECTIVES, spec, "test", generator=model).train()
    phase = objective.phases[0]
    parameters = list(model.parameters())
    adam = torch.optim.Adam(parameters, 3e-3)
    found = batch(16)
    found["images"] = found["images"].mean(1, keepdim=True).expand(-1, 3, -1, -1).clone()
    totals = []
    for step in range(30):
        total = phase.total(phase.loss(found, rng(step)))
        for p, g in zip(parameters, torch.autograd.grad(total, parameters), strict=True):
            p.grad = g
        adam.step()
        totals.append(total.item())
    assert sum(totals[-5:]) < sum(totals[:5])
