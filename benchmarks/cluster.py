"""How much faster two dask workers are than one, on a command that is bound by computing: procedural heads, rendered.

    pip install "fgcli[cluster]"; python benchmarks/cluster.py

`fg data make procedural_heads` runs whole, with a scheduler and workers of one thread each on this machine that have
started and imported fg before, as those of a cluster that stands. Wall time of the whole command counts all: its own
tools, those that each worker builds, sending, writing of parts, the last part for which one worker waits, and what the
command does alone before and after. Wall time of the parts leaves out the last. Each is the shortest of the repeats.

CPU time tells what keeps the ratio from two. Of all workers: more by two than by one is what they take from each other
(caches, cores that are half a core). Of the busiest: how evenly parts are spread. Of command and scheduler, which share
a process here: on two cores they take it from the workers. On a machine that others use, too, only CPU times mean much:
see the load that is printed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from distributed import Client, LocalCluster

from fgcli import config
from fgcli.artifacts import parts
from fgcli.stages import heads

WORK = "fgcli.datasets.procedural_heads"


class Times(NamedTuple):
    """Seconds of one run."""

    whole: float
    parts: float
    workers: float
    busiest: float
    command: float


def measured(number: int, pictures: int, size: int) -> Times:
    """Times of `number` workers."""
    params = config.overlay(config.defaults(), {"heads": {"n": pictures, "size": size, "processes": 1}})
    given = config.section(params, "heads", heads.Params)
    options = {"n_workers": number, "threads_per_worker": 1, "dashboard_address": ":0", "host": "127.0.0.1"}
    took: list[float] = []

    def timed(*arguments: Any) -> None:
        start = time.perf_counter()
        make(*arguments)
        took.append(time.perf_counter() - start)

    make = parts.make
    with LocalCluster(**options) as cluster, Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(number)
        client.run(importlib.import_module, WORK)
        with tempfile.TemporaryDirectory() as folder, patch("fgcli.artifacts.parts.make", timed):
            files = [Path(folder, name) for name in ("faces.h5", "flame.h5", "faces.png")]
            before, own, start = client.run(time.process_time), time.process_time(), time.perf_counter()
            heads.run(*files, params=given, cluster=f"dask:{cluster.scheduler_address}")
            whole, command = time.perf_counter() - start, time.process_time() - own
            after = client.run(time.process_time)
    spent = [after[worker] - before[worker] for worker in after]
    return Times(whole, took[0], sum(spent), max(spent), command)


def main() -> None:
    """Prints a line for each number of workers, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=8000, help="64 are a part")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    trials: dict[int, list[Times]] = {1: [], 2: []}
    for _ in range(given.repeats):
        for number, found in trials.items():
            found.append(measured(number, given.pictures, given.size))
    best = {number: Times(*map(min, zip(*found, strict=True))) for number, found in trials.items()}
    for number, found in best.items():
        print(f"{number} workers: whole {found.whole:.1f} s, its parts {found.parts:.1f} s; CPU of", end=" ")
        print(f"workers {found.workers:.1f} s, busiest {found.busiest:.1f} s, command {found.command:.1f} s")
    ratios = {name: getattr(best[1], name) / getattr(best[2], name) for name in ("whole", "parts", "busiest")}
    print("2 against 1: " + ", ".join(f"{name} {ratio:.2f} times" for name, ratio in ratios.items()))


if __name__ == "__main__":
    main()
