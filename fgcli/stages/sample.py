"""Generator and density -> new faces: a sheet, a picture of each, and their codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgcli.config import pick
from fgcli.config.fields import SEEDS
from fgcli.console import progress
from fgcli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.codes import Codes


def sample(
    count: int,
    density: str,
    seed: int,
    truncation: float,
    columns: int,
    output: Path,
    generator: Path,
    densities: Path,
    latents: Path,
) -> dict[str, Any]:
    """One sheet of new faces, each in a file of its own named by the seed that draws it alone, and their codes."""
    from fgcli.capabilities import Conditional
    from fgcli.codes import conditioned, conditions, prior
    from fgcli.generators import store
    from fgcli.reports import grid
    from fgcli.reports.pictures import decoded, enlarge, shown_size

    files = outputs(output, count, seed, [generator, densities, latents])
    model = store.load(generator)
    grid.verify_room(output, grid.extent(-(-count // columns), min(count, columns), shown_size(model)))
    if density == "prior" or (not density and not densities.exists()):
        chosen, faces, inputs = "prior", prior(model, count, seed, truncation), {"generator": generator}
    else:
        chosen, faces = draw(count, density, seed, truncation, generator, densities)
        inputs = {"generator": generator, "density": densities}
    if isinstance(model, Conditional):
        store.verify(latents, generator)
        faces, inputs = conditioned(faces, conditions(latents), seed), inputs | {"latents": latents}
    pictures: list[np.ndarray] = []
    with progress("sample", count, unit="faces") if count > 1 else nullcontext(lambda: None) as advance:
        for face, path in zip(faces.split(1), files[2:], strict=True):  # one by one: its bytes depend on no other
            pictures += decoded(model, face)
            grid.save_picture(path, grid.sheet([pictures[-1:]]))
            advance()
    save_codes(files[1], faces, chosen, seed, truncation, inputs)
    grid.save_picture(output, grid.sheet(grid.wrap(pictures, columns), scale=enlarge(model)))
    told = {"codes": str(files[1]), "faces": count, "density": chosen, "seed": seed}
    return {"output": [str(path) for path in (output, *files[2:])], **told}


def outputs(output: Path, count: int, seed: int, inputs: Sequence[Path]) -> list[Path]:
    """All that `sample` writes: the sheet, the codes as samples.h5, each face by its seed, as samples-seed0003.png.

    Raises:
        UsageError: an ending that is no picture's, a file that is an input, or seeds beyond the last.
        FgError: a file is there that fg did not write.
    """
    from fgcli.artifacts.outputs import verify_outputs
    from fgcli.reports.grid import picture_format

    picture_format(output)
    if seed + count > SEEDS:
        raise UsageError(f"--seed {seed}: expected {count} seeds below {SEEDS} from it on, found fewer; lower it")
    faces = [output.with_stem(f"{output.stem}-seed{number:04d}") for number in range(seed, seed + count)]
    written = [output, output.with_suffix(".h5"), *faces]
    flags = {f"file {i} of -o" if i else "-o": path for i, path in enumerate(written)}
    kinds = dict(zip(flags, ["", "samples", *[""] * count], strict=True))
    verify_outputs(inputs, flags, kinds)
    return written


def draw(count: int, density: str, seed: int, truncation: float, generator: Path, densities: Path) -> tuple[str, Codes]:
    """The label of the density that was asked for, and codes from it.

    Raises:
        UsageError: there is none of that label, or it is to be truncated.
        FgError: the densities are another generator's.
    """
    from fgcli.densities import load
    from fgcli.generators import store

    if truncation != 1:
        raise UsageError(f"--truncation: expected 1 for a density, found {truncation:g}; add --density prior")
    store.verify(densities, generator)
    known = load(densities)
    chosen = pick(known.methods, density, densities)
    return chosen, known.sample(chosen, count, seed)


def save_codes(
    path: Path, faces: Codes, density: str, seed: int, truncation: float, inputs: Mapping[str, Path]
) -> None:
    """Drawn codes with their seeds and conditions, as the commands take them for --latents."""
    import numpy as np

    from fgcli import artifacts
    from fgcli.codes import kept

    arrays = {"codes": faces.numpy(), "seed": np.arange(seed, seed + len(faces), dtype=np.uint64)}
    arrays |= kept(faces.condition)
    how = {"density": density, "truncation": truncation}
    meta = {"space": faces.space, "generator": artifacts.sha256(inputs["generator"]), **how}
    artifacts.save(path, artifacts.SAMPLES, arrays, params={**how, "seed": seed}, inputs=inputs, meta=meta)
