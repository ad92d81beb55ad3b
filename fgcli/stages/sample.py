"""Generator and density -> new faces: a sheet, a picture of each, and their codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgcli.config import pick
from fgcli.config.fields import SEEDS
from fgcli.console import progress
from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.capabilities import Generator
    from fgcli.codes import Codes
    from fgcli.heads.parameters import Parameters

RANDOM = "random"
"""As a density: the protocol by which a generator that heads steer is shown."""


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
    conditions: Path,
) -> dict[str, Any]:
    """One sheet of new faces, each in a file of its own named by the seed that draws it alone, and their codes.

    Of sentences the texts, too: they are told, and stand beside the codes.
    """
    from fgcli import codes
    from fgcli.capabilities import Writes
    from fgcli.generators import store
    from fgcli.reports import grid
    from fgcli.reports.pictures import decoded, enlarge, shown_size

    files = outputs(output, count, seed, [generator, densities, latents, conditions])
    model = store.load(generator)
    grid.verify_room(output, grid.extent(-(-count // columns), min(count, columns), shown_size(model)))
    chosen, faces, heads, inputs = drawn(
        model, count, density, seed, truncation, generator, densities, latents, conditions
    )
    pictures: list[np.ndarray] = []
    with progress("sample", count, unit="faces") if count > 1 else nullcontext(lambda: None) as advance:
        for face, path in zip(faces.split(1), files[2:], strict=True):  # one by one: its bytes depend on no other
            pictures += decoded(model, face)
            grid.save_picture(path, grid.sheet([pictures[-1:]]))
            advance()
    texts = codes.written(model, faces) if isinstance(model, Writes) else None
    save_codes(files[1], faces, heads, chosen, seed, truncation, inputs, texts)
    grid.save_picture(output, grid.sheet(grid.wrap(pictures, columns), scale=enlarge(model)))
    told: dict[str, Any] = {"codes": str(files[1]), "faces": count, "density": chosen, "seed": seed}
    if texts is not None:
        told = {"codes": str(files[1]), "sentences": texts, "density": chosen, "seed": seed}
    return {"output": [str(path) for path in (output, *files[2:])], **told}


def drawn(
    model: Generator,
    count: int,
    density: str,
    seed: int,
    truncation: float,
    generator: Path,
    densities: Path,
    latents: Path,
    conditions: Path,
) -> tuple[str, Codes, Parameters | None, dict[str, Path]]:
    """What was drawn from, `count` codes from `seed` on, their heads where these are drawn too, and the files read.

    Raises:
        UsageError: no such density, or one that is to be truncated.
        FgError: files that do not belong together.
    """
    from fgcli import codes
    from fgcli.capabilities import Conditional
    from fgcli.generators import store

    if density == RANDOM:
        faces, heads = protocol(count, seed, truncation, generator, latents, conditions)
        return density, faces, heads, {"generator": generator, "latents": latents, "conditions": conditions}
    inputs = {"generator": generator}
    if density == "prior" or (not density and not densities.exists()):
        chosen, faces = "prior", codes.prior(model, count, seed, truncation)
    else:
        chosen, faces = draw(count, density, seed, truncation, generator, densities)
        inputs |= {"density": densities}
    if isinstance(model, Conditional):
        store.verify(latents, generator)
        faces, inputs = codes.conditioned(faces, codes.conditions(latents), seed), inputs | {"latents": latents}
    return chosen, faces, None, inputs


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


def protocol(
    count: int, seed: int, truncation: float, generator: Path, latents: Path, conditions: Path
) -> tuple[Codes, Parameters]:
    """Codes and heads of the random protocol (Ghosh's thesis, Figure 5.5), light and style each of a training row.

    Raises:
        UsageError: a generator that nothing steers, or it is to be truncated.
        FgError: files that do not belong together, or no row that trained.
    """
    import numpy as np
    import torch

    from fgcli import artifacts
    from fgcli import codes as paths
    from fgcli.heads.parameters import Parameters
    from fgcli.heads.steering import DRAWN, MODES, place, random_heads
    from fgcli.steered import Files, Studio

    if truncation != 1:
        raise UsageError(f"--truncation: expected 1 for --density {RANDOM}, found {truncation:g}; leave it")
    studio = Studio(Files(generator, latents, conditions), "only", f"--density {RANDOM}")
    known = artifacts.load(conditions, artifacts.CONDITIONS, ("parameters", "status"))
    split = artifacts.load(latents, artifacts.LATENTS, ("split",))["split"]
    rows = np.flatnonzero((split == 0) & (known["status"] == "ok"))
    if not len(rows):
        raise FgError(f"{conditions}: expected training rows whose status is ok, found none; make it again")
    framing = artifacts.load(generator, artifacts.GENERATOR, ()).meta["training"]["preprocess"]["framing"]

    def block(k: int) -> torch.Tensor:
        rng = np.random.default_rng((k, 2))  # neither that of codes nor that of conditions
        modes, shares = rng.standard_normal((paths.BLOCK, MODES)), rng.random((paths.BLOCK, DRAWN - MODES))
        return torch.from_numpy(np.concatenate([modes, shares], 1))

    drawn = paths.numbered(count, seed, block)
    lights = Parameters.from_vector(torch.from_numpy(known["parameters"][rows]), "gif").light
    with torch.no_grad():
        heads = random_heads(studio.head, drawn, lights, framing)
        faces = styles(studio.model, rows[place(drawn[:, -1], len(rows)).numpy()], latents)
        told = [studio.condition(heads.rows([i])) for i in range(count)]  # one by one: its bytes depend on no other
    return replace(faces, condition=torch.cat(told)), heads


def styles(model: Generator, rows: np.ndarray, latents: Path) -> Codes:
    """Codes (n, l, d) of training rows: of the styles that they were trained with, or as they were inverted."""
    import torch

    from fgcli.capabilities import Styled
    from fgcli.codes import coded, reader

    if isinstance(model, Styled) and model.rows:
        return coded(model, torch.cat([model.map(model.styles_of(torch.tensor([row]))) for row in rows]))
    return reader(latents)(rows)


def save_codes(
    path: Path,
    faces: Codes,
    heads: Parameters | None,
    density: str,
    seed: int,
    truncation: float,
    inputs: Mapping[str, Path],
    texts: Sequence[str | None] | None = None,
) -> None:
    """Drawn codes with their seeds, conditions, heads and texts, as the commands take them for --latents."""
    import numpy as np

    from fgcli import artifacts
    from fgcli.codes import kept

    arrays = {"codes": faces.numpy(), "seed": np.arange(seed, seed + len(faces), dtype=np.uint64)}
    arrays |= kept(faces.condition) | ({} if heads is None else {"parameters": heads.to_vector("gif").numpy()})
    if texts is not None:
        arrays["text"] = np.array([text or "" for text in texts], object)
    how = {"density": density, "truncation": truncation}
    meta = {"space": faces.space, "generator": artifacts.sha256(inputs["generator"]), **how}
    artifacts.save(path, artifacts.SAMPLES, arrays, params={**how, "seed": seed}, inputs=inputs, meta=meta)
