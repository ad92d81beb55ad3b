"""GIF's released checkpoint: a file in its layout, and what its network does, written again here, against ours."""

import pytest
import torch
import torch.nn.functional as F

from fgcli.errors import FgError, UsageError
from fgcli.foreign import flame_files
from fgcli.generators import imported, store
from fgcli.pixels import pixels

CODES, ROWS, SIDE = 6, 5, 16
WIDTHS = {4: 12, 8: 12, 16: 8, 32: 4}
"""Channels by side; the file has layers for one side more than was trained."""
TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
KERNEL = torch.outer(TAPS, TAPS)


def linear(state, name, inputs, outputs):
    state[f"{name}.weight"], state[f"{name}.bias"] = torch.randn(outputs, inputs), torch.randn(outputs)


def modulated(state, name, inputs, outputs, size):
    state[f"{name}.weight"] = torch.randn(1, outputs, inputs, size, size)
    linear(state, f"{name}.modulation", CODES, inputs)


def generator(seen):
    """The state dict of StyledGenerator, without the wrapper's prefix."""
    state = {"generator.const_input.input": torch.randn(1, WIDTHS[4], 4, 4)}
    for i, (side, width) in enumerate(WIDTHS.items()):
        before = WIDTHS.get(side // 2, width)
        for cv, inputs in (("st_cv1", before), ("st_cv2", width))[: 2 if i else 1]:
            place = f"generator.progression.{i}.{cv}"
            modulated(state, f"{place}.conv", inputs, width, 3)
            if i and cv == "st_cv1":
                state[f"{place}.conv.blur.kernel"] = 4 * KERNEL
            for k, (a, b) in enumerate(((seen, 2 * seen), (2 * seen, 4 * seen), (4 * seen, width))):
                state[f"{place}.noise.noise_conv.{2 * k}.weight"] = torch.randn(b, a, 3, 3) / (9 * a) ** 0.5
                state[f"{place}.noise.noise_conv.{2 * k}.bias"] = torch.randn(b)
            state[f"{place}.activate.bias"] = torch.randn(1, width, 1, 1)
        modulated(state, f"generator.to_rgb.{i}.conv", width, 3, 1)
        state[f"generator.to_rgb.{i}.bias"] = torch.randn(1, 3, 1, 1)
        if i:
            state[f"generator.to_rgb.{i}.upsample.kernel"] = 4 * KERNEL
    for i in (1, 2):
        state[f"z_to_w.{i}.weight"] = 100 * torch.randn(CODES, CODES)
        state[f"z_to_w.{i}.bias"] = 100 * torch.randn(CODES)
    styles = torch.randn(ROWS, CODES)
    return state | {"image_embedding.embd_weight": styles, "img_embdng.embd_weight": styles}


def critic(seen):
    """The state dict of Discriminator."""
    state, sides = {}, [16, 8, 4]
    state["convs.0.0.weight"] = torch.randn(WIDTHS[SIDE], 3 + seen, 1, 1)
    state["convs.0.1.bias"] = torch.randn(1, WIDTHS[SIDE], 1, 1)
    for i, (a, b) in enumerate(((WIDTHS[s], WIDTHS[s // 2]) for s in sides[:2]), 1):
        for conv, outputs, k in (("conv1", a, 0), ("conv2", b, 1)):
            state[f"convs.{i}.{conv}.{k}.weight"] = torch.randn(outputs, a, 3, 3)
            state[f"convs.{i}.{conv}.{k + 1}.bias"] = torch.randn(1, outputs, 1, 1)
        state[f"convs.{i}.skip.1.weight"] = torch.randn(b, a, 1, 1)
        state[f"convs.{i}.conv2.0.kernel"] = state[f"convs.{i}.skip.0.kernel"] = KERNEL
    state["final_conv.0.weight"] = torch.randn(WIDTHS[4], WIDTHS[4] + 1, 3, 3)
    state["final_conv.1.bias"] = torch.randn(1, WIDTHS[4], 1, 1)
    linear(state, "final_linear.0", 16 * WIDTHS[4], WIDTHS[4])
    linear(state, "final_linear.1", WIDTHS[4], 1)
    return state


def write(path, seen=6, **changes):
    torch.manual_seed(0)
    states = {"generator_running": generator(seen), "discriminator_flm": critic(seen)}
    content = {key: {f"module.{name}": value for name, value in state.items()} for key, state in states.items()}
    content |= {"generator": content["generator_running"], "g_optimizer": {"state": {}, "param_groups": []}}
    torch.save({k: v for k, v in (content | changes).items() if v is not None}, path)
    return states


# ---- what its network does


def filtered(x, gain, pad, up=1):
    """Zeros between pixels and around them, then the low-pass filter."""
    n, c, h, w = x.shape
    spread = torch.zeros(n, c, h * up, w * up)
    spread[:, :, ::up, ::up] = x
    return F.conv2d(F.pad(spread, (*pad, *pad)), gain * KERNEL.expand(c, 1, 4, 4), groups=c)


def scaled(state, name, x, w, up=False, demodulated=True):
    weight = state[f"{name}.weight"][0]
    style = F.linear(w, state[f"{name}.modulation.weight"] / CODES**0.5, state[f"{name}.modulation.bias"])
    found = []
    for image, s in zip(x, style, strict=True):
        kernel = weight * s[:, None, None] / weight[0].numel() ** 0.5
        if demodulated:
            kernel = kernel / (kernel.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            found.append(filtered(F.conv_transpose2d(image[None], kernel.transpose(0, 1), stride=2), 4, (1, 1)))
        else:
            found.append(F.conv2d(image[None], kernel, padding=kernel.shape[2] // 2))
    return torch.cat(found)


def active(x, bias):
    return F.leaky_relu(x + bias, 0.2) * 2**0.5


def mapped(state, z):
    w = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for i in (1, 2):
        weight, bias = (state[f"z_to_w.{i}.{leaf}"] for leaf in ("weight", "bias"))
        w = F.leaky_relu(F.linear(w, weight * 0.01 / CODES**0.5, bias * 0.01), 0.2)  # without the factor sqrt(2)
    return w


def drawn(state, w, condition):
    x, image = state["generator.const_input.input"].repeat(len(w), 1, 1, 1), 0
    for i, side in enumerate((4, 8, 16)):
        told = F.interpolate(condition, (side, side), mode="bilinear", align_corners=False)
        for cv in ("st_cv1", "st_cv2")[: 2 if i else 1]:
            place, net = f"generator.progression.{i}.{cv}", told
            x = scaled(state, f"{place}.conv", x, w, up=i > 0 and cv == "st_cv1")
            for k in (0, 2, 4):
                conv = (state[f"{place}.noise.noise_conv.{k}.{leaf}"] for leaf in ("weight", "bias"))
                net = F.conv2d(net if k == 0 else net.relu(), *conv, padding=1)
            x = active(x + net, state[f"{place}.activate.bias"])
        colours = scaled(state, f"generator.to_rgb.{i}.conv", x, w, demodulated=False)
        image = colours + state[f"generator.to_rgb.{i}.bias"] + (filtered(image, 4, (2, 1), 2) if i else 0)
    return image


def scored(state, images):
    def conv(x, name, stride=1, padding=0):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight / weight[0].numel() ** 0.5, stride=stride, padding=padding)

    x = active(conv(images, "convs.0.0"), state["convs.0.1.bias"])
    for i in (1, 2):
        block = f"convs.{i}"
        y = active(conv(x, f"{block}.conv1.0", padding=1), state[f"{block}.conv1.1.bias"])
        y = active(conv(filtered(y, 1, (2, 2)), f"{block}.conv2.1", stride=2), state[f"{block}.conv2.2.bias"])
        x = (y + conv(filtered(x, 1, (1, 1)), f"{block}.skip.1", stride=2)) / 2**0.5
    spread = (x.var(0, correction=0) + 1e-8).sqrt().mean().expand(len(x), 1, 4, 4)  # of one group of four
    x = active(conv(torch.cat([x, spread], 1), "final_conv.0", padding=1), state["final_conv.1.bias"]).flatten(1)
    for i in (0, 1):
        weight, bias = (state[f"final_linear.{i}.{leaf}"] for leaf in ("weight", "bias"))
        x = F.linear(x if i == 0 else F.leaky_relu(x, 0.2), weight / weight.shape[1] ** 0.5, bias)
    return x[:, 0]


def test_the_released_weights_draw_and_judge_as_in_its_own_network(tmp_path):
    states = write(tmp_path / "gif.model")
    found = imported.convert(tmp_path / "gif.model", tmp_path / "generator.h5")
    assert (found["origin"], found["image_shape"]) == ("GIF", [3, SIDE, SIDE])
    ours = store.load(tmp_path / "generator.h5")
    renders = torch.randint(256, (4, SIDE, SIDE, 6), dtype=torch.uint8)
    n = renders[..., 3:].movedim(3, 1) / 127.5 - 1
    theirs = torch.cat([renders[..., :3].movedim(3, 1) / 127.5 - 1, n.clamp(0, 1) * 2 - 1], 1)  # as it renders them
    rows = torch.tensor([4, 0, 2, 3])
    with torch.no_grad():
        w = mapped(states["generator_running"], states["generator_running"]["image_embedding.embd_weight"][rows])
        torch.testing.assert_close(ours.map(ours.styles_of(rows))[:, 0], w, rtol=1e-4, atol=1e-5)
        images = drawn(states["generator_running"], w, theirs)
        made = ours.train().decode(w[:, None], pixels(renders))
        torch.testing.assert_close(made, images, rtol=1e-4, atol=1e-4)
        score = ours.critic(images, None, pixels(renders))
        torch.testing.assert_close(
            score, scored(states["discriminator_flm"], torch.cat([images, theirs], 1)), rtol=1e-3, atol=1e-3
        )


def test_what_a_file_does_not_tell_is_refused(tmp_path):
    write(tmp_path / "gif.model")
    with pytest.raises(UsageError, match=r"gif.model: expected -o generator.h5 for a StyleGAN2 checkpoint, found none"):
        flame_files.import_file(tmp_path / "gif.model")
    for changes, message in (
        ({"discriminator_flm": None}, "expected GIF's discriminator_flm, which tells the size, found none"),
        ({"seen": 3}, "expected GIF's full model, which is told 6 channels, texture and normals, found 3, of which"),
    ):
        write(tmp_path / "gif.model", **changes)
        with pytest.raises(FgError, match=message):
            imported.convert(tmp_path / "gif.model", tmp_path / "generator.h5")
        assert not (tmp_path / "generator.h5").exists()
