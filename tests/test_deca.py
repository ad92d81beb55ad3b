"""DECA's coarse encoder: weights in the published layout, crop and camera; and the orders of parameters."""

from pathlib import Path

import flame_layout
import numpy as np
import pytest
import torch
from torchvision.models import resnet50

from fgcli import assets
from fgcli.errors import FgError
from fgcli.fitting import deca
from fgcli.foreign.flame_files import import_file
from fgcli.heads.camera import project
from fgcli.heads.parameters import ORDERS, SIZES, Parameters, load_npz, save_npz


@pytest.fixture(scope="module")
def content():
    return flame_layout.deca()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FG_ASSETS", str(tmp_path / "assets"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def landmarks(n=2, seed=0):
    return torch.rand(n, 68, 2, generator=torch.Generator().manual_seed(seed)) * 1.1 - 0.5


def drawn(n=3):
    return Parameters.from_vector(torch.randn(n, 236, generator=torch.Generator().manual_seed(0)), "deca")


@pytest.mark.parametrize("new", [True, False])
def test_the_network_is_theirs(content, new):
    torch.save(content, "deca_model.tar", _use_new_zipfile_serialization=new)
    asset, path = import_file(Path("deca_model.tar"))
    assert (asset.name, path) == ("deca", assets.find("deca"))
    theirs = resnet50()
    theirs.fc = torch.nn.Identity()
    weights = content["E_flame"]
    theirs.load_state_dict({k[8:]: v for k, v in weights.items() if k.startswith("encoder.")})
    crops = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = theirs.eval()(crops)
        hidden = (features @ weights["layers.0.weight"].T + weights["layers.0.bias"]).clamp(min=0)
        wanted = hidden @ weights["layers.2.weight"].T + weights["layers.2.bias"]
        found = deca.Encoder.load().network(crops)
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    assert wanted.std() > 0.1


def test_old_files_without_batch_counters(content):
    weights = {k: v for k, v in content["E_flame"].items() if not k.endswith("num_batches_tracked")}
    torch.save({"E_flame": weights}, "deca_model.tar")
    import_file(Path("deca_model.tar"))
    found = deca.Encoder.load().parameters(torch.rand(1, 3, 32, 32), landmarks(1))
    assert {name: tuple(value.shape) for name, value in vars(found).items()} == {
        name: (1, 9, 3) if name == "light" else (1, size) for name, size in SIZES.items()
    }


def test_bad_files(content):
    weights = dict(content["E_flame"])

    def refuse(written, message):
        torch.save(written, "deca_model.tar")
        with pytest.raises(FgError, match=message):
            import_file(Path("deca_model.tar"))

    refuse({"E_detail": {}}, "deca_model.tar: expected the key E_flame, found E_detail; give deca_model.tar")
    fewer = {k: v for k, v in weights.items() if "layer3" not in k}
    missing = r"found none for encoder.layer3.0.conv1.weight, .*, .* and \d+ more; download it again"
    refuse({"E_flame": fewer}, missing)
    refuse({"E_flame": {**weights, "layers.2.bias": torch.zeros(300)}}, r"layers.2.bias \(236,\), found \(300,\)")
    refuse([1], "expected named weights, found a list")
    torch.save(content, "deca_model.tar")
    whole = Path("deca_model.tar").read_bytes()
    Path("deca_model.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FgError, match="expected a whole zip, found damage"):
        import_file(Path("deca_model.tar"))
    assert not assets.folder().exists()
    with pytest.raises(
        FgError, match=r"flame.method=deca: expected the asset deca, found none; get deca_model.tar from"
    ):
        deca.Encoder.load()


def test_the_crop_is_theirs():
    """Against scikit-image, which DECA uses, on the square that its code describes."""
    transform = pytest.importorskip("skimage.transform")
    size = 90
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    points = landmarks()
    crops = deca.crop(images, deca.crop_maps(images, points))
    assert crops.shape == (2, 3, 224, 224)
    for image, place, got in zip(images.double().numpy(), (points + 1).numpy() * size / 2 - 0.5, crops, strict=True):
        (left, top), (right, bottom) = place.min(0), place.max(0)
        side = int((right - left + bottom - top) / 2 * 1.1 * 1.25)
        x, y = (left + right) / 2, (top + bottom) / 2
        corners = np.array([[x - side / 2, y - side / 2], [x - side / 2, y + side / 2], [x + side / 2, y - side / 2]])
        target = np.array([[0, 0], [0, 223], [223, 0]])
        similarity = transform.SimilarityTransform.from_estimate(corners, target)
        wanted = transform.warp(image.transpose(1, 2, 0), similarity.inverse, output_shape=(224, 224))
        assert np.abs(got.numpy() - wanted.transpose(2, 0, 1)).max() < 1e-3


def test_rows_without_landmarks_are_looked_at_whole():
    images = torch.rand(2, 3, 224, 224)
    points = landmarks()
    points[1, 5] = torch.nan
    some = deca.crop(images, deca.crop_maps(images, points))
    assert torch.allclose(some[1], images[1], atol=1e-4)
    assert not torch.allclose(some[0], images[0], atol=1e-1)
    assert torch.allclose(deca.crop(images, deca.crop_maps(images, None)), images, atol=1e-4)


def test_the_camera_of_the_image_shows_what_the_camera_of_the_crop_shows():
    size = 90
    images = torch.zeros(2, 3, size, size)
    maps = deca.crop_maps(images, landmarks())
    camera = torch.tensor([[8.0, 0.01, -0.02], [6.0, -0.03, 0.04]])
    points = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    x = camera[:, None, :1] * (points[..., 0:1] + camera[:, None, 1:2])
    y = -camera[:, None, :1] * (points[..., 1:2] + camera[:, None, 2:])
    in_crop = 112 * (torch.cat([x, y], -1) + 1)
    in_image = (in_crop - maps[:, None, 1:]) / maps[:, None, :1]
    ours = (project(points, deca.to_image(camera, maps, size))[..., :2] + 1) * size / 2 - 0.5
    assert torch.allclose(ours, in_image, atol=1e-4)


def test_orders():
    vector = torch.arange(236.0)[None]
    of_deca = Parameters.from_vector(vector, "deca")
    assert of_deca.texture[0, 0] == 100
    assert of_deca.expression[0, 0] == 150
    assert of_deca.pose[0].tolist() == [200, 201, 202, 203, 204, 205]
    assert of_deca.camera[0].tolist() == [206, 207, 208]
    assert of_deca.light[0, 1].tolist() == [212, 213, 214]
    of_gif = Parameters.from_vector(vector, "gif")
    assert of_gif.expression[0, 0] == 100
    assert of_gif.pose[0, 0] == 150
    assert of_gif.camera[0, 0] == 156
    assert of_gif.texture[0, 0] == 159
    assert of_gif.light[0, 0, 0] == 209
    for order in ORDERS:
        assert torch.equal(Parameters.from_vector(vector, order).to_vector(order), vector)
    there = Parameters.from_vector(of_deca.to_vector("gif"), "gif")
    assert torch.equal(there.to_vector("deca"), vector)
    assert not torch.equal(of_deca.to_vector("gif"), vector)


def test_rows_and_replacement():
    p = drawn()
    assert len(p) == 3
    assert torch.equal(p.rows([2, 0]).pose, p.pose[[2, 0]])
    assert len(p.rows(slice(1, 3))) == 2
    assert torch.equal(p.replace(camera=p.camera * 2).camera, 2 * p.camera)
    assert not Parameters.zeros(2).to_vector("gif").any()
    assert torch.equal(Parameters.from_arrays(p.to_arrays()).light, p.light)


def test_parameters_as_npz(folder):
    p = drawn()
    save_npz(folder / "a.npz", p)
    assert torch.equal(load_npz(folder / "a.npz").to_vector("deca"), p.to_vector("deca"))
    first = (folder / "a.npz").read_bytes()
    save_npz(folder / "a.npz", p)
    assert (folder / "a.npz").read_bytes() == first
    for order in ORDERS:
        save_npz(folder / "b.npz", p, order)
        assert torch.equal(load_npz(folder / "b.npz").to_vector("deca"), p.to_vector("deca"))
    np.savez("c.npz", vector=p.to_vector("gif").numpy())
    with pytest.raises(FgError, match=r"c.npz: expected vector \(n, 236\) and order, one of deca, gif, found"):
        load_npz(Path("c.npz"))
    np.savez("d.npz", **p.to_arrays() | {"pose": np.zeros((3, 15))})
    with pytest.raises(FgError, match=r"d.npz: expected pose \(3, 6\), found \(3, 15\); give a file"):
        load_npz(Path("d.npz"))
    np.savez("e.npz", pose=np.zeros((3, 6)))
    with pytest.raises(FgError, match=r"expected shape \(3, 100\), found no such array"):
        load_npz(Path("e.npz"))
    Path("f.npz").write_text("x")
    with pytest.raises(FgError, match="found another kind of file"):
        load_npz(Path("f.npz"))
    with pytest.raises(FgError, match="found no such file"):
        load_npz(Path("g.npz"))
