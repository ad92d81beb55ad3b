"""faces.h5, generator.h5 -> latents.h5: the code of every face; resumes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field

from fgcli.config import Section, Spec
from fgcli.config.fields import Device, Processes, Seed, Threads
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
    threads: Threads
    processes: Processes
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
    cluster: str = "",
) -> dict[str, Any]:
    """Inverts all rows, whatever their split, after a self-test on pictures whose codes are known.

    `conditions` are read where the generator wants them.

    Raises:
        FgError: faces that are not this generator's, a generator that the inverter cannot invert, no conditions.
    """
    from fgcli import artifacts, codes, inverters
    from fgcli.artifacts.parts import begin, work_folder
    from fgcli.training.devices import threads

    attributes, names, identity = _labels(faces)
    build = partial(_inversion, faces, generator, conditions, params, threads(params.threads))
    own = build(params.inverter)
    spec, under = params.inverter | own.inverter.resolved(), own.under
    test = inverters.self_test(own.inverter, own.model, params.seed, under)
    inputs = {"faces": faces, "generator": generator}
    if conditions and under is not None:
        inputs["conditions"] = conditions
    hashes = {name: artifacts.sha256(path) for name, path in inputs.items()}
    folder = begin(output, [spec, params.batch, params.seed, params.threads, hashes], resume)
    values, errors, space = _inverted(own, partial(build, spec), params, folder, cluster)
    arrays = {"codes": values, "error": errors, "attributes": attributes, **identity}
    arrays["split"] = artifacts.rows(faces, "split")
    artifacts.save(
        output,
        artifacts.LATENTS,
        arrays | ({} if under is None else {codes.field_of(under.ndim == 4): under}),
        params=params.model_dump(exclude={"processes"}),
        inputs=inputs,
        meta={
            "space": space,
            "generator": artifacts.sha256(generator),
            "build": artifacts.load(generator, artifacts.GENERATOR, ()).meta["build"],
            "attribute_names": names,
            "inverter": spec,
            "seed": params.seed,
            "self_test": test,
        },
    )
    shutil.rmtree(work_folder(output))
    told = {"output": str(output), "rows": len(values), "code": list(values.shape[1:]), "inverter": spec["name"]}
    return {**told, "mean error": float(errors.mean()), "self-test": test}


def _labels(faces: Path) -> tuple[np.ndarray, list[str], dict[str, np.ndarray]]:
    """Attributes (n, k) of the rows, their names, and whom faces show; sentences have none."""
    import numpy as np

    from fgcli import artifacts

    if artifacts.are_sentences(faces):
        return np.zeros((len(artifacts.rows(faces, "split")), 0), np.int8), [], {}
    about = artifacts.load(faces, artifacts.FACES, ("attributes", "identity"))
    identity = {"identity": about["identity"]} if about.meta["content"] == "faces" else {}
    return about["attributes"], about.meta["attribute_names"], identity


def _conditions(conditions: Path | None, faces: Path, n: int, model: Conditional, generator: Path) -> np.ndarray:
    """The condition of every face, as `codes.told` takes it, mapped."""
    from fgcli import artifacts
    from fgcli.generators import store
    from fgcli.training.columns import COLUMNS, same_faces

    kind, field = type(model).__name__, COLUMNS[model.condition_column].field
    if conditions is None:
        raise FgError(f"invert: expected conditions.h5 for {kind}, which they steer, found none; give it")
    artifacts.load(conditions, artifacts.CONDITIONS, ())
    same_faces(conditions, faces)
    store.verify_head(conditions, generator)
    found = artifacts.rows(conditions, field)
    wanted = (n, *model.condition_shape[1:], model.condition_shape[0])
    if found.shape != wanted:
        raise FgError(
            f"{conditions}: expected {field} of {wanted} for {kind}, found {found.shape}; make them of these faces, "
            "at their size"
        )
    return found


class Inversion(NamedTuple):
    """What one process inverts, and with what; under: conditions of the rows, where the generator wants some."""

    model: Generator
    inverter: Inverter
    images: np.ndarray
    masks: np.ndarray
    under: np.ndarray | None
    seed: int


def _inversion(
    faces: Path, generator: Path, conditions: Path | None, params: Params, computing: int, spec: dict[str, Any]
) -> Inversion:
    from fgcli import artifacts, inverters
    from fgcli.capabilities import Conditional
    from fgcli.generators import store
    from fgcli.training.devices import cpu_or_cuda, threads

    threads(computing)
    images, model = artifacts.pictures(faces), store.load(generator, cpu_or_cuda(params.device))
    store.match(model, images.shape, faces)
    inverter = inverters.create(spec, model, "invert.inverter")
    under = None
    if isinstance(model, Conditional):
        under = _conditions(conditions, faces, len(images), model, generator)
    return Inversion(model, inverter, images, artifacts.masks(faces), under, params.seed)


def _invert(tools: Inversion, rows: slice) -> dict[str, np.ndarray]:
    """A part: codes, errors and space of some rows."""
    import numpy as np

    from fgcli.codes import told
    from fgcli.inverters import Context, reconstruction_error
    from fgcli.pixels import tensor

    device = tools.model.device
    x = tensor(tools.images[rows]).to(device)
    condition = None if tools.under is None else told(tools.under[rows]).to(device)
    z = tools.inverter.invert(tools.model, x, Context(tools.seed, condition))
    error = reconstruction_error(tools.model, x, z, tools.masks[rows])
    return {"codes": z.numpy(), "error": error, "space": np.array(z.space)}


def _inverted(
    own: Inversion, build: Callable[[], Inversion], params: Params, folder: Path, cluster: str
) -> tuple[np.ndarray, np.ndarray, str]:
    """Codes (n, l, d), errors (n) and the codes' space; what lies in `folder` is not inverted again."""
    import numpy as np

    from fgcli.artifacts.parts import Part, load_part, make
    from fgcli.workers import cores

    n, todo = len(own.images), []
    for first in range(0, n, params.batch):
        rows = slice(first, min(first + params.batch, n))
        todo.append(Part(folder / f"{first:09d}.npz", rows.stop - first, rows))
    make(_invert, todo, build, params.processes or cores(), "invert", "rows", own, cluster)
    parts = [load_part(part.file) for part in todo]
    codes, errors = (np.concatenate([part[key] for part in parts]) for key in ("codes", "error"))
    return codes, errors, str(parts[0]["space"])
