"""StyleGAN2: its arithmetic against other ways to the same, what it promises, and checkpoints of others."""

import pytest
import torch
import torch.nn.functional as F
from scipy.signal import upfirdn

from fgcli import config
from fgcli.codes import coded, decode, prior
from fgcli.errors import UsageError
from fgcli.generators import GENERATORS
from fgcli.generators.stylegan2 import InvertibleStyleGAN2, StyleGAN2
from fgcli.layers.style import Conv, StyledColours, StyledConv, deviation, doubled, low_pass
from fgcli.objectives.gan import GAN

IMAGE = (3, 16, 16)
SMALL = {"codes": 6, "widest": 8, "mapping_layers": 2}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=rng(seed))


def network(kind=StyleGAN2, image_shape=IMAGE, **changes):
    """A small one in eval mode whose biases and strengths are not 0."""
    torch.manual_seed(0)
    made = kind(image_shape, **{**SMALL, **changes}).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim < 2:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return made


# ---- arithmetic, in float64


def filtered(x, up, down, before, after):
    """Zeros between pixels, [1, 3, 3, 1] / 4 or / 8 along both axes by scipy, every `down`-th pixel."""
    taps = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) * up / 8
    for axis in (2, 3):
        long = torch.from_numpy(upfirdn(taps.numpy(), x.numpy(), up=up, axis=axis))  # as if 3 zeros were around
        long = F.pad(long.movedim(axis, 3), (0, 3)).movedim(3, axis)
        start, length = 3 - before, (x.shape[axis] * up + before + after - 3 - 1) // down + 1
        x = long.narrow(axis, start, (length - 1) * down + 1).movedim(axis, 0)[::down].movedim(0, axis)
    return x


def test_filters_are_scipys():
    x = normal(2, 3, 8, 8)
    torch.testing.assert_close(low_pass(x, padding=2), filtered(x, 1, 1, 2, 2))
    torch.testing.assert_close(low_pass(x, stride=2), filtered(x, 1, 2, 1, 1))
    torch.testing.assert_close(doubled(x), filtered(x, 2, 1, 2, 1))


def plain_styled(layer, x, code):
    """Eq. 1 and 3 of the paper word by word: weights of each sample, zeros between pixels, the filter as a matrix."""
    s = code @ layer.scales.weight.T / code.shape[1] ** 0.5 + layer.scales.bias
    weights = layer.weight * s[:, None, :, None, None]
    if isinstance(layer, StyledColours):
        rows = [
            F.conv2d(i[None], (w / w.shape[1] ** 0.5)[:, :, None, None])
            for i, w in zip(x, layer.weight * s[:, None], strict=True)
        ]
        return torch.cat(rows) + layer.bias[:, None]
    weights = weights / (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    n, o = weights.shape[:2]
    if layer.doubled:
        apart = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
        apart[:, :, ::2, ::2] = x
        full = F.conv2d(apart.flatten(0, 1)[None], weights.flip(3, 4).flatten(0, 1), padding=2, groups=n).unflatten(
            1, (n, o)
        )[0]
        taps = torch.tensor([1.0, 3, 3, 1], dtype=x.dtype) / 4
        y = (
            F.conv2d(full.flatten(0, 1)[:, None], torch.outer(taps, taps)[None, None], padding=1)
            .squeeze(1)
            .unflatten(0, (n, o))
        )
        y = y[:, :, : 2 * x.shape[2], : 2 * x.shape[3]]
    else:
        y = F.conv2d(x.flatten(0, 1)[None], weights.flatten(0, 1), padding=1, groups=n).unflatten(1, (n, o))[0]
    noise = layer.noise * layer.strength if layer.side else 0
    return F.leaky_relu(y + noise + layer.bias[:, None, None], 0.2) * 2**0.5


@pytest.mark.parametrize("kind", ["same", "doubled", "colours"])
def test_styled_layers_are_the_papers_in_value_and_gradient(kind):
    torch.manual_seed(0)
    layer = (
        StyledColours(5, 3, 4)
        if kind == "colours"
        else StyledConv(5, 3, 4, kind == "doubled", 16 if kind == "doubled" else 8)
    )
    layer = layer.double()
    for parameter in layer.parameters():
        parameter.data += 0.5 * torch.randn_like(parameter)
    x, code = normal(2, 5, 8, 8).requires_grad_(), normal(2, 4, seed=1).requires_grad_()
    ours, plain = layer(x, code), plain_styled(layer, x, code)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-13)
    wanted = [x, code, *layer.parameters()]
    pull = normal(*ours.shape, seed=2)
    for a, b in zip(torch.autograd.grad(ours, wanted, pull), torch.autograd.grad(plain, wanted, pull), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("size", "active", "halved"), [(1, True, False), (3, True, True), (1, False, True)])
def test_convolutions_are_filter_then_convolution_then_leaky_relu(size, active, halved):
    torch.manual_seed(0)
    layer = Conv(4, 3, size, active=active, halved=halved, gain=0.5).double()
    x = normal(2, 4, 8, 8)
    around = 1 + size // 2
    y = filtered(x, 1, 1, around, around) if halved else F.pad(x, [size // 2] * 4)
    y = F.conv2d(y, layer.weight / (4 * size**2) ** 0.5, stride=1 + halved)
    if active:
        layer.bias.data += torch.randn_like(layer.bias)
        y = F.leaky_relu(y + layer.bias[:, None, None], 0.2) * 2**0.5
    torch.testing.assert_close(layer(x), 0.5 * y)


def test_deviation_compares_the_images_of_a_group():
    x = normal(6, 3, 2, 2)
    for k in range(3):  # groups of 2 of 6: k and k + 3
        spread = ((x[[k, k + 3]].var(0, correction=0) + 1e-8) ** 0.5).mean()
        torch.testing.assert_close(deviation(x, 2)[[k, k + 3]], spread.expand(2, 1, 2, 2))


def test_r1_has_a_right_gradient():
    critic = network().double().critic
    x, push = normal(4, *IMAGE), [normal(*p.shape, seed=i) for i, p in enumerate(critic.parameters())]

    def r1():
        seen = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(critic(seen).sum(), seen, create_graph=True)
        return slope.square().sum((1, 2, 3)).mean()

    gradients = torch.autograd.grad(r1(), list(critic.parameters()), allow_unused=True)
    told = sum((g * v).sum() for g, v in zip(gradients, push, strict=True) if g is not None)

    def moved(step):
        with torch.no_grad():
            for p, v in zip(critic.parameters(), push, strict=True):
                p.add_(step * v)
        return r1().item()

    up, down = moved(1e-7), moved(-2e-7)
    assert (up - down) / 2e-7 == pytest.approx(told.item(), rel=1e-4)


# ---- what it promises


def test_images_are_clamped_for_eyes_and_not_in_training():
    made = network()
    with torch.no_grad():
        made.colours[0].bias += 3
    w = made.prior(4, rng())
    assert made.decode(w).max() == 1
    assert made.train().decode(w).max() > 1
    torch.testing.assert_close(made.decode(w), made.draft(w, rng()))  # without noise nothing is random


def test_one_code_serves_all_layers_and_each_layer_may_have_its_own():
    made = network()
    assert made.code_shape == (6, 6)  # two layers a side, 4 to 16 px
    w = made.prior(2, rng())
    assert torch.equal(made.decode(w), made.decode(w.expand(-1, 6, -1)))
    assert torch.equal(made.decode(w), decode(made, coded(made, w)))
    for row in range(6):
        other = w.expand(-1, 6, -1).clone()
        other[:, row] += 1
        assert not torch.equal(made.decode(w), made.decode(other)), row


def test_only_the_direction_of_z_counts():
    made, z = network(), torch.randn(3, 6, generator=rng())
    torch.testing.assert_close(made.map(z), made.map(7 * z))


def test_noise_is_the_files_in_decode_and_fresh_in_draft():
    made = network(noise=True)
    w = made.prior(2, rng())
    assert torch.equal(made.decode(w), made.decode(w))
    assert torch.equal(made.draft(w, rng(1)), made.draft(w, rng(1)))
    assert not torch.equal(made.draft(w, rng(1)), made.draft(w, rng(2)))
    assert {k for k in made.state_dict() if k.endswith(".noise")} == {f"layers.{i}.noise" for i in range(5)}


def test_a_mean_that_came_with_weights_is_that_of_truncation_until_they_are_trained():
    made = network()
    drawn = prior(made, 2, 0, truncation=0.0).values
    made.average.fill_(0.5)
    assert torch.equal(prior(made, 2, 0, truncation=0.0).values, torch.full((2, 1, 6), 0.5))
    made.train().map(torch.ones(1, 6))
    assert torch.equal(prior(made.eval(), 2, 0, truncation=0.0).values, drawn)


def test_codes_are_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert network().map(torch.ones(2, 6)).dtype == torch.float32


@pytest.mark.parametrize("image_shape", [(1, 32, 32), (3, 64, 64)])
def test_sizes_and_grey_images(image_shape):
    made = network(image_shape=image_shape)
    w = made.prior(4, rng())
    assert made.decode(w).shape == (4, *image_shape)
    assert made.critic(made.decode(w)).shape == (4,)


def test_the_published_networks_size():
    """Configuration F at 1,024 px: 30.37 million parameters, as stylegan2-ada-pytorch counts its generator's."""
    with torch.device("meta"):
        made = StyleGAN2((3, 1024, 1024), noise=True)
    assert made.code_shape == (18, 512)
    own = sum(p.numel() for p in made.critic.parameters())
    assert (sum(p.numel() for p in made.parameters()) - own, own) == (30_370_060, 29_012_513)


@pytest.mark.parametrize("size", [8, 24, 2048])
def test_other_sizes_are_refused(size):
    with pytest.raises(UsageError, match=r"g: stylegan2 expects a square of a power of two from 16 to 1024 px, found"):
        config.build(GENERATORS, {"name": "stylegan2"}, "g", image_shape=(3, size, size))


def test_a_code_of_an_image_does_not_depend_on_its_neighbours():
    made, x = network(InvertibleStyleGAN2), torch.randn(4, *IMAGE, generator=rng())
    assert made.critic.group == 1
    torch.testing.assert_close(made.encode(x)[1:2], made.encode(x[1:2]))
    assert made.encode(x).shape == (4, 1, 6)


def test_the_objective_wants_whole_groups():
    with pytest.raises(UsageError, match=r"train.batch: expected a multiple of 4, .* found 6; choose one"):
        GAN(network(), batch=6)


def test_every_weight_learns_with_mixing_noise_and_path_length():
    objective = GAN(network(noise=True), batch=4, mixing=0.9, path_length=2.0).train()
    batch = {"images": torch.randn(4, *IMAGE, generator=rng()), "places": torch.arange(4), "rows": torch.arange(4)}
    taught = {}
    for phase in objective.phases:
        parameters = objective.moved(phase)
        total = phase.total(phase.loss(batch, rng()))
        for p, g in zip(parameters, torch.autograd.grad(total, parameters, allow_unused=True), strict=True):
            taught[id(p)] = taught.get(id(p), 0) + (0 if g is None else g.abs().sum().item())
    assert {name for name, p in objective.network.named_parameters() if not taught.get(id(p))} == set()
