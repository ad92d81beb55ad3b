"""What every entry of a registry must do, whoever writes it: a new entry is tested here without an edit.

A constructor that takes one of the arguments in SMALL gets it; all others must have defaults, or come from the data.
"""

import inspect
import json
import re
import socket
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import numpy as np
import pytest
import torch
from conftest import painted
from pydantic import TypeAdapter
from sentence_files import GRAMMAR, planes, shape_of
from torch import nn

from fgcli import artifacts, backbones, config, inverters, metrics
from fgcli.attacks import ATTACKS
from fgcli.backbones import FEATURES, IDENTITIES
from fgcli.backbones.dlib_embedding import DlibEmbedding
from fgcli.capabilities import Conditional, Encodes, Generator, Masks, Solved, Writes
from fgcli.classifiers import JUDGES
from fgcli.classifiers.judges import LatentJudge
from fgcli.classifiers.network import Classifier
from fgcli.codes import PATHS, Codes, decode, prior
from fgcli.datasets import DATASETS
from fgcli.datasets.photoset import PhotoSet
from fgcli.datasets.pictureset import PictureSet
from fgcli.datasets.texts import SOURCES
from fgcli.densities import DENSITIES
from fgcli.editors import EDITORS, Learns
from fgcli.editors.matching import Problem, Witness
from fgcli.errors import FgError, UsageError
from fgcli.faces import ANALYSERS, SEGMENTERS
from fgcli.faces.view import View
from fgcli.fitting import EXTRACTORS
from fgcli.generators import GENERATORS, store
from fgcli.heads import HEADS
from fgcli.heads.head import REGIONS, Head
from fgcli.heads.parameters import SIZES, Parameters
from fgcli.inverters import INVERTERS, Context
from fgcli.metrics import METRICS
from fgcli.metrics.distribution import Collection
from fgcli.objectives import OBJECTIVES
from fgcli.pixels import tensor
from fgcli.training import checkpoint
from fgcli.training.augment import Augment
from fgcli.training.batches import Batches
from fgcli.training.columns import COLUMNS, Column, tables
from fgcli.training.devices import Compute
from fgcli.training.loop import Loop, gradients_of
from fgcli.training.settings import Settings

IMAGE = (3, 16, 16)
SMALL = {
    "codes": 6, "classes": 3, "width": 0.1, "filters": 4, "components": 2, "steps": 5, "epochs": 3, "batch": 32,
    "detail": 0.5, "texture_size": 64, "widest": 8, "mapping_layers": 2,
    "of": {"name": "invertible_dcgan", "codes": 6, "width": 0.1}, "channels": 4,
    "rows": 20, "consistency": 0.0, "grammar": GRAMMAR,
}  # fmt: skip
OF = {"encoded_gif": {"name": "gif", "codes": 6, "width": 0.1, "widest": 8, "mapping_layers": 2}}
"""What they wrap, where it is not SMALL's."""
REGISTRIES = {
    "generators": GENERATORS, "objectives": OBJECTIVES, "inverters": INVERTERS, "densities": DENSITIES,
    "editors": EDITORS, "metrics": METRICS, "features": FEATURES, "datasets": DATASETS,
    "analysers": ANALYSERS, "segmenters": SEGMENTERS, "heads": HEADS, "attacks": ATTACKS, "extractors": EXTRACTORS,
    "judges": JUDGES, "identities": IDENTITIES, "sources": SOURCES,
}  # fmt: skip


def small(registry, name: str) -> dict[str, Any]:
    """The entry's spec, with those of SMALL that it knows."""
    known = inspect.signature(config.lookup(registry, name, "test")).parameters
    given = SMALL | ({"of": OF[name]} if name in OF else {})
    return {"name": name, **{k: v for k, v in given.items() if k in known}}


def built(registry, name: str, **context) -> Any:
    return config.build(registry, small(registry, name), "test", **context)


# ---- all


@pytest.mark.parametrize(("family", "name"), [(f, n) for f, entries in REGISTRIES.items() for n in entries])
def test_entries_explain_themselves_and_refuse_unknown_arguments(family, name):
    kind = config.lookup(REGISTRIES[family], name, "test")
    parents = kind.__mro__[:-1] if inspect.isclass(kind) else (kind,)
    text = " ".join(parent.__doc__ or "" for parent in parents)
    assert kind.__doc__
    for argument in inspect.signature(kind).parameters:
        assert re.search(rf"\b{argument}(, \w+)*:|`{argument}`", text), argument
    with pytest.raises(UsageError, match=r"test.no_such_argument: unknown key"):
        config.build(REGISTRIES[family], {"name": name, "no_such_argument": 1}, "test")


def bare(annotation):
    """A type without its range."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def beyond(annotation):
    """The numbers next to both ends of an argument's range, those that it does not take."""
    told = TypeAdapter(annotation).json_schema()
    ends = {"minimum": -1, "exclusiveMinimum": 0, "maximum": 1, "exclusiveMaximum": 0}
    return [told[key] + step for key, step in ends.items() if key in told]


WRONG = {int: ("x", 4.5, True, None), float: ("x", True, [1]), bool: ("no", 1), str: (2024, None), Path: (2024,)}


@pytest.mark.parametrize(("family", "name"), [(f, n) for f, entries in REGISTRIES.items() for n in entries])
def test_arguments_of_another_type_are_refused_in_one_sentence(family, name):
    kind = config.lookup(REGISTRIES[family], name, "test")
    for key, parameter in inspect.signature(kind, eval_str=True).parameters.items():
        wrong = ({"no": "such"}, float("nan"), *WRONG.get(bare(parameter.annotation), ()))
        for value in wrong if key != "name" else ():  # which is the entry's own
            with pytest.raises(UsageError, match=rf"^test\.{key}: [^\n]+, found [^\n]+; correct it$"):
                config.build(REGISTRIES[family], {"name": name, key: value}, "test")


@pytest.mark.parametrize(("family", "name"), [(f, n) for f, entries in REGISTRIES.items() for n in entries])
def test_numbers_have_a_range_and_beyond_it_are_refused_in_one_sentence(family, name):
    kind = config.lookup(REGISTRIES[family], name, "test")
    for key, parameter in inspect.signature(kind, eval_str=True).parameters.items():
        if bare(parameter.annotation) not in (int, float):
            continue
        wrong = beyond(parameter.annotation)
        assert wrong, f"{key}: expected a range, as fgcli/config/fields.py has them, found {parameter.annotation}"
        for value in wrong:
            value = bare(parameter.annotation)(value)
            with pytest.raises(UsageError, match=rf"^test\.{key}: [^\n]+, found [^\n]+; correct it$"):
                config.build(REGISTRIES[family], {"name": name, key: value}, "test")
        if parameter.default is not parameter.empty:
            TypeAdapter(parameter.annotation).validate_python(parameter.default)


@pytest.mark.parametrize("family", REGISTRIES)
def test_no_two_names_of_a_family_are_one_entry(family):
    assert all(target.split(":")[0].startswith("fgcli.") for target in REGISTRIES[family].values())
    assert len(set(REGISTRIES[family].values())) == len(REGISTRIES[family])
    with pytest.raises(UsageError, match=r"test.name: expected one of"):
        config.build(REGISTRIES[family], {"name": "no_such_name"}, "test")


# ---- generators and objectives


def fitted(name: str) -> Any:
    """A generator of the registry, solved if it is solved, from seed 0."""
    torch.manual_seed(0)
    generator = built(GENERATORS, name, image_shape=shape_of(name, IMAGE))
    if isinstance(generator, Solved):
        generator.fit(painted(20)[0])
    return generator


def condition_of(generator: Any, n: int) -> torch.Tensor | None:
    """Conditions for a generator that wants some."""
    if not isinstance(generator, Conditional):
        return None
    return torch.rand(n, *generator.condition_shape, generator=rng(6)) * 2 - 1


def batch(n=4, generator=None):
    """Of a generator's pictures; by default faces."""
    images, masks = painted(n, seed=2)
    return {
        "condition": torch.rand(n, 6, *IMAGE[1:], generator=rng(6)) * 2 - 1,
        "images": planes(n) if isinstance(generator, Writes) else tensor(images),
        "masks": torch.from_numpy(masks[:, None] // 255).float(),
        "labels": torch.arange(n) % 4 - 1,
        "rows": torch.arange(n),
        "places": torch.arange(n),
    }


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", GENERATORS)
def test_generators(name, tmp_path):
    generator = fitted(name).eval()
    layers, size = generator.code_shape
    assert generator.image_shape == (shape := shape_of(name, IMAGE))
    assert generator.space in ("z", "w", "w+")
    codes = generator.prior(5, rng(1))
    assert codes.shape in ((5, layers, size), (5, 1, size))  # one row may serve all layers
    assert codes.dtype == torch.float32
    assert torch.equal(codes, generator.prior(5, rng(1)))
    assert not torch.equal(codes, generator.prior(5, rng(2)))
    with torch.no_grad():
        under = condition_of(generator, 5)
        images = generator.decode(codes, under)
        assert (images.shape, images.dtype) == ((5, *shape), torch.float32)
        assert images.abs().max() <= 1
        assert torch.equal(images, generator.decode(codes, under))
        few = generator.decode(codes[:2], None if under is None else under[:2])
        torch.testing.assert_close(few, images[:2], rtol=1e-4, atol=1e-5)  # rows are apart
        if isinstance(generator, Encodes):
            faces = batch(generator=generator)["images"]
            found = generator.encode(faces)
            assert (found.shape, found.dtype) == ((4, *codes.shape[1:]), torch.float32)
            assert torch.equal(found, generator.encode(faces))
        if isinstance(generator, Masks):
            masks = generator.decode_mask(codes)
            assert masks.shape == (5, 1, *IMAGE[1:])
            assert 0 <= masks.min() <= masks.max() <= 1
    state, build = generator.state_dict(), small(GENERATORS, name)
    common = {"history": {}, "training": {}, "params": {}, "inputs": {}}
    store.save(tmp_path / "generator.h5", generator, ema=state, build=build, **common)
    loaded = store.load(tmp_path / "generator.h5")
    assert torch.equal(loaded.decode(codes, under), images)
    assert (loaded.code_shape, loaded.image_shape, loaded.space) == ((layers, size), shape, generator.space)


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_are_the_same_for_the_same_seed(name):
    one, two = fitted(name).state_dict(), fitted(name).state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[k], two[k]) for k in one)


def fitting(generator: Any, name: str) -> Any:
    """The objective in training mode, or None where it is not for this generator."""
    try:
        return built(OBJECTIVES, name, generator=generator).train()
    except UsageError as error:
        told = str(error)
    assert re.fullmatch(r"objective \w+: expected (a|no) generator that [^\n]*, found \w+; choose [^\n]*[^.\n]", told)
    return None


TRAINED = [n for n in GENERATORS if not issubclass(config.lookup(GENERATORS, n, "test"), Solved)]


@pytest.mark.parametrize("name", TRAINED)
def test_every_weight_of_a_generator_is_taught_by_an_objective(name):
    generator = fitted(name).train()
    for gate in (p for p in generator.parameters() if p.ndim == 0):
        gate.data.fill_(0.1)  # what starts closed lets no gradient through
    fits = [o for o in (fitting(generator, n) for n in OBJECTIVES) if o]
    assert fits
    best = max(fits, key=lambda o: sum(len(group.parameters) for group in o.groups.values()))
    taught = set()
    for phase in best.phases:
        parameters = best.moved(phase)
        gradients = gradients_of(phase, phase.total(phase.loss(batch(4, generator), rng())), parameters)
        taught |= {id(p) for p, g in zip(parameters, gradients, strict=True) if g.abs().sum() > 0}
    # A bias before batch norm has no effect, so its gradient is only rounding: it must at least be there.
    assert {n for n, p in generator.named_parameters() if p.requires_grad and id(p) not in taught} == set()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives(name):
    pairs = [(g, fitting(g, name)) for g in map(fitted, TRAINED)]
    pairs = [(g, o) for g, o in pairs if o]
    assert pairs, "expected a generator that it can train"
    for generator, objective in pairs:
        assert objective.network is generator
        assert len({p.name for p in objective.phases}) == len(objective.phases) >= 1
        known = {id(p) for p in objective.parameters()}
        for group in objective.groups.values():
            assert {id(p) for p in group.parameters} <= known  # or a checkpoint would lose them
        moved = [id(p) for group in objective.groups.values() for p in group.parameters]
        assert len(moved) == len(set(moved)), "each parameter is of one group"
        assert {name for phase in objective.phases for name in phase.groups} == set(objective.groups)
        for need in objective.needs:
            assert need in COLUMNS or isinstance(need, Column)
        for phase in objective.phases:
            parameters = objective.moved(phase)
            assert phase.interval >= 1
            before = {name: value.clone() for name, value in objective.state_dict().items()}
            terms = phase.loss(batch(4, generator), rng(3))
            assert set(terms) == set(phase.weights)
            assert all(t.ndim == 0 and torch.isfinite(t) for t in terms.values())
            gradients = gradients_of(phase, phase.total(terms), parameters)
            assert all(torch.isfinite(g).all() for g in gradients)
            objective.load_state_dict(before)  # spectral norm refines its estimate at every look
            again = phase.loss(batch(4, generator), rng(3))
            assert {k: v.item() for k, v in again.items()} == {k: v.item() for k, v in terms.items()}


@pytest.fixture(scope="module")
def conditions(faces, tmp_path_factory):
    """A conditions.h5 of noise for the painted faces."""
    path, draws = tmp_path_factory.mktemp("conditions") / "conditions.h5", np.random.default_rng(0)
    n = len(artifacts.rows(faces, "images"))
    arrays = {"renders": draws.integers(0, 256, (n, *IMAGE[1:], 6), np.uint8), "status": ["ok"] * n}
    arrays["parameters"] = draws.normal(size=(n, 236)).astype(np.float32)
    meta = {"flame": "", "head": {"name": "", "build": {"name": ""}, "sha256": ""}}
    artifacts.save(path, artifacts.CONDITIONS, arrays, params={}, inputs={"faces": faces}, meta=meta)
    return path


def looped(name: str) -> Loop:
    """A loop at step 0 over the first generator that the objective can train; the step size may halve."""
    objective = next(o for o in (fitting(fitted(g), name) for g in TRAINED) if o)
    settings = {"learning_rate": 1e-3, "betas": (0.5, 0.9), "schedule": "plateau", "patience": 1, "ema_half_life": 2}
    fixed = {"steps": 6, "batch": 4, "seed": 0, "validate_steps": 2, "checkpoint_seconds": 100.0}
    return Loop(objective, Compute(torch.device("cpu"), 0, 1, "float32"), Settings(**settings, **fixed))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_goes_on_bit_for_bit(name, tmp_path, faces, conditions):
    """Six steps with a validation after each second one, and the same stopped after four, through a checkpoint."""
    whole, first, second = looped(name), looped(name), looped(name)
    files = {"faces": faces, "conditions": conditions}
    opened = tables(whole.objective.needs, files, np.arange(20), "test")
    batches = Batches(opened, np.arange(20), 4, 0, Augment(shift=0.1))

    def steps(loop, count):
        for tick in islice(loop.run(batches), count):
            if tick.step % 2 == 0:
                loop.validate([batch()])
        return tick.terms

    terms = steps(whole, 6)
    steps(first, 4)
    checkpoint.save(tmp_path / "last.h5", first.state(), step=4, fingerprint="", extra={})
    second.restore(checkpoint.load(tmp_path / "last.h5")[0])
    assert steps(second, 2) == terms
    for mine, other in (
        (whole.objective.state_dict(), second.objective.state_dict()),
        (whole.ema.state, second.ema.state),
    ):
        assert all(torch.equal(mine[k], other[k]) for k in mine)
    assert whole.plateau == second.plateau


# ---- inverters, densities, editors: codes


@pytest.mark.parametrize("name", INVERTERS)
@pytest.mark.parametrize("generator", GENERATORS)
def test_inverters(name, generator):
    model = fitted(generator).eval().requires_grad_(False)
    images, spec = batch(4, model)["images"], small(INVERTERS, name)
    kind = config.lookup(INVERTERS, name, "test")
    if not isinstance(model, kind.requires or Generator) or isinstance(model, kind.refuses):
        with pytest.raises(UsageError, match=rf"test {name}: expected (a|no) generator that [^\n]+; choose (one|ano)"):
            inverters.create(spec, model, "test")
        return
    inverter = inverters.create(spec, model, "test")
    under = condition_of(model, 4)
    codes = inverter.invert(model, images, Context(3, under))
    assert isinstance(codes, Codes)
    assert (codes.values.shape[0], codes.values.shape[2], codes.values.dtype) == (4, model.code_shape[1], torch.float32)
    assert not codes.values.requires_grad
    again = inverters.create(spec | inverter.resolved(), model, "test")
    assert torch.equal(codes.values, again.invert(model, images, Context(3, under)).values)
    alone = again.invert(model, images[1:2], Context(3, None if under is None else under[1:2])).values
    torch.testing.assert_close(codes.values[1:2], alone, rtol=1e-3, atol=1e-3)  # rows are apart
    assert decode(model, codes).shape == images.shape


@pytest.mark.parametrize("name", GENERATORS)
def test_a_draw_from_a_prior_depends_on_its_seed_alone(name):
    generator = fitted(name).eval()
    for truncation in (1.0, 0.7):
        same_by_number(lambda n, seed, t=truncation: prior(generator, n, seed, t).numpy())


@pytest.mark.parametrize("name", DENSITIES)
def test_a_draw_from_a_density_depends_on_its_seed_alone(name):
    same_by_number(built(DENSITIES, name).fit(code_rows(), seed=3).sample)


def same_by_number(draws):
    """To the bit: the first 8 of 16 are the 8, and draw i of a seed is the only one of seed + i."""
    many = draws(16, 57)  # some of two blocks
    assert len(np.unique(many.reshape(16, -1), axis=0)) == 16
    np.testing.assert_array_equal(draws(8, 57), many[:8])
    for i in range(16):
        np.testing.assert_array_equal(draws(1, 57 + i), many[i : i + 1])
    np.testing.assert_array_equal(draws(200, 0)[57:73], many)


def code_rows(n=80, shape=(2, 3), seed=0):
    return np.random.default_rng(seed).standard_normal((n, *shape)).astype(np.float32) * 2 + 1


def kept(arrays, tmp_path):
    """Arrays as they come back from a file."""
    path, meta = tmp_path / "kept.h5", {"space": "z", "generator": "", "methods": {}}
    named = {f"methods/x/{k}": v for k, v in arrays.items()}
    artifacts.save(path, artifacts.DENSITY, named, params={}, inputs={}, meta=meta)
    return artifacts.load(path).group("methods/x")


@pytest.mark.parametrize("name", DENSITIES)
def test_densities(name, tmp_path):
    codes, new = code_rows(), code_rows(7, seed=1)
    density = built(DENSITIES, name)
    assert density.fit(codes, seed=3) is density
    drawn = density.sample(9, seed=4)
    assert (drawn.shape, drawn.dtype) == ((9, 2, 3), np.float32)
    np.testing.assert_array_equal(drawn, density.sample(9, seed=4))
    assert not np.array_equal(drawn, density.sample(9, seed=5))
    assert density.log_prob(new).shape == (7,)
    assert density.log_prob(new).min() > density.log_prob(new + 100).max()
    again = built(DENSITIES, name).fit(codes, seed=3)
    np.testing.assert_array_equal(again.sample(9, seed=4), drawn)
    loaded = type(density).from_arrays(kept(density.arrays(), tmp_path))
    np.testing.assert_array_equal(loaded.sample(9, seed=4), drawn)
    np.testing.assert_array_equal(loaded.log_prob(new), density.log_prob(new))


@pytest.mark.parametrize("name", DENSITIES)
def test_densities_take_every_seed(name):
    drawn = built(DENSITIES, name).fit(code_rows(), seed=2**63 - 1).sample(2, seed=2**63 - 1)
    assert np.isfinite(drawn).all()


def task(attribute: str, seed=0) -> Problem:
    source, target = code_rows(seed=seed), code_rows(seed=seed + 10) + np.float32(1.5)
    groups = (np.arange(80) % 2)[:, None].astype(np.int8)
    return Problem(attribute, source, target, groups, groups)


LEARNING = [name for name in EDITORS if issubclass(config.lookup(EDITORS, name, "test"), Learns)]


def witnessed(problem):
    """A problem with a judge of its codes, which looks at their mean."""
    judge = LatentJudge(2, problem.source[0].size, 2).eval()
    judge.net = nn.Linear(problem.source[0].size, 2)
    nn.init.ones_(judge.net.weight)
    nn.init.zeros_(judge.net.bias)
    return replace(problem, witness=Witness(judge.requires_grad_(False), 0, torch.tensor([0.0, 0.5]), torch.ones(2)))


@pytest.mark.parametrize("name", [name for name in EDITORS if name not in LEARNING])
def test_editors_that_discover(name, tmp_path):
    generator, codes = fitted("stylegan2"), code_rows(60, seed=1)
    generator.code_shape = codes.shape[1:]
    first, again = built(EDITORS, name), built(EDITORS, name)
    generator.entrance = lambda: [torch.randn(9, codes.shape[2], generator=torch.Generator().manual_seed(0))]
    found = first.discover(codes, generator, 1)
    assert found
    assert found == again.discover(codes, generator, 1)
    assert all(np.isfinite(v) for scores in found.values() for v in scores.values())
    assert set(first.arrays()) == set(found)
    loaded = type(first).from_arrays(kept(first.arrays(), tmp_path))
    for direction in found:
        edited = first.edit(codes, direction, 0.5)
        assert (edited.shape, edited.dtype) == (codes.shape, np.float32)
        assert not np.allclose(edited, codes)
        np.testing.assert_allclose(first.edit(codes, direction, 0.0), codes, atol=1e-6)
        np.testing.assert_array_equal(again.edit(codes, direction, 0.5), edited)
        np.testing.assert_array_equal(loaded.edit(codes, direction, 0.5), edited)


@pytest.mark.parametrize("name", LEARNING)
def test_editors(name, tmp_path):
    editor, again, new = built(EDITORS, name), built(EDITORS, name), code_rows(5, seed=3)
    for one in (editor, again):
        scores = [one.fit(witnessed(task("smiling")), seed=1), one.fit(witnessed(task("male", 7)), seed=1)]
        assert all(np.isfinite(v) for s in scores for v in s.values())
    edited = editor.edit(new, "smiling", 0.5)
    assert (edited.shape, edited.dtype) == (new.shape, np.float32)
    np.testing.assert_array_equal(edited, again.edit(new, "smiling", 0.5))
    np.testing.assert_allclose(editor.edit(new, "smiling", 0.0), new, atol=1e-6)
    np.testing.assert_allclose(editor.edit(new[:1], "smiling", 0.5), edited[:1], atol=1e-5)  # rows are apart
    assert not np.allclose(edited, editor.edit(new, "male", 0.5))
    toward = editor.edit(task("smiling").source, "smiling", 1.0).mean() - task("smiling").source.mean()
    back = editor.edit(task("smiling").source, "smiling", -1.0).mean() - task("smiling").source.mean()
    assert toward > 0 > back
    loaded = type(editor).from_arrays(kept(editor.arrays(), tmp_path))
    for attribute in ("smiling", "male"):
        np.testing.assert_array_equal(loaded.edit(new, attribute, 2.0), editor.edit(new, attribute, 2.0))


@pytest.mark.parametrize("name", EDITORS)
def test_editors_take_every_seed(name):
    editor = built(EDITORS, name)
    if name in LEARNING:
        editor.fit(witnessed(task("smiling")), seed=2**63 - 1)
    else:
        generator = fitted("stylegan2")
        generator.code_shape = (2, 3)
        generator.entrance = lambda: [torch.randn(9, 3, generator=rng())]
        editor.discover(code_rows(60), generator, 2**63 - 1)
    assert all(np.isfinite(array).all() for array in editor.arrays().values())


@pytest.mark.parametrize("name", JUDGES)
def test_judges(name):
    torch.manual_seed(0)
    judge = built(JUDGES, name, attributes=3, side=16).eval()
    images = np.random.default_rng(0).integers(0, 256, (5, 20, 20, 3), np.uint8)
    said = judge.probabilities(images)
    assert (said.shape, said.dtype) == ((5, 3), np.float32)
    assert ((said > 0) & (said < 1)).all()
    np.testing.assert_allclose(judge.probabilities(images[3:]), said[3:], rtol=1e-3, atol=1e-5)
    x = tensor(images).requires_grad_()
    judge(x).sum().backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("name", PATHS)
def test_paths(name):
    a, b = code_rows(2)
    np.testing.assert_allclose(PATHS[name](a, b, 0.0), a, atol=1e-5)
    np.testing.assert_allclose(PATHS[name](a, b, 1.0), b, atol=1e-5)
    assert PATHS[name](a, b, 0.3).shape == a.shape


# ---- metrics


LANDMARKS = np.random.default_rng(0).uniform(12, 52, (68, 2))


@pytest.fixture(scope="module")
def embedder():
    with DlibEmbedding(LANDMARKS, workers=1) as found:
        yield found


@pytest.fixture(scope="module")
def context(embedder, tmp_path_factory):
    """What metrics and extractors may ask for; the classifier knows nothing."""
    torch.manual_seed(0)
    path, build = tmp_path_factory.mktemp("features") / "classifier.h5", {"classes": 3, "side": 48, "width": 0.2}
    weights = {f"weights/{k}": v.numpy() for k, v in Classifier(**build).state_dict().items()}
    meta = {"build": build, "classes": [0, 1, 2], "identity_names": [], "training": {}}
    history = {"history/step": np.zeros(0)}
    artifacts.save(path, artifacts.CLASSIFIER, weights | history, params={}, inputs={}, meta=meta)
    region = painted(5, 48)[1].max(0) > 0
    return {"image_shape": (3, 48, 48), "embedder": embedder, "classifier": path, "region": region}


def weighed(make):
    """What `make` makes; skips where its weights are not here."""
    try:
        return make()
    except FgError as error:
        if "expected the asset" not in str(error):
            raise
        pytest.skip(f"{error}")


def of_kind(kind):
    return [name for name in METRICS if config.lookup(METRICS, name, "test").kind == kind]


@pytest.mark.parametrize("name", of_kind("paired"))
def test_paired_metrics(name, context):
    one, two = (weighed(lambda: metrics.create({"name": name}, "test", **context)) for _ in range(2))
    assert one.name.startswith(name)
    assert json.loads(json.dumps(one.protocol)) == one.protocol
    assert one.protocol["value"]
    assert one.protocol["better"] in ("higher", "lower")
    faces, other = painted(5, 48)[0], painted(5, 48, seed=1)[0]
    mask = painted(5, 48)[1] > 0
    one.update(faces, other, mask)
    for part in (slice(0, 2), slice(2, 5)):  # in parts it is the same
        two.update(faces[part], other[part], mask[part])
    assert one.values.shape == (5,)
    assert one.compute() == pytest.approx(np.nanmean(one.values))
    assert isinstance(one.compute(), float)
    assert np.isfinite(one.compute())
    assert two.compute() == pytest.approx(one.compute(), rel=1e-6)


@pytest.mark.parametrize("name", FEATURES)
def test_features(name, context):
    extractor = weighed(lambda: backbones.create(name, "test", **context))
    assert extractor.name == name
    assert json.loads(json.dumps(extractor.protocol)) == extractor.protocol
    assert extractor.protocol["features"]
    images = painted(5, 48)[0]
    rows = extractor(images)
    assert (rows.shape, rows.dtype) == ((5, extractor.size), np.float32)
    assert rows.std(0).max() > 0
    np.testing.assert_allclose(extractor(images[1:3]), rows[1:3], rtol=1e-4, atol=1e-5)  # rows are apart
    again = weighed(lambda: backbones.create(name, "test", **context))
    np.testing.assert_array_equal(again(images), rows)
    if hasattr(extractor, "probabilities"):
        shares = extractor.probabilities(images)
        assert shares.dtype == np.float64
        assert shares.min() >= 0
        np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
        np.testing.assert_allclose(extractor.probabilities(images[1:3]), shares[1:3], atol=1e-5)


FACES, OTHER = painted(24, 48)[0], painted(24, 48, seed=1)[0] // 2


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("name", of_kind("distribution"))
def test_distribution_metrics(name, features, context):
    kind = config.lookup(METRICS, name, "test")
    wanted = "features" in inspect.signature(kind).parameters
    spec = {"name": name, **({"features": features} if wanted else {})}
    if kind.classes and not hasattr(config.lookup(FEATURES, features, "test"), "probabilities"):
        with pytest.raises(UsageError, match="expects features that know classes"):
            metrics.create(spec, "test", **context)
        return
    metric = metrics.create(spec, "test", **context)
    assert metric.name == (f"{name}_{features}" if wanted else name)
    assert json.loads(json.dumps(metric.protocol)) == metric.protocol
    assert metric.protocol["value"]
    assert metric.protocol["better"] in ("higher", "lower", "one")
    extractor = weighed(lambda: backbones.create(metric.features, "test", **context))
    collection = Collection({metric.features: extractor}, frozenset({metric.features} if metric.classes else ()))
    for label, images in (("real", FACES), ("same", FACES), ("other", OTHER), ("one", FACES[:1])):
        for part in np.split(images, [len(images) // 3]):
            collection.update(label, part)
    scores = collection.scores(metric, "real", ["real", "same", "other", "one"])
    assert ("real" in str(scores.numbers)) == metric.alone
    for full, found in scores.numbers.items():
        assert full.startswith(metric.name)
        assert all(isinstance(v, float) and np.isfinite(v) for v in found.values())
        if metric.alone:
            assert found["same"] == found["real"]
            continue
        far = {"higher": -1, "lower": 1, "one": 0}[metric.better] * (found["other"] - found["same"])
        blind = ("classifier", "laplacian", "face_detector")  # they see little here
        assert far > 0 or metric.better == "one" or features in blind
        perfect = 0 if metric.better == "lower" else 1
        assert found["same"] == pytest.approx(perfect, abs=0.02) or name == "kid"  # which is below 0, being unbiased
    assert set(scores.left_out) <= {"one"}
    told = re.compile(r"[^\n]*expected [^\n]*, found [^\n]*; [^\n]*[^.\n]")
    assert all(told.fullmatch(reason) for reason in scores.left_out.values())
    assert metric.caveat(24, extractor.size)
    again = collection.scores(metric, "real", ["real", "same", "other", "one"])
    assert again.numbers == scores.numbers


# ---- data and faces


def needs_nothing(name: str) -> bool:
    parameters = inspect.signature(config.lookup(DATASETS, name, "test")).parameters.values()
    return all(p.default is not p.empty for p in parameters)


@pytest.mark.parametrize("name", DATASETS)
def test_datasets(name):
    """Those that need no folder are read; of the others only the promise is checked (see test_datasets.py)."""
    reader = config.lookup(DATASETS, name, "test")
    kind = inspect.signature(reader, eval_str=True).return_annotation
    assert kind in (PhotoSet, PictureSet)
    if not needs_nothing(name):
        return
    data, again = built(DATASETS, name), built(DATASETS, name)
    assert type(data) is kind
    assert (data.name, len(data)) == (name, len(data.sources))
    assert data.licence.endswith(".")
    assert data.attributes.shape == (len(data), len(data.attribute_names))
    assert set(np.unique(data.attributes)) <= {-1, 0, 1}
    numbers, names = data.identity()
    assert numbers.shape == (len(data),)
    assert -1 <= numbers.min() <= numbers.max() == len(set(names)) - 1
    assert (again.sources, again.splits) == (data.sources, data.splits)
    np.testing.assert_array_equal(again.attributes, data.attributes)
    if isinstance(data, PhotoSet):
        assert all(photo.path.is_file() for photo in data.photos)
        assert again.photos == data.photos
    else:
        check_pictures(data, again)


def check_pictures(data: PictureSet, again: PictureSet):
    rows = np.array([len(data) - 1, 0, 5])
    images = data.read(rows)
    assert (images.shape, images.dtype) == ((3, data.side, data.side, 3), np.uint8)
    np.testing.assert_array_equal(images, again.read(np.arange(len(data)))[rows])
    np.testing.assert_array_equal(data.crops(rows, data.side), images)
    assert data.crops(rows, 40).shape == (3, 40, 40, 3)
    assert set(data.splits or ("train",)) <= {"train", "val", "test"}


@pytest.fixture
def offline(monkeypatch):
    """No test fetches weights."""

    def refuse(*_):
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # libraries wait before they try again


def constructed(registry, name):
    try:
        return built(registry, name)
    except FgError:
        pytest.skip(f"{name}: its weights are not here")


def face_view(size=32):
    """A photo whose given mask is a disc, seen as it is; landmarks on circles that a face would have."""
    angles = np.linspace(0, np.pi, 17)
    points = np.full((68, 2), 16.0)
    points[:17] = np.stack([16 - 10 * np.cos(angles), 15 + 12 * np.sin(angles)], 1)
    points[36:42], points[42:48], points[27:36], points[48:] = (11, 14), (21, 14), (16, 19), (16, 23)
    y, x = np.mgrid[:size, :size]
    given = (x - 16) ** 2 + (y - 16) ** 2 < 100
    return View(painted(1, size)[0][0], points, np.eye(2, 3), size, given)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_segmenters(name, offline):
    mask = constructed(SEGMENTERS, name).segment(face_view())
    assert (mask.shape, mask.dtype) == ((32, 32), np.uint8)
    assert set(np.unique(mask)) <= {0, 255}
    np.testing.assert_array_equal(mask, constructed(SEGMENTERS, name).segment(face_view()))


@pytest.mark.parametrize("name", ANALYSERS)
def test_analysers(name, offline):
    analyser = constructed(ANALYSERS, name)
    assert isinstance(analyser.notice, str)
    assert analyser.analyse(np.full((90, 120, 3), 128, np.uint8)) == []


@pytest.mark.parametrize("name", IDENTITIES)
def test_identity_judges(name, offline):
    landmarks = 1.5 * face_view().landmarks
    try:
        judge = config.supply(IDENTITIES, {"name": name}, "test", landmarks=landmarks, workers=1)
    except FgError as error:
        return pytest.skip(str(error))
    images = painted(3, 48)[0]
    with judge:
        found = judge(np.concatenate([images, images[:1]]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(judge.distance(found[[0, 1]], found[[3, 1]]), 0, atol=1e-6)
    apart = judge.distance(found[1:3], found[:1])
    assert apart.shape == (2,)
    assert (apart > 0).all()
    assert judge.title
    assert judge.below > 0
    assert isinstance(judge.notice, str)


# ---- heads in three dimensions


def made(registry, name: str, **context) -> Any:
    """The entry; skips where it says in one sentence what it lacks."""
    try:
        return config.supply(registry, small(registry, name), "test", **context)
    except FgError as error:
        told = str(error)
    assert re.fullmatch(r"[^\n]*expected [^\n]*, found [^\n]*; [^\n]*[^.\n]", told), told
    pytest.skip(told)


@pytest.mark.parametrize("name", HEADS)
def test_heads(name):
    head = made(HEADS, name)
    assert isinstance(head, Head)
    assert isinstance(head.notice, str)
    assert head.name
    v, none = len(head.template), torch.zeros(2, 0)
    rng = torch.Generator().manual_seed(0)
    shape, expression = (0.5 * torch.randn(2, SIZES[k], generator=rng) for k in ("shape", "expression"))
    pose = 0.2 * torch.randn(2, 6, generator=rng)
    np.testing.assert_allclose(head.vertices(none, none, torch.zeros(2, 6))[1], head.template, atol=1e-6)
    vertices = head.vertices(shape, expression, pose)
    assert (vertices.shape, vertices.dtype) == ((2, v, 3), torch.float32)
    assert 0 <= head.faces.min() <= head.faces.max() < v
    assert 0.2 < float(head.template[:, 1].max() - head.template[:, 1].min()) < 0.5  # metres
    torch.testing.assert_close(head.normals(vertices).norm(dim=2), torch.ones(2, v), atol=1e-4, rtol=0)
    assert set(head.regions) <= set(REGIONS)
    assert all(ids.min() >= 0 and ids.max() < v for ids in head.regions.values())
    if len(head.landmark_faces):
        points = head.landmarks(vertices, pose)
        assert points.shape == (2, 68, 3)
        assert (points.amin(1) >= vertices.amin(1)).all()
        assert (points.amax(1) <= vertices.amax(1)).all()
        assert points[:, 8, 1].max() < points[:, 27, 1].min()  # the chin is below the nose
        assert points[:, 36, 0].max() < points[:, 45, 0].min()  # iBUG's first eye is the subject's right one
    if len(head.uv):
        assert head.uv_faces.shape == head.faces.shape
        albedo = head.albedo(torch.randn(2, SIZES["texture"], generator=rng))
        assert albedo.shape == (2, *head.albedo_mean.shape)
        assert 0 <= albedo.min() <= albedo.max() <= 1
    again = made(HEADS, name)
    assert torch.equal(again.vertices(shape, expression, pose), vertices)
    kept = Head.from_arrays(head.arrays(), head.meta())
    assert torch.equal(kept.vertices(shape, expression, pose), vertices)


@pytest.mark.parametrize("name", EXTRACTORS)
def test_extractors(name, head, regressor, rendered):
    extractor = made(EXTRACTORS, name, head=head, regressor=regressor, framing=0.8)
    images = torch.tensor(artifacts.rows(rendered["faces"], "images")[:3]).movedim(3, 1).float() / 255
    marks = torch.from_numpy(artifacts.load(rendered["faces"], names=("landmarks",))["landmarks"][:3]) / 16 - 1
    guess = extractor.guess(images, marks)
    assert isinstance(guess, Parameters)
    for key, size in SIZES.items():
        assert getattr(guess, key).shape == ((3, 9, 3) if key == "light" else (3, size)), key
        assert getattr(guess, key).isfinite().all(), key
    assert (guess.camera[:, 0] > 0).all()
    again = extractor.guess(images[1:2], marks[1:2])
    torch.testing.assert_close(again.to_vector("gif"), guess.rows([1]).to_vector("gif"), atol=1e-4, rtol=1e-4)


def test_extractors_without_their_files_say_so(head, tmp_path):
    with pytest.raises(FgError, match=r"no.h5: expected an fg artifact, found no such file; run the stage"):
        config.build(EXTRACTORS, {"name": "regress"}, "test", head=head, regressor=tmp_path / "no.h5", framing=0.8)
    with pytest.raises(FgError, match=r"flame.method: expected the head flame for deca, found procedural; set"):
        config.build(EXTRACTORS, {"name": "deca"}, "test", head=head)
