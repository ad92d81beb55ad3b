"""How much faster two dask workers are than one, on work that is bound by computing: rendering procedural heads.

    pip install "fgcli[cluster]"; python benchmarks/cluster.py

A scheduler and worker processes of one thread each on this machine; tools are built before the clock starts. Wall time
is the shortest of the repeats. CPU time is that of the worker with most of it: what the workers need when each has a
core of its own, on a machine that others use, too; it tells how evenly the work is spread and what spreading adds to
it, but not how long workers wait for each other.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

from distributed import Client, LocalCluster

from fgcli import config
from fgcli.datasets.procedural_heads import Chunk, render, scenes
from fgcli.workers import team

SHOWN = ("size", "seed", "head", "per_person", "framing", "shape_modes", "backgrounds")


def measured(number: int, todo: list[Chunk], size: int) -> tuple[float, float]:
    """Wall and CPU seconds of `number` workers."""
    settings = {name: config.defaults()["heads"][name] for name in SHOWN} | {"size": size, "backgrounds": ""}
    build = partial(scenes, settings)
    options = {"n_workers": number, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with LocalCluster(**options) as cluster, Client(cluster, set_as_default=False) as client:
        address = f"dask:{cluster.scheduler_address}"
        with team(build, number, "benchmark", address) as work:
            list(work(render, [Chunk(i, 1, Path()) for i in range(4 * number)]))
            before, start = client.run(time.process_time), time.perf_counter()
            list(work(render, todo))
            wall, after = time.perf_counter() - start, client.run(time.process_time)
    return wall, max(after[worker] - before[worker] for worker in after)


def main() -> None:
    """Prints a line for each number of workers, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=24)
    parser.add_argument("--pictures", type=int, default=16, help="of a part")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    todo = [Chunk(i * given.pictures, given.pictures, Path()) for i in range(given.parts)]
    trials: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for _ in range(given.repeats):
        for number, found in trials.items():
            found.append(measured(number, todo, given.size))
    best = {number: [min(column) for column in zip(*found, strict=True)] for number, found in trials.items()}
    for number, (wall, cpu) in best.items():
        print(f"{number} workers: {wall:.2f} s, CPU of the busiest {cpu:.2f} s")
    print(f"2 against 1: {best[1][0] / best[2][0]:.2f} times by wall time, {best[1][1] / best[2][1]:.2f} by CPU time")


if __name__ == "__main__":
    main()
