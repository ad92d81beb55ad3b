"""Published StyleGAN2 files, written here in their layouts: names, shapes, containers as the projects have them."""

import pickle
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from fgcli.cli.assets import app
from fgcli.errors import FgError
from fgcli.generators import store, stylegan2_files
from fgcli.generators.stylegan2 import StyleGAN2, StyleGAN2Critic
from fgcli.layers.stylegan2 import Modulated

SIZE, WIDE = 16, {4: 16, 8: 16, 16: 8}


def made():
    """The network whose files are written, its noise awake."""
    torch.manual_seed(0)
    model = StyleGAN2((3, SIZE, SIZE), codes=6, width=8 * SIZE / 32768, widest=16, mapping_layers=3, noise=True).eval()
    for layer in model.modules():
        if isinstance(layer, Modulated):
            layer.strength.data.fill_(0.3)
            layer.bias.data.normal_()
    return model


def parts(prefix, layer, names):
    state = layer.state_dict()
    return {f"{prefix}.{theirs}": state[mine] for mine, theirs in names.items() if mine in state}


def ada(model):
    """(G, D): tensors by the names of stylegan2-ada-pytorch."""
    synth = {"weight": "weight", "bias": "bias", "style.weight": "affine.weight", "style.bias": "affine.bias"}
    noisy = synth | {"strength": "noise_strength", "noise": "noise_const"}
    g = {"mapping.w_avg": torch.zeros(6), "synthesis.b4.const": model.constant}
    for i, layer in enumerate(model.mapping):
        g |= parts(f"mapping.fc{i}", layer, {"weight": "weight", "bias": "bias"})
    for i, layer in enumerate(model.convolutions):
        side, which = 4 << (i + 1) // 2, (i + 1) % 2
        own = parts(f"synthesis.b{side}.conv{which}", layer, noisy)
        own[f"synthesis.b{side}.conv{which}.resample_filter"] = torch.ones(4, 4)
        g |= own
    for i, layer in enumerate(model.colours):
        g |= parts(f"synthesis.b{4 << i}.torgb", layer, synth)
        g[f"synthesis.b{4 << i}.torgb.weight"] = layer.weight[:, :, None, None]
    critic, both = model.critic, {"weight": "weight", "bias": "bias"}
    d = parts(f"b{SIZE}.fromrgb", critic.enter, both)
    for i, block in enumerate(critic.blocks):
        side = SIZE >> i
        d |= parts(f"b{side}.conv0", block.first, both) | parts(f"b{side}.conv1", block.second, both)
        d |= parts(f"b{side}.skip", block.skip, both)
    d |= parts("b4.conv", critic.last, both) | parts("b4.fc", critic.dense, both) | parts("b4.out", critic.head, both)
    return g, d


def rosinality(model):
    """(g_ema, d): tensors by the names of rosinality's stylegan2-pytorch."""
    names = {"weight": "conv.weight", "bias": "activate.bias", "strength": "noise.weight"}
    names |= {"style.weight": "conv.modulation.weight", "style.bias": "conv.modulation.bias"}
    g = {"input.input": model.constant[None]}
    for i, layer in enumerate(model.mapping):
        g |= parts(f"style.{i + 1}", layer, {"weight": "weight", "bias": "bias"})
    for i, layer in enumerate(model.convolutions):
        own = parts(f"convs.{i - 1}" if i else "conv1", layer, names)
        key = next(k for k in own if k.endswith("conv.weight"))
        g |= own | {key: layer.weight[None], f"noises.noise_{i}": layer.noise[None, None]}
        g[f"{key.rsplit('.', 2)[0]}.noise.weight"] = layer.strength[None]
        if i % 2:
            g[f"convs.{i - 1}.conv.blur.kernel"] = torch.ones(4, 4)
    for i, layer in enumerate(model.colours):
        own = parts(f"to_rgbs.{i - 1}" if i else "to_rgb1", layer, names | {"bias": "bias"})
        key = next(k for k in own if k.endswith("conv.weight"))
        g |= own | {key: layer.weight[None, :, :, None, None]}
    critic = model.critic
    d = {"convs.0.0.weight": critic.enter.weight, "convs.0.1.bias": critic.enter.bias}
    for i, block in enumerate(critic.blocks, 1):
        d |= {f"convs.{i}.conv1.0.weight": block.first.weight, f"convs.{i}.conv1.1.bias": block.first.bias}
        d |= {f"convs.{i}.conv2.1.weight": block.second.weight, f"convs.{i}.conv2.2.bias": block.second.bias}
        d |= {f"convs.{i}.conv2.0.kernel": torch.ones(4, 4), f"convs.{i}.skip.1.weight": block.skip.weight}
    d |= {"final_conv.0.weight": critic.last.weight, "final_conv.1.bias": critic.last.bias}
    both = {"weight": "weight", "bias": "bias"}
    return g, d | parts("final_linear.0", critic.dense, both) | parts("final_linear.1", critic.head, both)


def write_ada(path: Path, g, d, call="torch_utils.persistence _reconstruct_persistent_obj") -> Path:
    """A pickle as persistence.py makes it: each network is a call with its source and its state."""
    module, name = call.split()

    class Called:
        def __init__(self, meta):
            self.meta = meta

        def __reduce__(self):
            return Marker, (self.meta,)

    def nested(tensors):
        own = {k: torch.nn.Parameter(v.detach().clone()) for k, v in tensors.items() if "." not in k}
        heads = dict.fromkeys(k.split(".")[0] for k in tensors if "." in k)
        inner = {h: nested({k[len(h) + 1 :]: v for k, v in tensors.items() if k.startswith(f"{h}.")}) for h in heads}
        state = {"training": False, "_parameters": own, "_buffers": {}, "_modules": inner}
        source = "raise SystemExit('the source in a pickle was run')"
        return Called({"type": "class", "version": 6, "module_src": source, "class_name": "Net", "state": state})

    content = pickle.dumps({"training_set_kwargs": None, "G_ema": nested(g), "D": nested(d)}, protocol=2)
    ours = f"{Marker.__module__}\n{Marker.__qualname__}\n".encode()
    assert content.count(b"c" + ours) == 1
    path.write_bytes(content.replace(b"c" + ours, f"c{module}\n{name}\n".encode()))
    return path


class Marker:
    """Stands in the pickle where the project's own function is named."""

    def __init__(self, meta):
        self.meta = meta


def files(folder: Path):
    model = made()
    g, d = rosinality(model)
    torch.save({"g_ema": g, "d": d, "args": None, "latent_avg": torch.zeros(6)}, folder / "rosinality.pt")
    return model, {"ada": write_ada(folder / "ada.pkl", *ada(model)), "rosinality": folder / "rosinality.pt"}


@pytest.mark.parametrize("kind", ["ada", "rosinality"])
def test_published_files_give_the_same_network(kind, tmp_path):
    model, known = files(tmp_path)
    done = CliRunner().invoke(app, ["import", str(known[kind]), "-o", str(tmp_path / "g.h5")])
    assert done.exit_code == 0, done.output
    gap = float(re.search(r"largest_difference: (\S+)", done.output)[1])
    assert gap < 1e-4
    loaded = store.load(tmp_path / "g.h5")
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_a_file_without_a_critic_gets_an_untrained_one(tmp_path):
    torch.save({"g_ema": rosinality(made())[0]}, tmp_path / "g.pt")
    assert stylegan2_files.import_file(tmp_path / "g.pt", tmp_path / "g.h5")["critic"] == "untrained"
    assert isinstance(store.load(tmp_path / "g.h5").critic, StyleGAN2Critic)


def wrong(folder):
    g, d = rosinality(made())
    torch.save({"g_ema": g | {"embed.weight": torch.zeros(1)}, "d": d}, folder / "classes.pt")
    torch.save({"g_ema": {k: v for k, v in g.items() if "convs.1" not in k}, "d": d}, folder / "part.pt")
    torch.save({"g_ema": g, "d": d | {"final_linear.0.bias": torch.zeros(9)}}, folder / "other.pt")
    torch.save({"model": 1}, folder / "none.pt")
    write_ada(folder / "code.pkl", *ada(made()), call="os system")
    return {
        "classes.pt": "expected a StyleGAN2 without classes, .* found a tensor embed.weight; other networks",
        "part.pt": "expected a whole StyleGAN2 of one size, found no tensor convolutions.2",
        "other.pt": r"expected \(16,\) for critic.dense.bias, found \(9,\); its networks are not of one size",
        "none.pt": "expected g_ema of a StyleGAN2, found model; give a file",
        "code.pkl": ".*found one that calls os.system; it was not run",
    }


def test_other_files_are_refused_in_one_sentence(tmp_path):
    for name, told in wrong(tmp_path).items():
        with pytest.raises(FgError, match=rf"{name}: {told}"):
            stylegan2_files.import_file(tmp_path / name, tmp_path / "g.h5")
        assert not (tmp_path / "g.h5").exists()
