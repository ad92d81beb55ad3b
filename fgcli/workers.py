"""Work over the processes of this machine, or over a dask cluster; results come as they are done.

Each worker builds its tools once. Few tasks are under way at a time, so that memory stays flat however slow the reader
is: joblib's `Parallel` would go on working and keep what nobody has read yet, so it is joblib's pool that is used here.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, chdir, contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

import fgcli
from fgcli.errors import FgError, Interrupted, UsageError

Tools = TypeVar("Tools")
Item = TypeVar("Item")
T = TypeVar("T")
Work = Callable[[Callable[[Any, Item], T], Sequence[Item]], Iterator[T]]
"""(job, todo) -> what the job returns for every item, in the order of completion."""
ANSWER_S = 20
"""Time for a cluster to answer: scripts start the scheduler and the command one right after the other."""
WORKER_S = 60
"""Time for a cluster to have a worker: Slurm's start one by one, and dask starts another for one that was killed."""


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
    cluster: str = "",
) -> Iterator[T]:
    """What `job` returns for every item, in the order of completion.

    Args:
        job: a function of a module, (tools, item) -> result.
        todo: the items; they travel to the workers.
        build: makes the tools of one worker; it travels, too.
        processes: how many; with one the work is done here.
        who: the section of params whose `processes` a person would lower.
        own: the tools of this process, if it has built them.
        cluster: dask:ADDRESS of workers to take instead of processes; "" for none.

    Raises:
        UsageError: `cluster` is no such address.
        FgError: a process died; or the cluster does not answer, has no worker, another fgcli, or lost some too often.
    """
    if not todo:
        return
    if not cluster and (processes == 1 or len(todo) == 1):
        tools = build() if own is None else own
        yield from (job(tools, item) for item in todo)
        return
    with team(build, min(processes, len(todo)), who, cluster) as work:
        yield from work(job, todo)


@contextmanager
def team(build: Callable[[], Any], processes: int, who: str, cluster: str = "") -> Iterator[Work]:
    """Workers that stay, for several calls; see `each`."""
    # Not named by `build`: what is in the files that it reads may be other the next time.
    order = Order(uuid.uuid4().hex, build, os.getcwd(), fgcli.__version__)
    with _dask(cluster) if cluster else _processes(processes, who) as (pool, workers):
        yield partial(_each, pool, workers, order)


Pool = AbstractContextManager[tuple[Executor, Callable[[], int]]]
"""What takes tasks, and how many workers there are now."""


class Order(NamedTuple):
    """What a worker has to know beside job and item."""

    key: str
    """Of its tools."""
    build: Callable[[], Any]
    folder: str
    """Where the command runs: relative paths mean the same everywhere."""
    version: str
    """Of fgcli."""


def _each(
    pool: Executor, workers: Callable[[], int], order: Order, job: Callable[[Any, Item], T], todo: Sequence[Item]
) -> Iterator[T]:
    waiting: set[Future[T]] = set()
    try:
        for item in todo:
            waiting.add(pool.submit(_in_worker, order, job, item))
            if len(waiting) >= 2 * workers():
                done, waiting = _some(waiting, workers)
                yield from (future.result() for future in done)
        while waiting:
            done, waiting = _some(waiting, workers)
            yield from (future.result() for future in done)
    finally:
        for future in waiting:
            future.cancel()


def _some(waiting: set[Future[T]], workers: Callable[[], int]) -> tuple[set[Future[T]], set[Future[T]]]:
    """Those that are done, of some that are waited for, and the others."""
    done, others = wait(waiting, WORKER_S, FIRST_COMPLETED)
    if not done and not workers():
        raise FgError(f"--cluster: expected workers, found none for {WORKER_S} s; start some, and the command again")
    return done, others


# ---- where the work is done


@contextmanager
def _processes(number: int, who: str) -> Iterator[tuple[Executor, Callable[[], int]]]:
    """Processes of this machine: they share its cores, so that each computes with one thread where none are named."""
    from joblib.externals.loky import ProcessPoolExecutor

    environment = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    pool = ProcessPoolExecutor(number, initializer=_start_process, initargs=(os.getpid(),), env=environment)
    try:
        yield pool, lambda: number
    except BrokenProcessPool as error:
        raise FgError(
            f"{who}: expected its processes to live, found one killed (out of memory?); set its processes to 1"
        ) from error
    except (Interrupted, KeyboardInterrupt):
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True)


@contextmanager
def _dask(cluster: str) -> Iterator[tuple[Executor, Callable[[], int]]]:
    """The workers of a dask cluster; work that one was killed over another does again."""
    kind, _, address = cluster.partition(":")
    if kind != "dask" or not address:
        raise UsageError(f"--cluster {cluster}: expected dask:ADDRESS; write dask:tcp://HOST:8786")
    try:
        from distributed import Client, KilledWorker
        from distributed.comm import resolve_address
    except ImportError as error:
        raise FgError(
            f"--cluster {cluster}: expected dask, found none; run: pip install 'fgcli[cluster]', here and there"
        ) from error
    try:
        resolve_address(address)  # or a client that was made in vain is ten seconds dying
        client = Client(address, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise FgError(
            f"--cluster {cluster}: expected a dask scheduler, found none that answers within {ANSWER_S} s; start it, "
            "or write the address that it prints"
        ) from error
    with client:
        _verify_cluster(client, cluster)
        pool = client.get_executor(pure=False)
        try:
            yield pool, lambda: len(client.nthreads())
        except KilledWorker as error:
            raise FgError(
                f"--cluster {cluster}: expected its workers to live, found some killed again and again over the same "
                "work (out of memory?); give them more memory"
            ) from error
        except CancelledError as error:
            raise FgError(
                f"--cluster {cluster}: expected a dask scheduler, found it gone; start it, and the command again"
            ) from error
        finally:
            pool.shutdown(wait=False)


def _verify_cluster(client: Any, cluster: str) -> None:
    """Raises FgError unless there are workers, and all have this fgcli."""
    try:
        client.wait_for_workers(1, timeout=WORKER_S)
    except TimeoutError as error:
        raise FgError(
            f"--cluster {cluster}: expected workers, found none within {WORKER_S} s; run dask worker {cluster[5:]}"
        ) from error
    for worker, found in client.run(_version, on_error="return").items():
        _verify_version(found if isinstance(found, str) else "none", fgcli.__version__, worker)


def _version() -> str:
    return fgcli.__version__


def _verify_version(found: str, wanted: str, worker: str) -> None:
    if found != wanted:
        raise FgError(
            f"--cluster: expected fgcli {wanted} on worker {worker}, found {found}; install the same there, and start "
            "it again"
        )


# ---- in a worker

_one_at_a_time = threading.Lock()
"""Tools serve one job at a time, whatever the threads of a dask worker."""
_tools: dict[str, Any] = {}
"""What this process works with, by its key: one thing, since tools are large."""
_stopped = threading.Event()


def _in_worker(order: Order, job: Callable[[Any, Item], T], item: Item) -> T:
    _verify_version(fgcli.__version__, order.version, socket.gethostname())
    if not os.path.isdir(order.folder):
        raise FgError(
            f"--cluster: expected the folder {order.folder} on {socket.gethostname()}, found none; all files must be "
            "seen under the same path everywhere"
        )
    with _one_at_a_time, chdir(order.folder):
        if _stopped.is_set():
            raise Interrupted(signal.SIGTERM)
        if order.key not in _tools:
            _tools.clear()
            _tools[order.key] = order.build()
        return job(_tools[order.key], item)


def _start_process(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()


def _stop(number: int, frame: object) -> None:
    """Ends the job; the process lives on, since loky kills all the others by -9 when one is gone."""
    _stopped.set()
    if _one_at_a_time.locked():
        raise Interrupted(number)


def _die_with(parent: int) -> None:
    """Ends this process when its parent is gone, even killed by -9: no worker is left waiting for ever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
