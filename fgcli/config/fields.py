"""Params that several stages have."""

from typing import Annotated, Literal

from pydantic import Field

TrainingDevice = Annotated[Literal["auto", "cpu", "cuda", "mps"], Field(description="Where to compute.")]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], Field(description="Where to compute; auto: on a GPU where there is one.")
]
Precision = Annotated[Literal["auto", "float32", "bf16"], Field(description="auto: bf16 where the hardware has it.")]
Threads = Annotated[
    int, Field(ge=0, description="CPU threads of PyTorch; 0 for its default. Equal bytes need an equal number.")
]
