"""Where and how a run computes: device, ranks, precision, memory format."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fgcli.errors import FgError

M = TypeVar("M", bound=nn.Module)


def cpu_or_cuda(device: str) -> torch.device:
    """For what needs float64, which mps has not: device "auto" is a GPU of CUDA where there is one, else the CPU.

    Raises:
        FgError: CUDA was asked for and is not here.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise FgError("device: expected cuda, found only cpu; choose auto or cpu")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 arithmetic is done by the hardware: then autocast pays."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def threads(number: int) -> int:
    """Sets PyTorch's CPU threads, where a number is given; returns how many they are."""
    if number:
        torch.set_num_threads(number)
    return torch.get_num_threads()


@dataclass(frozen=True)
class Compute:
    """One rank of a run. With more ranks each takes its share of the batch and gradients are averaged."""

    device: torch.device
    rank: int
    ranks: int
    precision: str

    @classmethod
    def of(cls, params: Any) -> Compute:
        """From the `device`, `precision` and `threads` of a stage's params; sets PyTorch's threads.

        Raises:
            FgError: that device is not here.
        """
        threads(params.threads)
        return cls.resolve(params.device, params.precision)

    @classmethod
    def resolve(cls, device: str, precision: str) -> Compute:
        """From params: device "auto", "cpu", "cuda", "mps"; precision "auto", "float32", "bf16"."""
        from accelerate import PartialState

        state = PartialState(cpu=device == "cpu")
        if device not in ("auto", state.device.type):
            raise FgError(f"device: expected {device}, found only {state.device.type}; choose auto or cpu")
        if precision == "auto":
            precision = "bf16" if has_fast_bf16(state.device) else "float32"
        return cls(state.device, state.process_index, state.num_processes, precision)

    @property
    def memory_format(self) -> torch.memory_format:
        """channels_last where it pays: with bf16, on CPU as on GPU."""
        return torch.channels_last if self.precision == "bf16" else torch.contiguous_format

    def autocast(self) -> AbstractContextManager[object]:
        """bf16 where the precision says so; weights, losses and statistics stay float32."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def place(self, module: M) -> M:
        """The module on the device, batch statistics shared among GPUs when there are several."""
        if self.ranks > 1 and self.device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return module.to(self.device).to(memory_format=self.memory_format)

    def wait(self) -> None:
        """Until every rank is here."""
        if self.ranks > 1:
            torch.distributed.barrier()

    def mean(self, value: float) -> float:
        """The mean of a number over the ranks."""
        if self.ranks == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=self.device)
        self.average([tensor])
        return float(tensor)

    def average(self, tensors: list[Tensor]) -> None:
        """Replaces each tensor by its mean over the ranks, in one message."""
        if self.ranks == 1 or not tensors:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        torch.distributed.all_reduce(flat)
        flat /= self.ranks
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))
