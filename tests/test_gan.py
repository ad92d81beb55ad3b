"""GANs: losses, penalties and the augmenter against closed forms; InvGAN's terms; what a run tells of trouble."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fgcli import config
from fgcli.capabilities import Contested, Critic
from fgcli.errors import UsageError
from fgcli.frechet import Gaussian, frechet
from fgcli.generators import GENERATORS
from fgcli.generators.dcgan import DCGAN, InvertibleDCGAN
from fgcli.objectives.augmenter import MOST, Augmenter, colour, hole, move
from fgcli.objectives.gan import GAN, auto_gamma, critic_loss, generator_loss, look
from fgcli.objectives.invgan import InvGAN, discrepancy

IMAGE = (3, 16, 16)


class LinearCritic(Critic):
    """s(x) = <a, x>, in the images' float64."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(math.prod(IMAGE), generator=rng(7)))
        self.size = 1

    def features(self, images, condition=None):
        return [images, (images.flatten(1) @ self.a)[:, None]]

    def score(self, features, labels=None):
        return features[:, 0]


class LinearGenerator(Contested):
    """G(w) = w B, w = z."""

    space = "w"

    def __init__(self) -> None:
        super().__init__()
        self.image_shape, self.code_shape, self.mapped_size = IMAGE, (1, 5), 5
        self.b = nn.Parameter(torch.randn(5, math.prod(IMAGE), generator=rng(8)) / 20)
        self.one = nn.Parameter(torch.ones(()))
        self.oppose(LinearCritic())

    def map(self, z, labels=None):
        return self.one * z[:, None]

    def decode(self, codes, condition=None):
        return (codes.flatten(1) @ self.b).unflatten(1, IMAGE)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def photos(n=8, seed=1):
    rows = torch.rand(n, *IMAGE, generator=rng(seed)) * 2 - 1
    return {"images": rows, "rows": torch.arange(n), "places": torch.arange(n)}


def small(**arguments):
    torch.manual_seed(0)
    return DCGAN(IMAGE, codes=6, width=1 / 64, **arguments)


def inverting():
    torch.manual_seed(0)
    return InvertibleDCGAN(IMAGE, codes=6, width=1 / 64)


# ---- losses


def test_losses_are_their_formulas():
    real, fake = torch.tensor([0.3, -1.2, 4.0]), torch.tensor([-0.5, 0.7, 2.0])
    log = lambda s: -torch.log(1 / (1 + torch.exp(-s)))  # noqa: E731
    torch.testing.assert_close(critic_loss("logistic", real, fake), (log(real) + log(-fake)).mean())
    torch.testing.assert_close(generator_loss("logistic", fake, None), log(fake).mean())
    torch.testing.assert_close(critic_loss("relativistic", real, fake), log(real - fake).mean())
    torch.testing.assert_close(generator_loss("relativistic", fake, real), log(fake - real).mean())
    hinge = ((1 - real).clamp(min=0) + (1 + fake).clamp(min=0)).mean()
    torch.testing.assert_close(critic_loss("hinge", real, fake), hinge)
    assert generator_loss("hinge", fake, None) == -fake.mean()


@pytest.mark.parametrize(("loss", "times"), [("logistic", 1), ("relativistic", 2)])
def test_the_penalty_of_a_linear_critic_is_the_norm_of_its_weights(loss, times):
    """ds/dx = a whatever the images, so R1 = |a|^2, R2 as much, and their gradient is 2 a each."""
    objective = GAN(LinearGenerator(), batch=8, loss=loss, gamma=1.0)
    (phase,) = [p for p in objective.phases if p.name == "penalty"]
    found = phase.loss(photos(), rng())["penalty"]
    a = objective.network.critic.a
    torch.testing.assert_close(found, times * a.square().sum())
    torch.testing.assert_close(torch.autograd.grad(found, a)[0], times * 2 * a)
    assert (phase.weights, phase.interval) == ({"penalty": 0.5}, 16)


def test_path_lengths_of_a_linear_generator_and_their_gradient():
    """J^T y = B y / 16 for every w, so lengths depend on B alone; the gradient is checked by differences."""
    objective = GAN(LinearGenerator(), batch=8, gamma=1.0, path_length=2.0)
    objective.path_mean.fill_(0.4)
    (phase,) = [p for p in objective.phases if p.name == "path"]
    b, batch = objective.network.b, photos()

    def by_hand(b):
        draws = rng(3)
        torch.randn(8, 5, generator=draws)  # the codes, which do not matter
        y = torch.randn(8, *IMAGE, generator=draws).flatten(1)
        lengths = (y @ b.T / 16).square().sum(1).sqrt()
        mean = 0.99 * 0.4 + 0.01 * lengths.mean().detach()
        return (lengths - mean).square().mean(), lengths.mean()

    terms, (value, length) = phase.loss(batch, rng(3)), by_hand(b)
    torch.testing.assert_close(terms["path"], value)
    torch.testing.assert_close(terms["length"], length.detach())
    (slope,), (expected,) = torch.autograd.grad(terms["path"], b), torch.autograd.grad(value, b)
    assert slope.norm() > 1e-3  # a penalty without a gradient teaches nothing
    torch.testing.assert_close(slope, expected)
    phase.after({"length": 2.0})
    assert float(objective.path_mean) == pytest.approx(0.99 * 0.4 + 0.01 * 2)


def test_gamma_by_itself_and_none():
    assert auto_gamma((3, 1024, 1024), 32) == pytest.approx(6.5536)
    weights = [p.weights for p in GAN(small(), batch=8).phases if p.name == "penalty"]
    assert weights == [{"penalty": 0.0002 * 256 / 8 / 2}]
    with pytest.raises(UsageError, match=r"^train\.objective\.gamma: expected above 0, found 0: DCGANCritic diverges"):
        GAN(small(), batch=8, gamma=0.0)


def test_a_batch_that_the_critic_cannot_group_is_refused():
    generator = small()
    generator.critic.group = 4
    with pytest.raises(UsageError, match=r"^train\.batch: expected a multiple of 4, .* found 6; choose one$"):
        GAN(generator, batch=6)


def test_neither_side_teaches_the_other():
    objective = GAN(small(), batch=8)
    owners = [{id(p) for p in objective.moved(phase)} for phase in objective.phases]
    critic = {id(p) for p in objective.network.critic.parameters()}
    assert owners == [critic, critic, {id(p) for p in objective.network.parameters()} - critic]


# ---- the augmenter


def test_at_probability_0_nothing_changes_and_at_1_everything_does():
    images, places = photos()["images"], torch.arange(8)
    assert torch.equal(Augmenter(0.0)(images, rng(), 8, places), images)
    changed = Augmenter(1.0)(images, rng(), 8, places)
    assert ((changed - images).abs().flatten(1).max(1).values > 0.05).all()
    few = Augmenter(0.05)(photos(200)["images"], rng(), 200, torch.arange(200))
    same = (few == photos(200)["images"]).flatten(1).all(1).float().mean()
    assert abs(float(same) - 0.95**6) < 0.1  # six kinds of change


def test_each_process_changes_its_rows_as_one_would():
    images = photos()["images"]
    whole = Augmenter(0.7)(images, rng(), 8, torch.arange(8))
    for first in (0, 1):
        places = torch.arange(first, 8, 2)
        torch.testing.assert_close(Augmenter(0.7)(images[places], rng(), 8, places), whole[places])


def test_a_translation_moves_by_whole_pixels_and_mirrors_at_the_border():
    image = torch.arange(256.0).reshape(1, 1, 16, 16)
    on, uniform = torch.tensor([[True, False, False]]), torch.tensor([[1.0, 0.5, 0.5, 0.5]])
    found = move(image, on, uniform, torch.zeros(1))  # to the left by 16 / 8 = 2 px
    torch.testing.assert_close(found[..., :14], image[..., 2:], rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(found[..., 14:], image[..., 14:].flip(3), rtol=1e-4, atol=1e-2)


def test_colours_and_holes():
    image = torch.full((1, 3, 16, 16), 0.25)
    light = colour(image, torch.tensor([[True, False]]), torch.tensor([[1.0, 0.0, 0.0]]))
    torch.testing.assert_close(light, image + 0.2)
    assert torch.equal(colour(image, torch.tensor([[False, False]]), torch.ones(1, 3)), image)
    cut = hole(image, torch.tensor([True]), torch.tensor([[0.5, 0.5]]))
    assert (cut == 0).sum() == 3 * 8 * 8
    assert (cut[..., 4:12, 4:12] == 0).all()


def test_gradients_flow_through_every_change():
    images = photos(4)["images"].requires_grad_()
    (slope,) = torch.autograd.grad(Augmenter(0.8)(images, rng(2), 4, torch.arange(4)).sum(), images)
    assert (slope.flatten(1).norm(dim=1) > 0).all()


def test_the_controller_follows_what_the_critic_knows():
    augmenter = Augmenter(0.0, target=0.6, images=100)
    for _ in range(3):
        augmenter.settle(0.9, batch=10)
    assert float(augmenter.p) == pytest.approx(0.3)
    augmenter.settle(0.5, batch=10)
    assert float(augmenter.p) == pytest.approx(0.2)
    for _ in range(20):
        augmenter.settle(0.9, batch=10)
    assert float(augmenter.p) == pytest.approx(MOST)
    fixed = Augmenter(0.5)
    fixed.settle(0.9, batch=10)
    assert float(fixed.p) == 0.5


# ---- the score, and trouble


def test_the_score_sees_parts_out_of_place():
    """The same pixels in another order: means of the whole do not change, edges in cells do."""
    images = photos(300)["images"]
    images[:, :, 6:10, 4:12] = 1.0
    moved = images.roll(5, 2)
    own = frechet(Gaussian(look(images[:150])), Gaussian(look(images[150:])))
    assert frechet(Gaussian(look(images)), Gaussian(look(moved))) > 5 * own


def test_collapse_and_a_critic_that_teaches_nothing_are_told():
    objective = GAN(small(), batch=8)
    assert objective.trouble() == ""
    values = {"certainty": 0.999, "sign": 1.0}
    for _ in range(400):
        objective.settle(values)
    assert "tells real from made with 100% certainty" in objective.trouble()
    for _ in range(400):
        objective.settle_spread({"spread": 0.01})
    assert "the samples have collapsed, they differ 0.01 times as much" in objective.trouble()


# ---- InvGAN


def test_the_discrepancy_is_its_double_sum():
    x, y = torch.randn(6, 3, generator=rng(1)).double(), torch.randn(7, 3, generator=rng(2)).double() + 1
    median = np.median([float((a - b).square().sum()) for a in x for b in y])
    median = torch.stack([(a - b).square().sum() for a in x for b in y]).median()

    def k(a, b):
        return np.mean([math.exp(-float((a - b).square().sum()) / (s * float(median))) for s in (0.25, 0.5, 1, 2, 4)])

    own = [np.mean([k(a, b) for i, a in enumerate(r) for j, b in enumerate(r) if i != j]) for r in (x, y)]
    expected = sum(own) - 2 * np.mean([k(a, b) for a in x for b in y])
    assert float(discrepancy(x, y)) == pytest.approx(expected, abs=1e-6)
    near = [float(discrepancy(*torch.randn(2, 40, 3, generator=rng(s)))) for s in range(30)]
    assert abs(np.mean(near)) < 3 * np.std(near) / 30**0.5  # unbiased: 0 where both are alike


def test_half_of_the_fakes_have_codes_of_the_batch_before():
    objective = InvGAN(inverting(), batch=8).train()
    batch = photos()
    first = objective.codes(batch, rng(), None)
    terms = objective.critic_loss(batch, rng(1))
    objective.settle({name: value.item() for name, value in terms.items()})
    second = objective.codes(batch, rng(), None)
    assert torch.equal(first[:4], second[:4])
    torch.testing.assert_close(second[4:], objective.network.encode(batch["images"])[:4])
    assert not objective.before.requires_grad


def test_fakes_of_inferred_codes_are_of_no_class():
    torch.manual_seed(0)
    network = config.build(
        GENERATORS,
        {"name": "invertible_biggan", "codes": 6, "width": 0.1, "classes": 3},
        "test",
        image_shape=(3, 16, 16),
    )
    objective = InvGAN(network, batch=8).train()
    batch = photos() | {"labels": torch.arange(8) % 3}
    assert (objective.fakes(batch, rng())[2] >= 0).all()  # before there was a batch before
    terms = objective.critic_loss(batch, rng(1))
    objective.settle({name: value.item() for name, value in terms.items()})
    labels = objective.fakes(batch, rng())[2]
    assert (labels[:4] >= 0).all()
    assert (labels[4:] == -1).all()


def test_through_inferred_codes_alone_the_generator_teaches_the_critic():
    """With the codes' way cut, no weight of the critic has a gradient."""
    objective = InvGAN(inverting(), batch=8).train()
    (phase,) = [p for p in objective.phases if p.name == "generator"]
    assert phase.groups == ("generator", "critic")
    critic = objective.opponent()
    for term in ("matching", "mmd"):
        value = phase.loss(photos(), rng())[term]
        slopes = torch.autograd.grad(value, critic, allow_unused=True)
        heads = {id(p) for p in objective.network.critic.head.parameters()}
        taught = {id(p) for p, g in zip(critic, slopes, strict=True) if g is not None and g.norm() > 0}
        assert taught == {id(p) for p in critic} - heads
    gan = phase.loss(photos(), rng())["gan"]
    assert all(g is None for g in torch.autograd.grad(gan, critic, allow_unused=True))


def test_the_naive_model_is_a_gan_with_inference():
    naive = InvGAN(inverting(), batch=8, inferred=0.0, matching=0.0, mmd=0.0)
    plain = GAN(inverting(), batch=8)
    batch = photos()
    found, expected = naive.critic_loss(batch, rng()), plain.critic_loss(batch, rng())
    torch.testing.assert_close(found["gan"], expected["gan"])
    assert set(found) - set(expected) == {"latent", "codes"}
    assert naive.phases[-1].groups == ("generator",)


def test_classes_are_told_from_inferred_codes():
    objective = InvGAN(inverting(), batch=8, classes=3)
    batch = photos() | {"labels": torch.tensor([0, 1, 2, -1, -1, -1, -1, -1])}
    found = objective.critic_loss(batch, rng())["classes"]
    logits = objective.reader(objective.network.encode(batch["images"])[:3, 0])
    torch.testing.assert_close(found, F.cross_entropy(logits, torch.arange(3)))
    none = objective.critic_loss(batch | {"labels": torch.full((8,), -1)}, rng())["classes"]
    assert float(none) == 0


def test_codes_that_run_away_are_told():
    objective = InvGAN(inverting(), batch=8)
    objective.watched_codes.fill_(3.0)
    assert "inferred codes deviate by 3.0" in objective.trouble()
