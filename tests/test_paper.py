"""Our numbers beside a paper's: exact means, spreads and verdicts, gaps, one-sentence errors, a self-contained page."""

import html.parser
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from fgcli import artifacts
from fgcli.cli import app
from fgcli.errors import FgError, UsageError
from fgcli.intervals import bootstrap
from fgcli.reports.paper import page, runs, verdicts
from fgcli.reports.paper.layout import Comparison, Table, load
from fgcli.reports.paper.runs import Cell
from fgcli.stages import paper

ROOT = Path(__file__).parents[1]
HOSTILE = "<script>alert(1)</script>"


def table():
    """A table of two models with two columns, and of attacks with a number per strength."""
    return {
        "title": f"A paper {HOSTILE}",
        "citation": "Someone, somewhere",
        "protocol": {"theirs": "as printed", "ours": "as run", "differs": ["everything"]},
        "tables": {
            "digits": {
                "title": "Digits",
                "folder": "digits",
                "theirs": "MNIST, Table 1",
                "root": "metrics.json:distance",
                "columns": {
                    "rec": {"title": "Rec.", "ours": ".rec", "better": "lower", "digits": 2},
                    "ssim": {"title": "1 - SSIM", "ours": ".ssim", "better": "lower", "digits": 1, "times": -1,
                             "plus": 1},
                    "lpips": {"title": "LPIPS", "ours": ".lpips_alex", "better": "lower", "digits": 3},
                },
                "rows": {
                    "VAE": {"printed": {"rec": 18.26, "ssim": 0.3}},
                    "RAE": {"printed": {"rec": 11.67, "ssim": 0.4}, "ours": {"lpips": None}},
                    "DCGAN": {"title": "DC-GAN", "printed": {"rec": 9.5}, "without": "it is not an autoencoder"},
                },
            },
            "attacks": {
                "title": "Attacks",
                "folder": "digits",
                "theirs": "MNIST, Figure 3",
                "columns": {
                    "fgsm": {"title": "FGSM error", "ours": "attacks.json:fgsm.*.error", "better": "lower", "digits": 1,
                             "times": 100},
                },
                "rows": {"VAE": {"printed": {"fgsm": 3.89}}, "RAE": {}},
            },
        },
        "claims": [
            {"id": "rec", "text": "RAE is nearer", "table": "digits", "every": ["RAE rec < VAE rec"]},
            {"id": "both", "text": "In both", "table": "digits", "every": ["RAE rec < * rec", "RAE ssim < VAE ssim"]},
            {"id": "one", "text": "In one", "table": "digits", "any": ["RAE ssim < VAE ssim", "RAE rec <= 20"]},
            {"id": "lpips", "text": "LPIPS", "table": "digits", "every": ["VAE lpips < 1"]},
            {"id": "safe", "text": "VAE is safe", "table": "attacks", "every": ["VAE fgsm <= 3.9"]},
            {"id": "open", "text": "RAE is not", "table": "attacks", "any": ["RAE fgsm > 3.9"]},
        ],
        "reasons": {"both": f"Because {HOSTILE}"},
    }  # fmt: skip


def test_a_place_may_name_its_row():
    columns = {"kept": {"title": "kept", "ours": ".{row}.kept", "digits": 2}}
    made = Table(title="", theirs="", root="edits.json:edits", columns=columns, rows={"LW(-)": {}, "LT": {}})
    assert made.place("LW(-)", "kept") == "edits.json:edits.LW(-).kept"


NUMBERS = {  # rec and ssim of three seeds, FGSM errors at two strengths
    "VAE": ([(20.0, 0.7), (22.0, 0.7), (24.0, 0.7)], {"0": 0.01, "0.1": 0.039}),
    "RAE": ([(19.0, 0.5), (23.0, 0.5), (12.0, 0.5)], {"0": 0.01, "0.1": 0.2}),
}


@pytest.fixture
def folder(tmp_path):
    """Runs of three seeds and the paper.yaml beside them."""
    for label, (seeds, errors) in NUMBERS.items():
        for seed, (rec, ssim) in enumerate(seeds):
            run = tmp_path / "runs" / "digits" / label / f"seed{seed}"
            run.mkdir(parents=True)
            (run / "metrics.json").write_text(json.dumps({"distance": {"rec": rec, "ssim": ssim}}))
            (run / "attacks.json").write_text(json.dumps({"fgsm": {k: {"error": e} for k, e in errors.items()}}))
            (run / "protocols.json").write_text(json.dumps({"left_out": {"lpips_alex": "lpips_alex: no weights here"}}))
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump(table(), sort_keys=False))
    return tmp_path


def write(folder, change):
    """The file with one thing changed."""
    content = table()
    change(content)
    (folder / "paper.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / "paper.yaml"


def run(folder):
    files = folder / "paper.html", folder / "paper.json"
    paper.run(folder / "paper.yaml", folder / "runs", *files)
    return files[0].read_text(encoding="utf-8"), json.loads(files[1].read_text(encoding="utf-8"))


def test_means_spreads_and_units(folder):
    tables = run(folder)[1]["tables"]
    assert tables["digits"]["VAE"]["rec"] == {"mean": 22.0, "std": 2.0, "seeds": {"0": 20.0, "1": 22.0, "2": 24.0}}
    assert tables["digits"]["VAE"]["ssim"]["mean"] == pytest.approx(0.3)  # 1 - 0.7
    assert tables["digits"]["VAE"]["lpips"] == {"left_out": "no weights here"}
    assert "lpips" not in tables["digits"]["RAE"]
    assert "DCGAN" not in tables["digits"]
    worst = tables["attacks"]["RAE"]["fgsm"]
    assert (worst["mean"], worst["std"], list(worst["keys"])) == (20.0, 0.0, ["0", "0.1"])


def test_verdicts_are_for_the_mean_and_seeds_are_counted(folder):
    claims = run(folder)[1]["claims"]
    assert {name: claim["verdict"] for name, claim in claims.items()} == {
        "rec": "holds",
        "both": "mixed",
        "one": "holds",
        "lpips": "not measured",
        "safe": "holds",
        "open": "holds",
    }
    [(text, compared)] = claims["rec"]["comparisons"].items()
    assert text == "RAE rec < VAE rec"
    assert (compared["holds"], compared["seeds_held"], compared["seeds"]) == (1, 2, 3)  # -1, +1, -12
    assert compared["difference"] == pytest.approx(-4.0)
    assert compared["std"] == pytest.approx(7.0)
    assert list(claims["safe"]["comparisons"]) == ["VAE fgsm <= 3.9 at 0", "VAE fgsm <= 3.9 at 0.1"]
    assert claims["both"]["printed"] == {"holds": 1, "of": 2}


def test_a_place_with_keys_is_compared_at_each_on_either_side():
    keyed = Cell(seeds={0: 9.0}, keys={"a": {0: 1.0}, "b": {0: 9.0}})
    cells = {"VAE": {"x": Cell(seeds={0: 5.0})}, "RAE": {"y": keyed}}
    for comparison, holds in (
        (Comparison("VAE", "x", ">", ("RAE", "y")), [True, False]),
        (Comparison("RAE", "y", ">", ("VAE", "x")), [False, True]),
        (Comparison("RAE", "y", "<", 2.0), [True, False]),
        (Comparison("VAE", "x", "<", 2.0), [False]),
    ):
        assert [outcome.holds for outcome in verdicts._outcomes(comparison, cells)] == holds


@pytest.mark.parametrize(
    ("holds", "one", "word"),
    [
        ([True, True], False, verdicts.HOLDS),
        ([True, False], False, verdicts.MIXED),
        ([False, False], False, verdicts.FAILS),
        ([True, None], False, verdicts.UNMEASURED),
        ([True, False, None], False, verdicts.MIXED),
        ([True, False], True, verdicts.HOLDS),
        ([False, None], True, verdicts.UNMEASURED),
        ([False, False], True, verdicts.FAILS),
    ],
)
def test_words_of_verdicts(holds, one, word):
    assert verdicts.verdict([(held, True) for held in holds], one) == word


@pytest.mark.parametrize(
    ("outcomes", "one", "word"),
    [
        ([(True, True), (True, False)], False, verdicts.UNCLEAR),
        ([(True, False), (False, False)], False, verdicts.MIXED),
        ([(True, False), (False, True)], True, verdicts.UNCLEAR),
        ([(True, True), (True, False)], True, verdicts.HOLDS),
    ],
)
def test_what_holds_within_its_interval_holds_not_clearly(outcomes, one, word):
    assert verdicts.verdict(outcomes, one) == word


@pytest.mark.parametrize(("apart", "verdict", "clearly"), [(0.0, "holds", 1), (2.0, "not clearly", 0)])
def test_verdicts_hold_the_same_people_of_both_runs_against_each_other(folder, apart, verdict, clearly):
    """RAE is better by 0.5 on average, on every person alike or by very different amounts."""
    people, who = np.linspace(10, 30, 8), np.arange(8)
    gain = 0.5 + apart * np.array([-1, 1, -1, 1, 1, -1, 1, -1])
    for row, values in (("VAE", people), ("RAE", people - gain)):
        for place in (folder / "runs/digits" / row).iterdir():
            arrays = {"values/rows": who, "replicates/distance/rec": bootstrap(values, who)}
            meta = {"protocols": {}, "numbers": ""}
            artifacts.save(place / "evaluation.h5", artifacts.EVALUATION, arrays, params={}, inputs={}, meta=meta)
    page, found = run(folder)
    claim = found["claims"]["rec"]
    compared = claim["comparisons"]["RAE rec < VAE rec"]
    assert claim["verdict"] == verdict
    assert claim["clearly"] == clearly
    assert (compared["low"] == pytest.approx(compared["high"])) is (apart == 0)
    assert compared["low"] <= -0.5 + 1e-9
    assert "its 95 % interval" in page
    assert found["claims"]["safe"].get("clearly") is None


def test_seeds_that_one_side_lacks_are_not_compared(folder):
    shutil.rmtree(folder / "runs/digits/VAE/seed2")
    compared = run(folder)[1]["claims"]["rec"]["comparisons"]["RAE rec < VAE rec"]
    assert (compared["seeds"], compared["difference"], compared["holds"]) == (2, 0.0, 0)


class Reader(html.parser.HTMLParser):
    """Tags, links, and the text of the page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.words = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset")]

    def handle_data(self, data):
        self.words += data.split()


def test_page_tells_both_sides_and_fetches_nothing(folder):
    for label in ("VAE", "RAE"):
        sheets = folder / "runs" / "digits" / label / "seed0" / "train" / "samples"
        sheets.mkdir(parents=True)
        Image.new("RGB", (900, 30), "red").save(sheets / "000010.png")
    text, _ = run(folder)
    reader = Reader(text)
    words = " ".join(reader.words)
    assert "script" not in reader.tags
    assert all(link.startswith(("data:", "#")) for link in reader.links)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert str(folder) not in text
    assert "Printed: MNIST, Table 1" in words
    assert "22.00 ± 2.00" in words
    assert re.search(r"DC-GAN \u2013 b .* b it is not an autoencoder", words)
    assert "no weights here" in words
    assert "In the printed table 1 of 2 comparisons hold; not: 1 - SSIM: RAE < VAE (0.4 and 0.3)." in words
    assert "Why we think so: Because" in words
    assert words.count("searches find") == 1  # two tables of the same runs show them once


def test_two_runs_give_equal_bytes(folder):
    assert run(folder) == run(folder)


def test_a_reason_is_shown_only_where_the_claim_does_not_hold(folder):
    write(folder, lambda c: c["reasons"].update(rec="a stale reason"))
    assert "a stale reason" not in run(folder)[0]


def test_a_table_that_was_not_run_shows_the_printed_side_only(folder):
    def change(content):
        content["tables"]["digits"]["without"] = "it takes a week"
        content["claims"] = [c for c in content["claims"] if c["table"] == "attacks"]
        content["reasons"] = {}

    write(folder, change)
    text, numbers = run(folder)
    assert numbers["tables"]["digits"] == {}
    assert "Not run here: it takes a week" in text
    assert "Ours: Digits" not in text


def remove(key):
    return lambda content: content.pop(key)


def claim(**changes):
    return lambda content: content["claims"][0].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("title"), "title: expected a value, found none; add it"),
        (lambda c: c.update(titel=1), "titel: unknown key (did you mean 'title'?)"),
        (
            lambda c: c["tables"]["digits"]["rows"]["VAE"].update(print=1),
            "tables.digits.rows.VAE.print: unknown key (did you mean 'printed'?); expected one of title, printed",
        ),
        (
            lambda c: c["tables"]["digits"]["rows"]["VAE"]["printed"].update(rek=1),
            "tables.digits.rows.VAE.printed.rek: expected one of rec, ssim, lpips, found 'rek' (did you mean 'rec'?)",
        ),
        (
            lambda c: c["tables"]["digits"]["columns"]["rec"].update(ours="rec"),
            "tables.digits.columns.rec.ours: string should match pattern",
        ),
        (lambda c: c["tables"]["digits"].pop("root"), "tables.digits.root: expected the place that .rec continues"),
        (lambda c: c["tables"]["attacks"]["columns"]["fgsm"].pop("better"), "fgsm.better: expected lower or higher"),
        (claim(every=["RAE rec << 3"]), "claims.0.every.0: expected 'ROW COLUMN < ROW COLUMN' or"),
        (claim(every=["RAF rec < 3"]), "claims.0.every.0: expected one of VAE, RAE, DCGAN, found 'RAF' (did you mean"),
        (claim(every=["VAE rec < DCGAN rec"]), "expected a row that has runs, found DCGAN without (it is not an"),
        (claim(every=["RAE lpips < 3"]), "expected a column that applies, found RAE without lpips"),
        (claim(every=[]), "claims.0: expected comparisons under every or under any, found both or none"),
        (claim(id="both"), "claims.1.id: expected a name of its own, found 'both' again"),
        (claim(table="faces"), "claims.0.table: expected one of digits, attacks, found 'faces'"),
        (lambda c: c["reasons"].update(recs="x"), "reasons.recs: expected one of rec, both"),
    ],
)
def test_mistakes_in_the_file_are_named_by_their_place(folder, change, message):
    path = write(folder, change)
    with pytest.raises(UsageError) as found:
        load(path)
    assert str(found.value).startswith(f"{path}: ")
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_missing_runs_files_and_keys_are_named(folder):
    place = folder / "runs" / "digits" / "RAE"
    (place / "seed1" / "metrics.json").write_text('{"distance": {"rek": 1}}')
    with pytest.raises(FgError, match=r"seed1/metrics.json: expected a number at distance.rec, found no 'rec' \(did"):
        run(folder)
    (place / "seed1" / "metrics.json").write_text('{"distance": {"rec": null, "ssim": 1}}')
    with pytest.raises(FgError, match=r"expected a number at distance.rec, found None; run it again"):
        run(folder)
    (place / "seed1" / "metrics.json").unlink()
    with pytest.raises(FgError, match=r"seed1/metrics.json: expected the numbers of a run, found no such file"):
        run(folder)
    shutil.rmtree(place)
    with pytest.raises(FgError, match=r"RAE: expected folders seed0, seed1, \.\.\. of the row RAE in .*paper.yaml"):
        run(folder)
    assert not (folder / "paper.html").exists()


def test_keys_with_dots_and_left_out_families():
    content = {"fgsm": {"0.1": {"error": 1}, "0.2": {"error": 2}}}
    assert runs._follow(content, ["fgsm", "0", "1", "error"]) == {"": 1}
    assert runs._follow(content, ["fgsm", "*", "error"]) == {"0.1": 1, "0.2": 2}
    why = {"prd_x": "prd_x: too few", "generator/vif": "small"}
    assert runs._left_out(why, ["distribution", "prd_x_f8", "generator", "samples_gmm"]) == "too few"
    assert runs._left_out(why, ["distribution", "kid_x", "generator"]) == ""


def test_numbers_keep_the_digits_they_were_printed_with():
    assert [page.decimals(v) for v in (18.26, 0.9, 315.0, 0.082)] == [2, 1, 0, 3]
    assert page.measured(-1.25, 0.5, 2) == "\u22121.25 ± 0.50"
    assert page.measured(1.25, None, 1) == "1.2"


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").glob("*/paper.yaml")), ids=lambda p: p.parent.name)
def test_every_pipeline_has_a_file_that_loads(path):
    content = load(path)
    assert content.claims


def test_command(folder):
    called = ["paper", "--paper", str(folder / "paper.yaml"), "--folder", str(folder / "runs"), "--json"]
    done = CliRunner().invoke(app, called)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["claims"]["both"] == "mixed"
    assert (folder / "runs" / "paper.html").exists()
    assert (folder / "runs" / "paper.json").exists()
    (folder / "paper.yaml").unlink()
    done = CliRunner().invoke(app, called)
    assert done.exit_code == 2
    assert "expected a paper's tables and claims, found none" in done.output
