"""Work over processes and over a dask cluster: the same bytes, also where a worker is killed; what is wrong is told."""

import os
import signal
import socket
import threading
import time
from functools import partial, wraps

import numpy as np
import pytest
from conftest import train_params
from typer.testing import CliRunner

from fgcli import config, workers
from fgcli.artifacts.parts import Part, load_part, make
from fgcli.cli import app
from fgcli.errors import FgError, UsageError
from fgcli.stages import invert, train

SLOW_S = 0.1


@pytest.fixture(scope="module")
def cluster():
    """A dask scheduler and two worker processes, which their nannies start again."""
    distributed = pytest.importorskip("distributed", reason="dask is not installed: pip install 'fgcli[cluster]'")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(host="127.0.0.1", silence_logs=100, **options) as made:
        yield made


def address(cluster):
    return f"dask:{cluster.scheduler_address}"


def test_codes_have_equal_bytes_however_they_were_found(cluster, faces, tmp_path):
    generator = tmp_path / "generator.h5"
    train.run(faces, generator, tmp_path / "train", params=train_params(steps=2))

    def found(name, processes, where=""):
        inverter = {"name": "optimize", "steps": 3, "distance": "pixels", "starts": 4}
        settings = {"inverter": inverter, "batch": 10, "device": "cpu", "threads": 1, "processes": processes}
        params = config.section(config.overlay(config.defaults(), {"invert": settings}), "invert", invert.Params)
        invert.run(faces, generator, tmp_path / name, conditions=None, params=params, cluster=where)
        return (tmp_path / name).read_bytes()

    alone = found("alone.h5", 1)
    assert found("two.h5", 2) == alone
    assert found("dask.h5", 1, address(cluster)) == alone


def squares(power, item):
    time.sleep(SLOW_S)
    return {"value": np.array([item**power]), "worker": np.array(os.getpid())}


def test_a_worker_killed_by_9_loses_nothing(cluster, tmp_path):
    """One of the two, when some parts are there and others under way."""
    todo = [Part(tmp_path / f"{i:02d}.npz", 1, i) for i in range(40)]

    def kill():
        while len(list(tmp_path.glob("*.npz"))) < 6:
            time.sleep(0.01)
        os.kill(cluster.workers[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    make(squares, todo, partial(int, 2), 1, "test", "rows", cluster=address(cluster))
    killer.join()
    parts = [load_part(part.file) for part in todo]
    assert [int(part["value"][0]) for part in parts] == [i**2 for i in range(40)]
    assert len({int(part["worker"]) for part in parts}) >= 2


def built(path):
    path.write_text(path.read_text() + "built\n" if path.exists() else "built\n")
    return path


def lines(path, item):
    return path.read_text().count("built")


def test_tools_are_built_once_in_each_worker_and_paths_are_those_of_the_command(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = type(tmp_path)("log.txt")
    list(workers.each(lines, range(20), partial(built, path), 1, "test", cluster=address(cluster)))
    assert (tmp_path / "log.txt").read_text().count("built") <= 2


def test_an_error_in_a_worker_is_the_commands(cluster):
    with pytest.raises(FgError, match=r"^a sentence$"):
        list(workers.each(fails, [1, 2], int, 1, "test", cluster=address(cluster)))


def fails(tools, item):
    raise FgError("a sentence")


def test_workers_of_another_version_are_told(cluster, monkeypatch):
    monkeypatch.setattr("fgcli.__version__", "99")
    with pytest.raises(FgError, match=r"^--cluster: expected fgcli 99 on worker tcp://\S+, found \S+; install"):
        list(workers.each(pow, [1, 2], int, 1, "test", cluster=address(cluster)))


def test_a_cluster_that_is_not_there_is_told_within_seconds(monkeypatch):
    pytest.importorskip("distributed", reason="dask is not installed: pip install 'fgcli[cluster]'")
    monkeypatch.setattr(workers, "ANSWER_S", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    for where in (f"tcp://127.0.0.1:{port}", "foo://x"):
        with pytest.raises(FgError, match=r"a dask scheduler, found none that answers within 1 s; start it, or"):
            list(workers.each(pow, [1, 2], int, 1, "test", cluster=f"dask:{where}"))
    assert time.monotonic() - start < 20
    with pytest.raises(UsageError, match=r"^--cluster ray:1: expected dask:ADDRESS; write dask:tcp://HOST:8786$"):
        list(workers.each(pow, [1, 2], int, 1, "test", cluster="ray:1"))


def test_memory_stays_flat_before_a_slow_reader():
    taken = []

    class Todo(list):
        def __iter__(self):
            for item in super().__iter__():
                taken.append(item)
                yield item

    work = workers.each(pow, Todo(range(1, 50)), partial(int, 2), 2, "test")
    next(work)
    time.sleep(0.5)
    assert len(taken) <= 4  # two for each process
    work.close()


def test_the_cluster_is_an_option_of_stages_that_can_use_it_and_a_variable(monkeypatch):
    told = {
        name: CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "160"}).stdout for name in ("invert", "train")
    }
    assert "--cluster" in told["invert"]
    assert "FG_CLUSTER" in told["invert"]
    assert "--cluster" not in told["train"]
    done = CliRunner().invoke(app, ["invert", "--dry-run", "--json"], env={"FG_CLUSTER": "dask:x"})
    assert (done.exit_code, "cluster" in done.stdout) == (0, False)  # it is no param
    given = []
    monkeypatch.setattr(invert, "run", wraps(invert.run)(lambda *_, cluster, **__: given.append(cluster) or {}))
    monkeypatch.setattr("fgcli.artifacts.outputs.verify_outputs", lambda *_: None)
    CliRunner().invoke(app, ["invert"], env={"FG_CLUSTER": "dask:x"}, catch_exceptions=False)
    assert given == ["dask:x"]
