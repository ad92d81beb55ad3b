"""BigGAN: weights held at norm 1, classes, attention."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from fgcli import config
from fgcli.codes import prior
from fgcli.errors import UsageError
from fgcli.generators import GENERATORS
from fgcli.generators.biggan import BigGAN, InvertibleBigGAN, SteeredNorm
from fgcli.layers.spectral import Attention, conv, held
from fgcli.objectives.gan import GAN
from fgcli.objectives.invgan import InvGAN

IMAGE = (3, 16, 16)
SMALL = {"codes": 6, "width": 0.02}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def network(kind=BigGAN, image_shape=IMAGE, **changes):
    torch.manual_seed(0)
    return kind(image_shape, **{**SMALL, **changes}).eval()


def batch(n=8, labels=True):
    found = {"images": torch.randn(n, *IMAGE, generator=rng(1)), "places": torch.arange(n), "rows": torch.arange(n)}
    return found | ({"labels": torch.arange(n) % 4 - 1} if labels else {})


# ---- weights


@pytest.mark.parametrize("layer", [nn.Linear(40, 30), nn.Conv2d(8, 16, 3), nn.Embedding(5, 12)])
def test_weights_are_held_at_spectral_norm_1_whatever_they_learn(layer):
    layer = held(layer)
    with torch.no_grad():
        layer.parametrizations.weight.original.copy_(3 * torch.randn(layer.weight.shape, generator=rng()))
    assert 1 <= torch.linalg.matrix_norm(layer.weight.flatten(1), 2) < 1.1
    assert torch.equal(layer.weight, layer.train().weight)
    assert torch.equal(layer.weight, layer.weight)  # nothing is counted on


def test_all_weights_but_the_mappings_are_held():
    free = {
        name
        for name, layer in network(classes=3).named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding) and not is_parametrized(layer)
    }
    assert free == {"embedding", "mapping.0", "mapping.2"}


def test_a_layer_learns_along_the_norm_only():
    """d/dW of f(W / sigma) has no part along W, since the scale of W has no effect."""
    layer = conv(4, 6, 3).double()
    layer(torch.randn(2, 4, 5, 5, dtype=torch.float64, generator=rng())).square().sum().backward()
    original = layer.parametrizations.weight.original
    assert (original.grad * original).sum().abs() < 1e-9 * original.grad.norm() * original.norm()


# ---- blocks


def test_attention_is_a_mean_of_values_over_the_places_that_answer():
    torch.manual_seed(0)
    layer = Attention(8).double()
    layer.requires_grad_(False)
    x = torch.randn(2, 8, 4, 4, dtype=torch.float64, generator=rng())
    q, k, v = (layer.queries(x), F.max_pool2d(layer.keys(x), 2), F.max_pool2d(layer.values(x), 2))
    plain = torch.empty_like(x)
    for n in range(2):
        for i in range(16):
            weights = torch.stack([q[n].flatten(1)[:, i] @ k[n].flatten(1)[:, j] for j in range(4)]).softmax(0)
            mean = v[n].flatten(1) @ weights
            plain[n, :, i // 4, i % 4] = x[n, :, i // 4, i % 4] + 0.1 * layer.out.weight[:, :, 0, 0] @ mean
    torch.testing.assert_close(layer(x), plain)


def test_the_code_steers_gain_and_bias_of_a_norm():
    torch.manual_seed(0)
    layer, x, w = SteeredNorm(5, 4), torch.randn(6, 5, 3, 3), torch.randn(6, 4)
    plain = F.batch_norm(x, None, None, training=True)
    gains, biases = w @ layer.gains.weight.T + 1, w @ layer.biases.weight.T
    torch.testing.assert_close(layer(x, w), plain * gains[:, :, None, None] + biases[:, :, None, None])


@pytest.mark.parametrize(("size", "side"), [(16, 8), (64, 32), (256, 64)])
def test_attention_is_at_64_px_or_half_the_image(size, side):
    made = network(image_shape=(1, size, size), width=0.001)
    seen = []
    for attention in (made.attention, made.critic.attention):
        attention.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[2]))
    with torch.no_grad():
        images = made.decode(torch.zeros(2, 1, 6))
        assert made.critic(images).shape == (2,)
    assert images.shape == (2, 1, size, size)
    assert seen == [side, side]


# ---- classes


def test_the_class_is_in_the_code_and_the_score():
    made = network(classes=3)
    z, zero, one = torch.randn(4, 6, generator=rng()), torch.zeros(4, dtype=torch.long), torch.ones(4, dtype=torch.long)
    assert not torch.equal(made.map(z, zero), made.map(z, one))
    images = made.decode(made.map(z, zero))
    features = made.critic.features(images)[-1]
    class_part = features @ made.critic.embedding.weight[1]
    torch.testing.assert_close(made.critic(images, one), made.critic.head(features)[:, 0] + class_part)
    torch.testing.assert_close(made.critic(images, -one), made.critic.head(features)[:, 0])  # without a class
    assert torch.equal(made.critic(images, None), made.critic.head(features)[:, 0])


def test_draws_of_the_prior_are_of_all_classes_and_have_unit_variance():
    made = network(classes=3).train()
    for _ in range(60):  # the norm's averages settle
        made.map(torch.randn(256, 6), torch.randint(3, (256,)))
    w = prior(made.eval(), 2000, 0).values
    assert w.shape == (2000, 1, 6)
    torch.testing.assert_close(w.std((0, 1)), torch.ones(6), atol=0.1, rtol=0)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize(("kind", "objective"), [(BigGAN, GAN), (InvertibleBigGAN, InvGAN)])
def test_every_weight_learns_without_a_penalty(kind, objective, classes):
    trained = objective(network(kind, classes=classes), batch=8, loss="hinge", gamma=0.0).train()
    taught = set()
    for phase in trained.phases:
        parameters = trained.moved(phase)
        total = phase.total(phase.loss(batch(labels=classes > 0), rng()))
        for p, g in zip(parameters, torch.autograd.grad(total, parameters, allow_unused=True), strict=True):
            taught |= {id(p)} if g is not None and g.abs().sum() > 0 else set()
    assert {name for name, p in trained.network.named_parameters() if id(p) not in taught} == set()


@pytest.mark.parametrize("size", [8, 24, 1024])
def test_other_sizes_are_refused(size):
    with pytest.raises(UsageError, match=r"g: biggan expects a square of a power of two from 16 to 512 px, found"):
        config.build(GENERATORS, {"name": "biggan"}, "g", image_shape=(3, size, size))
