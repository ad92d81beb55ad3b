"""faces.h5, generator.h5 -> latents.h5: the code of every face; resumes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fgcli.config import Section, Spec
from fgcli.config.fields import Device, Seed
from fgcli.console import progress
from fgcli.errors import FgError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.capabilities import Conditional, Generator
    from fgcli.inverters import Inverter


class Params(Section):
    """Params of `fg invert`."""

    inverter: Spec
    """Name in INVERTERS, then its arguments."""
    batch: Annotated[int, Field(ge=1)]
    """Images at a time, and what a kill may cost."""
    device: Device
    seed: Seed
    """Seed of the draws that an inverter starts from, and of the self-test."""


def run(
    faces: Path = Path("out/faces.h5"),
    generator: Path = Path("out/generator.h5"),
    output: Path = Path("out/latents.h5"),
    *,
    conditions: Path | None = Path("out/conditions.h5"),
    params: Params,
    resume: bool = True,
) -> dict[str, Any]:
    """Inverts all rows, whatever their split, after a self-test on pictures whose codes are known.

    `conditions` are read where the generator wants them.

    Raises:
        FgError: faces that are not this generator's, a generator that the inverter cannot invert, no conditions.
    """
    from fgcli import artifacts, inverters
    from fgcli.artifacts.parts import begin, work_folder
    from fgcli.capabilities import Conditional
    from fgcli.generators import store
    from fgcli.training.devices import cpu_or_cuda

    images = artifacts.rows(faces, "images")
    about = artifacts.load(faces, artifacts.FACES, ("attributes", "split", "identity"))
    model = store.load(generator, cpu_or_cuda(params.device))
    store.match(model, images.shape, faces)
    inverter = inverters.create(params.inverter, model, "invert.inverter")
    renders = _renders(conditions, faces, len(images), model) if isinstance(model, Conditional) else None
    spec = params.inverter | inverter.resolved()
    test = inverters.self_test(inverter, model, params.seed, renders)
    inputs = {"faces": faces, "generator": generator}
    if conditions and renders is not None:
        inputs["conditions"] = conditions
    depends = [spec, params.batch, params.seed, {name: artifacts.sha256(path) for name, path in inputs.items()}]
    folder = begin(output, depends, resume)
    codes, errors, space = _inverted(model, inverter, images, artifacts.masks(faces), renders, params, folder)
    arrays = {"codes": codes, "error": errors, "attributes": about["attributes"], "split": about["split"]}
    if about.meta["content"] == "faces":
        arrays["identity"] = about["identity"]
    artifacts.save(
        output,
        artifacts.LATENTS,
        arrays | ({} if renders is None else {"condition": renders}),
        params=params.model_dump(),
        inputs=inputs,
        meta={
            "space": space,
            "generator": artifacts.sha256(generator),
            "build": artifacts.load(generator, artifacts.GENERATOR, ()).meta["build"],
            "attribute_names": about.meta["attribute_names"],
            "inverter": spec,
            "seed": params.seed,
            "self_test": test,
        },
    )
    shutil.rmtree(work_folder(output))
    told = {"output": str(output), "rows": len(codes), "code": list(codes.shape[1:]), "inverter": spec["name"]}
    return {**told, "mean error": float(errors.mean()), "self-test": test}


def _renders(conditions: Path | None, faces: Path, n: int, model: Conditional) -> np.ndarray:
    """The condition of every face (n, h, w, c) uint8, mapped."""
    from fgcli import artifacts
    from fgcli.training.columns import same_faces

    kind = type(model).__name__
    if conditions is None:
        raise FgError(f"invert: expected conditions.h5 for {kind}, which they steer, found none; give it")
    same_faces(conditions, faces)
    renders, (channels, h, w) = artifacts.rows(conditions, "renders"), model.condition_shape
    if renders.shape != (n, h, w, channels):
        raise FgError(
            f"{conditions}: expected renders of {(n, h, w, channels)} for {kind}, found {renders.shape}; make them at "
            "the size of these faces"
        )
    return renders


def _inverted(
    model: Generator,
    inverter: Inverter,
    images: np.ndarray,
    masks: np.ndarray,
    renders: np.ndarray | None,
    params: Params,
    folder: Path,
) -> tuple[np.ndarray, np.ndarray, str]:
    """Codes (n, l, d), errors (n) and the codes' space; what lies in `folder` is not inverted again."""
    import numpy as np

    from fgcli.artifacts.parts import load_part, save_part
    from fgcli.inverters import Context, reconstruction_error
    from fgcli.pixels import tensor

    device, n, parts = model.device, len(images), []
    with progress("invert", n) as advance:
        for i in range(0, n, params.batch):
            rows, file = slice(i, i + params.batch), folder / f"{i:09d}.npz"
            if not file.exists():
                x = tensor(images[rows]).to(device)
                condition = None if renders is None else tensor(renders[rows]).to(device)
                z = inverter.invert(model, x, Context(params.seed, condition))
                error = reconstruction_error(model, x, z, masks[rows])
                save_part(file, {"codes": z.numpy(), "error": error, "space": np.array(z.space)})
            parts.append(load_part(file))
            advance(len(parts[-1]["codes"]))
    codes, errors = (np.concatenate([part[key] for part in parts]) for key in ("codes", "error"))
    return codes, errors, str(parts[0]["space"])
