"""Work over processes: each builds its tools once, dies with its parent, and a killed one is told of."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from typing import Any, TypeVar

from fgcli.errors import FgError, Interrupted

Tools = TypeVar("Tools")
Item = TypeVar("Item")
T = TypeVar("T")


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(
    job: Callable[[Tools, Item], T],
    todo: Sequence[Item],
    build: Callable[[], Tools],
    processes: int,
    who: str,
    own: Tools | None = None,
) -> Iterator[T]:
    """What `job` returns for every item, in the order of completion.

    Args:
        job: a function of a module, (tools, item) -> result.
        todo: the items; they travel to the processes.
        build: makes the tools of one process; it travels, too.
        processes: how many; with one the work is done here.
        who: the section of params whose `processes` a person would lower.
        own: the tools of this process, if it has built them.

    Raises:
        FgError: a process died.
    """
    if processes == 1 or len(todo) < 2:
        tools = build() if own is None else own
        yield from (job(tools, item) for item in todo)
        return
    with _pool(build, min(processes, len(todo))) as pool:
        waiting: set[Future[T]] = set()
        try:
            for item in todo:
                waiting.add(pool.submit(_in_worker, job, item))
                if len(waiting) >= 2 * processes:  # a short queue keeps memory flat
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BrokenProcessPool as error:
            raise FgError(
                f"{who}: expected its processes to live, found one killed (out of memory?); set its processes to 1"
            ) from error


_tools: list[Any] = []
"""What this worker process works with."""


@contextmanager
def _pool(build: Callable[[], Any], processes: int) -> Iterator[ProcessPoolExecutor]:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes inherit it: they share the cores already
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, spawn, _start_worker, (build,))
    try:
        yield pool
    except Interrupted as error:
        if error.signal == signal.SIGTERM:  # Ctrl-C comes to all processes of a terminal, SIGTERM to this one alone
            for child in multiprocessing.active_children():
                child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(build: Callable[[], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=die_with_parent, daemon=True).start()
    _tools.append(build())


def die_with_parent() -> None:
    """Ends this process when its parent is gone, even killed by -9: no worker is left waiting for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _in_worker(job: Callable[[Any, Item], T], item: Item) -> T:
    return job(_tools[0], item)
