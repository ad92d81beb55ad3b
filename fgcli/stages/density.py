"""latents.h5 -> density.h5: fit densities to the codes of the training split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fgcli.config import Section, Spec, build
from fgcli.config.fields import Seed
from fgcli.console import progress
from fgcli.errors import FgError

if TYPE_CHECKING:
    import numpy as np


class Params(Section):
    """Params of `fg density`."""

    methods: Annotated[dict[str, Spec], Field(min_length=1)]
    """A label for each density: name in DENSITIES, then its arguments."""
    seed: Seed
    """Seed of the starts."""


def run(
    latents: Path = Path("out/latents.h5"), output: Path = Path("out/density.h5"), *, params: Params
) -> dict[str, Any]:
    """Fits each density on the training rows and scores it on the others."""
    from fgcli import artifacts
    from fgcli.densities import DENSITIES, Density

    stored = artifacts.load(latents, artifacts.LATENTS, ("codes", "split"))
    train = stored["codes"][stored["split"] == 0]
    held_out = stored["codes"][stored["split"] != 0]
    if len(train) < 2:
        raise FgError(f"{latents}: expected at least 2 codes of the train split, found {len(train)}; preprocess more")
    arrays: dict[str, np.ndarray] = {}
    about: dict[str, Any] = {}
    with progress("density", len(params.methods), unit="fits") as advance:
        for label, spec in params.methods.items():
            density: Density = build(DENSITIES, spec, f"density.methods.{label}").fit(train, params.seed)
            arrays |= {f"methods/{label}/{k}": v for k, v in density.arrays().items()}
            scores = {f"train_{density.score}": float(density.log_prob(train).mean())}
            if len(held_out):
                scores[f"held_out_{density.score}"] = float(density.log_prob(held_out).mean())
            about[label] = {"build": spec, "scores": scores}
            advance()
    artifacts.save(
        output,
        artifacts.DENSITY,
        arrays,
        params=params.model_dump(),
        inputs={"latents": latents},
        meta={"space": stored.meta["space"], "generator": stored.meta["generator"], "methods": about},
    )
    told = {label: entry["scores"] for label, entry in about.items()}
    return {"output": str(output), "rows": len(train), "held_out": len(held_out), "nats per code": told}
