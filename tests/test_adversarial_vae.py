"""The adversarial VAE against its paper's equations: networks, losses, gradients, controller."""

import numpy as np
import pytest
import torch
from conftest import stopped, train_params
from torch import nn
from torch.distributions import Normal, kl_divergence

from fgcli import artifacts, config
from fgcli.errors import UsageError
from fgcli.generators.began_vae import BeganVAE
from fgcli.generators.masked_vae import UnmaskedVAE
from fgcli.layers.began import began_decoder, began_encoder
from fgcli.objectives import OBJECTIVES
from fgcli.objectives.adversarial_vae import AdversarialVAE
from fgcli.stages import train
from fgcli.training.batches import Batches
from fgcli.training.columns import tables
from fgcli.training.devices import Compute
from fgcli.training.loop import Loop
from fgcli.training.settings import Settings

SHAPE, CODES = (3, 16, 16), 5
WEIGHTS = {"kl": 0.7, "reconstructed": 0.3, "similarity": 0.2, "l1": 0.4}


def rng(seed=7):
    return torch.Generator().manual_seed(seed)


def batch(n=4, seed=0):
    return {"images": torch.rand(n, *SHAPE, generator=rng(seed)) * 2 - 1}


def objective(seed=0, **arguments):
    torch.manual_seed(seed)
    generator = BeganVAE(SHAPE, codes=CODES, filters=4)
    return AdversarialVAE(generator, **{"codes": 6, "filters": 3} | WEIGHTS | arguments).train()


def named(found, name):
    (phase,) = [p for p in found.phases if p.name == name]
    return phase


# ---- networks


def layers(network, kind):
    return [layer for layer in network if isinstance(layer, kind)]


@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_began_network(size):
    """log2(size) - 2 blocks of two convolutions, halved between blocks; the encoder's filters grow by n a block."""
    blocks, n = {16: 2, 32: 3, 64: 4, 128: 5}[size], 2
    down, up = began_encoder((3, size, size), 7, n), began_decoder((3, size, size), 7, n)
    widths = [(c.in_channels, c.out_channels, c.stride[0]) for c in layers(down, nn.Conv2d)]
    expected = [(3, n, 1), (n, n, 1), (n, n, 1)]
    for i in range(2, blocks + 1):
        expected += [(n * (i - 1), n * (i - 1), 2), (n * (i - 1), n * i, 1), (n * i, n * i, 1)]
    assert widths == expected
    assert [(c.in_channels, c.out_channels) for c in layers(up, nn.Conv2d)] == [(n, n)] * 2 * blocks + [(n, 3)]
    assert [(f.in_features, f.out_features) for f in layers(down, nn.Linear)] == [(8 * 8 * n * blocks, 7)]
    assert [(f.in_features, f.out_features) for f in layers(up, nn.Linear)] == [(7, 8 * 8 * n)]
    assert len(layers(up, nn.Upsample)) == blocks - 1
    assert not [m for m in [*down, *up] if isinstance(m, nn.modules.batchnorm._BatchNorm | nn.ConvTranspose2d)]
    codes = down(torch.zeros(2, 3, size, size))
    assert codes.shape == (2, 7)
    assert up(codes).shape == (2, 3, size, size)


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 48, 48), (3, 32, 64)])
def test_other_sizes_are_refused(shape):
    with pytest.raises(ValueError, match="power of two from 16 px, found"):
        BeganVAE(shape, codes=4, filters=2)


def test_the_start_keeps_the_signal():
    """With PyTorch's own start the pictures of two codes would differ by less than a hundredth of this."""
    torch.manual_seed(0)
    generator = BeganVAE((3, 64, 64), codes=16, filters=8)
    with torch.no_grad():
        assert 0.05 < generator.decode(generator.prior(8, rng())).std(0).mean() < 1


def test_only_training_is_not_clamped():
    generator = BeganVAE(SHAPE, codes=CODES, filters=4)
    codes = 100 * generator.prior(2, rng())
    assert generator.train().decode(codes).abs().max() > 1
    assert generator.eval().decode(codes).abs().max() == 1


# ---- losses


def by_hand(found, x, eps, drawn):
    """Every quantity of Eqs. 2 to 9 from the four networks."""
    encoder, decoder = found.network.encoder, found.network.decoder
    inner, outer = found.discriminator.encoder, found.discriminator.decoder
    mu, log_std = encoder(x)[:, :CODES], encoder(x)[:, CODES:]
    x_v, x_g = decoder(mu + eps * torch.exp(log_std)), decoder(drawn)
    return {
        "L_e": (x - x_v).abs().sum() / x.numel(),
        "L_n": kl_divergence(Normal(mu, log_std.exp()), Normal(0.0, 1.0)).mean(),
        "L_s": (inner(x) - inner(x_v)).abs().sum() / inner(x).numel(),
        "L_d": (x - outer(inner(x))).abs().sum() / x.numel(),
        "L_g": (x_g - outer(inner(x_g))).abs().sum() / x.numel(),
        "L_v": (x_v - outer(inner(x_v))).abs().sum() / x.numel(),
    }


def noises(n=4):
    """The noise of z_v, then z_g, as the objective draws them."""
    stream = rng()
    return [torch.randn(n, CODES, generator=stream) for _ in range(2)]


def expected_losses(found, k):
    """Eqs. 15, 14 and 13."""
    part = by_hand(found, batch()["images"], *noises())
    a, b, c = WEIGHTS["reconstructed"], WEIGHTS["similarity"], WEIGHTS["l1"]
    return {
        "encoder": WEIGHTS["kl"] * part["L_n"] + b * part["L_s"] + c * part["L_e"],
        "decoder": part["L_g"] + a * part["L_v"] + b * part["L_s"] + c * part["L_e"],
        "discriminator": part["L_d"] - k * (part["L_g"] + a * part["L_v"]),
    }


@pytest.mark.parametrize("name", ["encoder", "decoder", "discriminator"])
def test_each_phase_is_its_equation_with_its_gradient(name):
    """The gains are 0, so that k stays at 0.6."""
    found = objective(integral=0.0, proportional=0.0, differential=0.0)
    found.k.fill_(0.6)
    phase = named(found, name)
    total = phase.total(phase.loss(batch(), rng()))
    expected = expected_losses(found, 0.6)[name]
    torch.testing.assert_close(total, expected)
    pairs = [torch.autograd.grad(v, found.moved(phase)) for v in (total, expected)]
    for a, b in zip(*pairs, strict=True):
        assert a.abs().sum() > 0
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_terms_that_are_watched():
    found = objective(diversity=0.5)
    found.k.fill_(0.3)
    part = by_hand(found, batch()["images"], *noises())
    terms = named(found, "discriminator").loss(batch(), rng())
    error = 0.5 * part["L_d"] - part["L_g"] - 0.3 * part["L_v"]
    assert terms["error"].item() == pytest.approx(error.item(), abs=1e-6)
    assert terms["measure"].item() == pytest.approx((part["L_d"] + error.abs()).item(), abs=1e-6)
    assert not any(terms[name].requires_grad for name in ("k", "error", "measure"))
    weights = named(found, "discriminator").weights
    assert {name for name, weight in weights.items() if not weight} == {"k", "error", "measure"}


def test_phases_are_encoder_decoder_discriminator_and_share_no_weight():
    found = objective()
    assert [p.name for p in found.phases] == ["encoder", "decoder", "discriminator"]
    owners = [{id(p) for p in found.moved(phase)} for phase in found.phases]
    modules = (found.network.encoder, found.network.decoder, found.discriminator)
    assert owners == [{id(p) for p in module.parameters()} for module in modules]
    assert sum(map(len, owners)) == len(list(found.parameters()))
    assert {phase.draws for phase in found.phases} == {"step"}  # codes are drawn once (Algorithm 1)


@pytest.mark.parametrize("phase", [0, 1, 2])
def test_a_step_of_a_phase_moves_its_weights_alone(phase):
    found = objective()
    loop = make_loop(found, learning_rate=0.01)
    groups = [found.groups[ph.group].parameters for ph in found.phases]
    before = [[p.clone() for p in group] for group in groups]
    loop._update(found.phases[phase], batch())
    for i, (group, old) in enumerate(zip(groups, before, strict=True)):
        assert all(torch.equal(a, b) for a, b in zip(group, old, strict=True)) == (i != phase)


def test_validation_is_the_vae_alone():
    """KL and l1 at the mean codes: what D makes of them would change from one validation to the next."""
    found = objective().eval()
    phase = found.phases[0]
    terms = phase.loss(batch(), rng(1))
    assert set(terms) == {"kl", "l1"}
    assert phase.total(terms) == phase.total(phase.loss(batch(), rng(2)))
    with torch.no_grad():
        nn.init.normal_(next(found.discriminator.parameters()))
    assert phase.total(phase.loss(batch(), rng(1))) == phase.total(terms)


# ---- the controller


def test_controller_is_equation_12():
    """In closed form k_T = sum over t of l1 e_t, + l2 e_T + l3 (e_T - e_{T-1}), while it stays within [0, 1]."""
    gains, errors = (0.05, 0.2, 0.1), np.random.default_rng(0).normal(0.02, 0.05, 40)
    found = objective(integral=gains[0], proportional=gains[1], differential=gains[2])
    found.k.fill_(0.5)
    naive, history = 0.5, [0.0, 0.0]
    for i, e in enumerate(errors):
        k = found.control(torch.tensor(e, dtype=torch.float32))
        found.settle({"k": k.item(), "error": e})
        naive += gains[0] * e + gains[1] * (e - history[-1]) + gains[2] * (e + history[-2] - 2 * history[-1])
        history.append(e)
        assert found.k.item() == pytest.approx(naive, abs=1e-6)
        assert found.errors.tolist() == pytest.approx([history[-1], history[-2]])
        closed = 0.5 + gains[0] * errors[: i + 1].sum() + gains[1] * e + gains[2] * (e - history[-2])
        assert found.k.item() == pytest.approx(closed, abs=1e-6)


def test_k_stays_between_0_and_1():
    found = objective(integral=1.0)
    assert found.control(torch.tensor(5.0)) == 1
    assert found.control(torch.tensor(-5.0)) == 0


class Sees(nn.Module):
    """Reconstructs with an error of 0.4 for photos, and `fake` for what the VAE makes: those rows come after."""

    def __init__(self, fake):
        super().__init__()
        self.fake = fake

    def forward(self, images):
        n = len(images) // 3
        return images + torch.cat([torch.full((n,), 0.4), torch.full((2 * n,), self.fake)])[:, None, None, None]


@pytest.mark.parametrize(("fake", "sign"), [(0.01, 1), (0.4, -1), (0.2 / 1.3, 0)])
def test_k_rises_when_fakes_are_reconstructed_too_well(fake, sign):
    """0.5 L_d = 0.2 against 1.3 x fake: the sign of Eq. 11's last term decides the third row."""
    found = objective(diversity=0.5, reconstructed=0.3, integral=0.1)
    found.k.fill_(0.5)
    found.discriminator = Sees(fake)
    k = found.discriminator_loss(batch(), rng())["k"].item()
    assert k - 0.5 == pytest.approx(0, abs=1e-6) if sign == 0 else (k - 0.5) * sign > 1e-3


def test_the_loss_changes_nothing_and_the_step_settles_it():
    found = objective(integral=0.5)
    found.k.fill_(0.2)
    phase = named(found, "discriminator")
    one, two = (phase.loss(batch(), rng()) for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert found.k.item() == pytest.approx(0.2)
    loop = make_loop(found)
    values = loop._update(phase, batch())
    assert found.k.item() == pytest.approx(values["discriminator/k"]) != 0.2
    assert found.errors.tolist() == pytest.approx([values["discriminator/error"], 0])


# ---- training


def make_loop(found, **changes):
    settings = {
        "steps": 4, "batch": 8, "learning_rate": 0.001, "betas": (0.5, 0.999), "ema_half_life": 3.0, "seed": 0,
        "validate_steps": 2, "checkpoint_seconds": 100.0,
    } | changes  # fmt: skip
    return Loop(found, Compute(torch.device("cpu"), 0, 1, "float32"), Settings(**settings))


def stage_params(**changes):
    spec = {"name": "adversarial_vae", "codes": 4, "filters": 3, "integral": 0.5}
    built = {"generator": {"name": "began_vae", "codes": 4, "filters": 3}, "objective": spec, "checkpoint_steps": 2}
    return train_params(**built | {"steps": 4, "validate_steps": 2} | changes)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_stopped_run_goes_on_bit_for_bit(faces, tmp_path, monkeypatch, precision):
    """Stopped in the third step; k and the last errors are in the checkpoint."""
    params = stage_params(precision=precision)
    train.run(faces, tmp_path / "one.h5", tmp_path / "one", params=params)
    with stopped(monkeypatch, 3):
        train.run(faces, tmp_path / "two.h5", tmp_path / "two", params=params)
    train.run(faces, tmp_path / "two.h5", tmp_path / "two", params=params)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    assert (tmp_path / "one/stats.jsonl").read_text() == (tmp_path / "two/stats.jsonl").read_text()
    history = artifacts.load(tmp_path / "one.h5").group("history")
    assert {"discriminator/k", "discriminator/measure", "encoder/kl", "decoder/drawn"} <= set(history)
    assert history["discriminator/k"].max() > 0


def test_training_lowers_what_it_should(faces):
    """A few steps: the VAE reconstructs better, and so does D."""
    found = objective(kl=0.01, l1=1.0)
    loop = make_loop(found, steps=60, learning_rate=0.003)
    batches = Batches(tables(found.needs, {"faces": faces}, np.arange(48), "test"), np.arange(48), 8, 0)
    terms = [tick.terms for tick in loop.run(batches)]
    for name in ("encoder/l1", "discriminator/real"):
        first, last = (np.mean([t[name] for t in part]) for part in (terms[:5], terms[-5:]))
        assert last < 0.6 * first, name


# ---- refused


@pytest.mark.parametrize("name", ["kl", "similarity", "l1", "reconstructed", "diversity", "integral"])
def test_negative_weights_and_gains_are_refused(name):
    spec = {"name": "adversarial_vae", "codes": 4, "filters": 2, name: -0.1}
    with pytest.raises(UsageError, match=f"train.objective.{name}: input should be greater than or equal to 0"):
        config.build(OBJECTIVES, spec, "train.objective", generator=BeganVAE(SHAPE, codes=4, filters=2))


def test_a_generator_with_other_weights_is_refused():
    with pytest.raises(UsageError, match="expected a generator that is an encoder and a decoder and nothing else"):
        AdversarialVAE(UnmaskedVAE(SHAPE, codes=4, width=0.1))
