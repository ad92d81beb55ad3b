"""StyleGAN2's arithmetic against the paper's words: a kernel for every image, scipy's filters, plain definitions."""

import math

import numpy as np
import pytest
import scipy.signal
import torch
import torch.nn.functional as F

from fgcli.capabilities import Invertible
from fgcli.codes import coded, decode, prior
from fgcli.generators.stylegan2 import InvertibleStyleGAN2, StyleGAN2
from fgcli.layers.stylegan2 import Conv, Dense, Modulated, ToColour, deviation, doubled, filtered

KERNEL = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def same(value, expected, *inputs):
    """Values and gradients, of a random projection, in float64."""
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-10)
    y = normal(*value.shape, seed=9)
    ours, theirs = (torch.autograd.grad((v * y).sum(), inputs) for v in (value, expected))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def scipys(x, up=1, down=1, pad=(0, 0), gain=1.0):
    """Zeros between pixels, zero padding, full filter, every `down`-th pixel, by scipy."""
    wide = np.zeros((*x.shape[:2], x.shape[2] * up, x.shape[3] * up))
    wide[:, :, ::up, ::up] = x
    wide = np.pad(wide, ((0, 0), (0, 0), pad, pad))
    rows = [[scipy.signal.convolve2d(image, KERNEL * gain, "valid") for image in images] for images in wide]
    return torch.from_numpy(np.array(rows)[:, :, ::down, ::down])


def test_filters_are_scipys():
    x = normal(2, 3, 6, 8)
    torch.testing.assert_close(doubled(x), scipys(x.numpy(), up=2, pad=(2, 1), gain=4))
    torch.testing.assert_close(filtered(x, 1, 2), scipys(x.numpy(), down=2, pad=(1, 1)))
    torch.testing.assert_close(filtered(x, 2, gain=4), scipys(x.numpy(), pad=(2, 2), gain=4))


@pytest.mark.parametrize("up", [False, True])
def test_modulation_is_that_of_a_kernel_for_every_image(up):
    layer = Modulated(5, 4, 3, up=up).double()
    x, w = normal(2, 5, 6, 6).requires_grad_(), normal(2, 3, seed=1).requires_grad_()
    s = F.linear(w, layer.style.weight / math.sqrt(3), layer.style.bias)
    kernels = layer.weight[None] / math.sqrt(5 * 9) * s[:, None, :, None, None]
    kernels = kernels / (kernels.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    if up:
        made = [F.conv_transpose2d(a[None], k.transpose(0, 1), stride=2) for a, k in zip(x, kernels, strict=True)]
        y = filtered(torch.cat(made), 1, gain=4)
    else:
        y = F.conv2d(x.reshape(1, 10, 6, 6), kernels.flatten(0, 1), padding=1, groups=2).reshape(2, 4, 6, 6)
    expected = F.leaky_relu(y + layer.bias[:, None, None], 0.2) * math.sqrt(2)
    same(layer(x, w, None), expected, x, w, layer.weight, layer.style.weight)


def test_colours_are_modulated_and_not_demodulated():
    layer = ToColour(5, 3, 4).double()
    x, w = normal(2, 5, 6, 6).requires_grad_(), normal(2, 4, seed=1).requires_grad_()
    s = F.linear(w, layer.style.weight / 2, layer.style.bias) / math.sqrt(5)
    same(layer(x, w), torch.einsum("ncij,oc,nc->noij", x, layer.weight, s), x, w, layer.weight)


@pytest.mark.parametrize("side", [1, 3])
def test_halving_is_filter_then_stride(side):
    layer = Conv(3, 4, side, bias=False, down=True).double()
    x = normal(2, 3, 8, 8)
    wide = scipys(x.numpy(), pad=(2, 2) if side == 3 else (1, 1))
    expected = F.conv2d(wide, layer.weight / math.sqrt(3 * side**2), stride=2)
    torch.testing.assert_close(layer(x), expected)


def test_deviation_is_over_images_a_quarter_of_the_batch_apart():
    x = normal(8, 3, 4, 4)
    found = deviation(x, 4)
    for i in range(2):
        expected = x[i::2].var(0, correction=0).add(1e-8).sqrt().mean()
        torch.testing.assert_close(found[i::2, 3], expected.expand(4, 4, 4))
    assert torch.equal(found[:, :3], x)


def test_a_step_of_a_dense_layer_is_its_rate_times_that_of_unit_weights():
    torch.manual_seed(0)
    layer = Dense(400, 50, rate=0.01)
    assert float(layer.weight.std()) == pytest.approx(100, rel=0.02)
    x = torch.randn(1000, 400)
    assert float(layer(x).std()) == pytest.approx(1, rel=0.05)


def test_the_layers_of_a_code_govern_coarse_to_fine():
    torch.manual_seed(0)
    model = StyleGAN2((3, 32, 32), codes=8, width=1 / 256).eval()
    assert model.code_shape == (8, 8)
    one = prior(model, 4, seed=0)
    assert (one.space, one.values.shape) == ("w", (4, 1, 8))
    with torch.no_grad():
        plain = decode(model, one)
        spread = one.values.expand(-1, 8, -1).clone()
        torch.testing.assert_close(decode(model, coded(model, spread)), plain)
        spread[:, 7] = spread[:, 7].flip(0)  # the last colours alone
        assert not torch.equal(decode(model, coded(model, spread)), plain)


def test_noise_is_fixed_in_decoding_and_fresh_in_training():
    torch.manual_seed(0)
    model = StyleGAN2((3, 16, 16), codes=6, width=1 / 256, noise=True)
    for layer in model.convolutions:
        layer.strength.data.fill_(0.5)
    w = prior(model, 2, 0).values
    one, two = (model.draft(w, torch.Generator().manual_seed(s)) for s in (1, 2))
    assert not torch.equal(one, two)
    assert torch.equal(one, model.draft(w, torch.Generator().manual_seed(1)))
    assert torch.equal(model.decode(w), model.decode(w))


def test_codes_of_the_critic_do_not_depend_on_other_images():
    torch.manual_seed(0)
    model = InvertibleStyleGAN2((3, 16, 16), codes=6, width=1 / 256)
    assert isinstance(model, Invertible)
    assert (model.critic.group, StyleGAN2((3, 16, 16), codes=6, width=1 / 256).critic.group) == (1, 4)
    x = normal(8, 3, 16, 16).float()
    torch.testing.assert_close(model.encode(x)[:1], model.encode(x[:1]))


@pytest.mark.parametrize(("size", "layers"), [(8, 4), (256, 14), (1024, 18)])
def test_any_power_of_two(size, layers):
    model = StyleGAN2((3, size, size), codes=4, width=1 / 8192, widest=4)
    assert model.code_shape[0] == layers
    with pytest.raises(ValueError, match="stylegan2 expects a square of a power of two from 8 px, found 24x24"):
        StyleGAN2((3, 24, 24))
