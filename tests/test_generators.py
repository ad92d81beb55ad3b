"""Generators, their layers and their file."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import painted, train_params
from sklearn.decomposition import PCA as SklearnPCA

from fgcli import artifacts
from fgcli.errors import FgError, UsageError
from fgcli.generators import store
from fgcli.generators.masked_vae import MaskedVAE, filters, halvings
from fgcli.generators.pca import PCA
from fgcli.layers import linear
from fgcli.layers.blocks import ELU
from fgcli.pixels import tensor
from fgcli.stages import train

# ---- layers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_elu_is_that_of_torch(dtype):
    x = torch.cat([torch.linspace(-20, 20, 4001), torch.tensor([0.0, -0.0, 1e-7, -1e-7, -100.0, 100.0])]).to(dtype)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    values, expected = ELU()(a), F.elu(b)
    weight = torch.arange(1, len(x) + 1, dtype=dtype)
    (values * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(values, expected, rtol=0, atol=4 * torch.finfo(dtype).eps)
    torch.testing.assert_close(a.grad / weight, b.grad / weight, rtol=0, atol=4 * torch.finfo(dtype).eps)


def test_elu_has_right_first_and_second_derivatives():
    x = torch.randn(40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = x[x.abs() > 0.01].requires_grad_()  # the second derivative jumps at 0
    assert torch.autograd.gradcheck(ELU(), x)
    assert torch.autograd.gradgradcheck(ELU(), x)


def test_elu_tells_of_nan_and_infinity():
    values = ELU()(torch.tensor([float("nan"), float("inf"), -float("inf")]))
    assert values.isnan().tolist() == [True, False, False]
    assert values[1:].tolist() == [float("inf"), -1.0]


# ---- masked_vae


def test_full_network_has_the_papers_parameters():
    network = MaskedVAE((3, 144, 144))
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 9_328_228


def test_the_papers_stages():
    assert halvings(144) == [144, 72, 36, 18, 9, 4, 2, 1]
    assert filters(7) == [32, 64, 128, 256, 256, 256, 512]
    network = MaskedVAE((3, 144, 144), codes=512)
    convolutions = [m.out_channels for m in network.encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    assert convolutions == [32, 32, 64, 64, 128, 128, 256, 256, 256, 256, 512]  # FACTS 2: 32,32,P,64,64,P,...,512,P
    ups = [m.out_channels for m in network.image_decoder.modules() if isinstance(m, torch.nn.ConvTranspose2d)]
    assert ups == [256, 256, 256, 128, 64, 32, 32]


@pytest.mark.parametrize("size", [16, 32, 64, 128, 144, 256])
def test_sizes(size):
    network = MaskedVAE((3, size, size), codes=6, width=0.05).eval()
    images = torch.rand(2, 3, size, size) * 2 - 1
    codes = network.encode(images)
    mean, log_std = network.posterior(images)
    assert (codes.shape, mean.shape, log_std.shape) == ((2, 1, 6), (2, 6), (2, 6))
    assert torch.equal(codes[:, 0], mean)
    assert network.decode(codes).shape == images.shape
    assert network.decode_mask(codes).shape == (2, 1, size, size)
    torch.testing.assert_close(network.decode_mask(codes), network.mask_logits(codes).sigmoid())


@pytest.mark.parametrize(
    ("shape", "found"),
    [((3, 8, 8), "8x8"), ((3, 48, 48), "48x48"), ((3, 32, 64), "32x64"), ((3, 145, 145), "145x145")],
)
def test_bad_sizes_are_refused(shape, found):
    with pytest.raises(ValueError, match=f"masked_vae expects .* found {found}"):
        MaskedVAE(shape)


# ---- pca


def signed(images):
    return images.astype(np.float64) / 127.5 - 1


def flat(images):
    """As PCA sees them: (n, c h w)."""
    return signed(images).transpose(0, 3, 1, 2).reshape(len(images), -1)


def test_pca_is_that_of_scikit_learn_with_mirror_images():
    images, _ = painted(40)
    codes = 12
    mine = PCA((3, 16, 16), codes)
    mine.fit(images)
    rows = np.concatenate([flat(images), flat(images[:, :, ::-1])])
    theirs = SklearnPCA(codes, svd_solver="full").fit(rows)
    np.testing.assert_allclose(mine.average, theirs.mean_, atol=1e-5)
    basis = mine.components.double().numpy()
    np.testing.assert_allclose(basis @ basis.T, np.eye(codes), atol=1e-4)
    # Equal subspaces: all cosines of the principal angles are 1.
    np.testing.assert_allclose(np.linalg.svd(basis @ theirs.components_.T)[1], 1, atol=1e-4)
    variance = theirs.explained_variance_ * (len(rows) - 1) / len(rows)
    np.testing.assert_allclose(mine.scale, np.sqrt(variance), rtol=1e-3)
    new, _ = painted(10, seed=1)
    x = tensor(new)
    expected = theirs.inverse_transform(theirs.transform(flat(new))).clip(-1, 1)
    np.testing.assert_allclose(mine.decode(mine.encode(x)).flatten(1), expected, atol=1e-3)


def test_pca_codes_have_unit_variance_and_mirrored_twins_equal_errors():
    images, _ = painted(40)
    pca = PCA((3, 16, 16), 10)
    pca.fit(images)
    x = tensor(images)
    both = torch.cat([pca.encode(x), pca.encode(x.flip(3))])[:, 0]
    torch.testing.assert_close(both.std(0, correction=0), torch.ones(10), rtol=1e-3, atol=0)
    torch.testing.assert_close(both.mean(0), torch.zeros(10), rtol=0, atol=1e-3)
    error = [(pca.decode(pca.encode(v)) - v).square().mean((1, 2, 3)) for v in (x, x.flip(3))]
    torch.testing.assert_close(*error, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("repeats", [1, 3])
def test_pca_of_fewer_faces_than_codes(repeats):
    """The rank is small, and smaller still where photos are there twice: what is beyond it must stay silent."""
    images, _ = painted(6)
    pca = PCA((3, 16, 16), 60)
    pca.fit(np.repeat(images, repeats, 0))
    x = tensor(images)
    torch.testing.assert_close(pca.decode(pca.encode(x)), x, rtol=0, atol=0.01)
    norms = pca.components.norm(dim=1)
    assert ((norms < 1e-6) | ((norms - 1).abs() < 1e-2)).all()
    new = tensor(painted(6, seed=1)[0])
    assert pca.encode(new).abs().max() < 1e3


def test_pca_code_size_is_checked():
    with pytest.raises(ValueError, match="pca expects at most 768 codes"):
        PCA((3, 16, 16), 769)


# ---- generator.h5


def written(path, **changes):
    torch.manual_seed(3)
    network = MaskedVAE((3, 16, 16), codes=5, width=0.1)
    ema = {k: v + 1 if v.is_floating_point() else v for k, v in network.state_dict().items()}
    build = {"name": "masked_vae", "codes": 5, "width": 0.1} | changes
    history = {"step": np.array([1.0, 2.0])}
    store.save(
        path, network, ema=ema, build=build, history=history, training={"steps": 2}, params={"seed": 0}, inputs={}
    )
    return network, ema


def test_round_trip(tmp_path):
    path = tmp_path / "generator.h5"
    network, ema = written(path)
    for which, state in (("weights", network.state_dict()), ("ema", ema)):
        loaded = store.load(path, weights=which)
        assert not loaded.training
        assert not any(p.requires_grad for p in loaded.parameters())
        assert (loaded.image_shape, loaded.code_shape, loaded.space) == ((3, 16, 16), (1, 5), "z")
        for name, value in loaded.state_dict().items():
            assert torch.equal(value, state[name]), name
    stored = artifacts.load(path, artifacts.GENERATOR)
    np.testing.assert_array_equal(stored["history/step"], [1.0, 2.0])
    assert stored.meta["training"] == {"steps": 2}


def test_equal_weights_are_equal_bytes(tmp_path):
    written(tmp_path / "a.h5")
    written(tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_files_that_are_no_generator(tmp_path, faces):
    path = tmp_path / "generator.h5"
    written(path)
    whole = path.read_bytes()
    with pytest.raises(FgError, match="expected a generator/1 file, found a faces/2 file"):
        store.load(faces)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FgError, match=r"generator.h5: expected a whole HDF5 file, found a truncated"):
        store.load(path)
    with pytest.raises(FgError, match="found no such file"):
        store.load(tmp_path / "none.h5")
    written(path, name="masked_wae")
    with pytest.raises(UsageError, match=r"masked_wae.*did you mean 'masked_vae'"):
        store.load(path)


def test_codes_of_another_generator_and_faces_of_another_size(tmp_path):
    one, other = tmp_path / "one.h5", tmp_path / "other.h5"
    network, _ = written(one)
    written(other, width=0.11)
    arrays = {
        "codes": np.zeros((1, 1, 5), np.float32),
        "error": np.zeros(1, np.float32),
        "attributes": np.zeros((1, 1), np.int8),
        "split": np.zeros(1, np.uint8),
    }
    meta = {
        "space": "z",
        "generator": artifacts.sha256(one),
        "inverter": {"name": "encoder"},
        "seed": 0,
        "self_test": {},
        "build": {"name": "pca"},
        "attribute_names": ["odd"],
    }
    latents = tmp_path / "latents.h5"
    artifacts.save(latents, artifacts.LATENTS, arrays, params={}, inputs={}, meta=meta)
    store.verify(latents, one)
    with pytest.raises(FgError, match="found those of another generator"):
        store.verify(latents, other)
    store.match(network, (9, 16, 16, 3), tmp_path / "faces.h5")
    with pytest.raises(FgError, match=r"faces.h5: expected faces of 16x16x3, .* found 32x32x3"):
        store.match(network, (9, 32, 32, 3), tmp_path / "faces.h5")


def test_pca_through_the_stage(tmp_path, faces):
    """Eigenfaces are solved by the same command, from training rows alone."""
    params = train_params(generator={"name": "pca", "codes": 6})
    train.run(faces, tmp_path / "pca.h5", tmp_path / "train", params=params)
    loaded = store.load(tmp_path / "pca.h5")
    split, images = artifacts.rows(faces, "split"), artifacts.rows(faces, "images")
    direct = PCA((3, 16, 16), 6)
    direct.fit(images[split == 0])
    assert torch.equal(loaded.components, direct.components)
    assert not (tmp_path / "train").exists()


# ---- linear path


def test_eigenfaces_of_many_images_are_summed_in_parts_and_are_those_of_a_singular_value_decomposition(monkeypatch):
    monkeypatch.setattr(linear, "CHUNK", 7)
    images = np.random.default_rng(0).integers(0, 255, (60, 4, 4, 3)).astype(np.uint8)
    images[..., 0] //= 4
    rows = np.arange(3, 60)
    average, components, scale = linear.principal_components(images, 5, rows)
    x = images[rows] / 127.5 - 1
    x = np.concatenate([x, x[:, :, ::-1]]).transpose(0, 3, 1, 2).reshape(114, -1)
    _, values, vectors = np.linalg.svd(x - x.mean(0), full_matrices=False)
    np.testing.assert_allclose(average, x.mean(0), atol=1e-6)
    np.testing.assert_allclose(scale, values[:5] / 114**0.5, rtol=1e-5)
    np.testing.assert_allclose(abs(components.numpy() @ vectors[:5].T), np.eye(5), atol=1e-3)


def test_linear_path_starts_as_eigenfaces():
    images, _ = painted(40)
    network = MaskedVAE((3, 16, 16), codes=10, width=0.1, linear=True).eval()
    network.start(images)
    eigenfaces = PCA((3, 16, 16), 10)
    eigenfaces.fit(images)
    x = tensor(painted(5, seed=1)[0])
    torch.testing.assert_close(network.encode(x), eigenfaces.encode(x), rtol=1e-3, atol=1e-3)
    codes = eigenfaces.encode(x)
    torch.testing.assert_close(network.decode(codes), eigenfaces.decode(codes), rtol=0, atol=1e-4)
    assert network.posterior(x)[1].unique().numel() == 1
    plain = MaskedVAE((3, 16, 16), codes=10, width=0.1)
    added = sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in plain.parameters())
    assert added == 2 * 10 * 768


def test_linear_path_leaves_its_start(tmp_path, faces):
    """Both of its maps and the convolutions are trained."""
    params = train_params(generator={"linear": True}, steps=3)
    train.run(faces, tmp_path / "generator.h5", tmp_path / "train", params=params)
    trained = store.load(tmp_path / "generator.h5", weights="weights").state_dict()
    torch.manual_seed(params.seed)
    start = train.make_generator(params, (1, 16, 16, 3))
    start.start(artifacts.rows(faces, "images")[artifacts.rows(faces, "split") == 0])
    for name in (
        "linear.analysis",
        "linear.synthesis",
        "mean.weight",
        "image_decoder.0.0.weight",
        "encoder.0.0.0.weight",
    ):
        assert not torch.equal(trained[name], start.state_dict()[name]), name
    assert torch.equal(trained["linear.average"], start.state_dict()["linear.average"])
