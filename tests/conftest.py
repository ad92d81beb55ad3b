"""What several test files share: painted faces and the params of a run that takes seconds."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: equal bytes need an equal number of threads

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fgcli import artifacts, config

SIZE, FACES = 16, 64
LONGEST = [
    f"test_{name}.py"
    for name in ("pipeline", "preprocess", "training", "heads", "families", "wheel", "studio", "mutations", "steer")
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: of two workers none is to wait for what the other began last."""
    places = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Sums of several threads are not equal bit for bit."""
    import torch

    torch.set_num_threads(1)


def painted(n: int = FACES, size: int = SIZE, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, size, size, 3) of an oval with two eyes, all varied, and masks uint8 (n, size, size)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    middle, radius = rng.uniform(-0.15, 0.15, (2, n, 1, 1)), rng.uniform(0.6, 0.8, (n, 1, 1))
    masks = ((x - middle[0]) / (0.8 * radius)) ** 2 + ((y - middle[1]) / radius) ** 2 < 1
    skin, ground = rng.uniform(120, 240, (n, 1, 1, 3)), rng.uniform(0, 100, (n, 1, 1, 3))
    shade = (1 + rng.uniform(-0.3, 0.3, (n, 1, 1)) * x)[..., None]
    images = np.where(masks[..., None], skin * shade, ground)
    for side in (-0.3, 0.3):
        eye = (x - middle[0] - side) ** 2 + (y - middle[1] + 0.2) ** 2 < 0.02
        images[eye] *= 0.4
    images += rng.normal(0, 3, images.shape)
    return images.clip(0, 255).astype(np.uint8), masks.astype(np.uint8) * 255


def write_faces(path: Path, n: int = FACES, size: int = SIZE, seed: int = 0) -> Path:
    """A faces.h5 of painted faces: of eight, six train, one validates, one tests."""
    images, masks = painted(n, size, seed)
    arrays = {
        "images": images,
        "masks": masks,
        "landmarks": np.zeros((n, 68, 2), np.float32),
        "crop": np.tile(np.eye(2, 3, dtype=np.float32), (n, 1, 1)),
        "attributes": (np.arange(n)[:, None] % 2).astype(np.int8),
        "identity": np.arange(n, dtype=np.int32),
        "split": np.array([0, 0, 0, 1, 0, 2, 0, 0], np.uint8)[np.arange(n) % 8],
        "source": [f"painted/{i}" for i in range(n)],
        "rejected/source": np.zeros(0, "S1"),
        "rejected/reason": np.zeros(0, "S1"),
    }
    known = {"analyser": {"name": "none"}, "segmenter": {"name": "none"}}
    meta = {"content": "faces", "attribute_names": ["odd"], "datasets": [], **known}
    artifacts.save(path, artifacts.FACES, arrays, params={}, inputs={}, meta=meta)
    return path


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A faces.h5 of 64 painted faces of 16 px; nobody changes it."""
    return write_faces(tmp_path_factory.mktemp("faces") / "faces.h5")


SMALL_RUN = {
    "generator": {"name": "masked_vae", "codes": 8, "width": 0.1},
    "steps": 12,
    "batch": 8,
    "warmup": 2,
    "clip": 0.5,
    "ema_half_life": 3,
    "validate_steps": 5,
    "checkpoint_steps": 4,
    "checkpoint_seconds": 1000.0,
    "device": "cpu",
    "precision": "float32",
    "threads": 1,
}


def train_params(**changes: Any) -> Any:
    """The default params of `fg train`, made small, then changed."""
    from fgcli.stages.train import Params

    values = config.overlay(config.defaults()["train"], SMALL_RUN)
    return config.section({"train": config.overlay(values, changes)}, "train", Params)


@contextmanager
def stopped(monkeypatch: pytest.MonkeyPatch, step: int) -> Iterator[None]:
    """Inside, training is interrupted when this step is taken and nothing of it is told or kept yet."""
    from fgcli.training.loop import Loop

    run = Loop.run

    def breaks(self: Any, stream: Any) -> Iterator[Any]:
        for tick in run(self, stream):
            if tick.step == step:
                raise KeyboardInterrupt
            yield tick

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "run", breaks)
        with pytest.raises(KeyboardInterrupt):
            yield


def write_latents(
    path: Path,
    codes: np.ndarray,
    attributes: np.ndarray,
    names: list[str],
    split: np.ndarray,
    people: np.ndarray | None = None,
) -> None:
    """latents.h5 of codes (n, l, d) that no generator knows; of `people` (n,) if they are known."""
    arrays = {"codes": codes, "error": np.zeros(len(codes), np.float32), "attributes": attributes, "split": split}
    arrays |= {} if people is None else {"identity": people.astype(np.int32)}
    meta = {
        "space": "z",
        "generator": "none",
        "inverter": {"name": "encoder"},
        "seed": 0,
        "self_test": {},
        "build": {"name": "pca"},
        "attribute_names": names,
    }
    artifacts.save(path, artifacts.LATENTS, arrays, params={}, inputs={}, meta=meta)


HEAD = {"name": "procedural", "detail": 0.5, "texture_size": 64}
"""A head of some 1,400 vertices: all that tests of fits and renders need."""


@pytest.fixture(scope="session")
def head() -> Any:
    """The small procedural head; nobody changes it."""
    from fgcli.heads import HEADS

    return config.build(HEADS, HEAD, "test")


def heads_params(**changes: Any) -> Any:
    """The default params of `fg data make procedural_heads`, made small, then changed."""
    from fgcli.stages.heads import Params

    small = {"n": 24, "size": 32, "head": HEAD, "val": 0.2, "test": 0.2, "processes": 1}
    values = config.overlay(config.defaults()["heads"], small)
    return config.section({"heads": config.overlay(values, changes)}, "heads", Params)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """faces.h5 and flame.h5 of 24 rendered heads of 32 px, and the sheet; nobody changes them."""
    from fgcli.stages import heads

    folder = tmp_path_factory.mktemp("rendered")
    paths = {"output": folder / "faces.h5", "flame": folder / "flame.h5", "sheet": folder / "faces.png"}
    heads.run(**paths, params=heads_params())
    return {"faces": paths["output"], "flame": paths["flame"], "sheet": paths["sheet"]}


@pytest.fixture(scope="session")
def regressor(rendered: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A regressor.h5 of a few steps on `rendered`."""
    from fgcli.stages import regressor as stage

    folder = tmp_path_factory.mktemp("regressor")
    files = {"output": folder / "regressor.h5", "folder": folder / "run"}
    stage.run(rendered["faces"], rendered["flame"], **files, params=regressor_params())
    return files["output"]


@pytest.fixture(scope="module")
def steered(rendered: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Files of a generator that heads steer, see `steered_files`."""
    import steered_files

    from fgcli.generators import GENERATORS

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(GENERATORS, "steered", "toys:Steered")
        yield steered_files.write(tmp_path_factory.mktemp("steered"), rendered)


def regressor_params(**changes: Any) -> Any:
    """The default params of `fg regressor`, made small, then changed."""
    from fgcli.stages.regressor import Params

    small = {
        "width": 4,
        "steps": 8,
        "batch": 8,
        "validate_steps": 4,
        "device": "cpu",
        "precision": "float32",
        "threads": 1,
    }
    values = config.overlay(config.defaults()["regressor"], small)
    return config.section({"regressor": config.overlay(values, changes)}, "regressor", Params)


@pytest.fixture
def alexnet(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """AlexNet's file, of random weights, as if it had been imported: LPIPS can be made."""
    import dataclasses
    import hashlib

    import torch
    import torchvision

    from fgcli import assets
    from fgcli.backbones import lpips_network

    torch.manual_seed(0)
    entry = assets.ASSETS["alexnet"]
    path = tmp_path_factory.mktemp("assets") / entry.file
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), path)
    content = path.read_bytes()
    known = dataclasses.replace(entry, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(assets.ASSETS, "alexnet", known)
    monkeypatch.setenv("FG_ASSETS", str(path.parent))
    lpips_network.load.cache_clear()
    yield path
    lpips_network.load.cache_clear()
