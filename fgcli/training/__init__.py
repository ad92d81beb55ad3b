"""The only training loop: phases, checkpoints, moving average, augmentation, devices."""

from fgcli.training.loop import Loop, Tick
from fgcli.training.phase import Batch, Objective, Phase

__all__ = ["Batch", "Loop", "Objective", "Phase", "Tick"]
