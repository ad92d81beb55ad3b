"""Training steps of the autoencoder family against a bare loop and pythae: python benchmarks/autoencoders.py

One network (Table A.1 with a factor on its widths), one batch of the same pictures, Adam. For each model: fg's Loop in
float32 and bf16, a loop written by hand around the same loss in both, and pythae's trainer with pythae's loss of the
same name on the same layers. pythae's RAE-L2 steps encoder and decoder apart, each with a whole backward pass; its
RAE-GP penalises the gradient with respect to the input, fg's the one with respect to the code, as the thesis says. fg
also reads faces.h5 and checks every loss. Every repeat runs all of them, in an order of its own; medians. The loop
written by hand runs twice, and "noise" is the median ratio of the two: what the machine makes of equal loops.
Needs: pip install pythae
"""

from __future__ import annotations

import argparse
import copy
import logging
import os
import random
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TQDM_DISABLE", "1")  # pythae draws bars

import torch
from loading import make_faces, write_both
from torch import Tensor
from training import STEPS, fg_steps, timed

from fgcli.generators.conv_autoencoder import ConvAutoencoder, ConvVAE
from fgcli.objectives.rae import RAE
from fgcli.objectives.vae import VAE
from fgcli.objectives.wae_mmd import WAEMMD
from fgcli.training.objective import Objective

MODELS = {
    "VAE": (ConvVAE, lambda g: VAE(g)),
    "WAE": (ConvAutoencoder, lambda g: WAEMMD(g)),
    "RAE-L2": (ConvAutoencoder, lambda g: RAE(g, l2=1e-6)),
    "RAE-GP": (ConvAutoencoder, lambda g: RAE(g, gp=1e-4)),
}
"""Network and objective."""


def bare_steps(objective: Objective, pictures: Tensor, batch: int, precision: str) -> Iterator[float]:
    """The same loss in a loop as one writes it by hand."""
    memory = torch.channels_last if precision == "bf16" else torch.contiguous_format
    phase = objective.to(memory_format=memory).train().phases[0]
    adam = torch.optim.Adam(objective.groups[phase.group].parameters, 1e-3, fused=True)
    rng = torch.Generator()
    while True:
        for rows in torch.randperm(len(pictures)).split(batch):
            x = pictures[rows].contiguous(memory_format=memory)
            with torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext():
                loss = phase.total(phase.loss({"images": x}, rng))
            adam.zero_grad()
            loss.backward()
            adam.step()
            yield loss.item()


def pythae_steps(name: str, network: ConvAutoencoder, pictures: Tensor, batch: int) -> Iterator[None]:
    """pythae's trainer on the same layers; it steps by epochs, so its epochs here have STEPS steps."""
    from pythae import models, trainers
    from pythae.data.datasets import BaseDataset

    logging.disable(logging.INFO)
    kind, config = {
        "VAE": (models.VAE, models.VAEConfig),
        "WAE": (models.WAE_MMD, models.WAE_MMD_Config),
        "RAE-L2": (models.RAE_L2, models.RAE_L2_Config),
        "RAE-GP": (models.RAE_GP, models.RAE_GP_Config),
    }[name]
    settings = config(input_dim=network.image_shape, latent_dim=network.code_shape[1])
    model = kind(settings, encoder=Encoder(network), decoder=Decoder(network))
    few = BaseDataset(pictures[: batch * STEPS], torch.zeros(batch * STEPS))
    coupled = name == "RAE-L2"
    trainer_kind = trainers.CoupledOptimizerTrainer if coupled else trainers.BaseTrainer
    how = trainers.CoupledOptimizerTrainerConfig if coupled else trainers.BaseTrainerConfig
    rates = {} if coupled else {"learning_rate": 1e-3}
    with tempfile.TemporaryDirectory() as folder:
        about = how(output_dir=folder, per_device_train_batch_size=batch, no_cuda=True, num_epochs=1, **rates)
        trainer = trainer_kind(model, few, training_config=about)
        trainer.prepare_training()
        while True:
            trainer.train_step(1)
            for _ in range(STEPS):
                yield None


def pythae_parts() -> tuple[type, type]:
    """The layers of Table A.1 as pythae wants them."""
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self, network: ConvAutoencoder) -> None:
            super().__init__()
            self.layers, self.heads = network.encoder, network.heads

        def forward(self, x: Tensor) -> ModelOutput:
            parts = self.layers(x).chunk(self.heads, 1)
            return ModelOutput(embedding=parts[0], log_covariance=parts[-1])

    class Decoder(BaseDecoder):
        def __init__(self, network: ConvAutoencoder) -> None:
            super().__init__()
            self.layers, self.size = network.decoder, network.image_shape[1]

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=torch.tanh(self.layers(z)[..., : self.size, : self.size] / 2))

    return Encoder, Decoder


def contenders(name: str, given: argparse.Namespace, faces: Path, pictures: Tensor) -> dict[str, Iterator[Any]]:
    """Every loop, on a network of its own with the same initial weights."""
    kind, objective = MODELS[name]
    torch.manual_seed(0)
    network = kind((3, given.size, given.size), codes=64, width=given.width)
    found: dict[str, Iterator[Any]] = {}
    for precision in ("float32", "bf16"):
        for loop in ("bare", "again"):
            own = objective(copy.deepcopy(network))
            found[f"{loop}, {precision}"] = bare_steps(own, pictures, given.batch, precision)
        found[f"fg, {precision}"] = fg_steps(objective(copy.deepcopy(network)), faces, given.batch, precision)
    return found | {"pythae": pythae_steps(name, copy.deepcopy(network), pictures, given.batch)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    images = make_faces(given.batch * 16, given.size)
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()
    print(
        f"Table A.1 at {given.size} px, width {given.width:g}, batch {given.batch}, {given.threads} threads, ", end=""
    )
    print(f"{given.repeats} repeats of {STEPS} steps; images a second of wall time, ratios of medians within a repeat")
    print(f"{'':<8}{'fg':>9}{'fg bf16':>9}{'to bare':>9}{'noise':>8}{'bf16':>9}{'noise':>8}", end="")
    print(f"{'to pythae':>11}{'bf16':>9}{'step/pythae':>13}")
    with tempfile.TemporaryDirectory() as folder:
        faces, _ = write_both(Path(folder), images)
        for name in given.models:
            show(name, given.batch, measure(contenders(name, given, faces, pictures), given.repeats))


def measure(loops: dict[str, Iterator[Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of STEPS steps of each, repeat by repeat, after one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in loops}
    order, rng = list(loops), random.Random(0)
    for repeat in range(repeats + 1):
        rng.shuffle(order)
        for name in order:
            wall, _ = timed(loops[name])
            if repeat:
                times[name].append(wall)
    return times


def show(name: str, batch: int, times: dict[str, list[float]]) -> None:
    """One line of the table."""

    def ratio(other: str, own: str) -> float:
        return statistics.median(b / t for b, t in zip(times[other], times[own], strict=True))

    def to_bare(precision: str) -> str:
        both = [(a + b) / 2 for a, b in zip(times[f"bare, {precision}"], times[f"again, {precision}"], strict=True)]
        own = statistics.median(b / t for b, t in zip(both, times[f"fg, {precision}"], strict=True))
        return f"{own:>9.3f}{ratio(f'bare, {precision}', f'again, {precision}'):>8.3f}"

    speeds = [batch * STEPS / statistics.median(times[own]) for own in ("fg, float32", "fg, bf16")]
    line = f"{name:<8}{speeds[0]:>9,.0f}{speeds[1]:>9,.0f}{to_bare('float32')}{to_bare('bf16')}"
    line += f"{ratio('pythae', 'fg, float32'):>11.2f}{ratio('pythae', 'fg, bf16'):>9.2f}"
    print(line + f"{1 / ratio('pythae', 'fg, float32'):>13.2f}", flush=True)


Encoder, Decoder = pythae_parts()

if __name__ == "__main__":
    main()
