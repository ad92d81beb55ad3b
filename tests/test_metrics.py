"""Every number against another implementation or a closed form."""

import lpips
import numpy as np
import piq
import pytest
import scipy.linalg
import skimage.metrics
import torch

from fgcli import assets
from fgcli.backbones import FEATURES, dlib_embedding, lpips_network
from fgcli.errors import FgError, UsageError
from fgcli.metrics import METRICS, create, label, ms_ssim
from fgcli.metrics.pixels import L1, L2
from fgcli.metrics.ssim import SSIM
from fgcli.pixels.ssim import ssim, ssim_map

SIZE = 64


def blobs(n, size=SIZE, seed=0):
    """Smooth random uint8 images (n, size, size, 3)."""
    coarse = torch.rand(n, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)
    return (fine * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def noisy(images, seed=1, amount=20):
    noise = np.random.default_rng(seed).normal(0, amount, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def disc(n, size=SIZE):
    y, x = np.mgrid[:size, :size]
    return np.broadcast_to((y - size / 2) ** 2 + (x - size / 2) ** 2 < (0.35 * size) ** 2, (n, size, size)).copy()


def signed(images, dtype=torch.float64):
    return torch.from_numpy(images).permute(0, 3, 1, 2).to(dtype) / 127.5 - 1


# SSIM ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_ssim_map_is_that_of_scikit_image(dtype, tolerance):
    a = blobs(2)
    b = noisy(a)
    ours = ssim_map(signed(a, dtype), signed(b, dtype))
    assert ours.shape == (2, 3, SIZE - 10, SIZE - 10)
    for i in range(2):
        _, theirs = skimage.metrics.structural_similarity(
            a[i] / 127.5 - 1,
            b[i] / 127.5 - 1,
            data_range=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=2,
            full=True,
        )
        interior = theirs[5:-5, 5:-5].transpose(2, 0, 1)
        assert np.abs(ours[i].numpy() - interior).max() < tolerance
        assert float(ssim(signed(a, dtype), signed(b, dtype))[i]) == pytest.approx(interior.mean(), abs=tolerance)


def test_ssim_has_the_right_gradient():
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.rand(2, 2, 13, 14, generator=rng, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: ssim_map(a, b, 1.0, 7), (x, y))


def test_ssim_is_computed_in_float32_under_autocast():
    a, b = signed(blobs(2), torch.float32), signed(noisy(blobs(2)), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        inside = ssim_map(a, b)
        of_halves = ssim_map(a.bfloat16(), b.bfloat16())
    assert inside.dtype == of_halves.dtype == torch.float32
    assert torch.equal(inside, ssim_map(a, b))


def test_ssim_refuses_images_smaller_than_its_window():
    with pytest.raises(ValueError, match="at least 11 px"):
        ssim(torch.zeros(1, 3, 10, 20), torch.zeros(1, 3, 10, 20))


# paired --------------------------------------------------------------------------------------------------------------


def test_pixel_metrics_see_the_face_only():
    reference, mask = blobs(3), disc(3)
    prediction = noisy(reference)
    faces = [prediction[i][mask[i]] / 255 - reference[i][mask[i]] / 255 for i in range(3)]
    for metric, expected in (
        (L1(), [np.abs(f).mean() for f in faces]),
        (L2(), [np.sqrt((f**2).mean()) for f in faces]),
    ):
        metric.update(reference[:2], prediction[:2], mask[:2])
        metric.update(reference[2:], prediction[2:], mask[2:])
        assert metric.values == pytest.approx(np.array(expected))
        assert metric.compute() == pytest.approx(np.mean(expected))
    elsewhere = np.where(mask[..., None], prediction, 255 - prediction)
    shape = {"image_shape": (3, SIZE, SIZE)}
    for name in ("l1", "l2", "ssim", "ms_ssim", "vif"):
        one, other = (create({"name": name}, "p", **shape) for _ in range(2))
        one.update(reference, prediction, mask)
        other.update(reference, elsewhere, mask)
        assert one.compute() == other.compute() != 0


def test_ssim_metric_averages_the_map_of_scikit_image_over_the_face():
    reference, mask = blobs(1), disc(1)
    composite = np.where(mask[..., None], noisy(reference), reference)
    metric = SSIM((3, SIZE, SIZE))
    metric.update(reference, noisy(reference), mask)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 2, "full": True}
    _, theirs = skimage.metrics.structural_similarity(reference[0], composite[0], data_range=255, **options)
    inner = mask[0, 5:-5, 5:-5]
    assert metric.compute() == pytest.approx(theirs[5:-5, 5:-5][inner].mean(), abs=1e-5)


def test_an_image_without_face_pixels_has_no_value():
    reference, mask = blobs(2), disc(2)
    mask[1] = False
    metric = L1()
    metric.update(reference, noisy(reference), mask)
    assert np.isnan(metric.values).tolist() == [False, True]
    assert metric.compute() == metric.values[0]
    border = np.zeros_like(mask)
    border[:, :3] = True  # SSIM's window fits nowhere around these
    metric = SSIM((3, SIZE, SIZE))
    metric.update(reference, noisy(reference), border)
    assert np.isnan(metric.compute())


def test_metrics_refuse_other_types():
    image = blobs(1)
    with pytest.raises(ValueError, match="uint8"):
        L1().update(image, image / 255, disc(1))
    with pytest.raises(ValueError, match="boolean"):
        L1().update(image, image, disc(1).astype(np.uint8))


def msssim_by_hand(x, y, weights):
    """Wang et al. 2003: contrast-structure at each scale, luminance at the last; halved by 2x2 means."""
    values = []
    for i, weight in enumerate(weights):
        full = ssim_map(x, y, 1.0)
        mean_x, mean_y = (ssim_blur(t) for t in (x, y))
        luminance = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
        part = full if i == len(weights) - 1 else full / luminance
        values.append(part.mean((2, 3)).clamp_min(0) ** weight)
        x, y = (torch.nn.functional.avg_pool2d(t, 2) for t in (x, y))
    return torch.stack(values).prod(0).mean(1)


def ssim_blur(x):
    from fgcli.pixels.ssim import blur

    return blur(x, 11, 1.5)


@pytest.mark.parametrize(("size", "name"), [(64, "ms_ssim_3"), (128, "ms_ssim_4"), (176, "ms_ssim"), (32, "ms_ssim_2")])
def test_ms_ssim_names_its_scales(size, name):
    metric = create({"name": "ms_ssim"}, "p", image_shape=(3, size, size))
    assert metric.name == name
    assert sum(metric.protocol["weights"]) == pytest.approx(1, abs=1e-5)
    images = blobs(2, size)
    metric.update(images, noisy(images), np.ones(images.shape[:3], bool))
    x, y = ((signed(t) + 1) / 2 for t in (images, noisy(images)))
    assert metric.values == pytest.approx(msssim_by_hand(x, y, metric.weights.tolist()).numpy(), abs=1e-5)


def test_ms_ssim_scales_at_their_limits():
    assert [ms_ssim.scales(s) for s in (10, 11, 20, 21, 41, 81, 160, 161, 1024)] == [0, 1, 1, 2, 3, 4, 4, 5, 5]


def test_vif_takes_the_distorted_image_first():
    images = blobs(2)
    metric = create({"name": "vif"}, "p", image_shape=(3, SIZE, SIZE))
    metric.update(images, noisy(images), np.ones((2, SIZE, SIZE), bool))
    x, y = ((signed(t) + 1) / 2 for t in (noisy(images), images))
    assert metric.values == pytest.approx(piq.vif_p(x, y, reduction="none").numpy(), rel=1e-4)
    assert not np.allclose(metric.values, piq.vif_p(y, x, reduction="none"), rtol=0.01)
    # More contrast is more information: only (distorted, reference) exceeds one.
    images = 64 + images // 2
    sharper = ((images.astype(float) - 127) * 1.5 + 127).astype(np.uint8)
    metric = create({"name": "vif"}, "p", image_shape=(3, SIZE, SIZE))
    metric.update(images, sharper, np.ones((2, SIZE, SIZE), bool))
    assert metric.compute() > 1


@pytest.mark.parametrize(("name", "size"), [("ssim", 10), ("ms_ssim", 10), ("vif", 40)])
def test_images_too_small_for_a_metric_are_named(name, size):
    with pytest.raises(FgError, match=f"{name}: expected images of at least"):
        create({"name": name}, "p", image_shape=(3, size, size))


def test_create_names_unknown_metrics_and_arguments():
    with pytest.raises(UsageError, match=r"evaluate.metrics.0.name: .*did you mean 'ssim'"):
        create({"name": "sim"}, "evaluate.metrics.0", image_shape=(3, 64, 64))
    with pytest.raises(UsageError, match=r"p.net: unknown key"):
        create({"name": "l1", "net": "alex"}, "p", image_shape=(3, 64, 64))
    with pytest.raises(UsageError, match="p.net: input should be 'alex' or 'vgg', found 'squeeze'"):
        create({"name": "lpips", "net": "squeeze"}, "p", image_shape=(3, 64, 64))
    assert label({"name": "lpips", "net": "vgg"}) == "lpips_vgg"


def test_every_asset_is_needed_by_labels_that_exist():
    labels = {*METRICS, "lpips_alex", "lpips_vgg", "preprocess"} - {"lpips"}
    labels |= {f"features={name}" for name in FEATURES}
    labels |= {"flame.head.name=flame", "flame.head.texture=flame", "flame.head.texture=bfm", "flame.method=deca"}
    assert {who for a in assets.ASSETS.values() for who in a.needed_by} <= labels


# identity ------------------------------------------------------------------------------------------------------------

LANDMARKS = np.array(
    # dlib's mean face, by hand, in a 64 px crop: jaw 17, brows 10, nose 9, eyes 12, mouth 20
    [[8 + 3 * i, 30 + 24 * np.sin(np.pi * i / 16)] for i in range(17)]
    + [[13 + 4 * i, 22] for i in range(5)]
    + [[36 + 4 * i, 22] for i in range(5)]
    + [[32, 27 + 4 * i] for i in range(4)]
    + [[27 + 2.5 * i, 41] for i in range(5)]
    + [[17, 28], [20, 26], [23, 26], [26, 28], [23, 30], [20, 30]]
    + [[38, 28], [41, 26], [44, 26], [47, 28], [44, 30], [41, 30]]
    + [[32 + 9 * np.cos(t), 49 + 4 * np.sin(t)] for t in np.linspace(np.pi, 3 * np.pi, 12, endpoint=False)]
    + [[32 + 6 * np.cos(t), 49 + 2 * np.sin(t)] for t in np.linspace(np.pi, 3 * np.pi, 8, endpoint=False)]
)


def test_the_chip_is_where_dlib_puts_it():
    import dlib

    whole = np.rint(LANDMARKS * 4)  # whole pixels: dlib rounds
    place = dlib_embedding.geometry(whole)
    points = dlib.points([dlib.point(int(x), int(y)) for x, y in whole])
    shape = dlib.full_object_detection(dlib.rectangle(0, 0, 256, 256), points)
    theirs = dlib.get_face_chip_details(shape, 150, 0.25)
    centre = theirs.rect.dcenter()
    found = (place.x, place.y, place.side, place.angle)
    assert found == pytest.approx((centre.x, centre.y, theirs.rect.width(), theirs.angle), abs=0.51)  # told rounded
    image = noisy(blobs(1, 256))
    chip = dlib.get_face_chip(image[0], shape, 150, 0.25)
    assert np.abs(dlib_embedding.chips(image, place)[0].astype(int) - chip).max() <= 2


def test_embeddings_are_those_of_dlib_however_spread(monkeypatch):
    import dlib

    images = blobs(20)
    with dlib_embedding.DlibEmbedding(LANDMARKS, workers=2) as embedder:
        spread = embedder(images)
        assert embedder._team is not None
    net = dlib.face_recognition_model_v1(str(assets.need("dlib_embedding", "test")))
    chips = dlib_embedding.chips(images, dlib_embedding.geometry(LANDMARKS))
    theirs = np.array([net.compute_face_descriptor(chip) for chip in chips[:3]], np.float32)
    assert np.array_equal(spread[:3], theirs)
    alone = dlib_embedding.DlibEmbedding(LANDMARKS, workers=1)
    view = np.ascontiguousarray(images[:3].transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)  # other strides, same pixels
    assert np.array_equal(alone(view), theirs)
    monkeypatch.setattr(dlib_embedding, "_describe", None)  # known images are not embedded again
    assert np.array_equal(alone(images[[2, 0, 2]]), theirs[[2, 0, 2]])
    with pytest.raises(ValueError, match="uint8"):
        alone(images[..., 0])


def test_identity_compares_the_composite_with_the_original():
    class Corners:
        def verify(self, who):
            pass

        def __call__(self, images):
            return images[:, [0, 32], [0, 32], 0].astype(np.float32) / 400

    reference, prediction, mask = blobs(3), noisy(blobs(3, seed=5), amount=3), disc(3)
    made = [create({"name": n}, "p", embedder=Corners()) for n in ("identity", "identity_distance", "identity_same")]
    for metric in made:
        metric.update(reference, prediction, mask)
    a = reference[:, [0, 32], [0, 32], 0] / 400
    b = np.stack([reference[:, 0, 0, 0], prediction[:, 32, 32, 0]], 1) / 400  # the corner is not on the face
    cosine = [1 - scipy.spatial.distance.cosine(x, y) for x, y in zip(a, b, strict=True)]
    assert made[0].values == pytest.approx(cosine, abs=1e-6)
    assert made[1].values == pytest.approx(np.linalg.norm(a - b, axis=1), abs=1e-6)
    assert made[2].compute() == np.mean(made[1].values < 0.6)


# networks with weights -----------------------------------------------------------------------------------------------


@pytest.fixture
def asset(tmp_path, monkeypatch):
    """Writes a state dict as the file of an asset; the registry believes it."""
    import dataclasses
    import hashlib

    def put(name, state):
        entry = assets.ASSETS[name]
        path = tmp_path / entry.file
        torch.save(state, path)
        content = path.read_bytes()
        known = dataclasses.replace(entry, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        monkeypatch.setitem(assets.ASSETS, name, known)
        return path

    monkeypatch.setenv("FG_ASSETS", str(tmp_path))
    lpips_network.load.cache_clear()
    yield put
    lpips_network.load.cache_clear()


def test_lpips_is_that_of_its_authors(asset, monkeypatch):
    import torchvision

    torch.manual_seed(0)
    trunk = torchvision.models.alexnet(weights=None)
    asset("alexnet", trunk.state_dict())
    with monkeypatch.context() as patch:
        patch.setattr(lpips.pretrained_networks.tv, "alexnet", lambda pretrained: trunk)
        theirs = lpips.LPIPS(net="alex", verbose=False)
    state = torch.get_rng_state()
    images = blobs(2)
    metric = create({"name": "lpips", "net": "alex"}, "p", image_shape=(3, SIZE, SIZE))
    assert torch.equal(state, torch.get_rng_state())
    metric.update(images, noisy(images), np.ones((2, SIZE, SIZE), bool))
    with torch.no_grad():
        expected = theirs(*(signed(t, torch.float32) for t in (noisy(images), images))).flatten()
    assert metric.name == "lpips_alex"
    assert metric.values == pytest.approx(expected.numpy(), rel=1e-6)
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        lpips_network.distance(metric.network, torch.full((1, 3, 64, 64), 255.0), torch.zeros(1, 3, 64, 64))


def test_lpips_without_its_trunk_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("FG_ASSETS", str(tmp_path))
    lpips_network.load.cache_clear()
    with pytest.raises(FgError, match=r"lpips_vgg: expected the asset vgg16, found none; download https://"):
        create({"name": "lpips", "net": "vgg"}, "p", image_shape=(3, SIZE, SIZE))
