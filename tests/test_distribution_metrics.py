"""Distances between sets of images, each against another implementation, exact arithmetic or a closed form."""

import dataclasses
import hashlib

import mpmath
import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import torch
from conftest import painted
from torch_fidelity import metric_isc, metric_kid, metric_prc
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from fgcli import assets, backbones, frechet
from fgcli.artifacts.mapped import Chosen, MappedRows
from fgcli.backbones import inception
from fgcli.backbones.dlib_embedding import DlibEmbedding
from fgcli.backbones.laplacian import Laplacian
from fgcli.backbones.pixels import Pixels
from fgcli.errors import FgError, UsageError
from fgcli.metrics import create, inception_score, kid, neighbours, prd, precision_recall
from fgcli.metrics.distribution import Collection
from fgcli.metrics.frechet import Frechet
from fgcli.metrics.sharpness import Sharpness


def features(n, d, seed, gap=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d) + gap


# Fréchet -------------------------------------------------------------------------------------------------------------


def distance(a, b):
    return frechet.frechet(frechet.Gaussian(a), frechet.Gaussian(b))


def by_sqrtm(a, b):
    sa, sb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    gap = a.mean(0) - b.mean(0)
    return gap @ gap + np.trace(sa + sb - 2 * scipy.linalg.sqrtm(sa @ sb).real)


@pytest.mark.parametrize(("n", "m"), [(200, 300), (300, 200), (1500, 700)])
def test_frechet_is_that_of_sqrtm(n, m):
    a, b = features(n, 20, 0), features(m, 20, 1)
    assert distance(a, b) == pytest.approx(by_sqrtm(a, b), rel=1e-9)


def exactly(a, b):
    """The distance in 40 digits, from the eigenvalues of the product of the covariances."""
    with mpmath.workdps(40):
        sets = [mpmath.matrix(rows.tolist()) for rows in (a, b)]
        means = [mpmath.ones(1, x.rows) * x / x.rows for x in sets]
        centred = [x - mpmath.ones(x.rows, 1) * mean for x, mean in zip(sets, means, strict=True)]
        sa, sb = (c.T * c / (c.rows - 1) for c in centred)
        roots = sum(mpmath.sqrt(max(mpmath.re(v), 0)) for v in mpmath.eig(sa * sb, left=False, right=False))
        gap = means[0] - means[1]
        return float((gap * gap.T)[0] + sum((sa + sb)[i, i] for i in range(sa.rows)) - 2 * roots)


@pytest.mark.parametrize(("n", "m"), [(4, 6), (6, 30), (30, 5)])
def test_frechet_of_fewer_rows_than_features_is_exact(n, m):
    a, b = features(n, 9, 0), features(m, 9, 1)
    assert distance(a, b) == pytest.approx(exactly(a, b), rel=1e-12)


def test_both_branches_of_the_frechet_distance_agree():
    a, b = features(200, 40, 2), features(300, 40, 3)
    gaussians = [frechet.Gaussian(x) for x in (a, b)]
    assert frechet._by_eigenvalues(*gaussians) == pytest.approx(frechet._by_singular_values(*gaussians), rel=1e-10)
    # Fewer rows than features, in a space to which as many rows are enough.
    a, b = features(30, 12, 4), features(25, 12, 5)
    basis = np.linalg.qr(np.random.default_rng(6).normal(size=(50, 12)))[0]
    assert distance(a @ basis.T, b @ basis.T) == pytest.approx(distance(a, b), rel=1e-10)


def test_covariance_is_that_of_numpy_far_from_zero_and_over_chunks():
    rows = (features(1200, 7, 0) + 1e4).astype(np.float32)
    found = frechet.Gaussian(rows).covariance
    expected = np.triu(np.cov(rows.astype(np.float64), rowvar=False))
    assert np.abs(found - expected).max() < 1e-9 * np.abs(expected).max()


def test_frechet_of_two_gaussians_has_a_closed_form():
    rng = np.random.default_rng(0)
    white = rng.normal(size=(500, 4))
    white = np.linalg.qr(white - white.mean(0))[0] * np.sqrt(499)  # covariance exactly I, mean 0
    s, t, gap = np.array([1, 2, 3, 4.0]), np.array([2, 2, 1, 0.5]), np.array([1, 0, -2, 0.0])
    expected = gap @ gap + ((s - t) ** 2).sum()
    assert distance(white * s, white * t + gap) == pytest.approx(expected, rel=1e-10)


def test_frechet_of_features_that_depend_on_each_other():
    a = features(100, 10, 0)
    a = np.concatenate([a, a[:, :3]], axis=1)
    a[:, 4] = 7.0
    assert distance(a, a) == pytest.approx(0, abs=1e-8)
    assert distance(a, a + 1) == pytest.approx(13, rel=1e-10)
    grey = np.repeat(features(400, 12, 1), 3, axis=1), np.repeat(features(300, 12, 2), 3, axis=1)
    one, other = (x[:, ::3] for x in grey)
    assert distance(*grey) == pytest.approx(3 * distance(one, other), rel=1e-6)


def test_frechet_needs_two_rows():
    with pytest.raises(FgError, match="at least 2 images"):
        distance(np.zeros((1, 3)), np.zeros((5, 3)))


# KID -----------------------------------------------------------------------------------------------------------------


def fidelity_kid(a, b, size, subsets=1):
    about = {"kid_subsets": subsets, "kid_subset_size": size, "verbose": False, "rng_seed": 0}
    kind = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None}
    found = metric_kid.kid_features_to_metric(
        torch.from_numpy(a), torch.from_numpy(b), **about, **kind, kid_kernel_poly_coef0=1
    )
    return found["kernel_inception_distance_mean"]


def test_kid_is_that_of_torch_fidelity(monkeypatch):
    a, b = features(60, 8, 0), features(60, 8, 1)
    score = kid.KID("pixels").compute(a, b)
    assert score.numbers[""] == pytest.approx(fidelity_kid(a, b, 60), rel=1e-10)
    assert score.values.shape == (1,)  # one subset has all rows
    monkeypatch.setattr(kid, "SIZE", 100)
    a, b = features(130, 5, 2), features(150, 5, 2, gap=0.5)
    score = kid.KID("pixels").compute(a, b)
    assert score.values.shape == (100,)
    theirs, spread = fidelity_kid(a, b, 100, 100), score.values.std() / 10
    assert abs(score.numbers[""] - theirs) < 4 * np.sqrt(2) * spread


def test_kid_is_unbiased():
    rng = np.random.default_rng(0)
    found = [kid.squared_mmd(rng.normal(size=(12, 3)), rng.normal(size=(9, 3))) for _ in range(2000)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(2000)
    by_hand = [np.mean([(x @ y / 3 + 1) ** 3 for x in a for y in b]) for a, b in [(np.eye(3), 2 * np.eye(3))]]
    assert kid.kernel(np.eye(3), 2 * np.eye(3)).mean() == pytest.approx(by_hand[0])


# Inception score -----------------------------------------------------------------------------------------------------


def test_inception_score_is_that_of_torch_fidelity():
    logits = 3 * np.random.default_rng(0).normal(size=(103, 7))
    found = inception_score.inception_score(scipy.special.softmax(logits, axis=1), 10)
    theirs = metric_isc.isc_features_to_metric(torch.from_numpy(logits), splits=10, shuffle=False)
    assert found.mean() == pytest.approx(theirs["inception_score_mean"], rel=1e-12)
    assert found.std() == pytest.approx(theirs["inception_score_std"], rel=1e-9)


def test_inception_score_has_its_limits():
    certain = np.eye(5)[np.arange(50) % 5]
    assert inception_score.inception_score(certain, 2) == pytest.approx(5)  # all classes, no doubt
    assert inception_score.inception_score(np.full((50, 5), 0.2), 2) == pytest.approx(1)
    metric = create({"name": "inception_score", "features": "inception", "splits": 3}, "p")
    in_order = certain[np.argsort(np.arange(50) % 5)]
    assert metric.compute(in_order, in_order).numbers[""] > 3  # not split as they lie
    with pytest.raises(FgError, match="at least 3 images in each set, found 2"):
        metric.compute(certain[:2], certain)


# precision and recall ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("far", [0.0, 1e4])
def test_precision_and_recall_are_those_of_torch_fidelity(far, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", 50)
    found, real = features(150, 4, 0) + far, features(130, 4, 0, gap=1.0) + far
    numbers = precision_recall.PrecisionRecall("pixels").compute(found, real).numbers
    both = (torch.from_numpy(x - far) for x in (found, real))
    precision, recall = metric_prc.calculate_precision_recall_full(*both, 3)
    assert 0 < precision < 1
    assert 0 < recall < 1
    assert numbers == pytest.approx({"precision": precision, "recall": recall}, abs=1e-6)


def test_nearest_are_those_of_all_distances():
    rows, among = features(7, 3, 0) + 1e3, features(40, 3, 0)[::-1] + 1e3
    expected = np.argsort(((rows[:, None] - among) ** 2).sum(2), axis=1)[:, :4]
    for parts in ([among], np.split(among, [1, 3, 20])):
        np.testing.assert_array_equal(neighbours.nearest(rows, parts, 4), expected)
    assert neighbours.nearest(rows, [among[:2]], 4).shape == (7, 2)


# PRD -----------------------------------------------------------------------------------------------------------------


SLOPES = np.tan(np.arange(1, 1002) / 1002 * np.pi / 2)


def by_the_paper(p, q, slopes=SLOPES):
    """alpha(l) = sum min(l p, q), beta(l) = sum min(p, q / l), at l = tan(i / (m + 1) pi / 2); p is real."""
    curve = []
    for slope in slopes:
        alpha = sum(min(slope * x, y) for x, y in zip(p, q, strict=True))
        beta = sum(min(x, y / slope) for x, y in zip(p, q, strict=True))
        curve.append((alpha, beta))
    return np.array(curve).T


def best_f(curve, beta):
    return max((1 + beta**2) * a * b / (beta**2 * a + b) for a, b in curve.T if a + b > 0)


def test_prd_is_the_published_algorithm():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(20)), rng.dirichlet(np.ones(20))
    precision, recall = prd.prd_curve(q, p)
    same_angles = by_the_paper(p, q, np.tan(np.linspace(1e-10, np.pi / 2 - 1e-10, 1001)))
    assert np.stack([precision, recall]) == pytest.approx(same_angles, abs=1e-12)
    expected = by_the_paper(p, q)
    for beta in (8, 1 / 8):
        assert prd.f_beta(precision, recall, beta) == pytest.approx(best_f(expected, beta), abs=2e-3)
    # Around 20 far places k-means can only find the places: the whole metric, without knowing the clusters.
    places = 100 * rng.normal(size=(20, 6))
    found, real = (places[rng.choice(20, 400, p=weights)] + rng.normal(size=(400, 6)) for weights in (q, p))
    nearest = [neighbours.nearest(x, [places], 1)[:, 0] for x in (found, real)]
    shares = [np.bincount(x, minlength=20) / 400 for x in nearest]
    numbers = prd.PRD("pixels").compute(found, real).numbers
    expected = by_the_paper(shares[1], shares[0])
    assert numbers["f8"] == pytest.approx(best_f(expected, 8), abs=0.02)
    assert numbers["f1_8"] == pytest.approx(best_f(expected, 1 / 8), abs=0.02)


def test_prd_in_closed_cases():
    half, both = np.array([1.0, 0.0]), np.array([0.5, 0.5])
    for found, real, f8, f1_8 in (
        (both, both, 1, 1),
        (half, 1 - half, 0, 0),
        (half, both, 65 * 0.5 / 64.5, (65 / 64) * 0.5 / (1 / 64 + 0.5)),  # precision 1, recall 1/2
        (both, half, (65 * 0.5) / (32 + 1), (65 / 64) * 0.5 / (1 / 128 + 1)),  # precision 1/2, recall 1
    ):
        curve = prd.prd_curve(found, real)
        assert (prd.f_beta(*curve, 8.0), prd.f_beta(*curve, 1 / 8)) == pytest.approx((f8, f1_8), abs=2e-3)
    rows = features(60, 5, 0)
    metric = prd.PRD("pixels")
    score = metric.compute(rows, rows)
    assert score.numbers == pytest.approx({"f8": 1, "f1_8": 1})
    assert score.values.shape == (2, 1001)
    assert metric.compute(rows, rows[:40] + 1e3).numbers == pytest.approx({"f8": 0, "f1_8": 0}, abs=1e-6)
    with pytest.raises(FgError, match="at least 10 images"):
        metric.compute(rows, rows[:9])


# features ------------------------------------------------------------------------------------------------------------


def test_sharpness_is_that_of_scipy():
    images, _ = painted(4, 20)
    region = np.zeros((20, 20), bool)
    region[3:18, 2:15] = True
    grey = images / 255 @ np.array([0.299, 0.587, 0.114])
    expected = [scipy.ndimage.laplace(image)[4:17, 3:14].var() for image in grey]
    found = Laplacian(region)(images)
    assert found[:, 0] == pytest.approx(expected, rel=1e-4)
    blurred = np.stack([scipy.ndimage.gaussian_filter(image, (1, 1, 0)) for image in images])
    soft = Laplacian(region)(blurred)
    assert Sharpness().compute(soft, found).numbers[""] == pytest.approx(soft.mean() / found.mean())
    assert soft.mean() < 0.5 * found.mean()
    outside = images.copy()
    outside[:, ~region] = 0
    assert np.array_equal(Laplacian(region)(outside), found)
    with pytest.raises(FgError, match="3 x 3 px"):
        Laplacian(np.eye(20, dtype=bool))
    with pytest.raises(FgError, match="more than one colour"):
        Sharpness().compute(found, 0 * found)


@pytest.mark.parametrize(("size", "side"), [(32, 8), (8, 8), (5, 5)])
def test_pixels_are_means_of_what_they_cover(size, side):
    images, _ = painted(3, size)
    extractor = Pixels((3, size, size))
    blocks = images.reshape(3, side, size // side, side, size // side, 3).mean((2, 4)) / 255
    assert extractor(images) == pytest.approx(blocks.transpose(0, 3, 1, 2).reshape(3, -1), abs=1e-6)
    assert extractor.size == 3 * side**2


def test_faces_without_landmarks_have_no_embeddings():
    with DlibEmbedding(None) as embedder:
        for make in (
            lambda: backbones.create("dlib_embedding", "p", embedder=embedder, region=None),
            lambda: create({"name": "identity"}, "p", embedder=embedder),
        ):
            with pytest.raises(FgError, match="expected faces with landmarks, found none"):
                make()


def test_inception_gives_pool3_and_classes_in_one_pass(tmp_path, monkeypatch):
    entry = assets.ASSETS["inception"]
    path = tmp_path / entry.file
    torch.save({}, path)
    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        layers = ["2048", "logits_unbiased"]
        random = FeatureExtractorInceptionV3("x", layers, feature_extractor_weights_path=str(path))
    torch.save(random.state_dict(), path)
    content = path.read_bytes()
    known = dataclasses.replace(entry, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(assets.ASSETS, "inception", known)
    monkeypatch.setenv("FG_ASSETS", str(tmp_path))
    inception.load.cache_clear()
    extractor = backbones.create("inception", "p", region=None)
    inception.load.cache_clear()
    passes = []
    extractor.network.register_forward_hook(lambda *_: passes.append(1))
    images = painted(3, 32)[0]
    collection = Collection({"inception": extractor}, frozenset({"inception"}))
    collection.update("real", images)
    pool3, logits = random(torch.from_numpy(images).permute(0, 3, 1, 2))
    assert collection.rows("inception", "real") == pytest.approx(pool3.numpy(), abs=1e-5)
    assert collection.rows("inception", "real", classes=True) == pytest.approx(logits.softmax(1).numpy(), abs=1e-6)
    assert len(passes) == 1
    metric = create({"name": "frechet", "features": "inception"}, "p")
    assert metric.name == "frechet_inception"
    assert "this is FID" in metric.protocol["value"]
    assert metric.caveat(3, extractor.size) == "biased: n = 3 < 2048 features"


def test_features_without_room_are_one_sentence(tmp_path):
    collection = Collection({"x": lambda images: np.zeros((len(images), 2))}, folder=tmp_path / "new/folder")
    collection.update("real", painted(3, 8)[0])
    assert collection.rows("x", "real").shape == (3, 2)
    assert not list((tmp_path / "new/folder").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(FgError, match="expected room for the features of images, found: [^;]+; make room"):
        Collection(collection.extractors, folder=tmp_path / "file").update("real", painted(3, 8)[0])


def test_images_pass_an_extractor_once_for_all_metrics():
    seen = []
    collection = Collection({"x": lambda images: seen.append(len(images)) or images[:, :2, 0, 0].astype(np.float32)})
    images, _ = painted(30, 8)
    for name in ("real", "made"):
        collection.update(name, images[:20])
        collection.update(name, images[20:])
    metrics = [kind("x") for kind in (Frechet, kid.KID, precision_recall.PrecisionRecall, prd.PRD)]
    found = [collection.scores(metric, "real", ["real", "made"]) for metric in metrics]
    assert seen == [20, 10, 20, 10]
    names = [
        "frechet_x",
        "kid_x",
        "precision_recall_x_precision",
        "precision_recall_x_recall",
        "prd_x_f8",
        "prd_x_f1_8",
    ]
    assert [name for scores in found for name in scores.numbers] == names
    assert all(set(values) == {"made"} for scores in found for values in scores.numbers.values())


def test_unknown_features_and_features_without_classes_are_refused():
    with pytest.raises(UsageError, match=r"p.features: expected one of pixels.* \(did you mean 'pixels'"):
        create({"name": "kid", "features": "pixel"}, "p")
    with pytest.raises(UsageError, match="inception_score expects features that know classes, found 'pixels'"):
        create({"name": "inception_score", "features": "pixels"}, "p")
    with pytest.raises(UsageError, match="missing a required argument: 'features'"):
        create({"name": "frechet"}, "p")


def test_a_gaussian_of_many_rows_is_made_part_by_part(tmp_path):
    """As of all at once; its triangular factor too, where features depend on each other."""
    rows = np.random.default_rng(0).standard_normal((5000, 6)).astype(np.float32)
    rows[:, 5] = rows[:, 0] + 1
    kept = MappedRows(6, np.float32, tmp_path)
    kept.append(rows)
    places = np.flatnonzero(np.arange(5000) % 5)
    chosen = frechet.Gaussian(Chosen(kept.mapped(), places))
    np.testing.assert_allclose(chosen.mean, rows[places].mean(0, dtype=np.float64), atol=1e-12)
    expected = np.cov(rows[places].astype(np.float64), rowvar=False)
    np.testing.assert_allclose(np.triu(chosen.covariance), np.triu(expected), atol=1e-12)
    assert chosen.factor.shape == (6, 6)
    np.testing.assert_allclose(chosen.factor.T @ chosen.factor, expected, atol=1e-12)
    other = frechet.Gaussian(rows[:100] + np.float32(0.5))
    assert frechet.frechet(chosen, other) == pytest.approx(distance(rows[places], other.rows), rel=1e-9)
    assert np.mean(Chosen(kept.mapped(), places), dtype=np.float64) == pytest.approx(
        float(rows[places].mean()), abs=1e-6
    )
