"""The stage that measures, on a few faces and a small generator."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from test_metrics import LANDMARKS, blobs, disc, noisy

from fgcli import artifacts, config
from fgcli.backbones import lpips_network
from fgcli.backbones.pixels import Pixels
from fgcli.codes import apart, prior, slerp
from fgcli.densities.gaussian import Gaussian
from fgcli.errors import FgError, UsageError
from fgcli.frechet import Gaussian as Fitted
from fgcli.frechet import frechet
from fgcli.generators import GENERATORS, store
from fgcli.generators.masked_vae import MaskedVAE, UnmaskedVAE
from fgcli.metrics import sets
from fgcli.pixels import tensor
from fgcli.stages import evaluate

SIZE, TRAIN, TEST = 48, 12, 7
PIXELS = [{"name": n} for n in ("l1", "l2", "ssim", "ms_ssim", "vif")]
FACES = [{"name": n} for n in ("identity", "identity_distance", "identity_same")]
FACES += [{"name": "frechet", "features": "dlib_embedding"}]
LEFT = [{"name": "lpips", "net": "alex"}, {"name": "frechet", "features": "inception"}]
LEFT += [{"name": "inception_score", "features": "classifier"}]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """faces.h5, generator.h5, latents.h5 and density.h5 in a folder."""
    folder = tmp_path_factory.mktemp("out")
    n = TRAIN + TEST + 1
    split = np.array([0, 2] * TEST + [0] * (TRAIN - TEST) + [1], np.uint8)
    faces = {
        "images": blobs(n, SIZE),
        "masks": disc(n, SIZE).astype(np.uint8) * 255,
        "landmarks": np.broadcast_to(LANDMARKS * SIZE / 64, (n, 68, 2)).astype(np.float32),
        "crop": np.zeros((n, 2, 3), np.float32),
        "attributes": np.zeros((n, 1), np.int8),
        "identity": np.arange(n, dtype=np.int32),
        "split": split,
        "source": [str(i) for i in range(n)],
        "rejected/source": np.zeros(0, "S1"),
        "rejected/reason": np.zeros(0, "S1"),
    }
    meta = {"content": "faces", "attribute_names": ["smiling"], "datasets": [], "analyser": {}, "segmenter": {}}
    save(folder / "faces.h5", artifacts.FACES, faces, meta)
    generator = write_generator(folder / "generator.h5")
    write_codes(folder, generator, faces)
    return folder


def save(path, schema, arrays, meta):
    artifacts.save(path, schema, arrays, params={}, inputs={}, meta=meta)


def write_generator(path, seed=0):
    torch.manual_seed(seed)
    build = {"name": "pca", "codes": 6}
    model = config.build(GENERATORS, build, "test", image_shape=(3, SIZE, SIZE))
    model.fit(noisy(blobs(8, SIZE, seed=3 + seed)))
    weights = model.state_dict()
    store.save(path, model, ema=weights, build=build, history={}, training={}, params={}, inputs={})
    return model


def write_codes(folder, generator, faces):
    codes = generator.encode(tensor(faces["images"])).numpy()
    made_by = artifacts.sha256(folder / "generator.h5")
    arrays = {"codes": codes, "error": np.zeros(len(codes), np.float32)}
    arrays |= {"attributes": faces["attributes"], "split": faces["split"]}
    meta = {
        "space": "z",
        "generator": made_by,
        "inverter": {"name": "encoder"},
        "seed": 0,
        "self_test": {},
        "build": {"name": "pca"},
        "attribute_names": ["smiling"],
    }
    save(folder / "latents.h5", artifacts.LATENTS, arrays, meta)
    density = Gaussian().fit(codes[faces["split"] == 0], 0)
    arrays = {f"methods/one/{k}": v for k, v in density.arrays().items()}
    meta = {"space": "z", "generator": made_by, "methods": {"one": {"build": {"name": "gaussian"}, "scores": {}}}}
    save(folder / "density.h5", artifacts.DENSITY, arrays, meta)


def measure(folder, out, metrics, density="density.h5", cluster="", **changed):
    values = {
        "split": "test",
        "codes_split": "test",
        "baseline": "pca",
        "samples": 5,
        "batch": 3,
        "seed": 0,
        "device": "cpu",
        "processes": 1,
    }
    params = evaluate.Params(**{**values, "metrics": metrics, "neighbours": "pixels", **changed})
    files = {name: folder / f"{name}.h5" for name in ("faces", "generator", "latents", "classifier")}
    outputs = {"output": out / "evaluation.h5", "metrics": out / "metrics.json", "protocols": out / "protocols.json"}
    outputs["sheet"] = out / "neighbours.png"
    files["density"] = folder / density if density else None
    return evaluate.run(**files, **outputs, params=params, cluster=cluster)


@pytest.fixture
def no_assets(tmp_path, monkeypatch):
    monkeypatch.setenv("FG_ASSETS", str(tmp_path / "none"))
    lpips_network.load.cache_clear()


@pytest.fixture(scope="module")
def full(made, tmp_path_factory):
    """A run with every metric, and its three files."""
    out = tmp_path_factory.mktemp("full")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FG_ASSETS", str(out / "none"))
        lpips_network.load.cache_clear()
        returned = measure(made, out, PIXELS + FACES + LEFT)
    return out, returned


def test_the_numbers_are_means_of_the_values_and_match_their_definition(made, full):
    out, returned = full
    numbers = json.loads((out / "metrics.json").read_text())
    assert {k: v for k, v in returned.items() if k != "left_out"} == numbers
    stored = artifacts.load(out / "evaluation.h5", artifacts.EVALUATION)
    names = {"l1", "l2", "ssim", "ms_ssim_3", "vif", "identity", "identity_distance", "identity_same"}
    for model in ("generator", "pca"):
        table = numbers["reconstruction"][model]["given_mask"]
        assert set(table) == names | {"images"}
        assert table["images"] == TEST
        for name in names:
            values = stored[f"values/reconstruction/{model}/given_mask/{name}"]
            assert values.shape == (TEST,)
            assert table[name] == pytest.approx(values.mean())
    faces = artifacts.load(made / "faces.h5")
    rows = stored["values/rows"]
    assert rows.tolist() == np.flatnonzero(faces["split"] == 2).tolist()
    model = store.load(made / "generator.h5")
    codes = torch.from_numpy(artifacts.load(made / "latents.h5")["codes"][rows])
    images = ((model.decode(codes) + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()
    error = np.abs(images / 255 - faces["images"][rows] / 255)
    expected = [e[m > 0].mean() for e, m in zip(error, faces["masks"][rows], strict=True)]
    assert stored["values/reconstruction/generator/given_mask/l1"] == pytest.approx(np.array(expected), abs=1e-6)


def test_sets_and_distances(full):
    out, _ = full
    distribution = json.loads((out / "metrics.json").read_text())["distribution"]
    sets = {"reconstructions": TEST, "interpolations": TEST, "samples_prior": 5}
    assert distribution["images"] == {
        "real": {"held_out": TEST, "train": 5},
        "generator": {**sets, "samples_one": 5},
        "pca": sets,
    }
    stored = artifacts.load(out / "evaluation.h5", artifacts.EVALUATION).group("values/features")
    features = {k.removeprefix("dlib_embedding/"): v for k, v in stored.items()}
    real = Fitted(features["real/held_out"])
    for model, distances in distribution["frechet_dlib_embedding"].items():
        assert set(distances) == set(distribution["images"][model]) - {"held_out"}
        for name, distance in distances.items():
            assert distance == pytest.approx(frechet(real, Fitted(features[f"{model}/{name}"])))


def test_numbers_have_intervals_and_so_have_differences(full):
    numbers = json.loads((full[0] / "metrics.json").read_text())
    for model, masks in numbers["reconstruction"].items():
        for name, value in masks["given_mask"].items():
            if name != "images":
                around = numbers["intervals"]["reconstruction"][model]["given_mask"][name]
                assert around["low"] <= value <= around["high"]
    between = numbers["differences"]["reconstruction"]["generator-pca"]["given_mask"]["l1"]
    ours, theirs = (numbers["reconstruction"][m]["given_mask"]["l1"] for m in ("generator", "pca"))
    assert between["value"] == pytest.approx(ours - theirs)
    assert between["low"] <= between["value"] <= between["high"]
    sets = numbers["intervals"]["distribution"]["frechet_dlib_embedding"]
    assert set(sets) == {"real", "generator", "pca"}
    assert all(s["low"] < s["high"] for s in sets["generator"].values())
    assert numbers["verification"]["pairs_of_two_people"] == TEST * (TEST - 1) // 2


def test_people_told_by_their_faces_alone_prove_no_threshold(made, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(made, folder)
    stored = artifacts.load(made / "faces.h5")
    unknown = {"identity": np.full(len(stored["split"]), -1, np.int32), "group": stored["identity"]}
    save(folder / "faces.h5", artifacts.FACES, stored.arrays | unknown, stored.meta)
    found = measure(folder, tmp_path, FACES[:1], baseline="none")
    assert "verification" not in found
    assert "look_alike" in found["reconstruction"]


def test_every_number_has_a_protocol(full):
    out, returned = full
    protocols = json.loads((out / "protocols.json").read_text())
    numbers = json.loads((out / "metrics.json").read_text())
    assert artifacts.load(out / "evaluation.h5", names=()).meta["protocols"] == protocols
    for model, table in numbers["reconstruction"].items():
        assert set(table["given_mask"]) - {"images"} == set(protocols["reconstruction"])
        assert model in protocols["models"]
    assert set(numbers["reconstruction"]) == {"generator", "pca", "nearest", "look_alike"}
    assert protocols["intervals"]["held_out_people"] == TEST
    about = protocols["distribution"]["frechet_dlib_embedding"]
    assert about["caveats"]["generator/samples_prior"] == "biased: n = 5 < 128 features"
    assert "dlib" in about["features"]
    assert protocols["models"]["pca"] == {
        "codes": 6,
        "training_images": TRAIN,
        "mirrored": True,
        "background": "as photographed",
    }
    left = {"lpips_alex", "frechet_inception", "inception_score_classifier", "predicted_mask"}
    assert set(protocols["left_out"]) == left
    assert protocols["left_out"]["inception_score_classifier"].endswith("classifier.h5; run fg classifier")
    assert set(protocols["distribution"]) == set(numbers["distribution"]) - {"images"}
    assert protocols["left_out"] == returned["left_out"]
    assert "expected the asset alexnet, found none; download https://" in protocols["left_out"]["lpips_alex"]

    def leaves(node):
        return [leaf for child in node.values() for leaf in leaves(child)] if isinstance(node, dict) else [node]

    assert all(isinstance(leaf, int | float) for leaf in leaves(numbers))


def test_the_batch_changes_nothing_that_can_be_seen(made, tmp_path):
    one, other = (measure(made, tmp_path, PIXELS, batch=b)["reconstruction"]["pca"]["given_mask"] for b in (2, 50))
    assert one == pytest.approx(other, rel=1e-3)


def test_the_predicted_mask_is_a_second_table(made, tmp_path, monkeypatch):
    monkeypatch.setitem(GENERATORS, "pca", "toys:TopHalf")
    result = measure(made, tmp_path, PIXELS[:1], density=None)
    assert "predicted_mask" not in result["left_out"]
    faces, stored = artifacts.load(made / "faces.h5"), artifacts.load(tmp_path / "evaluation.h5")
    rows, model = stored["values/rows"], store.load(made / "generator.h5")
    codes = torch.from_numpy(artifacts.load(made / "latents.h5")["codes"][rows])
    images = ((model.decode(codes) + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()
    expected = np.abs(images / 255 - faces["images"][rows] / 255)[:, : SIZE // 2].mean()
    assert result["reconstruction"]["generator"]["predicted_mask"]["l1"] == pytest.approx(expected, abs=1e-6)
    assert set(result["reconstruction"]["pca"]) == {"given_mask", "predicted_mask"}
    assert "distribution" not in result


def test_masks_without_a_face_are_told(made, tmp_path, monkeypatch):
    monkeypatch.setitem(GENERATORS, "pca", "toys:Nowhere")
    result = measure(made, tmp_path, PIXELS[:1], density=None)
    assert result["reconstruction"]["generator"]["predicted_mask"] == {"images": TEST}
    where = "reconstruction/generator/predicted_mask/l1"
    assert result["left_out"][where] == "no image has a face pixel in its mask"
    assert np.isnan(artifacts.load(tmp_path / "evaluation.h5")[f"values/{where}"]).all()


def test_lpips_appears_with_its_weights(made, tmp_path, alexnet):
    result = measure(made, tmp_path, LEFT[:1], density=None)
    assert "lpips_alex" not in result["left_out"]
    assert result["reconstruction"]["generator"]["given_mask"]["lpips_alex"] > 0


MANY = [{"name": n, "features": "pixels"} for n in ("frechet", "kid", "precision_recall")] + [{"name": "sharpness"}]


def test_sets_of_codes_of_another_split_and_no_baseline(made, tmp_path):
    one = measure(made, tmp_path, MANY, codes_split="train", baseline="none")
    assert set(one["reconstruction"]) == {"generator", "nearest"}
    counts = one["distribution"]["images"]
    assert counts["generator"] == {
        "reconstructions": TRAIN,
        "interpolations": TRAIN,
        "samples_prior": 5,
        "samples_one": 5,
    }
    assert counts["real"]["held_out"] == TEST
    assert set(one["distribution"]["sharpness"]) == {"real", "generator"}
    protocols = json.loads((tmp_path / "protocols.json").read_text())
    assert protocols["sets"]["reconstructions"] == "of the images of split train"
    assert "pca" not in protocols["models"]
    stored = artifacts.load(tmp_path / "evaluation.h5", artifacts.EVALUATION)
    rows = stored.group("values/features")
    wanted = {"frechet_pixels", "kid_pixels", "precision_recall_pixels_precision", "precision_recall_pixels_recall"}
    assert wanted < set(one["distribution"])
    made_of = one["distribution"]["sharpness"]["generator"]["interpolations"]
    means = [rows[f"laplacian/{name}"].mean() for name in ("generator/interpolations", "real/held_out")]
    assert made_of == pytest.approx(means[0] / means[1])
    # Mid-points: the pictures of slerp between the codes of a pair, for every row.
    model, codes = store.load(made / "generator.h5"), artifacts.load(made / "latents.h5")["codes"]
    faces = artifacts.load(made / "faces.h5")
    order = np.random.default_rng(0).permutation(np.flatnonzero(faces["split"] == 0))
    middle = np.stack([slerp(codes[a], codes[b], 0.5) for a, b in zip(order, np.roll(order, -1), strict=True)])
    pictures = ((model.decode(torch.from_numpy(middle)) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    assert rows["pixels/generator/interpolations"] == pytest.approx(Pixels((3, SIZE, SIZE))(pictures), abs=1e-6)


def test_sets_are_compared_on_the_face_where_only_faces_taught_the_generator():
    images = np.zeros((4, 2, 3, 3), np.uint8)
    masks = np.zeros((4, 2, 3), np.uint8)
    masks[:, 0], masks[0] = 255, 255
    masked, plain = MaskedVAE((3, 16, 16), 4, 0.1), UnmaskedVAE((3, 16, 16), 4, 0.1)
    for generator, region in ((masked, [[1, 1, 1], [0, 0, 0]]), (plain, np.ones((2, 3)))):
        models = [sets.Model("generator", generator, None)]
        data = sets.Material("faces", images, masks, *[np.arange(4)] * 4, models)
        assert evaluate._region(data).tolist() == np.array(region, bool).tolist()


def test_pictures_that_are_no_faces(made, tmp_path):
    folder = tmp_path / "in"
    shutil.copytree(made, folder)
    stored = artifacts.load(folder / "faces.h5")
    arrays = {k: v for k, v in stored.arrays.items() if k not in ("masks", "landmarks", "crop")}
    save(folder / "faces.h5", artifacts.FACES, arrays, stored.meta | {"content": "pictures"})
    result = measure(folder, tmp_path / "out", PIXELS[:1] + FACES + MANY)
    names = {"identity", "identity_distance", "identity_same", "frechet_dlib_embedding"}
    assert set(result["left_out"]) == names
    told = "features dlib_embedding: expected faces with landmarks, found none; measure with what needs no faces"
    assert result["left_out"]["frechet_dlib_embedding"] == told
    assert json.loads((tmp_path / "out" / "protocols.json").read_text())["masks"] == {"given_mask": "all"}
    images = artifacts.load(folder / "faces.h5")["images"][stored["split"] == 2]
    found = artifacts.load(tmp_path / "out" / "evaluation.h5")["values/features/pixels/real/held_out"]
    assert found == pytest.approx(Pixels((3, SIZE, SIZE))(images), abs=1e-6)  # nothing is greyed out


def test_sets_too_small_are_left_out_by_name(made, tmp_path):
    result = measure(made, tmp_path, [{"name": "prd", "features": "pixels"}], samples=2)
    assert set(result["distribution"]) == {"images"}
    where = "distribution/prd_pixels/generator/samples_prior"
    assert result["left_out"][where] == "PRD: expected at least 10 images in each set, found 2 and 7; measure more"


def test_the_sheet_shows_the_nearest_training_faces(made, full):
    out, _ = full
    page = np.asarray(Image.open(out / "neighbours.png"))
    model, faces = store.load(made / "generator.h5"), artifacts.load(made / "faces.h5")
    train = faces["images"][faces["split"] == 0]
    drawn = model.decode(prior(model, 10, apart(0)).values)
    drawn = ((drawn.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    one, among = (Pixels((3, SIZE, SIZE))(x) for x in (drawn, train))
    nearest = ((one[:, None] - among) ** 2).sum(2).argmin(1)
    side, scale = SIZE, 2
    left = page.shape[1] - 10 * (scale * side + 2) + 2
    for column in (0, 9):
        x, y = left + column * (scale * side + 2), scale * side + 2
        tile = page[y : y + scale * side : scale, x : x + scale * side : scale]
        np.testing.assert_array_equal(tile, train[nearest[column]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("few", "expected at least 2 rows in split val, found 1"),
        ("generator", r"latents.h5: expected codes of .*generator.h5, found those of another generator"),
        ("rows", r"latents.h5: expected the codes of the 20 rows of .*faces.h5, found 3; run fg invert again"),
        ("density", "expected a density/1 file, found a latents/2 file"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(made, tmp_path, change, message):
    folder, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(made, folder)
    if change == "generator":
        write_generator(folder / "generator.h5", seed=9)
    if change == "rows":
        stored = artifacts.load(folder / "latents.h5")
        save(folder / "latents.h5", artifacts.LATENTS, {k: v[:3] for k, v in stored.arrays.items()}, stored.meta)
    if change == "density":
        shutil.copy(folder / "latents.h5", folder / "density.h5")
    with pytest.raises(FgError, match=message):
        measure(folder, out, PIXELS, split="val" if change == "few" else "test")
    assert not out.exists()


def test_wrong_params_are_refused_before_the_work(made, tmp_path):
    with pytest.raises(UsageError, match=r"evaluate.metrics.1.name: .*did you mean 'vif'"):
        measure(made, tmp_path, [{"name": "l1"}, {"name": "viff"}])
    with pytest.raises(UsageError, match=r"evaluate.metrics.0.net: unknown key"):
        measure(made, tmp_path, [{"name": "frechet", "features": "dlib_embedding", "net": 1}])
    with pytest.raises(UsageError, match=r"evaluate.metrics.0.features: .*did you mean 'pixels'"):
        measure(made, tmp_path, [{"name": "kid", "features": "pixel"}])
    with pytest.raises(UsageError, match=r"evaluate.neighbours: .*did you mean 'pixels'"):
        measure(made, tmp_path, PIXELS[:1], neighbours="pixel")
    with pytest.raises(UsageError, match=r"evaluate.split: .*'train', 'val' or 'test', found 'tset'"):
        config.section(config.read([], ["evaluate.split=tset"]), "evaluate", evaluate.Params)
    assert list(tmp_path.iterdir()) == []


def test_the_plan_lists_missing_weights(made, tmp_path, no_assets):
    params = config.section(config.read([], ["evaluate.samples=9"]), "evaluate", evaluate.Params)
    plan = evaluate.plan(faces=made / "faces.h5", params=params)
    assert plan["held_out_faces"] == TEST
    assert plan["samples_per_set"] == 9
    assert set(plan["missing_assets"]) == {"alexnet", "inception"}
    assert "held_out_faces" not in evaluate.plan(faces=tmp_path / "none.h5", params=params)
