"""animate, and what it stands on: sequences in many names, courses over time, videos; VHAP's steered."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import steered_files
import torch
from PIL import Image
from typer.testing import CliRunner

from fgcli import frames
from fgcli.artifacts.outputs import verify_outputs
from fgcli.cli import app
from fgcli.errors import FgError, UsageError
from fgcli.faces.cutter import Cut
from fgcli.fitting.over_time import shared_shapes, smoothed
from fgcli.foreign import sequences
from fgcli.foreign.vhap import FOCAL, save_vhap
from fgcli.heads.camera import project
from fgcli.heads.centring import centred, eyeballs
from fgcli.heads.head import axis_angle, rotation_matrices
from fgcli.heads.parameters import Parameters, save_npz
from fgcli.stages import animate as stage
from fgcli.steered import Studio

N = 6
RNG = np.random.default_rng(0)
EXPRESSION = RNG.normal(0, 1, (N, 50)).astype(np.float32)
POSE = RNG.normal(0, 0.2, (N, 6)).astype(np.float32)


def fg(*arguments, code=0):
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == code, (done.output, done.exception)
    return json.loads(done.stdout) if done.stdout else {}, done.stderr.splitlines()


def parameters():
    zeros = Parameters.zeros(N)
    return zeros.replace(expression=torch.from_numpy(EXPRESSION), pose=torch.from_numpy(POSE))


# ---- sequences


def write_csv(path, header, rows):
    Path(path).write_text("\n".join([",".join(header), *(",".join(map(str, row)) for row in rows)]) + "\n")


def write(name):
    """One movement in the names of one program."""
    head, jaw, wide = POSE[:, :3], POSE[:, 3:], np.pad(EXPRESSION, ((0, 0), (0, 50)))
    zero = np.zeros((N, 3), np.float32)
    path = Path(f"{name}.npz")
    if name == "deca":
        np.savez(path, exp=EXPRESSION, pose=POSE, shape=np.zeros((N, 100)), cam=np.zeros((N, 3)), tex=np.zeros((N, 50)))
    elif name == "voca":
        path = Path("voca.npy")
        full = np.concatenate([head, zero, jaw, zero, zero], 1)
        np.save(path, {"shape": np.zeros(300), "pose": full, "expression": wide}, allow_pickle=True)
    elif name == "smplx":
        np.savez(
            path, expression=EXPRESSION, global_orient=zero, neck_pose=head, jaw_pose=jaw, betas=np.zeros((1, 100))
        )
    elif name == "vhap":
        np.savez(path, expr=wide, rotation=head, neck_pose=zero, jaw_pose=jaw, translation=zero, shape=np.zeros(300))
    elif name == "csv":
        path = Path("deca.csv")
        columns = [f"exp_{i}" for i in range(50)][::-1] + [f"pose_{i}" for i in range(6)]  # in any order
        write_csv(path, ["time", *columns], np.concatenate([np.zeros((N, 1)), EXPRESSION[:, ::-1], POSE], 1).tolist())
    elif name in ("fg", "fg vector"):
        save_npz(path, parameters(), "deca" if name == "fg vector" else None, "abc")
    return path


@pytest.mark.parametrize(
    ("name", "about"),
    [
        *((name, "flame") for name in ("deca", "voca", "smplx", "vhap", "csv")),
        *((name, "abc") for name in ("fg", "fg vector")),
    ],
)
def test_a_movement_is_the_same_in_all_names(tmp_path, monkeypatch, name, about):
    monkeypatch.chdir(tmp_path)
    found = sequences.load(write(name))
    assert (len(found), found.about) == (N, about)
    own = parameters().rows([0]).replace(shape=torch.ones(1, 100))
    moved = found.applied(own)
    np.testing.assert_allclose(moved.expression, EXPRESSION, atol=1e-6)
    np.testing.assert_allclose(moved.pose, POSE, atol=1e-5)
    assert (moved.shape == 1).all()


def test_what_a_sequence_does_not_say_stays(tmp_path, capsys):
    np.savez(tmp_path / "jaw.npz", jaw=np.full((N, 3), 0.1))
    own = parameters().rows([2])
    found = sequences.load(tmp_path / "jaw.npz")
    moved = found.applied(own)
    assert torch.equal(moved.expression, own.expression.expand(N, -1))
    assert torch.equal(moved.pose[:, :3], own.pose[:, :3].expand(N, -1))
    assert (moved.pose[:, 3:] == 0.1).all()
    found.verify({"name": "procedural", "sha256": "x"})  # a jaw is a jaw
    np.savez(tmp_path / "long.npz", expression=np.ones((N, 60)), fps=30)
    assert sequences.load(tmp_path / "long.npz").expression.shape == (N, 50)
    assert "of 60 expression modes the first 50 are followed" in capsys.readouterr().err


def test_coefficients_of_another_head_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flame, mine = sequences.load(write("deca")), sequences.load(write("fg"))
    flame.verify({"name": "flame", "sha256": "x"})
    mine.verify({"name": "procedural", "sha256": "abc"})
    with pytest.raises(FgError, match=r"deca.npz: expected expressions of the generator's head, .*al, found FLAME"):
        flame.verify({"name": "procedural", "sha256": "abc"})
    with pytest.raises(FgError, match=r"fg.npz: expected expressions of the generator's head, .*al, found another"):
        mine.verify({"name": "procedural", "sha256": "abd"})


BAD = EXPRESSION.copy()
BAD[4, 7] = np.nan


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", {"exp": BAD}, "a.npz: expected finite numbers, found nan in exp 7 of frame 4; fill the gaps first"),
        (
            "a.npz",
            {"pose": POSE[:, :4]},
            "a.npz: expected pose as 6 or 15 numbers a frame, found float32 (6, 4); g",
        ),
        ("a.npz", {"jaw_pose": POSE[:, :2]}, "a.npz: expected jaw_pose as 3 numbers a frame"),
        ("a.npz", {"exp": EXPRESSION, "pose": POSE[:4]}, "a.npz: expected 6 frames of pose, as others have, found 4"),
        ("a.npz", {"exp": np.array(["x"])}, "a.npz: expected exp as 1 numbers a frame, found <U1 (1,)"),
        ("a.npz", {"betas": EXPRESSION}, "a.npz: expected columns of a head's movement (expression, exp, expr, pose,"),
        (
            "a.npz",
            {"vector": EXPRESSION, "order": np.array("deca")},
            "a.npz: expected vector (n, 236) and order, ",
        ),
        ("a.csv", "exp_0,exp_2\n1,2\n", "a.csv: expected columns exp_0 to exp_2, found no exp_1; add it"),
        ("a.csv", "exp_0,exp_1\n1,\n", "a.csv: expected a number for exp_1 in line 2, found ''; fill it in"),
        ("a.csv", "exp_0\n1\nnan\n", "a.csv: expected finite numbers, found nan in exp 0 of frame 1"),
        ("a.csv", "exp_0\n", "a.csv: expected a row for every frame, found none; check the file"),
        ("a.csv", "", "a.csv: expected columns of a head's movement"),
        ("a.npz", None, "a.npz: expected"),
    ],
)
def test_what_is_no_sequence_is_one_sentence(tmp_path, monkeypatch, name, content, message):
    monkeypatch.chdir(tmp_path)
    if isinstance(content, str):
        Path(name).write_text(content)
    elif content is not None:
        np.savez(name, **content)
    with pytest.raises(FgError) as error:
        sequences.load(Path(name))
    assert str(error.value).startswith(message)
    with pytest.raises(UsageError, match=r"a.txt: expected a name that ends in .npz, .npy, .csv, found '.txt'"):
        sequences.load(Path("a.txt"))


# ---- over time


def test_people_share_the_median_of_their_good_shapes():
    shape = torch.tensor([[0.0], [1.0], [50.0], [2.0], [7.0], [9.0]]).expand(-1, 100).contiguous()
    people, good = torch.tensor([0, 0, 0, 0, -1, 1]), torch.tensor([True, True, False, True, True, False])
    assert shared_shapes(shape, people, good)[:, 0].tolist() == [1, 1, 1, 1, 7, 9]


def test_smoothing_takes_jitter_out_and_fills_gaps():
    n, rng = 40, torch.Generator().manual_seed(0)
    turn = torch.linspace(-0.8, 0.8, n)
    pose = torch.zeros(n, 6)
    pose[:, 1], pose[:, 3] = turn, 0.1
    still = Parameters.zeros(n).replace(pose=pose)
    at = torch.arange(n, dtype=torch.float32)
    torch.testing.assert_close(smoothed(still, at, at, 1.0).pose[5:-5], pose[5:-5], atol=1e-4, rtol=0)
    noisy = still.replace(pose=pose + 0.05 * torch.randn(n, 6, generator=rng))
    errors = [(p.pose - pose)[5:-5].std() for p in (noisy, smoothed(noisy, at, at, 2.0))]
    assert errors[1] < 0.5 * errors[0]
    kept = torch.cat([at[:10], at[20:]])
    filled = smoothed(still.rows(kept.long()), kept, at, 1.0).pose[:, 1]
    assert (filled.diff() > -1e-4).all()
    nearest = smoothed(still.rows(kept.long()), kept, at, 0.0).pose[:, 1]
    torch.testing.assert_close(nearest[[11, 18]], turn[[9, 20]], atol=1e-5, rtol=0)


def test_rotations_have_a_mean_that_is_a_rotation():
    poses = torch.tensor([[0.0, 1.2, 0.0, 0, 0, 0], [0.9, 0.0, 0.0, 0, 0, 0]])
    p = Parameters.zeros(2).replace(pose=poses)
    at = torch.tensor([0.0, 1.0])
    middle = smoothed(p, at, torch.tensor([0.5]), 5.0).pose[0, :3]
    to = [rotation_matrices(axis).T @ rotation_matrices(middle) for axis in poses[:, :3]]
    angles = [axis_angle(turn[None]).norm() for turn in to]
    torch.testing.assert_close(*angles, atol=1e-4, rtol=0)  # as far from the one as from the other


# ---- the command


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("talk.npz", jaw_pose=np.linspace(0, 0.3, N)[:, None] * [1, 0, 0])
    return tmp_path


def test_a_face_moves_as_a_sequence_says(home, steered):
    av = pytest.importorskip("av")
    told, _ = fg("animate", 3, "--sequence", "talk.npz", *steered_files.flags(steered), "-o", "talk.mp4")
    assert told == {"output": "talk.mp4", "frames": N, "rate": 25, "seconds": 0.24}
    with av.open("talk.mp4") as video:
        assert (video.streams.video[0].frames, video.streams.video[0].average_rate) == (N, 25)
    fg(
        "animate",
        3,
        "--sequence",
        "talk.npz",
        "--rate",
        10,
        "--smooth",
        *steered_files.flags(steered),
        "-o",
        "talk.gif",
    )
    fg("animate", 3, "--sequence", "talk.npz", "--rate", 10, *steered_files.flags(steered), "-o", "talk.gif")  # its own
    verify_outputs([], {"-o": Path("talk.gif")}, {"-o": ""})
    picture = Image.open("talk.gif")
    assert (picture.n_frames, picture.info["duration"]) == (N, 100)


def test_a_driver_moves_a_face_and_gaps_follow_their_neighbours(home, steered, monkeypatch, capsys):
    pytest.importorskip("av")
    crop = Cut(np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8), np.zeros((68, 2)), np.eye(2, 3))
    heads = iter(parameters().rows([i]) for i in range(N))
    monkeypatch.setattr(Studio, "cutter", None)
    monkeypatch.setattr(Studio, "fitted", lambda self, cut, name: next(heads))
    monkeypatch.setattr(frames, "cuts", lambda source, cutter: iter([crop, "no face found", *[crop] * (N - 1)]))
    monkeypatch.setattr(frames, "about", lambda source: (N + 1, Fraction(12)))
    made = {}
    monkeypatch.setattr(stage, "drawn", lambda studio, person, heads: made.update(own=person.head, heads=heads) or [
        np.zeros((32, 32, 3), np.uint8)
    ])  # fmt: skip
    Path("clip").mkdir()
    told, said = fg("animate", 3, "--driver", "clip", *steered_files.flags(steered), "-o", "moved.mp4")
    assert (told["frames"], told["rate"]) == (N + 1, 12)
    assert said[-1] == "clip: 1 of 7 frames follow their neighbours, without a face: 2"
    np.testing.assert_allclose(made["heads"].pose, POSE[[0, 0, *range(1, N)]], atol=1e-5)
    assert torch.equal(made["heads"].shape, made["own"].shape.expand(N + 1, -1))


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        ([], "fg animate: expected --sequence or --driver, found both or neither; give one", 2),
        (
            ["--sequence", "talk.npz", "--driver", "talk.npz"],
            "expected --sequence or --driver, found both or neither",
            2,
        ),
        (["--sequence", "talk.npz", "-o", "talk.avi"], "-o talk.avi: expected a name that ends in .mp4 or .gif", 2),
        (["--sequence", "none.npz"], "none.npz: expected", 1),
        (["--sequence", "flame.npz"], "flame.npz: expected expressions of the generator's head, procedural", 1),
        (["--sequence", "nan.npz"], "nan.npz: expected finite numbers, found nan in jaw_pose 0 of frame 0", 1),
        (["--driver", "none.mp4"], "none.mp4: expected a video or a folder of its frames, found no such file", 1),
        (["--sequence", "talk.npz", "--conditions", "none.h5"], "none.h5: expected an fg artifact, found no such", 1),
    ],
)
def test_what_cannot_be_animated_is_one_sentence_and_leaves_nothing(home, steered, arguments, message, code):
    pytest.importorskip("av")
    np.savez("flame.npz", exp=EXPRESSION)
    np.savez("nan.npz", jaw_pose=np.full((2, 3), np.nan))
    before = sorted(home.iterdir())
    _, said = fg("animate", 3, *steered_files.flags(steered), *arguments, code=code)
    assert message in said[-1]
    assert sorted(home.iterdir()) == before


# ---- VHAP


def test_vhap_sees_the_eyes_where_the_fit_does(head, tmp_path, monkeypatch):
    monkeypatch.setattr(head, "name", "flame")
    p = parameters().replace(shape=torch.ones(N, 100))
    p = p.replace(camera=centred(head, p.shape, p.expression, p.pose, 0.8))
    told = save_vhap(tmp_path / "v.npz", head, p)
    with np.load(tmp_path / "v.npz") as file:
        stored = dict(file)
    shapes = {name: value.shape for name, value in stored.items() if value.dtype == np.float32}
    assert shapes == {
        "translation": (N, 3), "rotation": (N, 3), "neck_pose": (N, 3), "jaw_pose": (N, 3), "eyes_pose": (N, 6),
        "shape": (300,), "expr": (N, 100), "static_offset": (1, len(head.template), 3), "focal_length": (1,),
    }  # fmt: skip
    assert {name: str(stored[name]) for name in told} == told
    assert set(told) == {"edition", "camera", "padding"}
    np.testing.assert_array_equal(stored["expr"][:, :50], EXPRESSION)
    assert not stored["expr"][:, 50:].any()
    assert not stored["shape"][100:].any()
    points = head.landmark_points(p.shape, p.expression, p.pose)
    for of, bar in ((eyeballs(head, p.shape, p.expression, p.pose), 0.01), (points, 0.03)):
        x, y, z = (of + torch.from_numpy(stored["translation"])[:, None]).unbind(2)
        seen = torch.stack([2 * FOCAL * x / (1 - z), -2 * FOCAL * y / (1 - z)], 2)  # a pinhole at (0, 0, 1)
        assert (seen - project(of, p.camera)[..., :2]).abs().max() < bar


def test_vhap_is_one_person_in_flame(head, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"--order vhap: expected the head flame, .* found procedural; fit"):
        save_vhap(tmp_path / "v.npz", head, parameters())
    monkeypatch.setattr(head, "name", "flame")
    two = parameters().replace(shape=torch.eye(N, 100))
    with pytest.raises(FgError, match=r"v.npz: expected one shape in all 6 heads, .*found 6; fit them with fg flame"):
        save_vhap(tmp_path / "v.npz", head, two)
    assert not list(tmp_path.iterdir())


def test_a_drawn_sequence_goes_back_and_forth(head, tmp_path, monkeypatch):
    monkeypatch.setattr(head, "name", "flame")
    p = parameters()
    save_vhap(tmp_path / "v.npz", head, p.replace(camera=torch.ones(N, 3)))
    found = sequences.load(tmp_path / "v.npz")
    np.testing.assert_allclose(found.applied(p.rows([0])).pose, POSE, atol=1e-5)
    assert found.about == "flame"
