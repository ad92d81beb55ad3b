"""StyleGAN2 checkpoints of others, written here in their formats, become generator.h5."""

import argparse
import os
import pickle
import re
import sys
import types
from collections import OrderedDict

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from fgcli import artifacts
from fgcli.cli.assets import app
from fgcli.codes import prior
from fgcli.errors import FgError, UsageError
from fgcli.foreign import flame_files
from fgcli.generators import imported, store
from fgcli.generators.stylegan2 import StyleGAN2

SMALL = {"codes": 6, "width": 1 / 128, "widest": 12, "mapping_layers": 3, "noise": True, "critic_width": 0.5}
KERNEL = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


def network(**changes):
    torch.manual_seed(0)
    made = StyleGAN2((3, 32, 32), **{**SMALL, **changes}).eval().requires_grad_(False)
    for parameter in made.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    made.average += torch.randn(6)
    return made


# ---- stylegan2-ada-pytorch's: modules inside modules, each a call of _reconstruct_persistent_obj with its state


class Persistent:
    """Pickled as an object of a class that persistence.persistent_class decorates."""

    def __init__(self, name, **state):
        empty = {"training": False, "_buffers": OrderedDict(), "_parameters": OrderedDict(), "_modules": OrderedDict()}
        self.meta = {"type": "class", "version": 6, "module_src": "raise SystemExit", "class_name": name}
        self.meta["state"] = empty | {"_backward_hooks": OrderedDict(), "_non_persistent_buffers_set": set()} | state

    def __reduce__(self):
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,), None

    def put(self, path, value):
        """A tensor under a dotted name; modules on the way are made."""
        *modules, last = path.split(".")
        module = self
        for name in modules:
            module = module.meta["state"]["_modules"].setdefault(name, Persistent("Layer"))
        buffer = last in ("w_avg", "noise_const", "resample_filter")
        kept = module.meta["state"]["_buffers" if buffer else "_parameters"]
        kept[last] = value if buffer else nn.Parameter(value, requires_grad=False)


@pytest.fixture
def theirs(monkeypatch):
    """The modules that their pickles name."""
    persistence, util = types.ModuleType("torch_utils.persistence"), types.ModuleType("dnnlib.util")

    def _reconstruct_persistent_obj(meta):
        raise AssertionError("the pickle's code was run")

    class EasyDict(dict):
        pass

    for module, thing in ((persistence, _reconstruct_persistent_obj), (util, EasyDict)):
        thing.__module__, thing.__qualname__ = module.__name__, thing.__name__
        setattr(module, thing.__name__, thing)
        monkeypatch.setitem(sys.modules, module.__name__.partition(".")[0], types.ModuleType("parent"))
        monkeypatch.setitem(sys.modules, module.__name__, module)


def ada(made, **changes):
    """The dict that training_loop.py pickles."""
    g, d, side = Persistent("Generator"), Persistent("Discriminator"), made.image_shape[1]
    for name, value in made.state_dict().items():
        head, _, rest = name.partition(".")
        rest = rest.replace("scales.", "affine.").replace("noise", "noise_const").replace("strength", "noise_strength")
        if name.startswith("critic.blocks."):
            block, layer, leaf = name.split(".")[2:]
            layer = {"first": "conv0", "second": "conv1"}.get(layer, layer)
            d.put(f"b{side >> int(block)}.{layer}.{leaf}", value)
        elif head == "critic":
            layer, leaf = rest.split(".")
            place = {"colours": f"b{side}.fromrgb", "last": "b4.conv", "dense": "b4.fc", "head": "b4.out"}[layer]
            d.put(f"{place}.{leaf}", value)
        elif head == "layers":
            i, leaf = rest.split(".", 1)
            g.put(f"synthesis.b{4 << (int(i) + 1) // 2}.conv{1 - int(i) % 2}.{leaf}", value)
        elif head == "colours":
            i, leaf = rest.split(".", 1)
            value = value[:, :, None, None] if leaf == "weight" else value[:, 0] if leaf == "bias" else value
            g.put(f"synthesis.b{4 << int(i)}.torgb.{leaf}", value)
        else:
            place = {"average": "mapping.w_avg", "constant": "synthesis.b4.const"}
            g.put(place.get(name) or f"mapping.fc{rest}", value)
    g.put("synthesis.b8.conv0.resample_filter", KERNEL)
    g.meta["state"]["_modules"]["mapping"].meta["state"]["_modules"]["fc0"].meta["state"]["bias_gain"] = 0.01
    content = {"training_set_kwargs": sys.modules["dnnlib.util"].EasyDict(path="x.zip"), "G": g, "D": d, "G_ema": g}
    return content | {"augment_pipe": None} | changes


def write_ada(path, content):
    path.write_bytes(pickle.dumps(content))
    return path


# ---- rosinality's: state dicts


def ros(made):
    """g_ema and d."""
    g, d = {}, {}
    leaves = {"weight": "conv.weight", "strength": "noise.weight", "bias": "activate.bias"}
    for name, value in made.state_dict().items():
        if name.startswith("critic.blocks."):
            block, layer, leaf = name.split(".")[2:]
            layer, n = {"first": ("conv1", 0), "second": ("conv2", 1), "skip": ("skip", 1)}[layer]
            d[f"convs.{int(block) + 1}.{layer}.{n + (leaf == 'bias')}.{leaf}"] = value
        elif name.startswith("critic."):
            layer, leaf = name.split(".")[1:]
            conv = {"colours": "convs.0", "last": "final_conv"}.get(layer)
            dense = f"final_linear.{int(layer == 'head')}.{leaf}"
            d[f"{conv}.{int(leaf == 'bias')}.{leaf}" if conv else dense] = value
        elif name.startswith(("layers.", "colours.")):
            kind, i, leaf = name.split(".", 2)
            first, rest = ("conv1", "convs") if kind == "layers" else ("to_rgb1", "to_rgbs")
            place = first if i == "0" else f"{rest}.{int(i) - 1}"
            if leaf == "noise":
                g[f"noises.noise_{i}"] = value[None, None]
            elif kind == "layers":
                value = value[None] if leaf in ("weight", "strength") else value
                g[f"{place}.{leaves.get(leaf, leaf.replace('scales', 'conv.modulation'))}"] = value
            else:
                shaped = {
                    "weight": value[None, :, :, None, None] if leaf == "weight" else None,
                    "bias": value[None, :, None],
                }
                leaf_ = {"weight": "conv.weight", "bias": "bias"}.get(leaf, leaf.replace("scales", "conv.modulation"))
                g[f"{place}.{leaf_}"] = shaped.get(leaf, value)
        elif name.startswith("mapping."):
            g[f"style.{int(name.split('.')[1]) + 1}.{name.split('.')[2]}"] = value
        elif name == "constant":
            g["input.input"] = value[None]
    g["convs.0.conv.blur.kernel"] = 4 * KERNEL
    return g, d


def write_ros(path, made, old=False, **changes):
    g, d = ros(made)
    content = {"g": g, "d": d, "g_ema": g, "args": argparse.Namespace(size=32), "latent_avg": made.average} | changes
    torch.save({k: v for k, v in content.items() if v is not None}, path, _use_new_zipfile_serialization=not old)
    return path


# ---- what becomes of them


def same(made, path, critic=True):
    loaded = store.load(path)
    assert (loaded.image_shape, loaded.code_shape) == (made.image_shape, made.code_shape)
    for truncation in (1.0, 0.5):
        w = prior(made, 4, 0, truncation).values
        assert torch.equal(prior(loaded, 4, 0, truncation).values, w)
        assert torch.equal(loaded.decode(w), made.decode(w))
    if critic:
        assert torch.equal(loaded.critic(made.decode(w)), made.critic(made.decode(w)))


@pytest.mark.parametrize("changes", [{}, {"noise": False, "mapping_layers": 8, "critic_width": 1.0}])
def test_stylegan2_adas_pickle_becomes_a_generator(theirs, tmp_path, changes):
    made = network(**changes)
    told = imported.convert(write_ada(tmp_path / "snapshot.pkl", ada(made)), tmp_path / "generator.h5")
    assert told["build"] == {"name": "stylegan2", **SMALL, **changes}
    assert told["tensors"] == len(made.state_dict())
    assert (told["critic"], "note" in told) == ("the file's", False)
    same(made, tmp_path / "generator.h5")


@pytest.mark.parametrize("old", [False, True])
def test_rosinalitys_checkpoint_becomes_a_generator(tmp_path, old):
    made = network()
    told = imported.convert(write_ros(tmp_path / "550000.pt", made, old), tmp_path / "generator.h5")
    assert told["build"] == {"name": "stylegan2", **SMALL}
    same(made, tmp_path / "generator.h5")


def test_without_a_critic_or_with_another_kind_it_gets_a_fresh_one(theirs, tmp_path):
    made = network()
    told = imported.convert(write_ros(tmp_path / "a.pt", made, d=None), tmp_path / "a.h5")
    assert told["critic"] == "none in the file, fresh weights"
    same(made, tmp_path / "a.h5", critic=False)
    plain = Persistent("Discriminator")  # architecture "orig" has no skip
    plain.put("b32.fromrgb.weight", torch.ones(3, 3, 1, 1))
    told = imported.convert(write_ada(tmp_path / "b.pkl", ada(made, D=plain)), tmp_path / "b.h5")
    assert told["critic"] == "none in the file, fresh weights"


def test_activations_that_its_own_network_would_clamp_are_told(theirs, tmp_path):
    content = ada(network())
    content["G_ema"].meta["state"]["_modules"]["synthesis"].meta["state"]["conv_clamp"] = 0.01
    told = imported.convert(write_ada(tmp_path / "a.pkl", content), tmp_path / "a.h5")
    assert told["note"].startswith("its own network clamps activations at 0.01")


class Runs:
    def __reduce__(self):
        return os.system, ("echo ran",)


def put(name, value):
    def change(content):
        content["G_ema"].put(name, value)
        return content

    return change


def without(content, *names):
    """The generator's tensors but the one at names."""
    state = content["G_ema"].meta["state"]
    for name in names[:-1]:
        state = state["_modules"][name].meta["state"]
    del state["_parameters"][names[-1]]
    return content


def with_state(content, **state):
    content["G_ema"].meta["state"]["_modules"]["mapping"].meta["state"]["_modules"]["fc0"].meta["state"].update(state)
    return content


REFUSED = [
    (lambda c: c | {"G": Runs()}, r"a pickle of arrays, found one that calls \w+\.system; it was not run: take"),
    (put("mapping.embed.weight", torch.ones(6, 2)), r"a generator without classes, found a class-conditional one;"),
    (put("synthesis.L0_36_512.weight", torch.ones(2)), r"a StyleGAN2 checkpoint, found StyleGAN3's; give one of"),
    (put("synthesis.b8.skip.weight", torch.ones(2)), r"the tensors of .*, found also synthesis.b8.skip.weight; give"),
    (put("synthesis.b8.conv0.bias", torch.ones(5)), r"12 for layers.1.bias, found 5; give a StyleGAN2 of"),
    (put("synthesis.b8.conv0.resample_filter", torch.ones(4, 4)), r"the filter \[1, 3, 3, 1\] in .*, found another;"),
    (lambda c: without(c, "synthesis", "b8", "conv1", "bias"), r"the tensors of StyleGAN2, found none for layers.2"),
    (put("mapping.fc0.weight", torch.ones(6, 5)), r"z and w of one size, found 5 and 6; give"),
    (lambda c: with_state(c, activation="relu"), r"leaky ReLU in mapping.fc0, found relu; give"),
    (lambda c: with_state(c, bias_gain=1.0), r"0.01 as rate of mapping.fc0, found 1.0; give"),
    (lambda c: with_state(c, _parameters=3), r"modules with tensors, found damage \(.*\); download it again"),
    (put("mapping.fc0.bias", torch.full((6,), torch.nan)), r"weights that draw images, found some that do not;"),
    (lambda c: {"model": c["G"]}, r"a StyleGAN2 checkpoint with G_ema and D, found model; check it"),
]  # fmt: skip


@pytest.mark.parametrize("change", range(len(REFUSED)))
def test_other_pickles_are_refused_in_one_sentence_and_nothing_is_written(theirs, tmp_path, change, capfd):
    change, told = REFUSED[change]
    path = write_ada(tmp_path / "a.pkl", change(ada(network())))
    with pytest.raises(FgError, match=rf"^\S+a.pkl: expected {told}[^\n]*$"):
        imported.convert(path, tmp_path / "generator.h5")
    assert os.listdir(tmp_path) == ["a.pkl"]
    assert "ran" not in capfd.readouterr().out


def test_a_pickle_of_tensorflow_is_told_how_to_become_one(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x03cdnnlib.tflib.network\nNetwork\n)\x81.")
    with pytest.raises(FgError, match=r"calls dnnlib.tflib.network.Network; it was not run: convert it .* legacy.py"):
        imported.convert(path, tmp_path / "generator.h5")


def test_other_torch_files_are_refused_in_one_sentence(tmp_path):
    made, h5 = network(), tmp_path / "generator.h5"
    with pytest.raises(FgError, match=r"a.pt: expected a StyleGAN2 checkpoint with g_ema, found g, d, .*; check it"):
        imported.convert(write_ros(tmp_path / "a.pt", made, g_ema=None), h5)
    with pytest.raises(
        FgError, match=r"b.pt: expected a checkpoint of tensors, found one that torch cannot read safely"
    ):
        imported.convert(write_ros(tmp_path / "b.pt", made, args=Runs()), h5)
    small = {k: v for k, v in ros(made)[0].items() if not re.match(r"(convs\.[2-9]|to_rgbs\.[1-9])", k)}
    with pytest.raises(FgError, match=r"c.pt: expected images of 16 to 1024 px, found 8; give"):
        imported.convert(write_ros(tmp_path / "c.pt", made, g_ema=small), h5)
    assert not h5.exists()


def test_the_command_writes_a_generator_and_nothing_over_other_files(tmp_path, monkeypatch):
    monkeypatch.setenv("FG_ASSETS", str(tmp_path / "assets"))
    path, h5 = write_ros(tmp_path / "a.pt", network()), tmp_path / "out" / "generator.h5"
    done = CliRunner().invoke(app, ["import", str(path), "-o", str(h5)])
    assert done.exit_code == 0, done.output
    assert "origin: rosinality's stylegan2-pytorch" in done.stdout
    assert artifacts.load(h5).meta["space"] == "w+"
    assert CliRunner().invoke(app, ["import", str(path), "-o", str(path)]).exit_code == 2
    assert CliRunner().invoke(app, ["import", str(path), str(path), "-o", str(h5)]).exit_code == 2
    with pytest.raises(UsageError, match=r"a.pt: expected -o generator.h5 for a StyleGAN2 checkpoint, found none; say"):
        flame_files.import_file(path)
