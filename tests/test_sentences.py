"""Sentences: grammars, the artifact, generators that write, what is measured of them."""

import gzip
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import train_params
from sentence_files import GRAMMAR, SHAPE, STEPS, derivations, draw, planes, uniform, write_sentences
from typer.testing import CliRunner

from fgcli import artifacts, config
from fgcli.cli import app
from fgcli.codes import prior, written
from fgcli.errors import FgError, FlawError, UsageError
from fgcli.generators import GENERATORS
from fgcli.objectives.rae import RAE
from fgcli.objectives.reconstruction import cross_entropy, errors, outputs
from fgcli.objectives.vae import VAE
from fgcli.stages import density, evaluate, invert, report, sentences, train

lark = pytest.importorskip("lark")
from fgcli.grammars import Grammar, NotInGrammar, alphabet, expressions, languages  # noqa: E402
from fgcli.grammars.scores import expression_error  # noqa: E402
from fgcli.grammars.shipped import SHIPPED, shipped  # noqa: E402
from fgcli.metrics.written import judged  # noqa: E402


def model(name="grammar_autoencoder", grammar=GRAMMAR, shape=SHAPE, **more):
    torch.manual_seed(0)
    spec = {"name": name, "grammar": grammar, "codes": 3, "dense": 8, "recurrent": 8, **more}
    return config.build(GENERATORS, spec, "test", image_shape=shape).eval()


# ---- grammars


@pytest.mark.parametrize("name", SHIPPED)
def test_what_a_grammar_derives_its_parser_reads_back(name):
    grammar, rng = Grammar(shipped(name)), np.random.default_rng(0)
    for limit in range(3, 63):
        rules = draw(grammar, rng, limit)
        assert len(rules) <= limit
        text = grammar.write(rules)
        assert grammar.parse(text) == rules
        assert grammar.write(rules[:-1]) is None  # does not finish
        assert grammar.write([*rules, rules[0]]) is None  # goes on after the end


def test_rules_are_in_the_order_of_the_text_and_masks_are_those_of_a_symbol():
    grammar = Grammar(GRAMMAR)
    assert grammar.names[:3] == ["start -> start + term", "start -> term", "term -> x"]
    assert grammar.allowed().tolist() == [
        [True, True, False, False, False, False],
        [False, False, True, True, True, False],
        [False, False, False, False, False, True],
    ]


def test_repeats_and_terminals_that_look_ahead_are_grammar_too():
    grammar = Grammar('start: word+\nword: "a" | BOND "b"\nBOND: /=(?=b)/')
    assert grammar.write(grammar.parse("a=ba")) == "a=ba"
    letters = Grammar(alphabet('"\\ x'))
    assert letters.write(letters.parse('x\\ "x')) == 'x\\ "x'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('start: start | "a"', "expected that no symbol derives itself alone, found `start`"),
        ('start: e start | "a"\ne: ', "expected that no symbol derives itself alone, found `start`"),
        ('start: "a" start', "expected rules that come to an end, found `start`"),
        ("start: foo", "Rule 'foo' used but not defined"),
        ("start: /[a-z]+/", "expected terminals of one text each, found"),
        ('begin: "a"', "expected a grammar that lark takes"),
        ('start: a | b\na: "x"\nb: "x"', "expected a grammar that lark takes, found a mistake (Reduce/Reduce"),
    ],
)
def test_a_grammar_that_cannot_be_is_refused_in_one_sentence(text, told, tmp_path):
    with pytest.raises(FlawError) as refused:
        Grammar(text)
    assert told in str(refused.value)
    file = tmp_path / "mine.lark"
    file.write_text(text)
    with pytest.raises(FgError, match=r"mine.lark: [^\n]+; correct it$"):
        sentences.grammar_of(str(file), [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x+", "at character 3: expected '(' '1' 'x', found the end"),
        ("", "at character 1: expected '(' '1' 'x', found the end"),
        ("x+y", "at character 3: expected '(' '1' 'x', found 'y'"),
        ("(x", "at character 3: expected ')' '+', found the end"),
        ("xx", "at character 2: expected '+' the end, found 'x'"),
    ],
)
def test_what_is_no_sentence_is_told_with_its_place(text, told):
    with pytest.raises(NotInGrammar) as refused:
        Grammar(GRAMMAR).parse(text)
    assert str(refused.value) == told


# ---- what they mean


def test_expressions_are_walked_not_run():
    x = np.linspace(-2, 2, 9)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(expressions.values("1+2*x/(3+x)", x), 1 + 2 * x / (3 + x))
        np.testing.assert_allclose(expressions.values("exp(sin(x))", x), np.exp(np.sin(x)))
    with pytest.raises(ValueError, match="expected an expression"):
        expressions.values("x.real")
    assert expression_error("__import__('os').abort()") == math.log(1001)
    assert not languages.valid("expressions", "11")


def test_the_error_of_an_expression_is_that_of_the_paper():
    assert expression_error("1/3+x+sin(x*x)") == 0
    x = np.linspace(-10, 10, 1000)
    assert expression_error("x") == pytest.approx(np.log(1 + np.mean((1 / 3 + np.sin(x * x)) ** 2)))
    assert expression_error("1/(x/x/1+1*2)") == pytest.approx(3.5519, abs=1e-3)
    assert expression_error("1/(1+1*0)") == math.log(1001)  # 0 is no number of theirs
    assert expression_error("exp(exp(exp(x)))") < math.log(1001)  # overflows in part
    assert expression_error("exp(exp(exp(3)))") == pytest.approx(math.log(1001))


def test_molecules_are_judged_by_rdkit():
    pytest.importorskip("rdkit")
    from fgcli.grammars import molecules
    from fgcli.grammars.scores import penalised_logp

    assert languages.valid("smiles", "c1ccccc1")
    assert not languages.valid("smiles", "c1cccc1C")  # no aromatic ring of five
    assert penalised_logp("C1") is None
    assert penalised_logp("CCCCCCCC") > penalised_logp("C1CCCCCCC1")  # a ring of eight is too large
    assert molecules.drawn("CCO", 80).shape == (80, 80, 3)


def test_every_selfies_is_a_molecule():
    pytest.importorskip("rdkit")
    molecules = pytest.importorskip("fgcli.grammars.molecules")
    pytest.importorskip("selfies")
    from fgcli.grammars.scores import penalised_logp, penalised_logp_of_selfies

    assert penalised_logp_of_selfies("[C][C][O]") == penalised_logp("CCO")
    assert penalised_logp_of_selfies("") is None
    assert molecules.smiles_of(molecules.selfies_of("CC(=O)O")) == "CC(=O)O"
    assert languages.valid("selfies", "[C][=C][=C][Branch1]")
    assert not languages.valid("selfies", "[C][foo]")


# ---- the artifact


def made(tmp_path, **given):
    path = tmp_path / "sentences.h5"
    known = config.defaults()["sentences"]
    params = config.section({"sentences": {**known, **given}}, "sentences", sentences.Params)
    return sentences.run(path, params=params), path


def test_expressions_are_distinct_seeded_and_may_lack_the_answer(tmp_path):
    told, path = made(tmp_path, source={"name": "expressions", "count": 300}, val=0.1, test=0.1)
    first = artifacts.load(path)
    assert (told["sentences"], told["rejected"], told["split"]) == (300, 0, {"train": 240, "val": 30, "test": 30})
    assert len(set(first["text"])) == 300
    lengths = (first["rules"] >= 0).sum(1)
    assert 8 <= lengths.min() <= lengths.max() <= 14
    grammar = Grammar(first.meta["grammar"])
    for rules, text, target in zip(first["rules"], first["text"], first["target"], strict=True):
        assert grammar.write(rules[rules >= 0]) == text
        assert target == pytest.approx(expression_error(text))
    before = path.read_bytes()
    made(tmp_path, source={"name": "expressions", "count": 300}, val=0.1, test=0.1)
    assert path.read_bytes() == before
    from fgcli.datasets.texts import expressions as every

    assert len(every(0, 122_880).texts) == 122_880
    assert expressions.ANSWER in every(0, 122_880).texts
    assert expressions.ANSWER not in every(0, 122_879, answer=False).texts
    with pytest.raises(UsageError, match="expected at most 122879 expressions, found 122880; lower it"):
        every(0, 122_880, answer=False)


def test_what_is_no_sentence_of_a_text_of_your_own_is_a_rejected_row(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("x+1\nx+\n\nx+1\n(((((x)))))\n2*3\nx/x\n")
    source = {"name": "text", "path": str(file), "language": "expressions"}
    _, path = made(tmp_path, source=source, limit=8, val=0, test=0)
    stored = artifacts.load(path)
    assert stored["text"].tolist() == ["x+1", "2*3", "x/x"]
    reasons = dict(zip(stored["rejected/source"], stored["rejected/reason"], strict=True))
    assert reasons["x+"].startswith("line 2: at character 3: expected '(' '1'")
    assert reasons["x+1"] == "line 4: expected another sentence, found one that is there already"
    assert reasons["(((((x)))))"] == "line 5: expected at most 8 rules, found 12; raise sentences.limit"
    deep = ["(" * 300 + "x" + ")" * 300, "+".join("x" * 3000)]
    file.write_text("\n".join([*deep, "x", "y"]))
    _, long = made(tmp_path, source=source, limit=0, val=0, test=0)
    stored = artifacts.load(long)
    assert set(stored["text"]) | set(stored["rejected/source"]) == {*deep, "x", "y"}
    assert "x" in stored["text"]
    file.write_text("y\n")
    with pytest.raises(FgError, match="expected a sentence of expressions, found none; the first: line 1: at char"):
        made(tmp_path, source=source)
    assert artifacts.load(path)["text"].tolist() == stored["text"].tolist()  # the file is as it was


@pytest.mark.parametrize(("grammar", "name"), [("smiles", "smiles"), ("selfies", "selfies"), ("characters", "smiles")])
def test_molecules_of_a_package_come_in_three_notations(tmp_path, grammar, name):
    pytest.importorskip("rdkit")
    pytest.importorskip("selfies")
    told, path = made(tmp_path, source={"name": "nci", "count": 40}, grammar=grammar, limit=60)
    stored = artifacts.load(path)
    assert stored.meta["language"] == name
    assert told["sentences"] + told["rejected"] == 40
    assert told["sentences"] > 30
    assert np.isfinite(stored["target"]).all()


def test_moses_is_read_from_its_package_without_importing_it(tmp_path, monkeypatch):
    from fgcli.datasets.texts import moses

    folder = tmp_path / "moses/dataset/data"
    folder.mkdir(parents=True)
    (tmp_path / "moses/__init__.py").write_text("raise ImportError('an old dependency')\n")
    with gzip.open(folder / "train.csv.gz", "wt") as file:
        file.write("SMILES\nCCO\nCCCCCCN\nCC=O\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert sorted(moses(0, 2, longest=4).texts) == ["CC=O", "CCO"]
    with pytest.raises(UsageError, match="expected at most 2 molecules, found 3; lower it"):
        moses(0, 3, longest=4)
    (folder / "train.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(FgError, match=r"train.csv.gz: expected a whole table, found damage"):
        moses(0, 1)


# ---- the mask, the cross-entropy, the generators


def test_whatever_a_masked_decoder_likes_it_writes_what_lark_reads():
    grammar = Grammar(shipped("expressions"))
    shape = (len(grammar.rules) + 1, 1, 40)
    for feedback in (0, 4):
        network = model(grammar=grammar.text, shape=shape, feedback=feedback)
        network.decoder.choose.weight.data *= 20
        texts = written(network, prior(network, 200, 0))
        finished = [text for text in texts if text is not None]
        assert finished
        for text in finished:
            grammar.parse(text)
    rules = network.decode(prior(network, 200, 0).values).argmax(1).flatten(1)
    for row, text in zip(rules.tolist(), texts, strict=True):  # to the step, also where it does not finish
        stack = [0]
        for rule in row:
            head = stack.pop() if stack else None
            assert (rule == len(grammar.rules)) if head is None else (grammar.rules[rule].head == head)
            stack += reversed(grammar.rules[rule].symbols if head is not None else ())
        assert (not stack) == (text is not None)


def test_a_character_model_may_choose_anything_and_be_wrong():
    network = model("character_autoencoder")
    network.decoder.choose.weight.data *= 20
    assert network.allowed.all()
    assert None in written(network, prior(network, 50, 0))


def test_cross_entropy_counts_only_what_the_mask_allows():
    """Of rules that are equally likely: log 2 at a step of `start`, log 3 at one of `term`, nothing after the end."""
    network, x = uniform(model()), (planes(5) + 1) / 2
    found = errors(network, x, outputs(network, network.encode(2 * x - 1), x))
    assert found.shape == (5, 1, 1, STEPS)
    choices = np.array([2, 2, 3, 3, 3, 1])[derivations(5)]
    np.testing.assert_allclose(found[:, 0, 0].detach(), np.log(choices), rtol=1e-6)
    logits = torch.tensor([0.3, -1.0, 2.0, 0.0, 0.5, 9.0])[None, :, None, None]
    by_hand = -math.log(math.exp(2.0) / (math.exp(2.0) + math.exp(0.0) + math.exp(0.5)))
    term = torch.eye(6)[None, :, None, [2]]
    assert float(cross_entropy(logits, term, network.allowed)) == pytest.approx(by_hand, rel=1e-6)


def test_the_objectives_take_sentences_as_pictures():
    batch = {"images": planes(6), "rows": torch.arange(6)}
    rng = torch.Generator().manual_seed(0)
    network = model()
    x, z = (batch["images"] + 1) / 2, network.encode(batch["images"])
    nats = errors(network, x, outputs(network, z, x))
    terms = RAE(network, beta=0.1, l2=0.1, gp=0.1, reduction="sum").train().loss(batch, rng)
    assert terms["reconstruction"].item() == pytest.approx(nats.sum((1, 2, 3)).mean().item(), rel=1e-5)
    assert terms["codes"].item() == pytest.approx(0.5 * z.square().sum((1, 2)).mean().item(), rel=1e-5)
    weights = [p for name, p in network.decoder.recurrent.named_parameters() if "weight" in name]
    assert terms["l2"].item() == pytest.approx(sum(w.square().sum() for w in weights).item(), rel=1e-5)
    assert terms["gradient"] > 0
    terms = VAE(network, std=0.3).eval().loss(batch, rng)
    assert terms["reconstruction"].item() == pytest.approx(nats.sum((1, 2, 3)).mean().item(), rel=1e-5)
    with pytest.raises(UsageError, match="expected no generator that writes sentences"):
        config.build({"wae": "fgcli.objectives.wae_mmd:WAEMMD"}, {"name": "wae"}, "test", generator=network)


def test_the_released_noise_moves_draws_and_not_the_divergence():
    network, rng = model("grammar_vae"), torch.Generator()
    mu, log_std = torch.zeros(500, 3), torch.full((500, 3), math.log(2.0))
    spread = [VAE(network, noise=noise).draws(mu, log_std, rng.manual_seed(0)).std() for noise in (1.0, 0.01)]
    torch.testing.assert_close(spread[1], 0.01 * spread[0])
    assert spread[0] == pytest.approx(2, rel=0.05)


# ---- the stages


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """sentences.h5 of the small grammar, a generator of a few steps, and its codes and densities."""
    folder = tmp_path_factory.mktemp("sentences")
    files = {name: folder / f"{name}.h5" for name in ("sentences", "generator", "latents", "density", "evaluation")}
    write_sentences(files["sentences"])
    spec = {"name": "grammar_autoencoder", "codes": 3, "dense": 8, "recurrent": 8}
    params = train_params(generator=spec, objective={"name": "rae"})
    train.run(files["sentences"], files["generator"], folder / "run", flame=None, conditions=None, params=params)
    known = config.defaults()
    inverting = config.section(known, "invert", invert.Params)
    invert.run(files["sentences"], files["generator"], files["latents"], params=inverting)
    methods = {"gaussian": {"name": "gaussian"}}
    fitting = config.section({"density": {"methods": methods, "seed": 0}}, "density", density.Params)
    density.run(files["latents"], files["density"], params=fitting)
    return SimpleNamespace(folder=folder, **files)


def test_training_makes_a_sheet_and_a_file_that_knows_its_grammar(trained):
    from fgcli.generators import store

    network = store.load(trained.generator)
    assert (network.grammar.text, network.language) == (GRAMMAR, "text")
    assert list((trained.folder / "run").glob("**/*.png"))
    stored = artifacts.load(trained.latents)
    assert stored["codes"].shape == (40, 1, 3)
    assert stored["attributes"].shape == (40, 0)


def test_evaluation_sets_shares_beside_each_other(trained):
    params = config.section(
        config.overlay(config.defaults(), {"evaluate": {"samples": 20}}), "evaluate", evaluate.Params
    )
    paths = (trained.folder / name for name in ("metrics.json", "protocols.json", "sheet.png"))
    metrics, protocols, sheet = paths
    files = (trained.sentences, trained.generator, trained.latents, trained.density, None, trained.evaluation)
    evaluate.run(*files, metrics, protocols, sheet, params=params)
    numbers = json.loads(metrics.read_text())
    drawn = numbers["sentences"]["generator"]["samples_gaussian"]
    assert drawn["drawn"] == 20
    assert {"valid", "gained"} <= set(drawn)
    assert 0 <= numbers["reconstruction"]["generator"]["exact"] <= 1
    assert numbers["sentences"]["real"]["held_out"]["valid"] == 1
    assert "valid" in numbers["intervals"]["sentences"]["generator"]["samples_prior"]
    assert sheet.exists()
    assert "unique" in json.loads(protocols.read_text())["sentences"]["values"]
    page = trained.folder / "report.html"
    known = config.section(config.defaults(), "report", report.Params)
    report.run(*files[:4], evaluation=files[-1], metrics=metrics, output=page, params=known)
    html = page.read_text()
    assert "start -&gt; start + term" in html
    assert html.count("data:image/jpeg") > 20


def test_shares_are_of_valid_draws():
    found = judged("expressions", ["x", "x", "x+", None, "1"], {"1"})
    values = {name: np.nanmean(v) for name, v in found.values().items()}
    assert values["valid"] == pytest.approx(3 / 5)
    assert values["unique"] == pytest.approx(2 / 3)
    assert values["novel"] == pytest.approx(2 / 3)
    assert [text for text, _ in found.best("expressions")] == ["x", "1"]


def test_commands_take_sentences_where_they_take_photos(trained):
    files = ["--generator", str(trained.generator), "--latents", str(trained.latents), "--json"]
    out = trained.folder / "shown"
    drawn = CliRunner().invoke(
        app, ["sample", "-n", "2", *files, "--densities", str(trained.density), "-o", str(out / "s.png")]
    )
    assert drawn.exit_code == 0, drawn.output
    assert len(json.loads(drawn.output.splitlines()[-1])["sentences"]) == 2
    assert len(artifacts.load(out / "s.h5")["text"]) == 2
    for command in (["reconstruct", "x+1", "3"], ["interpolate", "x", "(x)", "--frames", "3"]):
        done = CliRunner().invoke(app, [*command, *files, "-o", str(out / "r.png")])
        assert done.exit_code == 0, done.output
    for text, told in (("x+", "at character 3"), ("((((((x))))))", "expected at most 9 rules, found 14")):
        refused = CliRunner().invoke(app, ["reconstruct", text, *files, "-o", str(out / "r.png")])
        assert refused.exit_code == 1
        assert told in refused.output


def test_files_of_another_kind_are_refused_in_one_sentence(trained, faces, tmp_path):
    for file, name, wanted in ((faces, "grammar_vae", "sentences"), (trained.sentences, "conv_vae", "faces")):
        params = train_params(generator={"name": name}, objective={"name": "vae"})
        with pytest.raises(UsageError, match=f"expected {wanted} for {name}, found other rows"):
            train.run(file, tmp_path / "g.h5", tmp_path / "run", flame=None, conditions=None, params=params)
    known = config.section(config.defaults(), "invert", invert.Params)
    with pytest.raises(FgError, match="expected sentences, as the generator's, found another kind of file"):
        invert.run(faces, trained.generator, tmp_path / "l.h5", conditions=None, params=known)
    assert not list(tmp_path.iterdir())
