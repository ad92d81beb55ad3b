"""Work over processes and over a dask cluster: the same bytes, also where a worker is killed; what is wrong is told."""

import importlib
import inspect
import os
import signal
import socket
import threading
import time
from contextlib import chdir, nullcontext
from functools import partial, wraps
from pathlib import Path

import pytest
import steered_files
from conftest import HEAD, heads_params
from PIL import Image
from test_evaluate import FACES, PIXELS, measure
from test_evaluate import made as made
from test_pictures import out as out
from typer.testing import CliRunner

from fgcli import config, jobs, workers
from fgcli.cli import COMMANDS, app, discovery
from fgcli.datasets import procedural_heads
from fgcli.datasets.orl import orl
from fgcli.errors import FgError, UsageError
from fgcli.faces import chunks
from fgcli.generators import GENERATORS
from fgcli.stages import conditions, flame, heads, invert, preprocess

BATCH, PARTS = 8, 8
"""Rows that are inverted at a time, and how often."""
PEOPLE = (0, 20, 40)
"""Of whom there is a photo."""


@pytest.fixture(scope="module")
def cluster():
    """A dask scheduler and two worker processes, which their nannies start again."""
    distributed = pytest.importorskip("distributed", reason="dask is not installed: pip install 'fgcli[cluster]'")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(host="127.0.0.1", silence_logs=100, **options) as made:
        yield made


def address(cluster):
    return f"dask:{cluster.scheduler_address}"


@pytest.fixture(scope="module")
def pool():
    """Two processes for all tests: each imports PyTorch once."""
    with workers._processes(2, "test") as made:
        yield made


@pytest.fixture
def tasks(pool, monkeypatch):
    """How many tasks each call has handed to workers; processes are those of the pool."""
    counts, real = [], workers._each

    def counted(pool, count, order, job, todo):
        counts.append(len(todo))
        return real(pool, count, order, job, todo)

    monkeypatch.setattr(workers, "_each", counted)
    monkeypatch.setattr(workers, "_processes", lambda number, who: nullcontext(pool))
    return counts


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos of PEOPLE, and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    for i in PEOPLE:
        Image.open(orl().photos[i].path).save(folder / f"{i}.png")
    (folder / "bad.png").write_text("no photo")
    return folder


# ---- what each command does with its work spread: into the folder where it runs


def params(stage, **changes):
    module = importlib.import_module(f"fgcli.stages.{stage}")
    return config.section(config.overlay(config.defaults(), {stage: changes}), stage, module.Params)


def preprocesses(files, processes, cluster):
    data = [{"name": "image_folder", "path": str(files("photos"))}]
    given = {"datasets": data, "size": 32, "processes": processes, "max_rejected": 0.5}
    preprocess.run(Path("faces.h5"), Path("faces.png"), params=params("preprocess", **given), cluster=cluster)


def renders(files, processes, cluster):
    written = Path("faces.h5"), Path("flame.h5"), Path("faces.png")
    heads.run(*written, params=heads_params(n=6, processes=processes), cluster=cluster)


def fits(files, processes, cluster):
    given = params("flame", head=HEAD, photometric_steps=2, share_shape="identity", smooth=True, processes=processes)
    read = files("rendered")["faces"], Path("none.h5")
    flame.run(*read, Path("flame.h5"), Path("flame.png"), params=given, cluster=cluster)


def conditions_of(files, processes, cluster):
    read = files("rendered")["faces"], files("rendered")["flame"]
    given = params("conditions", processes=processes)
    conditions.run(*read, Path("conditions.h5"), params=given, cluster=cluster)


def inverts(files, processes, cluster, steps=3):
    inverter = {"name": "optimize", "steps": steps, "distance": "pixels", "starts": 4}
    given = params("invert", inverter=inverter, batch=BATCH, device="cpu", threads=1, processes=processes)
    read = files("faces"), files("out") / "generator.h5"
    invert.run(*read, Path("latents.h5"), conditions=None, params=given, cluster=cluster)


def evaluates(files, processes, cluster):
    measure(files("made"), Path(), PIXELS[:1] + FACES, processes=processes, cluster=cluster)


def pictures(command, *options):
    def work(files, processes, cluster):
        read = [f"--{name}={files('out') / name}.h5" for name in ("generator", "latents", "density")]
        read += [f"--editor={files('out') / 'editor.h5'}"] if command == "edit" else []
        fg(command, files("photos"), 3, *options, *read, "-o", "new", processes=processes, cluster=cluster)

    return work


def steers(files, processes, cluster):
    Path("rows.csv").write_text("photo,yaw\n3,0:0.2:2\n7,-0.1\n")
    read = steered_files.flags(files("steered") | {"regressor": files("regressor")})
    fg("steer", "rows.csv", *read, "-o", "new", processes=processes, cluster=cluster)


def fg(*arguments, processes, cluster):
    spread = ["--processes", str(processes), *(["--cluster", cluster] if cluster else [])]
    done = CliRunner().invoke(app, [*map(str, arguments), *spread])
    assert done.exit_code in (0, 1), done.output  # 1: the bad photo


WORK = {
    "preprocess": preprocesses,
    "heads": renders,
    "flame": fits,
    "conditions": conditions_of,
    "invert": inverts,
    "evaluate": evaluates,
    "edit": pictures("edit", "-a", "odd"),
    "reconstruct": pictures("reconstruct"),
    "steer": steers,
}


PROCESSES = ("invert", "reconstruct")
"""Of these two processes work, too: how a stage hands its work on is the same, and new processes take long."""


@pytest.mark.parametrize("name", WORK)
def test_equal_bytes_however_it_ran(name, cluster, tasks, request, tmp_path, monkeypatch):
    for module, rows in ((chunks, 2), (procedural_heads, 2), (flame, 9), (conditions, 9)):
        monkeypatch.setattr(module, "ROWS", rows)
    monkeypatch.setattr(jobs, "each", lambda job, left, build, *rest: REAL_EACH(job, left, partial(toys, build), *rest))

    def written(where, processes, cluster):
        (tmp_path / where).mkdir()
        monkeypatch.chdir(tmp_path / where)
        WORK[name](request.getfixturevalue, processes, cluster)
        return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}

    alone = written("alone", 1, "")
    assert alone
    assert not tasks
    spread = {"dask": (1, address(cluster))} | ({"two": (2, "")} if name in PROCESSES else {})
    for where, how in spread.items():
        assert written(where, *how) == alone
        assert max(tasks) > 1
        tasks.clear()


REAL_EACH = workers.each


def toys(build):
    """Lets a worker know the generator of `steered`."""
    GENERATORS["steered"] = "toys:Steered"
    return build()


def test_the_contract_is_over_every_command_that_knows_a_cluster():
    """`fg data make procedural_heads` is the stage heads."""
    spread = {
        name
        for name in discovery.stages()
        if "cluster" in inspect.signature(importlib.import_module(f"fgcli.stages.{name}").run).parameters
    }
    told = {name: CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "160"}).stdout for name in COMMANDS}
    assert spread | {name for name, text in told.items() if "--cluster" in text} == set(WORK)


def test_a_worker_killed_by_9_in_the_middle_of_a_stage_loses_nothing(cluster, request, tmp_path, monkeypatch):
    """Of two one, when it computes; some codes are found then, others not."""
    left, work = [], partial(inverts, request.getfixturevalue, 1, steps=40)

    def kill():
        while not (found := list(tmp_path.rglob("*.npz"))):
            time.sleep(0.005)
        victim = cluster.workers[0]
        while not cluster.scheduler.workers[victim.worker_address].processing:
            time.sleep(0.001)
        os.kill(victim.pid, signal.SIGKILL)
        left.append(PARTS - len(found))

    def written(where, cluster):
        Path(where).mkdir()
        with chdir(where):
            work(cluster)
        return Path(where, "latents.h5").read_bytes()

    monkeypatch.chdir(tmp_path)
    whole, killer = written("whole", ""), threading.Thread(target=kill, daemon=True)
    killer.start()
    assert written("killed", address(cluster)) == whole
    assert left[0] > 2


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
