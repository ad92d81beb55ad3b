"""Params that several stages have."""

from typing import Annotated, Literal

from pydantic import Field

TrainingDevice = Annotated[Literal["auto", "cpu", "cuda", "mps"], Field(description="Where to compute.")]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], Field(description="Where to compute; auto: on a GPU where there is one.")
]
Precision = Annotated[Literal["auto", "float32", "bf16"], Field(description="auto: bf16 where the hardware has it.")]
Threads = Annotated[
    int,
    Field(ge=0, le=1024, description="CPU threads of PyTorch; 0 for its default. Equal bytes need an equal number."),
]
Processes = Annotated[int, Field(ge=0, le=1024)]
SEEDS = 2**63
"""Seeds are below: PyTorch takes no more."""
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]


def whole(text: str) -> int | None:
    """The number that ASCII digits write; None for any other text.

    >>> whole("12"), whole("²"), whole("-1")
    (12, None, None)
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
