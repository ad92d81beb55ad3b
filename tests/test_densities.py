"""Densities against scipy and scikit-learn."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import write_latents
from scipy.stats import multivariate_normal
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

from fgcli import artifacts, config, densities
from fgcli.densities import DENSITIES, descent
from fgcli.densities.bayesian_gmm import BayesianGMM
from fgcli.densities.flow import Flow
from fgcli.densities.gaussian import Gaussian
from fgcli.densities.gmm import GMM
from fgcli.densities.isotropic import Isotropic
from fgcli.densities.mixture import Mixture, standardize
from fgcli.densities.two_stage_vae import TwoStageVAE
from fgcli.errors import FgError, UsageError
from fgcli.reports.nouns import NOUNS
from fgcli.stages import density as stage
from fgcli.stages import report


def correlated(n=500, shape=(2, 3), seed=0):
    """Codes (n, l, d) with means, scales and correlations of their own."""
    rng = np.random.default_rng(seed)
    size = shape[0] * shape[1]
    mixing = np.random.default_rng(9).standard_normal((size, size)) * np.logspace(-1, 1, size)
    return (rng.standard_normal((n, size)) @ mixing + np.arange(size)).reshape(n, *shape).astype(np.float32)


def three_clusters(n=900, seed=0):
    """Codes (n, 1, 2) around three far centres."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0, 0], [10, 0], [0, 10]])
    return (centres[rng.choice(3, n, p=[0.5, 0.3, 0.2])] + rng.standard_normal((n, 2)))[:, None].astype(np.float32)


def two_blobs(n=1200, seed=0):
    """Codes (n, 1, 2): two narrow blobs."""
    rng = np.random.default_rng(seed)
    side = rng.choice([-1.0, 1.0], n)[:, None]
    return (side * [3, 1] + 0.5 * rng.standard_normal((n, 2)))[:, None].astype(np.float32)


def hard(n=200):
    """Codes as deterministic ones are: dimensions that repeat, stand still, are of 1e-7 and of 1e5."""
    a, b = np.random.default_rng(0).standard_normal((2, n))
    return np.stack([a, a, np.full(n, 3.0), 1e-7 * b, 1e5 * b], 1)[:, None]


MIXTURES = [Gaussian(), GMM(components=2, starts=1), BayesianGMM(components=2)]
NETWORKS = [Flow(transforms=2, hidden=16, epochs=3), TwoStageVAE(width=0.05, epochs=3)]


def named(kinds):
    return {"argvalues": kinds, "ids": lambda kind: type(kind).__name__}


# ---- log_prob


def test_gaussian_log_prob_is_that_of_scipy():
    codes, new = correlated(), correlated(50, seed=1)
    flat = codes.reshape(len(codes), -1).astype(np.float64)
    density = Gaussian(regularize=1e-3).fit(codes, seed=0)
    scale = flat.std(0)
    covariance = np.cov(flat.T, bias=True) + 1e-3 * np.diag(scale**2)
    expected = multivariate_normal(flat.mean(0), covariance).logpdf(new.reshape(len(new), -1).astype(np.float64))
    np.testing.assert_allclose(density.log_prob(new), expected, rtol=1e-9)


def test_gmm_log_prob_is_that_of_scikit_learn():
    codes, new = three_clusters(), three_clusters(50, seed=1)
    density = GMM(components=3, regularize=1e-4, starts=2).fit(codes, seed=5)
    x, center, scale = standardize(codes)
    model = GaussianMixture(3, reg_covar=1e-4, n_init=2, max_iter=500, random_state=5).fit(x)
    z = ((new - center) / scale).reshape(len(new), -1)
    expected = model.score_samples(z) - np.log(scale).sum()  # change of variables
    np.testing.assert_allclose(density.log_prob(new), expected, rtol=1e-9)


def test_bayesian_gmm_is_the_mixture_of_scikit_learn():
    codes, new = three_clusters(), three_clusters(50, seed=1)
    density = BayesianGMM(components=5).fit(codes, seed=5)
    x, center, scale = standardize(codes)
    model = BayesianGaussianMixture(n_components=5, weight_concentration_prior=0.1, random_state=5).fit(x)
    z = ((new - center) / scale).reshape(len(new), -1)
    parts = zip(model.weights_, model.means_, model.covariances_, strict=True)
    expected = np.log(sum(w * multivariate_normal(m, c).pdf(z) for w, m, c in parts)) - np.log(scale).sum()
    np.testing.assert_allclose(density.log_prob(new), expected, rtol=1e-8)
    assert (density.mixture.weights > 0.01).sum() == 3, "clusters that are not there lose their weight"


def test_isotropic_log_prob_is_that_of_scipy():
    codes = correlated(20)
    expected = multivariate_normal(np.zeros(6)).logpdf(codes.reshape(20, 6))
    np.testing.assert_allclose(Isotropic().fit(codes, 0).log_prob(codes), expected, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2])
def test_flow_log_prob_integrates_to_one(size):
    codes = two_blobs()[..., :size]
    density = Flow(transforms=3, epochs=5).fit(codes, seed=0)
    axis = np.linspace(-12, 12, 1201 if size == 1 else 301)
    grid = np.stack(np.meshgrid(*[axis] * size), -1).reshape(-1, 1, size)
    total = np.exp(density.log_prob(grid)).sum() * (axis[1] - axis[0]) ** size
    assert total == pytest.approx(1, abs=2e-3)


def test_flow_log_prob_is_the_change_of_variables_of_its_sampler():
    """Samples are images of known normal draws: p(z) = N(e) / |dz/de|, the derivative by finite differences."""
    density = Flow(epochs=5).fit(two_blobs(), seed=0)
    m, step = density.gaussian.mixture, 1e-5
    e = torch.from_numpy(np.random.default_rng(0).standard_normal((6, 2)))

    def image(noise):
        with torch.no_grad():
            return (density.net().transform.inv(noise).numpy() @ m.factors[0].T) * m.scale[0] + m.center[0]

    slopes = [(image(e + step * d) - image(e - step * d)) / (2 * step) for d in torch.eye(2)]
    expected = multivariate_normal(np.zeros(2)).logpdf(e) - np.log(np.abs(np.linalg.det(np.stack(slopes, -1))))
    np.testing.assert_allclose(density.log_prob(image(e)[:, None]), expected, rtol=1e-6)


def test_two_stage_log_prob_is_a_tight_bound_where_the_truth_is_known():
    """A decoder A u + b gives N(b, A A' + gamma^2 I); with its posterior in the encoder the bound is the truth."""
    density = TwoStageVAE(width=0.02, epochs=0).fit(two_blobs(), seed=0)
    a, b, gamma = 1.7, torch.tensor([0.3, -0.2]), 0.4
    density.net = torch.nn.ModuleDict({"decoder": Affine(a, b), "encoder": Posterior(a, b, gamma)})
    density.gamma2 = gamma**2
    codes = two_blobs(50, seed=3)
    x = (codes - density.center) / density.scale
    truth = multivariate_normal(b.numpy(), (a**2 + gamma**2) * np.eye(2)).logpdf(x[:, 0])
    np.testing.assert_allclose(density.log_prob(codes), truth - np.log(density.scale).sum(), atol=2e-5)
    density.net["encoder"] = Posterior(a, b + 0.1, 1.3 * gamma)  # another proposal only makes it noisier
    np.testing.assert_allclose(density.log_prob(codes), truth - np.log(density.scale).sum(), atol=0.2)


class Affine(torch.nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.a, self.b = a, b

    def forward(self, u):
        return self.a * u + self.b


class Posterior(Affine):
    """Mean and log deviation of u given z = a u + b + gamma e, the latter as an encoder's head before its tanh."""

    def __init__(self, a, b, gamma):
        super().__init__(a, b)
        self.gamma = gamma

    def forward(self, z):
        precision = 1 + self.a**2 / self.gamma**2
        log_sd = torch.full_like(z, -0.5 * np.log(precision))
        return torch.cat([(z - self.b) * (self.a / self.gamma**2 / precision), 5 * torch.atanh(log_sd / 5)], 1)


def test_mixture_log_prob_is_a_weighted_sum_of_gaussians():
    rng = np.random.default_rng(0)
    factors = np.tril(rng.standard_normal((2, 3, 3))) + 2 * np.eye(3)
    center, scale = rng.standard_normal((1, 3)), np.array([[0.5, 2.0, 3.0]])
    weights, means = np.array([0.3, 0.7]), rng.standard_normal((2, 3))
    codes = rng.standard_normal((20, 1, 3))
    stretch = np.diag(scale[0])
    expected = sum(
        w * multivariate_normal(center[0] + stretch @ m, stretch @ f @ f.T @ stretch).pdf(codes[:, 0])
        for w, m, f in zip(weights, means, factors, strict=True)
    )
    mixture = Mixture(weights, means, factors, center, scale)
    np.testing.assert_allclose(np.exp(mixture.log_prob(codes)), expected, rtol=1e-10)


def test_log_prob_is_finite_far_away_and_integrates_to_one():
    density = GMM(components=3, starts=1).fit(three_clusters(), seed=0)
    assert np.isfinite(density.log_prob(np.full((1, 1, 2), 1e4, np.float32))).all()
    axis = np.linspace(-8, 18, 400)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 1, 2)
    assert np.exp(density.log_prob(grid)).sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=1e-3)


# ---- fits and samples


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        (Gaussian(), correlated()),
        (GMM(components=3), three_clusters()),
        (BayesianGMM(components=3), three_clusters()),
        (Flow(epochs=0), correlated()),
    ],
)
def test_samples_have_the_codes_moments(kind, codes):
    density = kind.fit(codes, seed=0)
    drawn = density.sample(20_000, seed=1)
    assert drawn.shape == (20_000, *codes.shape[1:])
    assert drawn.dtype == np.float32
    flat, expected = (v.reshape(len(v), -1).astype(np.float64) for v in (drawn, codes))
    deviation = expected.std(0)
    np.testing.assert_allclose(flat.mean(0) / deviation, expected.mean(0) / deviation, atol=0.03)
    outer = np.outer(deviation, deviation)
    np.testing.assert_allclose(np.cov(flat.T) / outer, np.cov(expected.T) / outer, atol=0.05)


def test_a_flow_starts_as_the_gaussian_and_is_never_worse_on_what_it_holds_out():
    codes = correlated()
    start, one = Flow(epochs=0).fit(codes, seed=0), Gaussian().fit(codes, seed=0)
    np.testing.assert_allclose(start.log_prob(codes), one.log_prob(codes), rtol=1e-9)


@pytest.mark.parametrize("kind", **named([GMM(2), BayesianGMM(0.1, 2), Flow(transforms=2, hidden=32, epochs=40)]))
def test_two_blobs_are_fitted_better_than_by_one_gaussian(kind):
    held_out = two_blobs(500, seed=1)
    density, one = kind.fit(two_blobs(), seed=0), Gaussian().fit(two_blobs(), seed=0)
    assert density.log_prob(held_out).mean() > one.log_prob(held_out).mean() + 0.5
    drawn, truth = density.sample(5000, 2)[:, 0], two_blobs(5000, seed=2)[:, 0]
    np.testing.assert_allclose(drawn.mean(0), truth.mean(0), atol=0.3)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(truth.T), rtol=0.15)
    assert (np.abs(drawn[:, 0]) < 1).mean() < 0.1  # the truth: 3e-5; one Gaussian: 0.26


def test_a_second_vae_recovers_a_gaussians_moments_and_parts_two_blobs():
    density = TwoStageVAE(width=0.1, learning_rate=2e-3, epochs=25).fit(correlated(1500, (1, 3)), seed=0)
    drawn, truth = density.sample(20_000, 1)[:, 0], correlated(20_000, (1, 3))[:, 0]
    deviation = truth.std(0)
    np.testing.assert_allclose(drawn.mean(0) / deviation, truth.mean(0) / deviation, atol=0.15)
    outer = np.outer(deviation, deviation)
    np.testing.assert_allclose(np.cov(drawn.T) / outer, np.cov(truth.T) / outer, atol=0.2)
    parted = TwoStageVAE(width=0.1, learning_rate=2e-3, epochs=25).fit(two_blobs(), seed=0)
    held_out, one = two_blobs(500, seed=1), Gaussian().fit(two_blobs(), seed=0)
    assert parted.log_prob(held_out).mean() > one.log_prob(held_out).mean() + 0.3
    assert (np.abs(parted.sample(5000, 2)[:, 0, 0]) < 1).mean() < 0.1


@pytest.mark.parametrize(("beta", "variance"), [(0.5, 0.25), (1.5e-3, 7.5e-4)])
def test_beta_says_the_noise_of_the_second_vae(beta, variance):
    density = TwoStageVAE(width=0.02, beta=beta, epochs=1, regularize=1e-9).fit(two_blobs(), seed=0)
    assert density.gamma2 == pytest.approx(variance, rel=1e-5)


def test_the_noise_of_the_second_vae_is_solved():
    """At the mean squared residual the bound is highest."""
    density = TwoStageVAE(width=0.1, learning_rate=2e-3, epochs=5).fit(two_blobs(), seed=0)
    rows = torch.from_numpy(standardize(two_blobs())[0]).float()
    with torch.no_grad():
        mean, sd = density.encode(rows)
        u = mean + sd * torch.randn(mean.shape, generator=torch.Generator().manual_seed(9))
        residual = (rows - density.net["decoder"](u)).square().mean()
    assert density.gamma2 == pytest.approx(float(residual), rel=0.1)


@pytest.mark.parametrize("kind", [Flow, TwoStageVAE])
def test_networks_do_not_depend_on_what_ran_before(kind):
    codes = three_clusters(100)
    torch.manual_seed(1)
    first = kind(epochs=2).fit(codes, seed=3)
    torch.rand(5)
    state = torch.random.get_rng_state()
    second = kind(epochs=2).fit(codes, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(first.sample(4, 0), second.sample(4, 0))
    assert not np.array_equal(kind(epochs=2).fit(codes, seed=4).sample(4, 0), first.sample(4, 0))


@pytest.mark.parametrize("kind", NETWORKS, ids=["flow", "two_stage_vae"])
def test_a_networks_log_prob_of_a_code_does_not_depend_on_its_neighbours(kind):
    codes = three_clusters(300)
    density = kind.fit(codes, seed=0)
    np.testing.assert_allclose(density.log_prob(codes)[270:275], density.log_prob(codes[270:275]), rtol=1e-4)


def test_gmm_finds_the_clusters():
    density = GMM(components=3).fit(three_clusters(), seed=0)
    one = Gaussian().fit(three_clusters(), seed=0)
    assert np.sort(density.mixture.weights) == pytest.approx([0.2, 0.3, 0.5], abs=0.05)
    held_out = three_clusters(300, seed=2)
    assert density.log_prob(held_out).mean() > one.log_prob(held_out).mean() + 0.5
    # The entropy of the truth, its clusters apart: that of their shares and of one Gaussian.
    entropy = -sum(p * np.log(p) for p in (0.5, 0.3, 0.2)) + 1 + np.log(2 * np.pi)
    assert -density.log_prob(held_out).mean() == pytest.approx(entropy, abs=0.1)


# ---- hard codes


@pytest.mark.parametrize("kind", **named([*MIXTURES, *NETWORKS]))
def test_near_singular_codes_fit(kind):
    codes = hard()
    density = kind.fit(codes, seed=0)
    assert np.isfinite(density.log_prob(codes)).all()
    drawn = density.sample(2000, 0)[:, 0].astype(np.float64)
    np.testing.assert_allclose(drawn[:, 2], 3, atol=0.02)
    assert drawn[:, 4].std() == pytest.approx(codes[:, 0, 4].std(), rel=0.2)
    if not isinstance(kind, TwoStageVAE):  # one noise for all dimensions parts those that repeat each other
        assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] > 0.99


@pytest.mark.parametrize("kind", **named([*MIXTURES, *NETWORKS]))
def test_codes_of_low_rank_on_which_scikit_learn_alone_fails(kind):
    """What standardised codes in float64 are for."""
    rng = np.random.default_rng(0)
    codes = (rng.standard_normal((500, 4)) @ rng.standard_normal((4, 16))).astype(np.float32)
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        GaussianMixture(10, random_state=0).fit(codes)
    density = kind.fit(codes[:, None], seed=0)
    assert np.isfinite(density.log_prob(codes[:, None])).all()
    drawn = density.sample(3000, 1)[:, 0]
    np.testing.assert_allclose(drawn.std(0), codes.std(0), rtol=0.25)


@pytest.mark.parametrize("kind", **named([*MIXTURES, *NETWORKS]))
def test_fewer_codes_than_dimensions_fit(kind):
    codes = correlated(10, (1, 30))
    density = kind.fit(codes, seed=0)
    assert np.isfinite(density.log_prob(correlated(5, (1, 30), seed=1))).all()
    assert np.isfinite(density.sample(50, 0)).all()


def test_too_few_codes_for_the_components():
    with pytest.raises(FgError, match="gmm: expected at least 10 codes, found 7; lower density components"):
        GMM().fit(correlated(7), seed=0)


def test_codes_that_teach_nothing_are_told():
    with pytest.raises(FgError, match="flow: expected at least 2 codes, found 1; preprocess more"):
        Flow().fit(np.ones((1, 1, 2), np.float32), seed=0)
    with pytest.raises(FgError, match="two_stage_vae: expected codes that vary, found 5 equal ones"):
        TwoStageVAE().fit(np.ones((5, 1, 2), np.float32), seed=0)


@pytest.mark.parametrize("name", ["gaussian", "gmm", "bayesian_gmm", "flow"])
def test_singular_codes_without_regularisation_are_told(name):
    """Nobody should see LinAlgError."""
    a = np.random.default_rng(0).standard_normal(50)
    codes = np.stack([a, a], 1)[:, None].astype(np.float32)
    with pytest.raises(FgError, match="regularize"):
        config.build(DENSITIES, {"name": name, "regularize": 0.0}, "density.methods.x").fit(codes, seed=0)


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "gaussian", "regularize": -1},
        {"name": "gmm", "components": 0},
        {"name": "gmm", "starts": 0},
        {"name": "gmm", "regularize": -1e-9},
        {"name": "bayesian_gmm", "concentration": 0},
        {"name": "flow", "bins": 1},
        {"name": "flow", "learning_rate": 0},
        {"name": "two_stage_vae", "beta": -1},
        {"name": "two_stage_vae", "regularize": 0},
    ],
)
def test_arguments_are_checked(spec):
    with pytest.raises(UsageError, match=rf"density.methods.x.{list(spec)[1]}: input should be"):
        config.build(DENSITIES, spec, "density.methods.x")


# ---- density.h5


def clustered(path, train=60, val=20):
    """Writes latents.h5; returns its codes."""
    codes = three_clusters(train + val)
    split = np.array([0] * train + [1] * val, np.uint8)
    write_latents(path, codes, np.zeros((len(codes), 0), np.int8), [], split)
    return codes


def test_stage_scores_and_keeps_each_method(tmp_path):
    latents, output = tmp_path / "latents.h5", tmp_path / "density.h5"
    codes = clustered(latents)
    methods = {"one": {"name": "gaussian"}, "many": {"name": "gmm", "components": 3}}
    results = stage.run(latents, output, params=stage.Params(methods=methods, seed=1))
    loaded = densities.load(output)
    assert list(loaded.methods) == ["one", "many"]  # the order of the params: commands take the last one
    assert isinstance(loaded.methods["many"], GMM)
    direct = GMM(components=3).fit(codes[:60], seed=1)
    np.testing.assert_array_equal(loaded.sample("many", 5, 2).numpy(), direct.sample(5, 2))
    scores = artifacts.load(output, names=()).meta["methods"]["many"]["scores"]
    assert scores["held_out_log_likelihood"] == pytest.approx(direct.log_prob(codes[60:]).mean())
    assert scores["train_log_likelihood"] == pytest.approx(direct.log_prob(codes[:60]).mean())
    assert str(results["output"]) == str(output)
    first = output.read_bytes()
    stage.run(latents, output, params=stage.Params(methods=methods, seed=1))
    assert output.read_bytes() == first


def test_the_rate_halves_at_the_last_epoch_of_its_patience():
    """Of a loss that never falls: 5 times after 3 epochs each, then the descent ends."""
    module, looked = torch.nn.Linear(1, 1), []

    def loss(rows, rng):
        if not torch.is_grad_enabled():  # the held-out rows, at the start and after each epoch
            looked.append(len(rows))
        return 1 + 0 * module(rows).sum()

    x = np.zeros((20, 1), np.float32)
    descent.descend(module, loss, x, rate=0.1, batch=8, epochs=100, seed=0, name="test")
    assert looked == [2] * (1 + descent.HALVINGS * descent.PATIENCE)


def test_a_bound_is_not_called_a_likelihood(tmp_path):
    clustered(tmp_path / "latents.h5")
    methods = {"bound": {"name": "two_stage_vae", "width": 0.02, "epochs": 1}, "exact": {"name": "gaussian"}}
    params = stage.Params(methods=methods, seed=0)
    told = stage.run(tmp_path / "latents.h5", tmp_path / "density.h5", params=params)["nats per code"]
    assert set(told["bound"]) == {"train_log_likelihood_at_least", "held_out_log_likelihood_at_least"}
    assert set(told["exact"]) == {"train_log_likelihood", "held_out_log_likelihood"}
    stored = {
        "density": artifacts.load(tmp_path / "density.h5", names=()),
        "evaluation": SimpleNamespace(meta={"protocols": {}}),
    }
    bound, exact = (report._sample_note(name, stored, {}, NOUNS["faces"]) for name in ("bound", "exact"))
    assert "log-likelihood of codes outside the training split at least " in bound
    assert "log-likelihood" in exact
    assert "at least" not in exact


def test_stage_refuses_a_lone_code(tmp_path):
    clustered(tmp_path / "latents.h5", train=1)
    with pytest.raises(FgError, match="expected at least 2 codes of the train split, found 1"):
        stage.run(
            tmp_path / "latents.h5", tmp_path / "d.h5", params=stage.Params(methods={"g": {"name": "gaussian"}}, seed=0)
        )
    assert not (tmp_path / "d.h5").exists()


def test_a_dimension_that_hardly_varies_is_constant():
    codes = correlated(300, (1, 3))
    codes[:, 0, 1] = 0.5 + 1e-10 * codes[:, 0, 1]
    drawn = TwoStageVAE(width=0.02, epochs=1).fit(codes, seed=0).sample(100, 0)
    np.testing.assert_allclose(drawn[:, 0, 1], 0.5, atol=5e-3)  # the noise of `regularize` alone
    assert drawn.std(0)[0, [0, 2]].min() > 0.1


@pytest.mark.parametrize("name", ["density", "editor"])
def test_codes_that_are_no_numbers_are_refused(tmp_path, name):
    import importlib

    stage, latents = importlib.import_module(f"fgcli.stages.{name}"), tmp_path / "latents.h5"
    clustered(latents, 5, 1)
    with open(latents, "r+b") as file:
        stored = artifacts.rows(latents, "codes")
        file.seek(stored.offset + 4 * stored.strides[0])
        file.write(np.float32(np.nan).tobytes())
    given = {"methods": {"m": {"name": {"density": "gaussian", "editor": "mean_difference"}[name]}}, "seed": 0}
    params = stage.Params(**given | ({"attributes": [], "layers": None} if name == "editor" else {}))
    message = (
        r"latents.h5: expected finite numbers in codes, found NaN or infinity in 1 of 6 rows, the first of them 4; run"
    )
    with pytest.raises(FgError, match=message):
        stage.run(latents, output=tmp_path / "out.h5", params=params)
    assert not (tmp_path / "out.h5").exists()
