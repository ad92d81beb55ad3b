"""Params that several stages have, and ranges that arguments of several components have."""

from typing import Annotated, Literal

from pydantic import Field

from fgcli.errors import UsageError

TrainingDevice = Annotated[Literal["auto", "cpu", "cuda", "mps"], Field(description="Where to compute.")]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], Field(description="Where to compute; auto: on a GPU where there is one.")
]
Precision = Annotated[Literal["auto", "float32", "bf16"], Field(description="auto: bf16 where the hardware has it.")]
Threads = Annotated[
    int,
    Field(ge=0, le=1024, description="CPU threads of PyTorch; 0 for its default. Equal bytes need an equal number."),
]
Processes = Annotated[int, Field(ge=0, le=1024, description="Processes side by side; 0: one per core.")]
SEEDS = 2**63
"""Seeds are below: PyTorch takes no more."""
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]


# What the arguments of components, the entries of registries, may be.
MOST = 2**31
"""Counts are below: what is larger is no count, and does not fit where libraries keep it."""
Count = Annotated[int, Field(ge=1, lt=MOST)]
CountOrNone = Annotated[int, Field(ge=0, lt=MOST)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
"""A factor, a variance or a size that may be 0, which leaves out what it stands for."""
Width = Annotated[float, Field(gt=0, le=8)]
"""A factor on a network's channels or units."""
Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(gt=0, lt=1)]
"""A share that is neither none nor all."""


def whole(text: str) -> int | None:
    """The number that ASCII digits write; None for any other text.

    >>> whole("12"), whole("²"), whole("-1")
    (12, None, None)
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


FACES = ("only", "largest", "centre", "all")


def face(text: str, flag: str = "--face") -> str:
    """Which face of a photo: one of FACES, or its number from left to right, from 1.

    Raises:
        UsageError: anything else.
    """
    if text not in FACES and not whole(text):
        raise UsageError(f"{flag} {text}: expected {', '.join(FACES)} or a number from 1, found {text!r}; choose one")
    return text if text in FACES else str(whole(text))


def strengths(text: str, flag: str = "--strength") -> list[float]:
    """ "-3:3:7" as seven strengths from -3 to 3; "1.5" as one; `flag` is what they were given for.

    Raises:
        UsageError: anything else.

    >>> strengths("-1:1:3"), strengths("1.5")
    ([-1.0, 0.0, 1.0], [1.5])
    """
    import numpy as np

    parts = text.split(":")
    start, stop, count = parts if len(parts) == 3 else (text, text, "1")
    try:
        ends = float(start), float(stop)
        if np.isfinite(ends).all() and whole(count):
            return [round(float(s), 9) for s in np.linspace(*ends, int(count))]
    except ValueError:
        pass
    raise UsageError(f"{flag} {text}: expected a finite number or FROM:TO:COUNT; write -3:3:7")
