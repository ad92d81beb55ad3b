"""The loop: what it computes, and that no stop changes it.

Run as a program this file is a worker: `python test_training.py train|ranks ...`.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import stopped, train_params
from torch import nn

from fgcli import artifacts
from fgcli.errors import FgError, Stopped, UsageError
from fgcli.generators import store
from fgcli.generators.stylegan2 import StyleGAN2
from fgcli.objectives.gan import GAN
from fgcli.pixels import tensor
from fgcli.stages import train
from fgcli.training import checkpoint
from fgcli.training.augment import Augment
from fgcli.training.batches import Batches, step_rng
from fgcli.training.columns import COLUMNS, tables
from fgcli.training.devices import Compute
from fgcli.training.ema import EMA
from fgcli.training.loop import Loop, NonFinite, Plateau, clip_each
from fgcli.training.objective import Group, Objective, Phase
from fgcli.training.session import read_history
from fgcli.training.settings import Settings

CPU = Compute(torch.device("cpu"), 0, 1, "float32")
STILL = {"flip": 0.0, "shift": 0.0, "zoom": 0.0, "rotate": 0.0, "light": 0.0, "tint": 0.0, "mix": 0.0}
PAPER = {"linear": False}
"""The paper's network, without the linear path that starts as eigenfaces."""


class Plain(Objective):
    """A small autoencoder without batch norm or noise, and its squared error: the same whoever computes it."""

    def __init__(self, fail_at: int = -1, term: str = "loss") -> None:
        torch.manual_seed(0)
        layers = (nn.Conv2d(3, 4, 3, 2, 1), nn.ELU(), nn.ConvTranspose2d(4, 3, 4, 2, 1), nn.Tanh())
        super().__init__(nn.Sequential(*layers))
        self.calls, self.fail_at, self.term = -1, fail_at, term
        self.groups = {"plain": Group(list(self.network.parameters()))}
        self.phases = [Phase("plain", "plain", self.loss, {"l2": 1.0, term: 0.5})]

    def loss(self, batch, rng):
        self.calls += 1
        y = self.network(batch["images"])
        bad = float("inf") if self.calls == self.fail_at else 1.0
        return {"l2": (y - batch["images"]).square().mean(), self.term: y.abs().mean() * bad}


def make_loop(objective, compute=CPU, **changes):
    settings = {
        "steps": 10, "batch": 8, "learning_rate": 0.01, "warmup": 2, "schedule": "cosine", "ema_half_life": 3.0,
        "seed": 0, "validate_steps": 5, "checkpoint_seconds": 1000.0,
    } | changes  # fmt: skip
    return Loop(objective, compute, Settings(**settings))


def make_batches(faces, batch=8, augment=None, seed=0):
    rows = np.flatnonzero(artifacts.rows(faces, "split") == 0)
    return Batches(tables(("images", "masks"), {"faces": faces}, rows, "test"), rows, batch, seed, augment)


# ---- workers


def worker_train(faces: str, folder: str, kill_at: int) -> None:
    """Trains as `fg train` does, and is killed when the optimiser has taken step `kill_at`."""
    run, base = Loop.run, Path(folder)

    def killed(self, batches):
        for tick in run(self, batches):
            if tick.step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            yield tick

    Loop.run = killed
    train.run(Path(faces), base / "generator.h5", base / "train", params=train_params())


def worker_ranks(faces: str, folder: str) -> None:
    """One of several ranks: writes its rows, its weights, and what a training stage run says."""
    compute = Compute.resolve("cpu", "float32")
    torch.set_num_threads(1)
    batches, loop = make_batches(Path(faces)), make_loop(Plain(), compute, clip=0.3)
    rows = [batches.at(step, compute)["rows"].tolist() for step in range(10)]
    terms = [tick.terms for tick in loop.run(batches)]
    weights = torch.cat([p.detach().flatten() for p in loop.objective.network.parameters()]).tolist()
    found = {"ranks": compute.ranks, "rows": rows, "terms": terms, "weights": weights}
    found["contest"] = contest(faces, compute)
    Path(folder, f"rank{compute.rank}.json").write_text(json.dumps(found))
    params = train_params(augment=STILL, steps=6, generator=PAPER)
    train.run(Path(faces), Path(folder) / "generator.h5", Path(folder) / "train", params=params)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def contest(faces, compute):
    """What eight steps of a GAN without batch norm say, with mixed codes, ADA and both lazy penalties."""
    torch.manual_seed(0)
    arguments = {"gamma": 0.1, "penalty_interval": 2, "path_length": 1.0, "mixing": 0.5, "augment": "ada"}
    objective = GAN(StyleGAN2((3, 16, 16), codes=8, width=1 / 512), batch=8, strength=0.5, ada_images=100, **arguments)
    loop = make_loop(objective, compute, steps=8, learning_rate=1e-3, schedule="constant", warmup=0)
    return [tick.terms for tick in loop.run(make_batches(Path(faces)))]


def launch(*arguments, launcher=(), **options):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, *launcher, str(Path(__file__)), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False, **options)


# ---- resume


@pytest.fixture(scope="module")
def unbroken(faces, tmp_path_factory):
    """The folder of a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    train.run(faces, folder / "generator.h5", folder / "train", params=train_params())
    return folder


def equals(folder, unbroken):
    assert (folder / "generator.h5").read_bytes() == (unbroken / "generator.h5").read_bytes()
    assert (folder / "train/stats.jsonl").read_text() == (unbroken / "train/stats.jsonl").read_text()
    sheets = [sorted(p.name for p in (f / "train/samples").iterdir()) for f in (folder, unbroken)]
    assert sheets[0] == sheets[1] == ["000005.png", "000010.png", "000012.png"]
    for name in sheets[0]:
        assert (folder / "train/samples" / name).read_bytes() == (unbroken / "train/samples" / name).read_bytes()


def test_killed_run_goes_on_bit_for_bit(faces, unbroken, tmp_path, capsys):
    """kill -9 after step 7; the last checkpoint is that of step 4, the last line of stats that of step 5."""
    done = launch("train", faces, tmp_path, 7)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "generator.h5").exists()
    train.run(faces, tmp_path / "generator.h5", tmp_path / "train", params=train_params())
    assert "going on from step 4 of 12" in capsys.readouterr().err
    equals(tmp_path, unbroken)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_keeps_every_step(faces, unbroken, tmp_path, monkeypatch, capsys, number):
    run = Loop.run

    def asked(self, batches):
        for tick in run(self, batches):
            if tick.step == 7:
                signal.raise_signal(number)
            yield tick

    files = (faces, tmp_path / "generator.h5", tmp_path / "train")
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "run", asked)
        with pytest.raises(Stopped, match=r"last.h5: stopped as asked at step 7; run it again") as stopped:
            train.run(*files, params=train_params())
    assert stopped.value.signal == number
    assert signal.getsignal(number) == before
    assert not (tmp_path / "generator.h5").exists()
    train.run(*files, params=train_params())
    assert "going on from step 7 of 12" in capsys.readouterr().err
    equals(tmp_path, unbroken)


def test_killed_between_the_stats_and_the_checkpoint(faces, unbroken, tmp_path, monkeypatch):
    """The line of step 10 and best.h5 are written, last.h5 is not: the line is not there twice afterwards."""
    from fgcli.training.session import Session

    save = Session.save

    def lost(self, path, fingerprint):
        if path.name == "last.h5" and self.loop.step == 12:
            raise KeyboardInterrupt
        save(self, path, fingerprint)

    files = (faces, tmp_path / "generator.h5", tmp_path / "train")
    with monkeypatch.context() as patch:
        patch.setattr(Session, "save", lost)
        with pytest.raises(KeyboardInterrupt):
            train.run(*files, params=train_params())
    with open(tmp_path / "train/stats.jsonl", "a") as stats:
        stats.write('{"step": 12, "cut in the mid')
    train.run(*files, params=train_params())
    equals(tmp_path, unbroken)


@pytest.fixture
def kept(unbroken, tmp_path):
    """A copy of the whole run's folder."""
    return Path(shutil.copytree(unbroken, tmp_path / "kept"))


def test_a_damaged_checkpoint_says_how_to_start_anew(faces, kept, unbroken, capsys):
    files, last = (faces, kept / "generator.h5", kept / "train"), kept / "train/last.h5"
    last.write_bytes(last.read_bytes()[:-100])
    told = r"last.h5: expected a whole HDF5 file, found a truncated or damaged one; start anew with --no-resume$"
    with pytest.raises(FgError, match=told):
        train.run(*files, params=train_params())
    train.run(*files, params=train_params(), resume=False)
    equals(kept, unbroken)


@pytest.mark.parametrize("line", [b"{", b"\xff", b"[]", b"3", b"{}", b'{"step": "x"}'])
def test_damaged_stats_are_told_by_their_line(faces, kept, line):
    stats = kept / "train/stats.jsonl"
    stats.write_bytes(line + b"\n" + stats.read_bytes())
    told = r"stats.jsonl: expected numbers with a step in line 1, found damage; start anew with --no-resume$"
    with pytest.raises(FgError, match=told):
        train.run(faces, kept / "generator.h5", kept / "train", params=train_params())


def test_a_damaged_layout_of_a_checkpoint_is_told(tmp_path):
    for layout in ({}, {"array": "no"}, {"dict": 3}, [], {"a": 1, "b": 2}):
        meta = {"step": 1, "fingerprint": "", "layout": layout}
        artifacts.save(tmp_path / "last.h5", artifacts.CHECKPOINT, {}, params={}, inputs={}, meta=meta)
        with pytest.raises(FgError, match=r"last.h5: expected the layout of a checkpoint, found a damaged one; start"):
            checkpoint.load(tmp_path / "last.h5")


def test_channels_last_goes_on_bit_for_bit(faces, tmp_path, monkeypatch):
    """With bf16 weights and moments are channels_last; a checkpoint holds plain arrays."""
    params = train_params(precision="bf16", checkpoint_steps=5)
    train.run(faces, tmp_path / "one.h5", tmp_path / "one", params=params)
    update = Loop._update

    def breaks(self, *arguments):
        if self.step == 7:
            raise KeyboardInterrupt
        return update(self, *arguments)

    monkeypatch.setattr(Loop, "_update", breaks)
    with pytest.raises(KeyboardInterrupt):
        train.run(faces, tmp_path / "two.h5", tmp_path / "two", params=params)
    monkeypatch.setattr(Loop, "_update", update)
    train.run(faces, tmp_path / "two.h5", tmp_path / "two", params=params)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_a_finished_run_is_not_trained_again(faces, unbroken, tmp_path, monkeypatch):
    files = (faces, tmp_path / "generator.h5", tmp_path / "train")
    train.run(*files, params=train_params())
    (tmp_path / "generator.h5").unlink()
    monkeypatch.setattr(Loop, "_update", None)  # it would fail
    train.run(*files, params=train_params())
    equals(tmp_path, unbroken)


def test_how_often_it_saves_changes_no_weight(faces, unbroken, tmp_path):
    """Checkpoints at other times, and resumed at other times, are the same run: only the params differ in the file."""
    often = train_params(checkpoint_steps=1, checkpoint_seconds=1e-3)
    train.run(faces, tmp_path / "generator.h5", tmp_path / "train", params=often)
    one, two = (artifacts.load(f / "generator.h5") for f in (tmp_path, unbroken))
    assert one.arrays.keys() == two.arrays.keys()
    assert all(np.array_equal(one[k], two[k]) for k in one.arrays)


def runs(tmp_path):
    return sorted(p.name for p in (tmp_path / "train.runs").glob("*"))


def test_runs_are_kept_apart_and_each_goes_on(faces, tmp_path, capsys):
    """Three runs of other params in one folder: none is lost, and the first is brought back and not trained again."""
    files = (faces, tmp_path / "generator.h5", tmp_path / "train")
    lines, results = [], []
    for rate in (0.001, 0.002, 0.003):
        train.run(*files, params=train_params(steps=4, learning_rate=rate))
        lines.append((tmp_path / "train/stats.jsonl").read_text())
        results.append((tmp_path / "generator.h5").read_bytes())
    assert "held another run" in capsys.readouterr().err
    assert len(runs(tmp_path)) == 2
    train.run(*files, params=train_params(steps=4, learning_rate=0.001))
    told = capsys.readouterr().err
    assert "brought its run back" in told
    assert "going on from step 4 of 4" in told
    assert (tmp_path / "train/stats.jsonl").read_text() == lines[0]
    assert (tmp_path / "generator.h5").read_bytes() == results[0]
    assert len(runs(tmp_path)) == 2


def test_a_folder_of_other_files_loses_none(faces, tmp_path):
    """--folder may name a folder that has other things in it, as out/ does; not one with things of a run's names."""
    (tmp_path / "mine.txt").write_text("dear")
    train.run(faces, tmp_path / "generator.h5", tmp_path, params=train_params(steps=2))
    assert (tmp_path / "mine.txt").read_text() == "dear"
    mine = tmp_path / "mine/samples"
    mine.mkdir(parents=True)
    (mine / "voice.wav").write_text("dear")
    with pytest.raises(FgError, match=r"mine: expected a folder of runs, found samples, which fg did not write; name"):
        train.run(faces, tmp_path / "g.h5", tmp_path / "mine", params=train_params(steps=2))
    assert (mine / "voice.wav").read_text() == "dear"


@pytest.mark.parametrize("content", ['{"mine": 1}', "[]", "dear"])
def test_a_mark_that_is_not_fgs_stays(faces, tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(FgError, match=r"run.json: expected the name of a run, found another file; name another"):
        train.run(faces, tmp_path / "generator.h5", tmp_path, params=train_params(steps=2))
    assert (tmp_path / "run.json").read_text() == content


def test_no_resume_begins_anew(faces, unbroken, tmp_path):
    files = (faces, tmp_path / "generator.h5", tmp_path / "train")
    train.run(*files, params=train_params())
    train.run(*files, params=train_params(), resume=False)
    equals(tmp_path, unbroken)
    assert len(runs(tmp_path)) == 1


def test_more_steps_extend_a_finished_run(faces, tmp_path, capsys):
    """Where the course does not depend on their number the result is that of a run of so many; fewer are a run anew."""
    files = (faces, tmp_path / "generator.h5", tmp_path / "train")
    still = {"schedule": "constant", "validate_steps": 2}
    train.run(*files, params=train_params(steps=4, **still))
    short = (tmp_path / "generator.h5").read_bytes()
    train.run(*files, params=train_params(steps=8, **still))
    assert "going on from step 4 of 8" in capsys.readouterr().err
    train.run(faces, tmp_path / "whole.h5", tmp_path / "whole", params=train_params(steps=8, **still))
    assert (tmp_path / "generator.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    train.run(*files, params=train_params(steps=4, **still))
    assert (tmp_path / "generator.h5").read_bytes() == short
    train.run(*files, params=train_params(steps=3, **still))  # which looks at held-out rows once more than longer ones
    train.run(*files, params=train_params(steps=8, **still))
    assert "going on from step 3" not in capsys.readouterr().err
    assert (tmp_path / "generator.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    train.run(*files, params=train_params(steps=6, schedule="cosine"))
    train.run(*files, params=train_params(steps=8, schedule="cosine"))
    assert "going on from step 6" not in capsys.readouterr().err


def test_an_upgrade_goes_on_with_what_was_begun_and_trains_anew_what_was_done(faces, tmp_path, monkeypatch, capsys):
    from fgcli.training import run_folder, session

    files = (faces, tmp_path / "generator.h5", tmp_path / "train")
    with stopped(monkeypatch, 7):
        train.run(*files, params=train_params())
    for module in (run_folder, session):
        monkeypatch.setattr(module, "code", lambda: "newer")
    train.run(*files, params=train_params())
    assert "going on from step 4 of 12" in (told := capsys.readouterr().err)
    assert "begun by other code of fg" in told
    for module in (run_folder, session):
        monkeypatch.setattr(module, "code", lambda: "newest")
    train.run(*files, params=train_params())
    assert "going on" not in capsys.readouterr().err
    assert len(runs(tmp_path)) == 1


def test_a_run_may_start_from_anothers_weights(faces, unbroken, tmp_path):
    files, start = (faces, tmp_path / "g.h5", tmp_path / "train"), unbroken / "generator.h5"
    train.run(*files, init_from=start, params=train_params(steps=0))
    one, two = (artifacts.load(path).group("ema") for path in (start, tmp_path / "g.h5"))
    assert all(np.array_equal(one[k], two[k]) for k in one)
    assert artifacts.load(tmp_path / "g.h5").inputs["init_from"] == artifacts.sha256(start)
    other = train_params(generator={"name": "unmasked_vae", "codes": 8, "width": 0.1})
    with pytest.raises(FgError, match=r"generator.h5: expected a generator of .*unmasked_vae.*, found .*masked_vae"):
        train.run(*files, init_from=start, params=other)


def test_what_the_result_is(faces, unbroken):
    """generator.h5 has the moving average of the best validation, history, and where faces came from."""
    stored = artifacts.load(unbroken / "generator.h5", artifacts.GENERATOR)
    history = stored.group("history")
    assert history["step"].tolist() == [5, 10, 12]
    best = int(history["step"][history["validation"].argmin()])
    assert stored.meta["training"]["best_step"] == best
    assert stored.meta["training"]["best_loss"] == history["validation"].min()
    assert set(history) >= {"learning_rate", "vae/ssim", "vae/l2", "vae/bce", "vae/dice", "vae/kl"}
    assert stored.inputs == {"faces": artifacts.sha256(faces)}
    loaded = store.load(unbroken / "generator.h5")
    images = tensor(artifacts.rows(faces, "images")[:4])
    assert torch.isfinite(loaded.decode(loaded.encode(images))).all()


def test_no_steps_give_the_initial_network(faces, tmp_path):
    train.run(faces, tmp_path / "g.h5", tmp_path / "train", params=train_params(steps=0, generator=PAPER))
    torch.manual_seed(0)
    fresh = train.make_generator(train_params(generator=PAPER), (1, 16, 16, 3)).state_dict()
    loaded = store.load(tmp_path / "g.h5").state_dict()
    assert all(torch.equal(loaded[k], fresh[k]) for k in fresh)


# ---- trouble


def test_nonfinite_loss_names_step_phase_and_term(faces):
    loop = make_loop(Plain(fail_at=6, term="spread"))
    ticks = []
    with pytest.raises(NonFinite, match=r"training step 7: expected finite losses, found plain/spread = inf"):
        ticks.extend(loop.run(make_batches(faces)))
    assert len(ticks) == 6
    again = make_loop(Plain())
    stream = again.run(make_batches(faces))
    for _ in range(6):
        next(stream)
    for a, b in zip(loop.objective.network.parameters(), again.objective.network.parameters(), strict=True):
        assert torch.equal(a, b)  # the weights of before the step


def test_nonfinite_run_names_the_last_good_checkpoint(faces, tmp_path, monkeypatch):
    from fgcli.objectives.masked_elbo import MaskedELBO

    real, calls = MaskedELBO.loss, []

    def poisoned(self, batch, rng):
        calls.append(self.training)
        found = real(self, batch, rng)
        return found | ({"l2": found["l2"] * float("nan")} if sum(calls) > 6 else {})

    monkeypatch.setattr(MaskedELBO, "loss", poisoned)
    files = (faces, tmp_path / "generator.h5", tmp_path / "train")
    message = r"training step 7: .* found vae/l2 = nan; .*; the last good checkpoint is .*last.h5"
    with pytest.raises(NonFinite, match=message):
        train.run(*files, params=train_params())
    assert artifacts.load(tmp_path / "train/last.h5", artifacts.CHECKPOINT, ()).meta["step"] == 4
    assert not (tmp_path / "generator.h5").exists()
    calls[:] = [True] * 7
    with pytest.raises(NonFinite, match="no checkpoint yet"):
        train.run(*files[:2], tmp_path / "other", params=train_params())


class Steep(Plain):
    """Finite loss, gradient not a number, from the third step on."""

    def loss(self, batch, rng):
        found = super().loss(batch, rng)
        if self.calls >= 2:
            found[self.term] = (0 * found["l2"]).sqrt()
        return found


def test_nonfinite_gradients_never_reach_the_weights(faces):
    """Else a checkpoint that is called good holds NaN."""
    loop = make_loop(Steep())
    with pytest.raises(NonFinite, match="training step 3"):
        list(loop.run(make_batches(faces)))
    assert all(torch.isfinite(p).all() for p in loop.objective.network.parameters())


def test_a_device_that_is_not_there_is_told():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(FgError, match="cuda"):
        Compute.resolve("cuda", "float32")


def test_a_seed_below_zero_is_refused_with_the_params():
    with pytest.raises(UsageError, match=r"train.seed"):
        train_params(seed=-1)


def test_no_training_rows(faces, tmp_path):
    copy = artifacts.load(faces)
    arrays = copy.arrays | {"split": np.full_like(copy["split"], 2)}
    artifacts.save(tmp_path / "f.h5", artifacts.FACES, arrays, params={}, inputs={}, meta=copy.meta)
    with pytest.raises(FgError, match=r"f.h5: expected rows of the train split, found none"):
        train.run(tmp_path / "f.h5", tmp_path / "g.h5", tmp_path / "train", params=train_params())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.h5"]


# ---- arithmetic


def test_loop_takes_the_steps_of_plain_torch(faces):
    """Adam, schedule, clip and weights against a loop written out."""
    loop, other = make_loop(Plain(), clip=0.2), Plain()
    batches, adam = make_batches(faces), torch.optim.Adam(other.network.parameters(), 0.01)
    list(loop.run(make_batches(faces)))
    for step in range(10):
        x = batches.at(step, CPU)["images"]
        y = other.network(x)
        adam.zero_grad()
        (((y - x) ** 2).mean() + 0.5 * y.abs().mean()).backward()
        for p in other.network.parameters():
            nn.utils.clip_grad_norm_([p], 0.2)
        rise, fall = min(1, (step + 1) / 2), 0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * step / 10))
        adam.param_groups[0]["lr"] = 0.01 * rise * fall
        adam.step()
    for a, b in zip(loop.objective.network.parameters(), other.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_each_tensor_is_clipped_on_its_own():
    """Paper 000's release clips per variable (Keras clipnorm): not clip_grad_norm_ over all."""
    gradients = tuple(torch.randn(3, 4, generator=step_rng(0, i)) * 10.0 ** (i - 3) for i in range(6))
    gradients += (torch.zeros(5),)
    expected = [g * min(1.0, 0.7 / max(float((g**2).sum()) ** 0.5, 1e-30)) for g in gradients]
    clipped = clip_each(gradients, 0.7)
    for found, wanted in zip(clipped, expected, strict=True):
        torch.testing.assert_close(found, wanted)
    assert clipped[0].norm() < 0.1
    assert clipped[-2].norm() == pytest.approx(0.7)


def test_ema_closed_form():
    """A constant follower: theta_n = sum of beta^(n - i) (1 - beta) x_i, the half-life at most a tenth of the steps.

    Buffers, a batch norm's statistics among them, are copies.
    """
    module = nn.BatchNorm1d(2)
    ema = EMA(module, half_life=4)
    state, values = {k: v.clone().double() for k, v in module.named_parameters()}, []
    for step in range(1, 81):
        with torch.no_grad():
            module.weight.fill_(step**0.5)
        module(torch.randn(5, 2, generator=step_rng(1, step)))
        ema.update(step)
        beta = 0.5 ** (1 / min(4, step / 10))
        for k, v in module.named_parameters():
            state[k] = beta * state[k] + (1 - beta) * v
        values.append(ema.state["weight"][0].item())
    for k, v in state.items():
        torch.testing.assert_close(ema.state[k].double(), v, rtol=1e-5, atol=1e-6)
    for k, v in module.named_buffers():
        assert torch.equal(ema.state[k], v)
    late = np.array([beta ** (80 - i) * (1 - beta) * i**0.5 for i in range(41, 81)]).sum() + beta**40 * values[39]
    assert values[-1] == pytest.approx(late, rel=1e-5)
    assert beta**4 == pytest.approx(0.5)  # after four steps an old value has half its weight


def test_a_group_may_be_left_out_of_the_average():
    module = nn.Linear(2, 2)
    ema = EMA(module, half_life=4, left_out=[module.bias])
    for step in range(1, 4):
        with torch.no_grad():
            module.weight.add_(1)
            module.bias.add_(1)
        ema.update(step)
    assert torch.equal(ema.state["bias"], module.bias)
    assert not torch.equal(ema.state["weight"], module.weight)


def test_applied_gives_back_even_after_an_error():
    module = nn.Linear(2, 2)
    ema = EMA(module, 4)
    old = {k: v.clone() for k, v in module.state_dict().items()}
    nn.init.ones_(module.weight)
    with ema.applied(module):
        assert torch.equal(module.weight, old["weight"])
    assert torch.equal(module.weight, torch.ones(2, 2))
    with pytest.raises(RuntimeError), ema.applied(module):
        raise RuntimeError
    assert torch.equal(module.weight, torch.ones(2, 2))


def test_averages_of_spectrally_normalised_weights_are_normalised():
    """Averaged singular vectors would be shorter than 1, and weights divided by too little."""
    torch.manual_seed(0)
    module = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 4))
    ema = EMA(module, half_life=20)
    for step in range(1, 41):
        with torch.no_grad():
            module.parametrizations.weight.original.mul_(0.99).add_(0.3 * torch.randn(4, 6))
        module(torch.zeros(1, 6))
        ema.update(step)
    vectors = [v for k, v in ema.state.items() if k.endswith(("._u", "._v"))]
    assert [float(v.norm()) for v in vectors] == pytest.approx([1.0, 1.0])


def test_no_half_life_is_no_average():
    module = nn.Linear(2, 2)
    ema = EMA(module, 0)
    nn.init.ones_(module.weight)
    ema.update(1)
    assert torch.equal(ema.state["weight"], torch.ones(2, 2))
    with ema.applied(module):
        assert torch.equal(module.weight, torch.ones(2, 2))


def test_schedule():
    constant = make_loop(Plain(), steps=100, warmup=4, schedule="constant", learning_rate=2.0)
    assert [constant.rate(i) for i in (0, 1, 3, 4, 99)] == [0.5, 1.0, 2.0, 2.0, 2.0]
    cosine = make_loop(Plain(), steps=100, warmup=0, schedule="cosine", learning_rate=2.0)
    assert cosine.rate(0) == pytest.approx(2.0)
    assert cosine.rate(50) == pytest.approx(2 * (0.01 + 0.99 * 0.5))
    assert 0.02 < cosine.rate(99) < 0.021
    rates = [cosine.rate(i) for i in range(100)]
    assert rates == sorted(rates, reverse=True)


def test_phases_run_when_they_are_due(faces):
    objective = Plain()
    weight = nn.Parameter(torch.zeros(()))
    objective.weight = weight
    objective.groups["rare"] = Group([weight])
    objective.phases.append(Phase("rare", "rare", lambda b, r: {"pull": (weight - 1) ** 2}, {"pull": 1.0}, 4))
    loop = make_loop(objective, schedule="constant", warmup=0)
    ticks = list(loop.run(make_batches(faces)))
    assert [t.step for t in ticks if "rare/pull" in t.terms] == [1, 5, 9]
    assert weight.item() == pytest.approx(0.03, rel=0.05)  # three Adam steps of 0.01


def test_validation_is_the_weighted_loss_of_the_average(faces):
    loop = make_loop(Plain())
    list(loop.run(make_batches(faces)))
    data = make_batches(faces)
    parts = [data.of(rows, CPU) for rows in (np.arange(5), np.arange(5, 8))]
    found = loop.validate(parts)
    with loop.ema.applied(loop.objective.network), torch.no_grad():
        x = data.of(np.arange(8), CPU)["images"]
        y = loop.objective.network(x)
    expected = ((y - x) ** 2).mean() + 0.5 * y.abs().mean()
    assert found == pytest.approx(expected.item(), rel=1e-5)
    assert loop.objective.training


def test_a_validation_that_is_no_number_is_told(faces):
    loop = make_loop(Plain())
    nan = {"images": torch.full((2, 3, 16, 16), torch.nan), "rows": torch.arange(2)}
    with pytest.raises(
        NonFinite, match=r"validation after step 0: expected a finite loss, found nan; lower train.learn"
    ):
        loop.validate([nan])


# ---- augmentation


def strayed(augment, images, masks, rng):
    """Images and masks as they come out of a batch."""
    batch = {"images": images, "masks": masks}
    augment(batch, {name: COLUMNS[name] for name in batch}, rng)
    return batch["images"], batch["masks"]


def pictures(n=6, size=16, seed=0):
    """Smooth images whose first channel is the mask, and masks."""
    masks = torch.zeros(n, 1, size, size)
    masks[:, :, 4:11, 3:9] = 1
    images = torch.randn(n, 3, size, size, generator=step_rng(seed, 0)).clamp(-1, 1)
    images[:, :1] = 2 * masks - 1
    return images, masks


@pytest.mark.parametrize("change", [{"flip": 0.5}, {"flip": 0.5, "shift": 0.2, "zoom": 0.3, "rotate": 0.5}])
def test_geometry_is_the_same_for_image_and_mask(change):
    images, masks = pictures(32)
    moved, moved_masks = strayed(Augment(**change), images, masks, step_rng(0, 1))
    assert ((moved[:, :1] > 0).float() == moved_masks).all()
    assert set(moved_masks.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(moved_masks, masks)
    assert len({tuple(m.flatten().tolist()) for m in moved_masks}) > 1  # each picture on its own


def test_mix_blends_each_face_with_the_one_before():
    images, masks = pictures(64)
    mixed, mixed_masks = strayed(Augment(mix=0.8), images, masks, step_rng(0, 1))
    before = images.roll(1, 0)
    share = ((mixed - images) * (before - images)).sum((1, 2, 3)) / (before - images).square().sum((1, 2, 3))
    torch.testing.assert_close(mixed, images + share[:, None, None, None] * (before - images), rtol=0, atol=1e-5)
    assert 0 <= share.min() < 0.1
    assert 0.7 < share.max() <= 0.8
    assert torch.equal(mixed_masks, masks)  # all are the same here
    other = masks.clone()
    other[1::2] = 0
    found = strayed(Augment(mix=0.8), images, other, step_rng(0, 1))[1]
    nearer = torch.where(share[:, None, None, None] > 0.5, other.roll(1, 0), other)
    assert torch.equal(found, nearer)


def test_colour_leaves_masks_and_geometry():
    images, masks = pictures()
    moved, same = strayed(Augment(light=0.2, tint=0.1), images, masks, step_rng(0, 1))
    assert torch.equal(same, masks)
    assert moved.abs().max() <= 1
    for picture, original in zip(moved.flatten(2).flatten(0, 1), images.flatten(2).flatten(0, 1), strict=True):
        inside = (picture.abs() < 1) & (original.abs() < 1)
        line = np.polyfit(original[inside].numpy(), picture[inside].numpy(), 1) if inside.sum() > 2 else None
        if line is not None:  # one gain and one offset per channel, within the limits
            torch.testing.assert_close(
                picture[inside], line[0] * original[inside] + line[1], rtol=0, atol=1e-4, check_dtype=False
            )
            assert abs(line[0] - 1) <= 0.3 + 1e-4
            assert abs(line[1]) <= 0.2 + 1e-4


def test_all_zero_is_the_identity():
    images, masks = pictures()
    same = strayed(Augment(), images, masks, step_rng(0, 1))
    assert torch.equal(same[0], images)
    assert torch.equal(same[1], masks)


def test_flip_twice_is_the_identity_and_half_flips_half():
    images, masks = pictures()
    always = Augment(flip=1.0)
    once = strayed(always, images, masks, step_rng(0, 1))
    assert torch.equal(once[0], images.flip(3))
    twice = strayed(always, *once, step_rng(0, 2))
    assert torch.equal(twice[0], images)
    assert torch.equal(twice[1], masks)
    many = torch.arange(2000.0).view(-1, 1, 1, 1).expand(-1, 3, 1, 2) * torch.tensor([1, -1]) / 2000
    flipped = strayed(Augment(flip=0.5), many, torch.zeros(2000, 1, 1, 2), step_rng(0, 1))[0]
    assert (flipped[1:, 0, 0, 0] < 0).float().mean() == pytest.approx(0.5, abs=0.05)


def test_affine_is_a_similarity_within_its_limits():
    maps = Augment(flip=0.5, shift=0.1, zoom=0.25, rotate=0.3).affine(500, step_rng(0, 1)).double()
    linear = maps[:, :, :2]
    gram = linear.transpose(1, 2) @ linear
    scale = gram.diagonal(dim1=1, dim2=2).mean(1).sqrt()
    torch.testing.assert_close(gram, scale[:, None, None] ** 2 * torch.eye(2, dtype=torch.float64), atol=1e-6, rtol=0)
    assert scale.max() <= 1.25 + 1e-6
    assert scale.min() >= 0.8 - 1e-6
    assert maps[:, :, 2].abs().max() <= 0.2  # a tenth of the side, which is 2 wide
    mirrored = torch.linalg.det(linear) < 0
    assert mirrored.double().mean() == pytest.approx(0.5, abs=0.1)
    angle = torch.atan2(linear[:, 1, 1], linear[:, 0, 1]) - torch.pi / 2
    assert angle.abs().max() <= 0.3 + 1e-6


# ---- batches


def test_every_row_once_an_epoch(faces):
    batches = make_batches(faces, batch=10)  # 48 rows: an epoch ends inside a batch
    stream = np.concatenate([batches.at(step, CPU)["rows"] for step in range(24)])
    epochs = stream.reshape(5, 48)
    for epoch in epochs:
        assert sorted(epoch) == batches.rows.tolist()
    assert not np.array_equal(epochs[0], epochs[1])
    again = make_batches(faces, batch=10)
    np.testing.assert_array_equal(again.at(7, CPU)["rows"], stream[70:80])  # from any step, without the earlier ones
    assert not np.array_equal(make_batches(faces, 10, seed=1).at(0, CPU)["rows"], stream[:10])


def test_batches_larger_than_the_split(faces):
    stream = make_batches(faces, batch=100).at(0, CPU)["rows"].numpy()
    assert np.unique(stream[:48]).size == 48
    assert np.unique(stream[48:96]).size == 48


def test_ranks_share_the_batch(faces):
    whole = make_batches(faces).at(5, CPU)
    shares = [make_batches(faces).at(5, Compute(torch.device("cpu"), rank, 3, "float32")) for rank in range(3)]
    assert sorted(r for s in shares for r in s["rows"].tolist()) == sorted(whole["rows"].tolist())
    assert [len(s["rows"]) for s in shares] == [3, 3, 2]


def test_tensors_are_the_stored_pixels(faces):
    images, masks = artifacts.rows(faces, "images"), artifacts.rows(faces, "masks")
    rows = np.array([5, 0, 9])
    batch = make_batches(faces).of(rows, CPU)
    expected = images[rows].astype(np.float64).transpose(0, 3, 1, 2) / 127.5 - 1
    np.testing.assert_allclose(batch["images"], expected, atol=1e-6)
    assert batch["images"].dtype == batch["masks"].dtype == torch.float32
    np.testing.assert_array_equal(batch["masks"][:, 0], masks[rows] // 255)
    assert batch["rows"].tolist() == [5, 0, 9]


def test_steps_and_ranks_draw_apart():
    draws = {(s, t, r): torch.rand(2, generator=step_rng(s, t, r)) for s in (0, 1) for t in (0, 1) for r in (0, 1)}
    assert len({tuple(d.tolist()) for d in draws.values()}) == 8
    assert torch.equal(draws[1, 0, 1], torch.rand(2, generator=step_rng(1, 0, 1)))


# ---- several ranks


@pytest.fixture(scope="module")
def two_ranks(faces, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = launch("ranks", faces, folder, launcher=launcher)
    assert done.returncode == 0, done.stderr
    return folder, [json.loads((folder / f"rank{i}.json").read_text()) for i in range(2)]


def test_two_processes_are_one(faces, two_ranks):
    """Without batch norm and noise: the same order of rows, losses and weights as one process, but for rounding."""
    _, ranks = two_ranks
    batches = make_batches(faces)
    for step in range(10):
        together = [r for pair in zip(*(rank["rows"][step] for rank in ranks), strict=True) for r in pair]
        assert together == batches.at(step, CPU)["rows"].tolist()
    loop = make_loop(Plain(), clip=0.3)
    terms = [tick.terms for tick in loop.run(batches)]
    assert [r["ranks"] for r in ranks] == [2, 2]
    assert ranks[0]["weights"] == ranks[1]["weights"]
    weights = torch.cat([p.detach().flatten() for p in loop.objective.network.parameters()])
    torch.testing.assert_close(torch.tensor(ranks[0]["weights"]), weights, rtol=1e-4, atol=1e-5)
    for one, two in zip(terms, ranks[0]["terms"], strict=True):
        assert two == pytest.approx(one, rel=1e-4)


def test_two_processes_train_a_gan_as_one(faces, two_ranks):
    """Each draws the codes and changes of the whole batch and takes its own: the same curve, but for rounding."""
    _, ranks = two_ranks
    for one, two in zip(contest(faces, CPU), ranks[0]["contest"], strict=True):
        for found in (one, two):
            found.pop("generator/spread")  # only watched: of the images that a process sees beside each other
        assert two == pytest.approx(one, rel=1e-3, abs=1e-5)


def test_two_processes_with_batch_norm_are_near(faces, two_ranks, tmp_path):
    """Each CPU rank normalises its own half of the batch, sums Dice over it and draws its own noise.

    Weights therefore differ; the losses of the first steps agree within a few per cent.
    """
    folder, _ = two_ranks
    train.run(
        faces,
        tmp_path / "generator.h5",
        tmp_path / "train",
        params=train_params(augment=STILL, steps=6, generator=PAPER),
    )
    two, one = (read_history(f / "train/stats.jsonl") for f in (folder, tmp_path))
    assert two["step"].tolist() == one["step"].tolist() == [5, 6]
    assert two["vae/l2"].tolist() != one["vae/l2"].tolist()
    for name in ("vae/ssim", "vae/l2", "vae/bce", "vae/dice", "validation"):
        np.testing.assert_allclose(two[name], one[name], rtol=0.05)


def test_the_step_size_halves_at_the_last_validation_of_its_patience():
    plateau = Plateau()
    factors = []
    for loss in (1.0, 0.9, 0.9, 0.95, 0.91, 0.8):
        plateau.see(loss, 3)
        factors.append(plateau.factor)
    assert factors == [1, 1, 1, 1, 0.5, 0.5]


def test_without_validation_rows_it_is_told_what_is_looked_at(faces, tmp_path, capsys):
    copy = artifacts.load(faces)
    arrays = copy.arrays | {"split": np.zeros_like(copy["split"])}
    artifacts.save(tmp_path / "f.h5", artifacts.FACES, arrays, params={}, inputs={}, meta=copy.meta)
    train.run(tmp_path / "f.h5", tmp_path / "g.h5", tmp_path / "train", params=train_params(steps=1))
    told = "no rows to validate on; scores, sheets and what is kept as best look at training rows"
    assert told in capsys.readouterr().err


if __name__ == "__main__":
    if sys.argv[1] == "train":
        worker_train(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        worker_ranks(sys.argv[2], sys.argv[3])
