"""faces.h5, generator.h5 -> latents.h5: the code of every face."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from fgcli.config import Section, Spec, build
from fgcli.config.fields import Device
from fgcli.console import progress


class Params(Section):
    """Params of `fg invert`."""

    inverter: Spec
    """Name in INVERTERS, then its arguments."""
    batch: Annotated[int, Field(ge=1)]
    """Images at a time."""
    device: Device


def run(
    faces: Path = Path("out/faces.h5"),
    generator: Path = Path("out/generator.h5"),
    output: Path = Path("out/latents.h5"),
    *,
    params: Params,
) -> dict[str, Any]:
    """Inverts all rows, whatever their split."""
    import numpy as np

    from fgcli import artifacts
    from fgcli.generators import store
    from fgcli.inverters import INVERTERS, reconstruction_error
    from fgcli.pixels import tensor
    from fgcli.training.devices import cpu_or_cuda

    images, masks = artifacts.rows(faces, "images"), artifacts.masks(faces)
    about = artifacts.load(faces, artifacts.FACES, ("attributes", "split"))
    device = cpu_or_cuda(params.device)
    model = store.load(generator, device)
    inverter = build(INVERTERS, params.inverter, "invert.inverter")
    store.match(model, images.shape, faces)
    n = len(images)
    codes, errors = np.zeros((n, *model.code_shape), np.float32), np.zeros(n, np.float32)
    with progress("invert", n) as advance:
        for i in range(0, n, params.batch):
            part = slice(i, i + params.batch)
            x = tensor(images[part]).to(device)
            z = inverter.invert(model, x)
            codes[part] = z.cpu().numpy()
            errors[part] = reconstruction_error(model, x, z, masks[part])
            advance(len(x))
    artifacts.save(
        output,
        artifacts.LATENTS,
        {"codes": codes, "error": errors, "attributes": about["attributes"], "split": about["split"]},
        params=params.model_dump(),
        inputs={"faces": faces, "generator": generator},
        meta={
            "space": model.space,
            "generator": artifacts.sha256(generator),
            "attribute_names": about.meta["attribute_names"],
        },
    )
    return {"output": str(output), "rows": n, "code": list(model.code_shape), "mean error": float(errors.mean())}
