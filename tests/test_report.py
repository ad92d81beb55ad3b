"""The report: equal bytes, self-contained, safe against hostile names, whole without its optional parts."""

import html.parser
import io
import json
import re
from base64 import b64decode

import numpy as np
import pytest
from conftest import HEAD
from PIL import Image

from fgcli import artifacts, config
from fgcli.artifacts.parts import name_of
from fgcli.errors import FgError
from fgcli.generators import GENERATORS, store
from fgcli.reports import images, material, plots, sections, tables
from fgcli.reports.chroma import chroma
from fgcli.reports.nouns import NOUNS
from fgcli.stages import density, editor, invert, judges, report

HOSTILE = '"><script>alert(1)</script>'
NAMES = ["smiling", "colour"]
WITHOUT = dict.fromkeys(("density", "judges", "editor", "flame", "optimum", "neighbours"))


def params(stage, **changes):
    raw = config.overlay(config.defaults(), {stage.__name__.split(".")[-1]: changes})
    return config.section(raw, stage.__name__.split(".")[-1], stage.Params)


def write_faces(path, n=36, size=16):
    rng = np.random.default_rng(0)
    pictures = np.repeat(rng.integers(0, 256, (n, size, size, 1), np.uint8), 3, 3)
    pictures[::3, ..., 0] //= 2  # every third photo is in colour
    masks = np.zeros((n, size, size), np.uint8)
    masks[:, 3:13, 4:12] = 255
    arrays = {
        "images": pictures,
        "masks": masks,
        "landmarks": np.zeros((n, 68, 2), np.float32),
        "crop": np.zeros((n, 2, 3), np.float32),
        "attributes": np.stack([np.arange(n) % 2, np.arange(n) % 3 == 0], 1).astype(np.int8),
        "identity": (np.arange(n) // 3).astype(np.int32),
        "split": np.repeat([0, 1, 2], [n - 18, 6, 12]).astype(np.uint8),
        "source": [f"set/{i}{HOSTILE}" for i in range(n)],
        "rejected/source": [f"set/bad{HOSTILE}"],
        "rejected/reason": ["no face found"],
    }
    meta = {
        "content": "faces",
        "attribute_names": NAMES,
        "datasets": [{"name": f"set{HOSTILE}", "photos": n + 1, "licence": "CC0"}],
        "analyser": {"name": "dlib", "notice": "not for sale"},
        "segmenter": {"name": "landmark_hull"},
    }
    artifacts.save(path, artifacts.FACES, arrays, params={"size": size}, inputs={}, meta=meta)


def write_generator(path, faces, name):
    import torch

    torch.manual_seed(0)
    build = {"name": name, "codes": 3} | ({"width": 0.1} if name == "masked_vae" else {})
    model = config.build(GENERATORS, build, "test", image_shape=(3, 16, 16))
    history = {"step": np.array([1.0, 2.0, 3.0]), "vae/l2": np.array([3.0, 2, 1]), "validation": np.array([2.0, 1, 3])}
    if name == "pca":
        model.fit(artifacts.rows(faces, "images")[:18])
        history = {}
    store.save(
        path,
        model,
        ema=model.state_dict(),
        build=build,
        history=history,
        training={"steps": 3, "rows": 18},
        params={"objective": {"name": "masked_elbo"}},
        inputs={"faces": faces},
    )


def write_evaluation(folder, paths):
    """metrics.json and evaluation.h5 as `fg evaluate` writes them, with numbers of our own."""
    entry = {"images": 12, "l2": 0.1, "ssim": 0.5}
    other = {"images": 12, "l2": 0.2, "ssim": 0.6, "ssim_images": 11}
    numbers = {
        "reconstruction": {"generator": {"given_mask": entry}, "pca": {"given_mask": other}},
        "distribution": {
            "images": {"generator": {"samples_prior": 4, "samples_gmm": 4}, "pca": {"samples_prior": 4}},
            "sharpness": {"generator": {"samples_prior": 0.9}, "pca": {"samples_prior": 1.2}},
            "frechet_x": {"generator": {"samples_prior": 0.9, "samples_gmm": 0.7}, "pca": {"samples_prior": 0.8}},
        },
    }
    (folder / "metrics.json").write_text(json.dumps(numbers))
    protocols = {
        "models": {"pca": {"codes": 3, "training_images": 18, "mirrored": True}},
        "reconstruction": {
            "l2": {"value": "root mean squared error", "better": "lower", "average": "over face pixels"},
            "ssim": {"value": "structural similarity", "better": "higher"},
        },
        "distribution": {
            "frechet_x": {"value": "Fréchet distance", "better": "lower", "extractor": "x"},
            "sharpness": {"value": "sharpness", "better": "one", "extractor": "laplacian"},
        },
        "masks": {"given_mask": "the mask in faces.h5"},
        "split": "test",
        "left_out": {"lpips_alex": "lpips_alex: expected the asset alexnet, found none"},
    }
    arrays = {"values/rows": np.arange(24, 36), "values/reconstruction/generator/given_mask/l2": np.linspace(0, 1, 12)}
    inputs = {k: paths[k] for k in ("faces", "generator", "latents")}
    meta = {"protocols": protocols, "numbers": name_of(numbers)}
    artifacts.save(folder / "evaluation.h5", artifacts.EVALUATION, arrays, params={}, inputs=inputs, meta=meta)


def make(folder, name):
    paths = {k: folder / f"{k}.h5" for k in ("faces", "generator", "latents", "density", "editor", "evaluation")}
    paths |= {"metrics": folder / "metrics.json", "folder": folder / "train"}
    write_faces(paths["faces"])
    write_generator(paths["generator"], paths["faces"], name)
    invert.run(paths["faces"], paths["generator"], paths["latents"], params=params(invert))
    density.run(paths["latents"], paths["density"], params=params(density, methods={"gmm": {"components": 2}}))
    steered = config.section(
        {
            "editor": {
                "attributes": ["smiling"],
                "methods": {
                    "plain": {"name": "mean_difference", "match": []},
                    "matched": {"name": "mean_difference", "match": ["colour"]},
                },
                "layers": None,
                "seed": 0,
            }
        },
        "editor",
        editor.Params,
    )
    editor.run(paths["latents"], None, None, paths["editor"], params=steered)
    write_evaluation(folder, paths)
    sheets = folder / "train" / "samples"
    sheets.mkdir(parents=True)
    Image.new("RGB", (40, 20), "red").save(sheets / "000003.png")
    return paths


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return make(tmp_path_factory.mktemp("vae"), "masked_vae")


@pytest.fixture(scope="module")
def page(paths):
    output = paths["faces"].with_name("report.html")
    report.run(**WITHOUT | paths, output=output, params=params(report, samples=4, people=3))
    return output.read_text(encoding="utf-8")


class Reader(html.parser.HTMLParser):
    """Collects tags, anchors, and everything that a browser would fetch or follow."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.ids, self.images = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.add(tag)
        self.links += [given[k] for k in ("src", "href", "xlink:href", "action", "srcset", "poster") if k in given]
        self.ids += [given["id"]] if "id" in given else []
        self.images += [given] if tag == "img" else []


def test_two_runs_give_equal_bytes(paths, page, tmp_path):
    report.run(**WITHOUT | paths, output=tmp_path / "again.html", params=params(report, samples=4, people=3))
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_a_search_is_shown_and_one_that_was_made_of_other_files_is_left_out(paths, tmp_path):
    rounds = [{"candidates": 2, "valid": 0.5, "best": 1.0, "mean": 0.75}, {"candidates": 1, "valid": 1.0, "best": 2.0}]
    meta = {"space": "z", "generator": "", "trials": [{"row": 30, "best": 2, "rounds": rounds}]}
    arrays = {"codes": np.zeros((3, 1, 3), np.float32), "trial": np.zeros(3, np.int32)}
    arrays |= {"round": np.array([0, 0, 1], np.int32), "value": np.array([0.5, 1, 2]), "valid": np.ones(3, np.uint8)}
    arrays |= {name: np.full(3, np.nan) for name in ("predicted", "deviation")}
    arrays["pictures"] = np.zeros((3, 16, 16, 3), np.uint8)
    about = {"params": config.defaults()["optimize"], "meta": meta}
    files = paths | {"optimum": tmp_path / "optimum.h5"}
    artifacts.save(files["optimum"], artifacts.OPTIMUM, arrays, inputs={"latents": paths["latents"]}, **about)
    report.run(**WITHOUT | files, output=tmp_path / "r.html", params=params(report, samples=4, people=3))
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Maximised: attribute, attribute smiling" in text
    assert text.count("candidate 2: 2") == 1
    artifacts.save(files["optimum"], artifacts.OPTIMUM, arrays, inputs={"latents": paths["faces"]}, **about)
    told = report.run(**WITHOUT | files, output=tmp_path / "r.html", params=params(report, samples=4, people=3))
    assert told["left_out"]["optimum"] == "it was made from other files than these; run fg optimize again"


def test_page_fetches_nothing_and_names_no_path_of_the_machine(paths, page):
    reader = Reader(page)
    assert all(link.startswith(("data:", "#")) for link in reader.links)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert str(paths["faces"].parent) not in page


def test_every_anchor_exists_once_and_every_picture_has_words(page):
    reader = Reader(page)
    anchors = {link[1:] for link in reader.links if link.startswith("#")}
    headings = [i for i in reader.ids if i in anchors]
    assert anchors <= set(reader.ids)
    assert len(headings) == len(set(headings))
    assert len(reader.images) > 100
    assert all(image["alt"] for image in reader.images)


def test_it_says_faces_photos_and_people(page):
    for said in (
        "turns 16 px faces into 3 numbers and back. It learned from 18 photos in 3 steps",
        "others, of people it has never seen.",
        "18 faces, 6 people",
        "One photo per person: the one of median error",
        "Rejected photos",
        "None of these people exist.",
        "beats eigenfaces of equal code size",
        "Reconstructions are compared on the given mask.",
        "Reconstructions on the given mask</h3>",
        "From one person to another",
        "smiling added",
    ):
        assert said in page
    assert not re.search("digit|picture of|principal components", page)


def test_hostile_names_are_escaped(page):
    assert "script" not in Reader(page).tags
    assert "&lt;script&gt;alert(1)" in page


def test_optional_parts_are_left_out_by_name(paths, tmp_path):
    some = paths | {"density": None, "editor": None}
    result = report.run(**WITHOUT | some, output=tmp_path / "r.html", params=params(report, samples=4, people=3))
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert {"density", "editor", "lpips_alex"} <= set(result["left_out"])
    assert 'id="edits"' not in text
    assert "smiling removed" not in text
    assert "no density.h5 was given" in text


def test_latents_know_the_person_of_each_face(paths):
    stored = artifacts.load(paths["latents"])
    np.testing.assert_array_equal(stored["identity"], artifacts.load(paths["faces"])["identity"])


def edited(paths, folder, **given):
    """The paths, with an editor of other params."""
    changed = paths | {"editor": folder / "editor.h5"}
    methods = {"plain": {"name": "mean_difference", "match": []}}
    given |= {"methods": methods, "layers": None, "seed": 0}
    editor.run(paths["latents"], None, None, changed["editor"], params=editor.Params(**given))
    return changed


def test_an_editor_that_learned_nothing_is_left_out_and_why(paths, tmp_path):
    some = edited(paths, tmp_path, attributes=None)
    result = report.run(**WITHOUT | some, output=tmp_path / "r.html", params=params(report, samples=4, people=3))
    assert result["left_out"]["edits"].startswith("the editor learns nothing; not smiling (9 rows of 6 people with it")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert 'id="edits"' not in text
    assert "the editor learns nothing" in text


def test_edits_of_more_attributes_than_a_page_holds_are_left_out_by_name(paths, tmp_path, monkeypatch):
    monkeypatch.setattr(sections, "ATTRIBUTES", 1)
    some = edited(paths, tmp_path, attributes=["smiling", "colour"])
    result = report.run(**WITHOUT | some, output=tmp_path / "r.html", params=params(report, samples=4, people=3))
    assert result["left_out"]["more edits"] == "the page shows 1 of 2 attributes; fg edit draws colour"
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert 'id="edit-1"' in text
    assert 'id="edit-2"' not in text


def test_without_a_baseline_and_with_neighbours(paths, page, tmp_path):
    assert "Are they copies?" not in page
    stored = artifacts.load(paths["evaluation"])
    protocols = dict(stored.meta["protocols"], models={})
    inputs = {k: paths[k] for k in ("faces", "generator", "latents")}
    changed = {"evaluation": tmp_path / "evaluation.h5", "metrics": tmp_path / "metrics.json"}
    numbers = json.loads(paths["metrics"].read_text())
    for table in (numbers["reconstruction"], *numbers["distribution"].values()):
        del table["pca"]
    kind, meta = artifacts.EVALUATION, {"protocols": protocols, "numbers": name_of(numbers)}
    artifacts.save(changed["evaluation"], kind, stored.arrays, params={}, inputs=inputs, meta=meta)
    changed["metrics"].write_text(json.dumps(numbers))
    mixed = paths | {"metrics": changed["metrics"]}
    with pytest.raises(FgError, match=r"metrics.json: expected the numbers of .*evaluation.h5, found another run's"):
        report.run(**WITHOUT | mixed, output=tmp_path / "r.html", params=params(report, samples=4, people=3))
    changed["neighbours"] = tmp_path / "neighbours.png"
    Image.new("RGB", (40, 20), "blue").save(changed["neighbours"])
    report.run(**WITHOUT | paths | changed, output=tmp_path / "r.html", params=params(report, samples=4, people=3))
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "eigenfaces" not in text
    assert "Are they copies?" in text


def write_flame(path, faces, head):
    """A flame.h5 of 36 mean heads that look in different directions."""
    import torch

    from fgcli.fitting.extract import identity
    from fgcli.heads.centring import centred
    from fgcli.heads.light import WHITE
    from fgcli.heads.parameters import Parameters

    p = Parameters.zeros(36)
    p.pose[:, 1] = torch.linspace(-0.3, 0.3, 36)
    p = p.replace(camera=centred(head, p.shape, p.expression, p.pose, 0.8), light=WHITE.expand(36, 9, 3))
    arrays = p.to_arrays() | {
        "landmarks2d": np.full((36, 68, 2), 8, np.float32),
        "residuals": np.linspace(0.01, 0.05, 36, dtype=np.float32),
        "colour_error": np.full(36, 0.1, np.float32),
        "status": np.array(["ok"] * 34 + ["no landmarks to fit to"] * 2),
        "split": artifacts.load(faces)["split"],
    }
    meta = {"head": identity(head, HEAD), "method": {"name": "fit", "refine": "landmarks"}}
    artifacts.save(path, artifacts.FLAME, arrays, params={}, inputs={"faces": faces}, meta=meta)


def test_heads_have_their_section(paths, page, head, tmp_path):
    assert 'id="heads"' not in page
    write_flame(tmp_path / "flame.h5", paths["faces"], head)
    some = paths | {"flame": tmp_path / "flame.h5"}
    texts = []
    for name in ("r.html", "again.html"):
        result = report.run(**WITHOUT | some, output=tmp_path / name, params=params(report, samples=4, people=3))
        texts.append((tmp_path / name).read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
    assert "flame" not in result["left_out"]
    section = texts[0][texts[0].index('id="heads"') :]
    assert "no landmarks to fit to" in section
    assert "fit, refined by landmarks, head procedural" in section
    assert len(Reader(texts[0]).images) >= len(Reader(page).images) + 3 * 7


def test_heads_of_other_faces_are_refused(paths, head, tmp_path):
    write_faces(tmp_path / "faces.h5", size=18)
    write_flame(tmp_path / "flame.h5", tmp_path / "faces.h5", head)
    with pytest.raises(FgError, match=r"flame.h5: .* found one made from"):
        report.run(
            **WITHOUT | paths | {"flame": tmp_path / "flame.h5"}, output=tmp_path / "r.html", params=params(report)
        )


def test_generator_without_mask_decoder_or_history(tmp_path):
    paths = make(tmp_path, "pca")
    result = report.run(**WITHOUT | paths, output=tmp_path / "r.html", params=params(report, samples=4, people=3))
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "loss curves" in result["left_out"]
    assert "predicted mask" not in text
    assert 'id="training"' not in text


def test_with_judges_every_edit_at_the_head_has_its_certificate(paths, tmp_path):
    files = {"output": tmp_path / "judges.h5", "metrics": tmp_path / "judges.json", "folder": tmp_path / "judges"}
    small = {"network": {"name": "residual", "width": 0.1}, "steps": 2, "batch": 8, "validate_steps": 2, "threads": 1}
    judges.run(paths["faces"], None, None, **files, params=params(judges, **small))
    known = paths | {"judges": tmp_path / "judges.h5"}
    report.run(**WITHOUT | known, output=tmp_path / "r.html", params=params(report, samples=4, people=3))
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    feet = re.findall(r"<span>(smiling [+-]0\.\d\d; identity \d\.\d\d; (?:holds|! [^<]+))</span>", text)
    assert len(feet) == 3 * 2  # added and taken away
    assert "Below each edit: how a judge" in text
    foreign = tmp_path / "faces.h5"
    write_faces(foreign, size=18)
    judges.run(foreign, None, None, **files, params=params(judges, **small))
    with pytest.raises(FgError, match=r"judges.h5: .* found one made from another faces; run fg judges again"):
        report.run(**WITHOUT | known, output=tmp_path / "r.html", params=params(report, samples=4, people=3))


def test_artifacts_of_another_generator_are_refused(paths, tmp_path):
    write_generator(tmp_path / "other.h5", paths["faces"], "pca")
    with pytest.raises(FgError, match=r"latents.h5: .* found one made from another generator; run fg invert again"):
        report.run(
            **WITHOUT | paths | {"generator": tmp_path / "other.h5"}, output=tmp_path / "r.html", params=params(report)
        )
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_bad_metrics_are_refused(paths, tmp_path, content):
    bad = tmp_path / "metrics.json"
    bad.write_text(content)
    with pytest.raises(FgError, match="run fg evaluate again"):
        report.run(**WITHOUT | paths | {"metrics": bad}, output=tmp_path / "r.html", params=params(report))


def test_chroma_is_zero_on_grey_and_counts_face_pixels_only():
    pictures = np.full((2, 4, 4, 3), 90, np.uint8)
    pictures[1, :2, :, 0] = 190
    masks = np.zeros((2, 4, 4), np.uint8)
    masks[:, :, :2] = 255
    assert chroma(pictures, masks).tolist() == [0.0, 50.0]  # half of the face is 100 wide


def test_pictures_keep_grey_grey_and_shrink_to_the_limit():
    grey = np.repeat(np.random.default_rng(0).integers(0, 256, (300, 300, 1), np.uint8), 3, 2)
    uri = images.picture(grey, "noise").uri
    back = np.asarray(Image.open(io.BytesIO(b64decode(uri.partition(",")[2]))).convert("RGB")).astype(int)
    assert back.shape == (images.LARGEST, images.LARGEST, 3)
    assert np.ptp(back, 2).max() <= 1


@pytest.mark.parametrize(("side", "shown"), [(16, 128), (64, 128), (128, 128), (144, 144), (256, 144)])
def test_tiny_faces_are_shown_at_a_whole_multiple(side, shown):
    assert images.shown_side(side) == shown


def test_curves_put_validation_first_and_mark_its_lowest():
    history = {"step": np.arange(3.0), "a/x": np.array([1.0, 2, 3]), "validation": np.array([5.0, 4, 6])}
    drawn = plots.curves(history)
    assert [c.name for c in drawn] == ["validation", "a/x"]
    assert drawn[0].note == "4 at step 1"
    assert all("var(--accent)" in c.svg and "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", c.svg) for c in drawn)
    assert plots.curves({}) == []


def test_tables_know_which_way_is_better_and_which_model_won():
    sharp = tables.Line("sharpness", "5", {"generator": 0.9, "pca": 1.2}, "one", "")
    assert (sharp.arrow, sharp.best) == ("→ 1", "generator")
    assert tables.Line("l2", "5", {"generator": 0.4, "pca": 0.6}, "lower", "").best == "generator"
    assert tables.Line("new", "5", {"generator": 0.4, "pca": 0.6}, "", "").best == ""
    line = tables.Line("ssim", "5", {"generator": 0.4, "pca": 0.6}, "higher", "")
    assert (line.arrow, line.best) == ("↑", "pca")
    assert tables.Line("ssim", "5", {"generator": 0.4, "pca": None}, "higher", "").best == ""


def test_paired_table_has_the_counts_of_each_metric(paths):
    numbers = json.loads(paths["metrics"].read_text())
    [table] = tables.paired(numbers, artifacts.load(paths["evaluation"], names=()).meta["protocols"], NOUNS["faces"])
    assert [(line.name, line.images, line.best) for line in table.lines] == [
        ("l2", "12", "generator"),
        ("ssim", "11 / 12", "pca"),
    ]
    assert tables.verdict(table, NOUNS["faces"]).endswith("in 1 of 2 metrics: l2.")


def test_key_number_of_samples_is_the_nearest_set_beside_eigenfaces_prior(paths):
    numbers = json.loads(paths["metrics"].read_text())
    protocols = artifacts.load(paths["evaluation"], names=()).meta["protocols"]
    [line] = tables.key_numbers([], tables.distribution(numbers, protocols, NOUNS["faces"]))
    assert line.values == {"generator": 0.7, "pca": 0.8}
    assert line.name == "distance of gmm samples (frechet_x)"


def test_headline_takes_the_matched_editor_that_changes_its_attribute_most():
    def entry(match, change):
        return {"matched": {"smiling": match}, "scores": {"smiling": {"change": {"smiling": change}}}}

    about = {"plain": entry([], 0.9), "a": entry(["colour"], 0.1), "b": entry(["colour"], 0.3)}
    assert sections.strongest(about, "smiling") == "b"
    assert sections.strongest({"plain": entry([], 0.9)}, "smiling") == "plain"
    assert sections.by_matching(about) == ["plain", "a", "b"]


def test_spread_takes_distinct_places_from_the_first():
    assert material.spread(10, 4) == [0, 2, 5, 7]
    assert material.spread(3, 4) == [0, 1, 2]
    assert material.spread(3, 0) == []


def test_fade_keeps_the_face_and_greys_the_rest():
    image = np.full((1, 2, 3), 200, np.uint8)
    mask = np.array([[[255] * 3, [0] * 3]], np.uint8)
    assert material.fade(image, mask)[0, :, 0].tolist() == [200, material.BACKGROUND]
