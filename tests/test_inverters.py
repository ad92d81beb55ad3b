"""Ways to bring a photo into a generator's latent space, beyond what every inverter must do (test_families)."""

import numpy as np
import pytest
import torch
from conftest import train_params, write_faces
from toys import ToyGAN

from fgcli import artifacts, config, inverters
from fgcli.codes import coded, decode, prior
from fgcli.datasets import DATASETS
from fgcli.errors import FgError, UsageError
from fgcli.generators import store
from fgcli.generators.dcgan import DCGAN, InvertibleDCGAN
from fgcli.generators.encoded import Encoded
from fgcli.generators.stylegan2 import StyleGAN2
from fgcli.generators.tiled import Tiled
from fgcli.inverters import Context
from fgcli.inverters.hybrid import Hybrid
from fgcli.inverters.optimize import Optimize
from fgcli.stages import invert, preprocess, train

IMAGE = (3, 16, 16)
TILE = {"name": "invertible_dcgan", "codes": 6, "width": 1 / 64}


def gan():
    torch.manual_seed(0)
    return ToyGAN(IMAGE).eval().requires_grad_(False)


def invertible(shape=IMAGE):
    torch.manual_seed(0)
    return InvertibleDCGAN(shape, codes=6, width=1 / 64).eval().requires_grad_(False)


def off(model, codes, images):
    return float((decode(model, codes) - images).square().mean())


def test_a_row_for_each_layer_comes_nearer_than_one():
    model = gan()
    images = decode(model, coded(model, torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(1))))
    found = {s: Optimize(IMAGE, 60, distance="pixels", space=s).invert(model, images, Context(0)) for s in ("w", "w+")}
    assert {s: (c.space, c.values.shape[1]) for s, c in found.items()} == {"w": ("w", 1), "w+": ("w+", 2)}
    assert off(model, found["w+"], images) < off(model, found["w"], images)


def test_layers_are_refused_where_there_are_none():
    model = invertible()
    with pytest.raises(UsageError, match=r"^optimize space: expected auto for InvertibleDCGAN, .* found w\+; set it"):
        Optimize(IMAGE, 2, distance="pixels", space="w+").invert(model, torch.zeros(1, *IMAGE), Context(0))


def test_noise_of_the_search_is_the_seeds_alone_and_the_same_for_all_rows():
    model = gan()
    images = decode(model, prior(model, 3, 5))
    noisy = Optimize(IMAGE, 10, distance="pixels", noise=0.5)
    whole = noisy.invert(model, images, Context(0)).values
    assert torch.equal(whole, noisy.invert(model, images, Context(0)).values)
    torch.testing.assert_close(whole[1:2], noisy.invert(model, images[1:2], Context(0)).values, rtol=1e-3, atol=1e-4)
    assert not torch.equal(whole, noisy.invert(model, images, Context(1)).values)
    assert not torch.equal(whole, Optimize(IMAGE, 10, distance="pixels").invert(model, images, Context(0)).values)


def test_what_the_critic_sees_is_a_distance_of_gans_alone():
    model = invertible()
    images = decode(model, prior(model, 2, 3))
    search = Optimize(IMAGE, 40, distance="critic")
    assert search.resolved() == {"distance": "critic"}
    away = search.distance(model, images)
    assert torch.equal(away(images), torch.zeros(2))
    start = search.nearest(model, images, Context(0), away, np.inf)
    assert (away(decode(model, search.invert(model, images, Context(0)))) < away(decode(model, start))).all()
    with pytest.raises(
        UsageError, match="optimize distance critic: expected a generator that has a critic, found ToyGAN"
    ):
        Optimize(IMAGE, 2, distance="critic").invert(gan(), images, Context(0))


def test_what_the_critic_sees_of_an_image_does_not_depend_on_others():
    torch.manual_seed(0)
    model = StyleGAN2(IMAGE, codes=6, width=1 / 512, widest=8).eval().requires_grad_(False)
    images = torch.rand(5, *IMAGE, generator=torch.Generator().manual_seed(2)) * 2 - 1
    assert model.critic.group == 4
    for whole, alone in zip(model.critic.seen(images), model.critic.seen(images[1:2]), strict=True):
        torch.testing.assert_close(whole[1:2], alone)
    search = Optimize(IMAGE, 5, starts=4, distance="critic")
    codes = [search.invert(model, rows, Context(0)).values for rows in (images, images[1:2])]
    torch.testing.assert_close(codes[0][1:2], codes[1], rtol=1e-3, atol=1e-3)


def test_hybrid_is_never_further_than_the_encoder():
    model = invertible()
    images = torch.rand(4, *IMAGE, generator=torch.Generator().manual_seed(2)) * 2 - 1
    encoded = coded(model, model.encode(images))
    for steps, learning_rate, noise in ((30, 0.05, 0.0), (1, 100.0, 0.0), (20, 1e-9, 9.0)):  # two only lead astray
        hybrid = Hybrid(IMAGE, steps, learning_rate, distance="pixels", noise=noise)
        away = hybrid.distance(model, images)
        assert (away(decode(model, hybrid.invert(model, images, Context(0)))) <= away(decode(model, encoded))).all()


# ---- around a generator


def saved(path, model, spec):
    store.save(
        path, model, ema=model.state_dict(), build=spec, history={}, training={"preprocess": {}}, params={}, inputs={}
    )
    return path


def test_an_encoder_is_trained_and_the_generator_stays(tmp_path):
    torch.manual_seed(0)
    spec = {"name": "dcgan", "codes": 6, "width": 1 / 64}
    model = DCGAN(IMAGE, codes=6, width=1 / 64)
    frozen = saved(tmp_path / "gan.h5", model, spec)
    faces = write_faces(tmp_path / "faces.h5", n=24)
    encoded = {"name": "encoded", "channels": 4}
    params = train_params(generator=encoded, objective={"name": "inversion"}, steps=30)
    with pytest.raises(UsageError, match=r"^--init-from: expected the generator\.h5 that encoded shall wrap"):
        train.run(faces, tmp_path / "g.h5", tmp_path / "train", params=params)
    train.run(faces, tmp_path / "g.h5", tmp_path / "train", params=params, init_from=frozen)
    loaded = store.load(tmp_path / "g.h5")
    assert isinstance(loaded, Encoded)
    for name, value in loaded.inner.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    images = decode(loaded, prior(loaded, 64, 0))
    true = prior(loaded, 64, 0).values
    assert float((loaded.encode(images) - true).square().mean()) < float((loaded.mean - true).square().mean())


def test_tiles_are_decoded_and_encoded_alone(tmp_path):
    small = invertible((3, 8, 8))
    file = saved(tmp_path / "tile.h5", small, TILE)
    spec = {"name": "tiled", "tiles": 2}
    params = train_params(generator=spec)
    train.run(write_faces(tmp_path / "faces.h5"), tmp_path / "g.h5", tmp_path / "train", params=params, init_from=file)
    model = store.load(tmp_path / "g.h5")
    assert isinstance(model, Tiled)
    assert model.code_shape == (4, 6)
    images = torch.rand(3, *IMAGE, generator=torch.Generator().manual_seed(4)) * 2 - 1
    codes = inverters.create({"name": "encoder"}, model, "test").invert(model, images, Context(0))
    for i, (y, x) in enumerate(((0, 0), (0, 8), (8, 0), (8, 8))):
        tile = images[:, :, y : y + 8, x : x + 8]
        torch.testing.assert_close(codes.values[:, i], small.encode(tile)[:, 0])
        found = decode(model, codes)[:, :, y : y + 8, x : x + 8]
        torch.testing.assert_close(found, small.decode(codes.values[:, i : i + 1]))
    assert not (tmp_path / "train").exists()


def test_tiles_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="tiles expects a divisor of 16x16, found 3"):
        Tiled(IMAGE, TILE, tiles=3)
    with pytest.raises(ValueError, match="of expects a generator that has an encoder, found dcgan"):
        Tiled(IMAGE, {"name": "dcgan", "codes": 6}, tiles=2)


def test_patches_are_trained_on_and_tiled_without_a_step(faces, tmp_path):
    """preprocess cuts them, train makes their generator, then that of whole pictures, and invert takes it."""
    values = config.defaults()["preprocess"] | {
        "datasets": [{"name": "patches", "path": str(faces), "side": 8, "each": 2}]
    }
    params = config.section({"preprocess": values | {"size": 8}}, "preprocess", preprocess.Params)
    preprocess.run(tmp_path / "patches.h5", tmp_path / "patches.png", params=params)
    cut, whole = (artifacts.load(path, artifacts.FACES) for path in (tmp_path / "patches.h5", faces))
    assert cut["split"].tolist() == whole["split"].repeat(2).tolist()
    windows = np.lib.stride_tricks.sliding_window_view(whole["images"][3], (8, 8, 3)).reshape(-1, 8, 8, 3)
    assert all((windows == patch).all((1, 2, 3)).any() for patch in cut["images"][6:8])

    files = {"output": tmp_path / "patch.h5", "folder": tmp_path / "run"}
    train.run(tmp_path / "patches.h5", **files, params=train_params(generator={"name": "pca", "codes": 4}))
    tiled = train_params(generator={"name": "tiled"})
    assert train.plan(faces, init_from=tmp_path / "patch.h5", params=tiled)["steps"] == 0
    told = train.run(faces, tmp_path / "g.h5", tmp_path / "none", init_from=tmp_path / "patch.h5", params=tiled)
    assert "steps" not in told
    assert not (tmp_path / "none").exists()
    one, four = store.load(tmp_path / "patch.h5"), store.load(tmp_path / "g.h5")
    x = torch.rand(4, *IMAGE) * 2 - 1
    torch.testing.assert_close(four.decode(four.encode(x))[:, :, :8, 8:], one.decode(one.encode(x[:, :, :8, 8:])))
    values = config.defaults()["invert"] | {"device": "cpu"}
    params = config.section({"invert": values}, "invert", invert.Params)
    assert invert.run(faces, tmp_path / "g.h5", tmp_path / "l.h5", params=params)["code"] == [4, 4]


def test_patches_larger_than_the_pictures_are_told(faces):
    with pytest.raises(FgError, match="faces.h5: expected pictures of 17 px or more, found 16x16; lower side"):
        config.build(DATASETS, {"name": "patches", "path": str(faces), "side": 17}, "t")
