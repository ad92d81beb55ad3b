"""Nothing of the user's is written over: outputs are checked before any work, for every command."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import write_faces
from PIL import Image
from pipeline_files import ROOT
from typer.testing import CliRunner

from fgcli import artifacts
from fgcli.artifacts.locks import held
from fgcli.artifacts.outputs import verify_outputs
from fgcli.cli import app, discovery
from fgcli.cli.stage import is_path, written
from fgcli.errors import FgError, UsageError
from fgcli.heads.parameters import Parameters, save_npz
from fgcli.reports.grid import FORMATS, save_picture


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with faces.h5, a picture and a text of the user's."""
    monkeypatch.chdir(tmp_path)
    write_faces(tmp_path / "out/faces.h5", 16)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save("mine.png")
    Path("mine.txt").write_text("dear")
    Path("folder").mkdir()
    return tmp_path


def content(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["train", "-o", "out/faces.h5"],
            "-o out/faces.h5: expected a file of its own, found that out/faces.h5 is read",
        ),
        (["train", "-o", "link.h5"], "-o link.h5: expected a file of its own, found that out/faces.h5 is read"),
        (["classifier", "-o", "mine.h5", "--folder", "mine.txt"], "mine.txt: expected a folder to write, found a file"),
        (["preprocess", "-o", "a.h5", "--sheet", "a.h5"], "a.h5: expected a picture's ending, .png, .jpg"),
        (
            ["evaluate", "--metrics", "m.json", "--protocols", "m.json"],
            "found that --metrics is m.json, too; name another",
        ),
        (["invert", "-o", "folder"], "-o folder: expected a file to write, found a folder; name a file"),
        (["invert", "-o", ""], "-o .: expected a file to write, found a folder; name a file"),
        (["invert", "-o", "/"], "-o /: expected a file to write, found a folder; name a file"),
        (["invert", "-o", "/dev/null"], "-o /dev/null: expected a file to write, found a device; name a file"),
        (["invert", "-o", "mine.json"], "-o mine.json: expected a name that ends in .h5, found 'mine.json'; rename it"),
        (["train", "-o", "other.h5"], "other.h5: expected nothing or a generator file to replace, found another file"),
        (["preprocess", "--sheet", "mine.png"], "mine.png: expected nothing or a .png file of fg's to replace, found"),
        (["sample", "-o", "mine.png"], "mine.png: expected nothing or a .png file of fg's to replace, found another"),
        (
            ["edit", "mine.png", "-a", "x", "-o", "mine.png"],
            "-o mine.png: expected a file of its own, found that mine.png",
        ),
        (["reconstruct", "0", "-o", "mine.txt/x.png"], "mine.txt/x.png: expected a folder that can be written, found"),
        (["flame", "export", "0", "-o", "mine.obj"], "mine.png: expected nothing or a .png file of fg's to replace"),
        (["chain", "train", "--use", "faces=out/faces.h5", "--folder", "mine.txt"], "mine.txt"),
    ],
)
def test_what_would_lose_a_file_is_refused_before_the_work(home, arguments, message):
    Path("link.h5").symlink_to("out/faces.h5")
    write_faces(home / "other.h5", 4)
    before = content(home)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code in (1, 2), done.output
    assert message in " ".join(done.output.split()), done.output
    assert len(done.output.strip().splitlines()) == 1
    assert content(home) == before


def test_what_fg_wrote_is_replaced(home):
    """The same kind of artifact, a marked picture, JSON."""
    artifacts.write_json(Path("n.json"), {"a": 1})
    (home / "empty.h5").touch()
    kinds = {"-o": "faces", "--numbers": "", "--sheet": "", "--more": "faces"}
    for ending in FORMATS:
        page = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8))
        page.save(f"user{ending}")
        with pytest.raises(FgError, match=f"user{ending}: expected nothing or a {ending} file of fg's to replace"):
            verify_outputs([], {"--sheet": Path(f"user{ending}")}, kinds)
        for _ in range(2):
            verify_outputs([], {"--sheet": Path(f"sheet{ending}")}, kinds)
            save_picture(Path(f"sheet{ending}"), page)
    writes = {"-o": Path("out/faces.h5"), "--numbers": Path("n.json"), "--sheet": Path("sheet.png")}
    verify_outputs([Path("mine.txt")], writes | {"--more": Path("empty.h5")}, kinds)
    head = Parameters.zeros(1)
    save_npz(Path("p.npz"), head)
    verify_outputs([], {"-o": Path("p.npz")}, {"-o": ""})
    np.savez("p.npz", **head.to_arrays())
    with pytest.raises(FgError, match=r"p.npz: expected nothing or a .npz file of fg's"):
        verify_outputs([], {"-o": Path("p.npz")}, {"-o": ""})
    for text in ("no json", '{"a": 1}', '{\n  "a": 1\n}'):
        Path("n.json").write_text(text)
        with pytest.raises(
            FgError, match=r"n.json: expected nothing or a .json file of fg's to replace, found another"
        ):
            verify_outputs([], {"--numbers": Path("n.json")}, kinds)
    os.link("mine.txt", "same.h5")
    with pytest.raises(UsageError, match="same.h5: expected a file of its own, found that mine.txt is read"):
        verify_outputs([Path("mine.txt")], {"-o": Path("same.h5")}, kinds)


@pytest.mark.parametrize("name", discovery.stages())
def test_every_stage_says_what_it_writes(name):
    """What stands from `output` on is written, and its kind is known by its default; all else is read."""
    import importlib

    stage = importlib.import_module(f"fgcli.stages.{name}")
    kinds = written(stage)
    assert next(iter(kinds)) == "output"
    for key, kind in kinds.items():
        default = inspect.signature(stage.run).parameters[key].default
        assert is_path(stage, key)
        assert (
            kind in artifacts.SCHEMAS
            or (kind == "" and default.suffix in (".png", ".json", ".html"))
            or kind == "folder"
        )
    help = CliRunner().invoke(app, [*(["data", "make", "procedural_heads"] if name == "heads" else [name]), "--help"])
    assert help.exit_code == 0


HOLD = """
import sys, time
from pathlib import Path
from fgcli.artifacts.locks import held
with held([Path(sys.argv[1])]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_told_who_the_first_is(home):
    """And once that one is killed, its place is free, and what it left aside is gone."""
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, "l.h5"], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert first.stdout.readline() == b"held\n"
    Path(".l.h5.abc.part").touch()
    message = rf"l.h5: expected to be its only writer, found process {first.pid} writing it; wait for that one or name"
    with pytest.raises(FgError, match=message), held([Path("l.h5")]):
        pass
    first.kill()
    first.wait()
    with held([Path("l.h5")]):
        assert not Path(".l.h5.abc.part").exists()
    assert not list(Path().glob(".l.h5*"))


def test_two_writers_of_one_file_never_share_a_part(home):
    with artifacts.write_aside(Path("x")) as one, artifacts.write_aside(Path("x")) as two:
        one.write_text("1")
        two.write_text("2")
        assert one != two
    assert Path("x").read_text() == "1"  # the last rename
    assert Path("x").stat().st_mode & 0o777 == Path("mine.txt").stat().st_mode & 0o777
    assert not list(Path().glob(".x*"))


def test_names_that_edit_derives_lose_no_file(home):
    """strip-anna-+1.png beside the strip: a user's file of that name stays."""
    from fgcli.subjects import outputs

    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save("strip-mine-+1.png")
    with pytest.raises(FgError, match=r"strip-mine-\+1.png: expected nothing or a .png file of fg's to replace, found"):
        outputs(Path("strip.png"), ["mine.png"], ["+1"], [])
    save_picture(Path("strip-mine-+2.png"), Image.new("RGB", (4, 4)))
    assert outputs(Path("strip.png"), ["7", "mine.png"], ["+2"], []) == {1: [Path("strip-mine-+2.png")]}


def test_only_what_a_writer_of_this_very_name_left_is_removed(home):
    Path(".l[1].h5.abc.part").touch()
    Path(".l1.h5.abc.part").touch()
    with held([Path("l[1].h5")]):
        assert not Path(".l[1].h5.abc.part").exists()
    assert Path(".l1.h5.abc.part").exists()
