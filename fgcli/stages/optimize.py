"""Codes, a score -> optimum.h5: the codes that score best, by Bayesian optimisation; resumes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fgcli.config import Section, Spec
from fgcli.config.fields import MOST, Device, Seed
from fgcli.console import Advance, progress
from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.capabilities import Generator, Space
    from fgcli.codes import Codes
    from fgcli.reports.optimum import Draw
    from fgcli.search import Region, Score
    from fgcli.search.trial import Trial


class Params(Section):
    """Params of `fg optimize`."""

    score: Spec
    """Name in SCORES, then its arguments."""
    goal: Literal["maximise", "minimise"]
    """Whether much or little of it is wanted."""
    region: Spec
    """Name in REGIONS, then its arguments."""
    method: str
    """Label of density.h5 that draws codes and tells which are likely; "" for the last."""
    rows: list[Annotated[int, Field(ge=0, lt=MOST)]] | None
    """Rows of latents.h5 that a search near a code starts from; null: of the test split, `starts` evenly spread."""
    starts: Annotated[int, Field(ge=1)]
    """How many, where rows names none."""
    trials: Annotated[int, Field(ge=1)]
    """Searches, of each row where they start from some."""
    rounds: Annotated[int, Field(ge=1, lt=10_000)]
    """Times that the score is asked."""
    batch: Annotated[int, Field(ge=1)]
    """Candidates of a round."""
    initial: Annotated[int, Field(ge=10)]
    """Candidates that are known before: codes that trained, or draws near the start."""
    fitted: Annotated[int, Field(ge=10)]
    """Candidates that the surrogate learns from at most: a third the best, the others drawn."""
    pool: Annotated[int, Field(ge=10)]
    """Codes that a round chooses from."""
    generations: Annotated[int, Field(ge=0)]
    """Times that the most promising of these have children; 0: they are draws of the region."""
    invalid: float | None
    """What a candidate without a value counts as; null: the worst value so far."""
    device: Device
    seed: Seed
    """Seed of all draws."""


def run(
    generator: Path = Path("out/generator.h5"),
    latents: Path = Path("out/latents.h5"),
    density: Path | None = Path("out/density.h5"),
    judges: Path | None = Path("out/judges.h5"),
    output: Path = Path("out/optimum.h5"),
    sheet: Path = Path("out/optimum.png"),
    metrics: Path = Path("out/optimum.json"),
    *,
    params: Params,
    resume: bool = True,
) -> dict[str, Any]:
    """Searches, and keeps every candidate with its code, what it is decoded to, its value and what was believed of it.

    Raises:
        UsageError: no such score, region, function or row.
        FgError: files that do not belong together, a score without a number for a candidate, none that is valid.
    """
    from fgcli import artifacts
    from fgcli.artifacts.parts import begin, work_folder
    from fgcli.generators import store
    from fgcli.reports import optimum
    from fgcli.search.candidates import PARENTS
    from fgcli.training.devices import cpu_or_cuda

    if params.batch > params.pool // PARENTS:
        most = params.pool // PARENTS
        raise UsageError(f"optimize.batch: expected at most {most}, a part of the pool, found {params.batch}; lower it")
    inputs = {"generator": generator, "latents": latents} | sources(params, density, judges)
    for name in ("latents", "density"):
        if name in inputs:
            store.verify(inputs[name], generator)
    model = store.load(generator, cpu_or_cuda(params.device))
    with scoring(params, inputs.get("judges")) as score:
        trials = planned(params, model, score, latents, inputs.get("density"))
        hashes = {name: artifacts.sha256(path) for name, path in inputs.items()}
        folder = begin(output, [params.model_dump(exclude={"device"}), hashes], resume)
        with progress("optimize", len(trials) * (params.rounds + 1), unit="rounds") as advance:
            done = [rounds(trial, folder, advance) for trial in trials]
    arrays = kept(done, score.names)
    about = [told(trial, arrays, done[trial.number]) for trial in trials]
    space = trials[0].codes.space
    meta = {"space": space, "generator": hashes["generator"], "trials": about}
    artifacts.save(output, artifacts.OPTIMUM, arrays, params=params.model_dump(), inputs=inputs, meta=meta)
    optimum.write(sheet, arrays, about, params.model_dump(), drawing(model, arrays, space))
    artifacts.write_json(metrics, overall(arrays, about, sign(params)))
    shutil.rmtree(work_folder(output))
    results = {f"trial {i}": outcome(entry, arrays) for i, entry in enumerate(about)}
    return {
        "output": str(output),
        "sheet": str(sheet),
        "metrics": str(metrics),
        "candidates": len(arrays["codes"]),
        **results,
    }


def sources(params: Params, density: Path | None, judges: Path | None) -> dict[str, Path]:
    """Those of density.h5 and judges.h5 that the region and the score want.

    Raises:
        UsageError: no such region or score. FgError: one is wanted, and there is none.
    """
    import inspect

    from fgcli.config import lookup
    from fgcli.search import REGIONS, SCORES

    found = {}
    for name, path, want, registry, key in (
        ("density", density, "law", REGIONS, "region"),
        ("judges", judges, "embedder", SCORES, "score"),
    ):
        kind = getattr(params, key)["name"]
        if want not in inspect.signature(lookup(registry, kind, f"optimize.{key}.name")).parameters:
            continue
        if path is None:
            raise FgError(f"optimize.{key}: expected {name}.h5 for {kind}, found none; run fg {name}")
        found[name] = path
    return found


@contextmanager
def scoring(params: Params, judges: Path | None) -> Iterator[Score]:
    """The score, while what it works with lives; with `judges` if it wants some."""
    from fgcli.certificate import identity_judge
    from fgcli.classifiers import judges as judging
    from fgcli.config import supply
    from fgcli.search import SCORES

    where = "optimize.score"
    if judges is None:
        yield supply(SCORES, params.score, where)
        return
    with identity_judge(judges) or nullcontext() as embedder:
        yield supply(SCORES, params.score, where, judges=judging.load(judges), embedder=embedder)


def planned(params: Params, model: Generator, score: Score, latents: Path, density: Path | None) -> list[Trial]:
    """All trials.

    Raises:
        UsageError: a row that is not there, or none where one is needed.
        FgError: too few training codes, or no density.h5 where one is needed.
    """
    import numpy as np

    from fgcli import artifacts
    from fgcli.codes import plain, reader
    from fgcli.search.trial import Plan, Trial

    read, split = reader(latents), artifacts.load(latents, artifacts.LATENTS, ("split",))["split"]
    trained, rows = np.flatnonzero(split == 0), starts(params, split, score, model, latents)
    if rows[0] is None and len(trained) < params.initial:
        found = f"expected {params.initial} training codes, found {len(trained)}"
        raise FgError(f"{latents}: {found}; lower optimize.initial")
    numbers = {name: value for name, value in params.model_dump().items() if name in Plan.__dataclass_fields__}
    plan, codes, law = Plan(sign=sign(params), **numbers), plain(latents)(trained), likely(params, density, latents)
    trials: list[Trial] = []
    for row in rows:
        start = None if row is None else read([row])
        region = area(params, codes, law, start)
        trials.append(Trial(len(trials), row, plan, model, score, region, codes, start))
    return trials


def starts(params: Params, split: np.ndarray, score: Score, model: Generator, latents: Path) -> list[int | None]:
    """The row that each trial starts from; None where its region lies around none.

    Raises:
        UsageError: a row that is not there, or none where the score or the generator needs one.
        FgError: no row of the test split.
    """
    import numpy as np

    from fgcli.capabilities import Conditional
    from fgcli.config import lookup
    from fgcli.reports.grid import spread
    from fgcli.search import REGIONS

    name = params.region["name"]
    if not lookup(REGIONS, name, "optimize.region.name").starts:
        if score.starts or isinstance(model, Conditional):
            needs = "a score that compares with a start" if score.starts else "a generator whose conditions a start has"
            raise UsageError(f"optimize.region.name: expected near for {needs}, found {name!r}; write near")
        return [None] * params.trials
    test = np.flatnonzero(split == 2)
    rows = params.rows if params.rows is not None else test[spread(len(test), params.starts)].tolist()
    if not rows:
        raise FgError(f"{latents}: expected rows to start from, found none; name some in optimize.rows")
    if max(rows) >= len(split):
        raise UsageError(f"optimize.rows: expected rows below {len(split)}, found {max(rows)}; choose another row")
    return [row for row in rows for _ in range(params.trials)]


def likely(params: Params, density: Path | None, latents: Path) -> dict[str, Any]:
    """`law` and `edge` of regions, where one wants a density.

    Raises:
        UsageError: density.h5 has no such method.
    """
    from fgcli import densities
    from fgcli.certificate import least
    from fgcli.config import pick

    if density is None:
        return {}
    known = densities.load(density).methods
    law = known[pick(known, params.method, density)]
    return {"law": law, "edge": least(law, latents)}


def area(params: Params, codes: Codes, law: dict[str, Any], start: Codes | None) -> Region:
    """The region of one trial."""
    from fgcli.config import supply
    from fgcli.search import REGIONS

    context = law | {"codes": codes.numpy(), "start": None if start is None else start.numpy()}
    region: Region = supply(REGIONS, params.region, "optimize.region", **context)
    return region


def rounds(trial: Trial, folder: Path, advance: Advance) -> list[dict[str, np.ndarray]]:
    """All rounds of a trial."""
    found = []
    for part in trial.rounds(folder):
        found.append(part)
        advance()
    return found


def kept(done: list[list[dict[str, np.ndarray]]], names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of optimum.h5; `names` are those of the measures."""
    import numpy as np

    parts = [part for trial in done for part in trial]
    single = ("error", "correlation")
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0] if key not in single}
    items, measured = arrays.pop("items"), arrays.pop("measured")
    arrays["value"] = measured[:, 0]
    arrays |= {f"measures/{name}": measured[:, k] for k, name in enumerate(names) if k}
    places = [(i, k, len(part["codes"])) for i, trial in enumerate(done) for k, part in enumerate(trial)]
    arrays["trial"] = np.repeat(*np.array([(i, n) for i, _, n in places], np.int32).T)
    arrays["round"] = np.repeat(*np.array([(k, n) for _, k, n in places], np.int32).T)
    arrays["valid"] = arrays["valid"].astype(np.uint8)
    return arrays | {"text" if items.dtype.kind == "U" else "pictures": items}


def told(trial: Trial, arrays: dict[str, np.ndarray], done: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """A trial as meta of optimum.h5 has it."""
    from fgcli.reports.optimum import best
    from fgcli.search.trial import summary

    tops = [best(arrays, trial.number, k, trial.plan.sign) for k in range(len(done))]
    values = [None if place is None else float(arrays["value"][place]) for place in tops]
    found = [summary(part, value) for part, value in zip(done, values, strict=True)]
    return {"row": trial.row, "best": tops[-1], "rounds": found}


def drawing(model: Generator, arrays: dict[str, np.ndarray], space: Space) -> Draw:
    """Pictures of candidates; of sentences such as the generator draws."""
    import torch

    from fgcli.codes import Codes
    from fgcli.reports.pictures import decoded

    def draw(places: list[int]) -> list[np.ndarray]:
        if "pictures" in arrays:
            return list(arrays["pictures"][places])
        return decoded(model, Codes(torch.from_numpy(arrays["codes"][places]), space).to(model.device))

    return draw


def outcome(entry: dict[str, Any], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """A trial as results tell it: its best candidate, and a line for each round."""
    place = entry["best"]
    about: dict[str, Any] = {"row": entry["row"]} if entry["row"] is not None else {}
    if place is not None:
        about |= {"best": float(arrays["value"][place]), "candidate": place}
        about |= {key.split("/")[1]: float(v[place]) for key, v in arrays.items() if key.startswith("measures/")}
        about |= {"text": str(arrays["text"][place])} if "text" in arrays else {}
    return about | {"rounds": entry["rounds"]}


def overall(arrays: dict[str, np.ndarray], about: list[dict[str, Any]], sign: int) -> dict[str, Any]:
    """Means over trials: of candidates that were searched for, not of those known before.

    Returns:
        valid: share. mean, best: of the valid ones' values. best_known: of those known before. error, correlation: of
        what the surrogate believed of candidates that it had not seen, in the last round. None where there is none.
    """
    import numpy as np

    def trial(number: int, rounds: list[dict[str, Any]]) -> dict[str, Any]:
        own, searched, valid = arrays["trial"] == number, arrays["round"] > 0, arrays["valid"] > 0
        found, known = (arrays["value"][own & part & valid] for part in (searched, ~searched))
        best = [sign * (sign * values).max() if len(values) else None for values in (found, known)]
        last = {name: rounds[-1].get(name) for name in ("error", "correlation")}
        told = {"valid": valid[own & searched].mean(), "mean": found.mean() if len(found) else None}
        return told | {"best": best[0], "best_known": best[1]} | last

    trials = [trial(number, entry["rounds"]) for number, entry in enumerate(about)]
    means = {name: [t[name] for t in trials if t[name] is not None] for name in trials[0]}
    return {"trials": len(trials)} | {
        name: float(np.mean(values)) if values else None for name, values in means.items()
    }


def sign(params: Params) -> int:
    """1 where much is wanted, -1 where little."""
    return 1 if params.goal == "maximise" else -1
