"""FLAME's published files with random content: what a user would download, byte layouts included."""

import contextlib
import pickle
import struct
import sys
import types
from typing import ClassVar

import numpy as np
import scipy.sparse
import torch
from torchvision.models import resnet50

V, F, SIDE = 5023, 9976, 512
PARENTS = np.array([[0xFFFFFFFF, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32)


def model(seed=0):
    """The arrays of generic_model.pkl, float64: a random cloud of points as a head."""
    rng = np.random.default_rng(seed)
    regressor = scipy.sparse.random(5, V, 0.01, "csc", random_state=rng)
    regressor.data /= np.repeat(1, len(regressor.data))
    regressor = scipy.sparse.csc_matrix(regressor / regressor.sum(1))
    template = rng.normal(0, 0.1, (V, 3))
    weights = rng.dirichlet(np.full(5, 0.3), V)
    return {
        "v_template": template,
        "f": rng.integers(0, V, (F, 3)).astype(np.uint32),
        "shapedirs": rng.normal(0, 1e-3, (V, 3, 400)),
        "posedirs": rng.normal(0, 1e-3, (V, 3, 36)),
        "J_regressor": regressor,
        "J": regressor @ template,
        "weights": weights,
        "kintree_table": PARENTS,
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


class Python2(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


@contextlib.contextmanager
def chumpy():
    """A module chumpy.ch with a class Ch, as long as a file is written."""
    module = types.ModuleType("chumpy.ch")
    module.Ch = type("Ch", (), {"__module__": "chumpy.ch", "__qualname__": "Ch"})
    sys.modules |= {"chumpy": types.ModuleType("chumpy"), "chumpy.ch": module}
    try:
        yield module.Ch
    finally:
        del sys.modules["chumpy"], sys.modules["chumpy.ch"]


def write_old_pickle(path, arrays):
    """As Python 2.7, numpy 1 and scipy 0 wrote it; the bases and the template are chumpy objects."""
    with chumpy() as Ch, open(path, "wb") as file:
        arrays = dict(arrays)
        for key in ("v_template", "shapedirs", "posedirs"):
            arrays[key], array = Ch(), arrays[key]
            arrays[key].__dict__ |= {"x": array, "_dirty_vars": set(), "_itr": None}
        Python2(file, 2).dump(arrays)
    content = path.read_bytes()
    for new, old in (
        (b"numpy._core.multiarray", b"numpy.core.multiarray"),
        (b"scipy.sparse._csc", b"scipy.sparse.csc"),
    ):
        content = content.replace(new, old)
    path.write_bytes(content)


def embedding(seed=1):
    """The arrays of landmark_embedding.npy."""
    rng = np.random.default_rng(seed)
    return {
        "static_lmk_faces_idx": rng.integers(0, F, 51),
        "static_lmk_bary_coords": rng.dirichlet(np.ones(3), 51),
        "dynamic_lmk_faces_idx": torch.from_numpy(rng.integers(0, F, (79, 17))),
        "dynamic_lmk_bary_coords": torch.from_numpy(rng.dirichlet(np.ones(3), (79, 17))),
        "full_lmk_faces_idx": rng.integers(0, F, (1, 68)),
        "full_lmk_bary_coords": rng.dirichlet(np.ones(3), (1, 68)),
    }


def write_embeddings(folder, given):
    """flame_static_embedding.pkl and flame_dynamic_embedding.npy, whose yaw has the other sign."""
    static = {"lmk_face_idx": given["static_lmk_faces_idx"].astype(np.uint32)}
    static["lmk_b_coords"] = given["static_lmk_bary_coords"]
    with open(folder / "flame_static_embedding.pkl", "wb") as file:
        Python2(file, 2).dump(static)
    faces, weights = (given[f"dynamic_lmk_{key}"].numpy() for key in ("faces_idx", "bary_coords"))
    swapped = np.r_[0, 40:79, 1:40]
    np.save(
        folder / "flame_dynamic_embedding.npy",
        {"lmk_face_idx": faces[swapped], "lmk_b_coords": weights[swapped]},
        allow_pickle=True,
    )


def texture(modes=3, seed=2):
    """The arrays of FLAME_texture.npz, with few modes."""
    rng = np.random.default_rng(seed)
    return {
        "mean": rng.uniform(0, 255, (SIDE, SIDE, 3)).astype(np.float32),
        "tex_dir": rng.normal(0, 5, (SIDE, SIDE, 3, modes)).astype(np.float32),
        "vt": rng.uniform(size=(5118, 2)),
        "ft": rng.integers(0, 5118, (F, 3)),
    }


def deca(seed=3):
    """What deca_model.tar holds: the encoder, and nets that nobody asks for."""
    torch.manual_seed(seed)
    net = resnet50()
    weights = {f"encoder.{k}": v for k, v in net.state_dict().items() if not k.startswith("fc.")}
    for key in weights:  # running statistics that do something
        if key.endswith("running_mean"):
            weights[key] = torch.randn_like(weights[key]) * 0.1
        if key.endswith("running_var"):
            weights[key] = torch.rand_like(weights[key]) + 0.5
    for i, (rows, columns) in {0: (1024, 2048), 2: (236, 1024)}.items():
        weights[f"layers.{i}.weight"] = torch.randn(rows, columns) / columns**0.5
        weights[f"layers.{i}.bias"] = torch.randn(rows)
    return {"E_flame": weights, "E_detail": {"encoder.conv1.weight": torch.zeros(1)}, "D_detail": {}, "global_step": 7}
