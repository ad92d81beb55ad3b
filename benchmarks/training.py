"""Training throughput of fg's Loop against a bare PyTorch loop and pythae's trainer: python benchmarks/training.py

The same network (fg's masked VAE without its mask decoder), the same loss up to a factor (squared error and KL), Adam,
the same batch of the same pictures. The bare loop is what one would write by hand: tensors in memory, fused Adam, no
moving average, no checks. fg reads faces from its memory-mapped file and watches for non-finite losses;
moving average, augmentation and validation are off. pythae's trainer runs as it is; it has no bf16 on a CPU.
Every repeat runs all of them for a few steps, in an order of its own; medians are shown. The bare loop runs twice: its
second ratio is what the machine makes of equal loops. Needs: pip install pythae
"""

from __future__ import annotations

import argparse
import copy
import logging
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TQDM_DISABLE", "1")  # pythae draws bars

import numpy as np
import torch
from loading import make_faces, write_both
from torch import Tensor

from fgcli import artifacts
from fgcli.generators.masked_vae import UnmaskedVAE
from fgcli.objectives.masked_elbo import MaskedELBO
from fgcli.training.batches import Batches
from fgcli.training.columns import tables
from fgcli.training.devices import Compute
from fgcli.training.loop import Loop
from fgcli.training.objective import Objective
from fgcli.training.settings import Settings

KL = 1e-3


def fg_steps(objective: Objective, faces: Path, batch: int, precision: str) -> Iterator[Any]:
    """fg's loop, one step per item."""
    compute, rows = Compute(torch.device("cpu"), 0, 1, precision), np.arange(len(artifacts.rows(faces, "images")))
    batches = Batches(tables(objective.needs, {"faces": faces}, rows, "benchmark"), rows, batch, 0)
    settings = Settings(10**9, batch, learning_rate=1e-3, seed=0, validate_steps=10**9, checkpoint_seconds=10**9)
    return Loop(compute.place(objective), compute, settings).run(batches)


def masked_steps(network: UnmaskedVAE, faces: Path, batch: int, precision: str) -> Iterator[Any]:
    """fg's loop with the masked VAE's objective, without its SSIM."""
    return fg_steps(MaskedELBO(network, ssim=0.0, l1=0.0, l2=100.0, kl=KL), faces, batch, precision)


def bare_steps(network: UnmaskedVAE, pictures: Tensor, batch: int, precision: str) -> Iterator[float]:
    """A loop as one writes it by hand."""
    memory = torch.channels_last if precision == "bf16" else torch.contiguous_format
    network = network.to(memory_format=memory).train()
    trained = [p for name, p in network.named_parameters() if not name.startswith("mask_decoder")]
    adam = torch.optim.Adam(trained, 1e-3, fused=True)
    while True:
        for rows in torch.randperm(len(pictures)).split(batch):
            x = pictures[rows].contiguous(memory_format=memory)
            with torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext():
                mu, log_std = (v.float() for v in network.posterior(x))
                y = network.decode((mu + torch.randn_like(mu) * log_std.exp())[:, None]).float()
                kl = (0.5 * (mu.square() + (2 * log_std).exp() - 1) - log_std).mean()
                loss = 100 * ((y - x) / 2).square().mean() + KL * kl
            adam.zero_grad()
            loss.backward()
            adam.step()
            yield loss.item()


def pythae_steps(network: UnmaskedVAE, pictures: Tensor, batch: int) -> Iterator[None]:
    """pythae's trainer on the same layers; it steps by epochs, so its epochs here have STEPS steps."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.disable(logging.INFO)

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.mean, self.log_std = network.encoder, network.mean, network.log_std

        def forward(self, x: Tensor) -> ModelOutput:
            hidden = self.hidden(x)
            return ModelOutput(embedding=self.mean(hidden), log_covariance=2 * self.log_std(hidden))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.image = network.image_decoder

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=2 * torch.sigmoid(self.image(z[:, :, None, None])) - 1)

    shape, size = network.image_shape, network.code_shape[1]
    model = VAE(VAEConfig(input_dim=shape, latent_dim=size), encoder=Encoder(), decoder=Decoder())
    few = BaseDataset(pictures[: batch * STEPS], torch.zeros(batch * STEPS))
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder, per_device_train_batch_size=batch, learning_rate=1e-3, no_cuda=True, num_epochs=1
        )
        trainer = BaseTrainer(model, few, training_config=config)
        trainer.prepare_training()
        while True:
            trainer.train_step(1)
            for _ in range(STEPS):
                yield None


STEPS = 4
"""Steps per repeat."""


def timed(steps: Iterator[Any]) -> tuple[float, float]:
    """Seconds of wall time and of CPU time of STEPS steps."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(STEPS):
        next(steps)
    return time.perf_counter() - wall, time.process_time() - cpu


def contenders(given: argparse.Namespace, faces: Path, pictures: Tensor) -> dict[str, Iterator[Any]]:
    """Every loop, on a network of its own with the same initial weights."""
    torch.manual_seed(0)
    network = UnmaskedVAE((3, given.size, given.size), codes=128, width=given.width)
    found: dict[str, Iterator[Any]] = {}
    for precision in ("float32", "bf16"):
        for loop in ("bare PyTorch", "the same again"):
            found[f"{loop}, {precision}"] = bare_steps(copy.deepcopy(network), pictures, given.batch, precision)
        found[f"fg, {precision}"] = masked_steps(copy.deepcopy(network), faces, given.batch, precision)
    try:
        import pythae  # noqa: F401

        found["pythae's trainer, float32"] = pythae_steps(copy.deepcopy(network), pictures, given.batch)
    except ImportError:
        print("pythae is not installed: left out")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=0, help="0 for PyTorch's default")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    images = make_faces(given.batch * 16, given.size)
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous()
    with tempfile.TemporaryDirectory() as folder:
        faces, _ = write_both(Path(folder), images)
        loops = contenders(given, faces, pictures)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
        order, rng = list(loops), random.Random(0)
        for repeat in range(given.repeats + 1):
            rng.shuffle(order)
            for name in order:
                measured = timed(loops[name])
                if repeat:
                    times[name].append(measured)
    show(given, times)


def show(given: argparse.Namespace, times: dict[str, list[tuple[float, float]]]) -> None:
    """One table; ratios are medians of those within a repeat, to the bare loop of the same precision."""
    threads = torch.get_num_threads()
    print(f"masked VAE without mask decoder, {given.size} px, width {given.width:g}, batch {given.batch}, ", end="")
    print(f"{threads} threads, {given.repeats} repeats of {STEPS} steps")
    print(f"{'':<28}{'images/s':>10}{'to bare':>10}{'images/CPU s':>14}{'to bare':>10}")
    for name, own in times.items():
        bare = times[f"bare PyTorch, {name.rsplit(', ')[-1]}"]
        line = f"{name:<28}"
        for k, wide in ((0, 10), (1, 14)):
            speed = given.batch * STEPS / statistics.median(t[k] for t in own)
            ratio = statistics.median(b[k] / t[k] for b, t in zip(bare, own, strict=True))
            line += f"{speed:>{wide},.1f}{ratio:>10.3f}"
        print(line)


if __name__ == "__main__":
    main()
