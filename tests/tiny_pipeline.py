"""A pipeline of a few tiny files, the commands that read each of them, and its hashes put right after damage."""

import hashlib
import json
from contextlib import chdir, suppress
from dataclasses import dataclass
from pathlib import Path

import h5py
import mutants
import numpy as np
import yaml
from conftest import HEAD, SMALL_RUN
from typer.testing import CliRunner

from fgcli import config
from fgcli.cli import app


@dataclass(frozen=True)
class Command:
    """A command line, the files that it reads, the files and folders that it writes, its section of params."""

    words: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    section: str = ""


def stage(name: str, reads: str, writes: str, more: str = "") -> Command:
    """A stage: its inputs and outputs in out/."""
    where = lambda names: tuple(f"out/{name}" for name in names.split())  # noqa: E731
    return Command(f"{name} {more}".strip(), where(reads), where(writes), name)


ALL = "faces.h5 generator.h5 latents.h5 density.h5"
RUN = "train/last.h5 train/last.h5 train/best.h5 train/run.json train/stats.jsonl train/history.json"
NEW = "--folder out/new -o out/new.h5"
DRAWN = ("out/s.png", "out/s.h5", *(f"out/s-seed000{i}.png" for i in range(4)))
COMMANDS = (
    stage("train", "faces.h5", "new new.h5", NEW),
    stage("train", "faces.h5 generator.h5", "new new.h5", f"{NEW} --init-from out/generator.h5"),
    stage("train", f"faces.h5 {RUN}", "train generator.h5"),
    stage("train", "faces.h5", "", "--dry-run"),
    stage("invert", "faces.h5 generator.h5", "latents.h5"),
    stage("density", "latents.h5", "density.h5"),
    stage("editor", "latents.h5", "editor.h5"),
    stage("classifier", "faces.h5", "classifier.h5 classifier"),
    stage("judges", "faces.h5 latents.h5 generator.h5", "judges.h5 judges.json judges"),
    stage("evaluate", f"{ALL} classifier.h5", "evaluation.h5 metrics.json protocols.json neighbours.png"),
    stage("report", f"{ALL} judges.h5 editor.h5 flame.h5 evaluation.h5 metrics.json neighbours.png", "report.html"),
    stage("regressor", "faces.h5 flame.h5", "regressor.h5 regressor", "--faces out/faces.h5 --flame out/flame.h5"),
    stage("flame", "faces.h5 regressor.h5", "flame.h5 flame.png"),
    stage("flame", "faces.h5 regressor.h5", "", "--dry-run"),
    Command("sample -n 4 -o out/s.png", ("out/generator.h5", "out/density.h5"), DRAWN),
    Command("sample -n 4 --density prior -o out/s.png", ("out/generator.h5",), DRAWN),
    *(
        Command(f"{words} -o out/s.png", ("out/generator.h5", "out/latents.h5", *more), ("out/s.png",))
        for words, *more in (
            ("edit 3 -a smiling --strength 1 --method plain", "out/editor.h5"),
            ("edit 3 -a smiling --strength 1 --method wasserstein", "out/editor.h5"),
            ("reconstruct 1 2", ),
            ("reconstruct photos/b.png", ),
            ("interpolate 1 2 --frames 3", ),
        )
    ),
    Command("flame render 1 --frames 2 --size 48 -o out/s.png", ("out/flame.h5", "out/faces.h5"), ("out/s.png",)),
    Command("flame export 1 -o out/s.ply", ("out/flame.h5", "out/faces.h5"), ("out/s.ply",)),
)  # fmt: skip
PHOTOS = (
    Command("preprocess", ("photos/a.png",), ("out/faces.h5", "out/faces.png"), "preprocess"),
    *(
        Command(f"{words} -o out/s.png", ("photos/a.png",), ("out/s.png",))
        for words in ("reconstruct photos/a.png", "interpolate photos/a.png 2 --frames 2")
    ),
    Command(
        "edit photos/a.png -a smiling --strength 1 --method plain -o out/s.png",
        ("photos/a.png",),
        ("out/s.png", "out/s-a-+1.png"),
    ),
)
INSPECTED = (
    "faces",
    "generator",
    "latents",
    "density",
    "editor",
    "flame",
    "evaluation",
    "regressor",
    "classifier",
    "judges",
)
TABLE = Command("preprocess", ("labels.csv",), ("out/faces.h5", "out/faces.png"), "preprocess")
CHAIN = (
    "faces",
    "flame",
    "regressor",
    "classifier",
    "generator",
    "latents",
    "judges",
    "density",
    "editor",
    "evaluation",
)
"""Artifacts in an order in which none is made from a later one."""

SMALL = {
    "preprocess": {
        "datasets": [{"name": "image_folder", "path": "photos", "attributes": "labels.csv"}],
        "size": 32, "processes": 1, "val": 0.0, "test": 0.0, "max_rejected": 0.9,
    },
    "heads": {"n": 24, "size": 32, "head": HEAD, "val": 0.2, "test": 0.2, "processes": 1},
    "regressor": {"width": 4, "steps": 2, "batch": 8, "validate_steps": 2, "threads": 1, "precision": "float32"},
    "flame": {"head": HEAD, "refine": "none", "max_failed": 1.0},
    "classifier": {"width": 0.1, "steps": 2, "batch": 8, "validate_steps": 2, "threads": 1, "precision": "float32"},
    "judges": {"network": {"name": "residual", "width": 0.1}, "hidden": 4, "steps": 2, "batch": 8, "validate_steps": 2,
               "threads": 1, "precision": "float32"},
    "train": SMALL_RUN | {"objective": {"name": "masked_elbo"}, "steps": 2},
    "density": {"methods": {"gmm": {"name": "gmm", "components": 2, "starts": 1},
                            "two": {"name": "two_stage_vae", "width": 0.01, "epochs": 1},
                            "flow": {"name": "flow", "transforms": 1, "hidden": 4, "epochs": 1},
                            "gaussian": {"name": "gaussian"}}},
    "editor": {"attributes": ["smiling"],
               "methods": {"plain": {"name": "mean_difference"},
                           "wasserstein": {"name": "latent_wasserstein", "steps": 2}}},
    "evaluate": {"samples": 4, "metrics": [{"name": "l1"}, {"name": "sharpness"},
                                           {"name": "frechet", "features": "classifier"}]},
    "report": {"people": 2, "strengths": [1.0], "samples": 4},
}  # fmt: skip


def make_pipeline(folder: Path) -> None:
    """Photos, params and every artifact, each by its command; rendered heads stand for the faces."""
    params = config.overlay(config.defaults(), SMALL)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    _write_photos(folder)
    done(folder, "data make procedural_heads -o out/faces.h5 --flame out/flame.h5 --sheet out/faces.png")
    _photographed(folder / "out/faces.h5", params["preprocess"])
    rechain(folder)
    for command in COMMANDS:
        own = any(Path(path).stem in ("new", "s") for path in command.writes)
        if command.writes and not own and command.words != "flame":  # which would write over the renders'
            done(folder, command.words)
    (folder / "mine.txt").write_text("of the user's own\n")


def done(folder: Path, words: str) -> None:
    """Runs a command in a folder and this process; it is to succeed."""
    with chdir(folder):
        ended = CliRunner().invoke(app, words.split())
    if ended.exit_code:
        raise SystemExit(f"fg {words}: exit {ended.exit_code} with whole files\n{ended.output}")


def _write_photos(folder: Path) -> None:
    from PIL import Image

    from fgcli.datasets.orl import orl

    (folder / "photos").mkdir()
    known = orl()
    for name, i in (("a", 0), ("b", 10), ("c", 20)):
        Image.open(known.photos[i].path).save(folder / f"photos/{name}.png")
    (folder / "labels.csv").write_text("file,identity,smiling,glasses\na.png,anna,1,0\nb.png,ben,0,1\nc.png,cyd,1,-1\n")


def _photographed(path: Path, params: dict) -> None:
    """Has a file of renders say that it was cut out of photos, as these params tell."""
    with h5py.File(path, "r+") as file:
        head = json.loads(file["head"][()].tobytes()) | {"params": params}
        mutants.replace(file, "head", np.frombuffer(json.dumps(head).encode(), np.uint8))
        file["attributes"][...] = np.arange(len(file["attributes"]))[:, None] // 3 % 2  # some on both sides


def rechain(folder: Path) -> None:
    """Has every artifact name the files as they are now: so damage is met where it is read, not by a hash before."""
    hashes: dict[str, str] = {}
    for name in CHAIN:
        path = folder / f"out/{name}.h5"
        with suppress(OSError, KeyError, ValueError, AttributeError, TypeError), h5py.File(path, "r+") as file:
            head = json.loads(file["head"][()].tobytes())
            told = json.dumps(head)
            head["inputs"] |= {k: hashes[k] for k in head["inputs"] if k in hashes}
            if isinstance(head["meta"].get("generator"), str) and "generator" in hashes:
                head["meta"]["generator"] = hashes["generator"]
            if json.dumps(head) != told:
                mutants.replace(file, "head", np.frombuffer(json.dumps(head).encode(), np.uint8))
        if path.is_file():
            hashes[name] = hashlib.sha256(path.read_bytes()).hexdigest()
