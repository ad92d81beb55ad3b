"""Densities against scipy and scikit-learn."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from fgcli import artifacts, config, densities
from fgcli.densities import DENSITIES
from fgcli.densities.gaussian import Gaussian
from fgcli.densities.gmm import GMM
from fgcli.densities.mixture import Mixture, standardize
from fgcli.errors import FgError, UsageError
from fgcli.stages import density as stage


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


@pytest.mark.parametrize(("kind", "codes"), [(Gaussian(), correlated()), (GMM(components=3), three_clusters())])
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


def test_gmm_finds_the_clusters():
    density = GMM(components=3).fit(three_clusters(), seed=0)
    one = Gaussian().fit(three_clusters(), seed=0)
    assert np.sort(density.mixture.weights) == pytest.approx([0.2, 0.3, 0.5], abs=0.05)
    held_out = three_clusters(300, seed=2)
    assert density.log_prob(held_out).mean() > one.log_prob(held_out).mean() + 0.5
    # The entropy of the truth, its clusters apart: that of their shares and of one Gaussian.
    entropy = -sum(p * np.log(p) for p in (0.5, 0.3, 0.2)) + 1 + np.log(2 * np.pi)
    assert -density.log_prob(held_out).mean() == pytest.approx(entropy, abs=0.1)


def test_sample_depends_on_its_seed_alone():
    density = GMM(components=3).fit(three_clusters(), seed=0)
    np.testing.assert_array_equal(density.sample(9, 4), density.sample(9, 4))
    assert not np.array_equal(density.sample(9, 4), density.sample(9, 5))


# ---- hard codes


@pytest.mark.parametrize("kind", [Gaussian(), GMM(components=2, starts=1)])
def test_near_singular_codes_fit(kind):
    """A dimension that is constant, one that repeats another, one of 1e-7, one of 1e5: as deterministic codes are."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 200))
    codes = np.stack([a, a, np.full(200, 3.0), 1e-7 * b, 1e5 * b], 1)[:, None]
    density = kind.fit(codes, seed=0)
    assert np.isfinite(density.log_prob(codes)).all()
    drawn = density.sample(2000, 0)[:, 0].astype(np.float64)
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] > 0.99
    np.testing.assert_allclose(drawn[:, 2], 3, atol=0.02)
    assert drawn[:, 4].std() == pytest.approx(codes[:, 0, 4].std(), rel=0.1)


@pytest.mark.parametrize("kind", [Gaussian(), GMM(components=2, starts=1)])
def test_fewer_codes_than_dimensions_fit(kind):
    codes = correlated(10, (1, 30))
    density = kind.fit(codes, seed=0)
    assert np.isfinite(density.log_prob(correlated(5, (1, 30), seed=1))).all()
    assert np.isfinite(density.sample(50, 0)).all()


def test_too_few_codes_for_the_components():
    with pytest.raises(FgError, match="gmm: expected at least 10 codes, found 7; lower density components"):
        GMM().fit(correlated(7), seed=0)


@pytest.mark.parametrize("name", DENSITIES)
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
    ],
)
def test_arguments_are_checked(spec):
    with pytest.raises(UsageError, match=r"density.methods.x: g"):
        config.build(DENSITIES, spec, "density.methods.x")


# ---- density.h5


def write_latents(path, train=60, val=20):
    codes = three_clusters(train + val)
    arrays = {
        "codes": codes,
        "error": np.zeros(len(codes), np.float32),
        "attributes": np.zeros((len(codes), 0), np.int8),
        "split": np.array([0] * train + [1] * val, np.uint8),
    }
    meta = {"space": "z", "generator": "none", "attribute_names": []}
    artifacts.save(path, artifacts.LATENTS, arrays, params={}, inputs={}, meta=meta)
    return codes


def test_stage_scores_and_keeps_each_method(tmp_path):
    latents, output = tmp_path / "latents.h5", tmp_path / "density.h5"
    codes = write_latents(latents)
    methods = {"one": {"name": "gaussian"}, "many": {"name": "gmm", "components": 3}}
    results = stage.run(latents, output, params=stage.Params(methods=methods, seed=1))
    loaded = densities.load(output)
    assert list(loaded) == ["one", "many"]  # the order of the params: commands take the last one
    assert isinstance(loaded["many"], GMM)
    direct = GMM(components=3).fit(codes[:60], seed=1)
    np.testing.assert_array_equal(loaded["many"].sample(5, 2), direct.sample(5, 2))
    scores = artifacts.load(output, names=()).meta["methods"]["many"]["scores"]
    assert scores["held_out_log_likelihood"] == pytest.approx(direct.log_prob(codes[60:]).mean())
    assert scores["train_log_likelihood"] == pytest.approx(direct.log_prob(codes[:60]).mean())
    assert str(results["output"]) == str(output)
    first = output.read_bytes()
    stage.run(latents, output, params=stage.Params(methods=methods, seed=1))
    assert output.read_bytes() == first


def test_stage_refuses_a_lone_code(tmp_path):
    write_latents(tmp_path / "latents.h5", train=1)
    with pytest.raises(FgError, match="expected at least 2 codes of the train split, found 1"):
        stage.run(tmp_path / "latents.h5", tmp_path / "d.h5", params=stage.Params(methods={}, seed=0))
    assert not (tmp_path / "d.h5").exists()
