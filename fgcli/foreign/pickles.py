"""Reading foreign pickles without running any of their code.

FLAME's files are Python 2 pickles, alone or inside .npy and .npz; stylegan2-ada-pytorch's have modules with the source
code of their classes. A pickle names the functions that rebuild its objects; here it may name those of arrays, sparse
matrices and tensors and stand-ins for chumpy and for such modules, which become their plain state, and nothing else.
"""

from __future__ import annotations

import io
import itertools
import pickle  # noqa: TID251 - only its Unpickler, with a table of what may be named in place of the import system
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from fgcli.assets import read_tensors
from fgcli.errors import FgError

NPY = b"\x93NUMPY"
ZIP = b"PK\x03\x04"
TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How a torch file of before version 1.6 starts."""
FIXES = {"dnnlib.tflib.network": "convert it from TensorFlow by legacy.py of stylegan2-ada-pytorch"}
"""What to do where a module is named that no reader here can do without."""


def load(path: Path) -> Mapping[str, Any]:
    """The named values of a .pkl, .npy or .npz file, told apart by content; those of an .npz are read when asked for.

    Raises:
        FgError: no such file, a damaged one, one without names, or a pickle that names what it may not.
    """
    if not path.is_file():
        raise FgError(f"{path}: expected a head file, found no such file; check the path")
    with open(path, "rb") as file:
        start = file.read(6)
        file.seek(0)
        if start.startswith(ZIP):
            return Archive(path)
        found = _array(file, path) if start == NPY else _unpickle(file, path)
    if hasattr(found, "unwrapped"):
        found = plain(found)
    if isinstance(found, np.ndarray) and found.dtype == object and found.shape == ():
        found = found[()]
    if isinstance(found, dict):  # Python 3 has bytes for the names that Python 2 pickled, if it read them as bytes
        found = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in found.items()}
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise FgError(f"{path}: expected named arrays, found a {type(found).__name__}; give a file as published")
    return found


def is_torch_file(path: Path) -> bool:
    """Whether a file was written by torch.save, in its new or its old form."""
    with open(path, "rb") as file:
        start = file.read(len(TORCH))
    if start.startswith(ZIP) and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    return start == TORCH


def plain(value: Any) -> np.ndarray:
    """The array in whatever a head file keeps it: chumpy, sparse (then dense), a torch tensor, lists."""
    if isinstance(value, np.ndarray) and value.dtype == object and value.shape == ():
        return plain(value[()])
    if hasattr(value, "unwrapped"):
        return plain(value.unwrapped())
    if hasattr(value, "detach"):
        return value.detach().numpy()
    return np.asarray(value)


class Archive(Mapping[str, Any]):
    """The arrays of an .npz by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, OSError) as error:
            raise FgError(f"{path}: expected a whole zip, found damage ({error}); download it again") from error
        self.names = [name.removesuffix(".npy") for name in names if name.endswith(".npy")]
        if not self.names:
            raise FgError(f"{path}: expected an .npz of arrays, found a zip of other files; unpack it first")

    def __getitem__(self, key: str) -> Any:
        if key not in self.names:
            raise KeyError(key)
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{key}.npy") as stream:
                return _array(stream, self.path)
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise FgError(f"{self.path}: expected a whole array {key}, found damage ({error}); download it") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def _array(stream: Any, path: Path) -> Any:
    """One .npy: numbers by numpy, objects by the restricted reader."""
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        _, _, dtype = header[np.lib.format.read_magic(stream)](stream)
        if dtype.hasobject:
            return _unpickle(stream, path)
        stream.seek(0)
        return np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, KeyError) as error:
        raise FgError(f"{path}: expected a whole .npy array, found damage ({error}); download it again") from error


def _unpickle(stream: Any, path: Path) -> Any:
    try:
        return _Restricted(stream, path).load()
    except FgError:
        raise
    except Exception as error:  # a damaged pickle may fail in any way
        reason = str(error) or type(error).__name__
        raise FgError(f"{path}: expected a pickle of arrays, found damage ({reason}); download it again") from error


class _Restricted(pickle.Unpickler):
    """An unpickler for which only the names of `_table` exist."""

    def __init__(self, stream: Any, path: Path) -> None:
        super().__init__(stream, encoding="latin1")  # Python 2 kept the bytes of arrays in strings
        self.path, self.table = path, _table()

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle means by a name; nothing is ever imported."""
        found = self.table.get((module, name))
        if found is None:
            fix = FIXES.get(module, "take the file from its publisher")
            raise FgError(
                f"{self.path}: expected a pickle of arrays, found one that calls {module}.{name}; it was not run: {fix}"
            )
        return found


def _table() -> dict[tuple[str, str], Any]:
    """What a pickle may name: stand-ins for all, made anew for each file, so that none can leave a changed one."""
    arrays = _array_stand_ins()
    others = _other_stand_ins()
    new = _new((arrays["ndarray"], others["Ch"], others["csc"], others["csr"]))
    table: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): arrays["ndarray"],
        ("numpy", "dtype"): arrays["dtype"],
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): lambda text, *_: text.encode("latin1"),  # how protocol 2 writes bytes
        ("torch._utils", "_rebuild_tensor_v2"): lambda *given: _tensor(*given[:4]),
        ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): lambda meta: meta,  # a dict; its source is not run
        ("dnnlib.util", "EasyDict"): dict,
        ("torch.storage", "_load_from_bytes"): lambda content: read_tensors(io.BytesIO(content)),
    }
    for core in ("numpy.core", "numpy._core"):
        table[f"{core}.multiarray", "_reconstruct"] = new
        table[f"{core}.multiarray", "scalar"] = arrays["scalar"]
        table[f"{core}.numeric", "_frombuffer"] = arrays["from_buffer"]
    for module in ("copy_reg", "copyreg"):
        table[module, "_reconstructor"] = new
    for module in ("__builtin__", "builtins"):
        table |= {(module, "object"): object, (module, "set"): set, (module, "frozenset"): frozenset}
        table[module, "bytes"] = lambda: b""  # so protocol 2 writes no bytes at all
    for module in ("chumpy", "chumpy.ch"):
        table[module, "Ch"] = others["Ch"]
    for kind, place, name in itertools.product(("csc", "csr"), ("", "_"), ("matrix", "array")):
        table[f"scipy.sparse.{place}{kind}", f"{kind}_{name}"] = others[kind]
    return table


def _array_stand_ins() -> dict[str, Any]:
    """For numpy's: only plain numbers, texts and objects, since a crafted dtype could point anywhere in memory."""

    class Kind:
        def __init__(self, code: str | bytes, *_: object) -> None:
            self.code, self.order = code.decode() if isinstance(code, bytes) else code, ""

        def __setstate__(self, state: tuple[Any, ...]) -> None:
            self.order = state[1].decode() if isinstance(state[1], bytes) else state[1]

        def dtype(self) -> np.dtype:
            if not re.fullmatch(r"[biufcSUO]\d*", self.code):
                raise pickle.UnpicklingError(f"an array of type {self.code}")
            return np.dtype(self.order.replace("|", "") + self.code)

    class Array:
        def __setstate__(self, state: tuple[Any, ...]) -> None:
            self.state = state[-4:]

        def unwrapped(self) -> np.ndarray:
            shape, kind, fortran, content = self.state
            return _filled(content, kind.dtype(), shape, "F" if fortran else "C")

    def scalar(kind: Kind, content: Any) -> Any:
        return _filled(content, kind.dtype(), (), "C")[()]

    def from_buffer(
        content: Any, kind: Kind, shape: tuple[int, ...], order: str, axes: tuple[int, ...] | None = None
    ) -> np.ndarray:
        if order == "K" and axes is not None:  # newer numpy, of permuted axes
            return _filled(content, kind.dtype(), shape, "C").transpose(axes)
        return _filled(content, kind.dtype(), shape, order)

    return {"dtype": Kind, "ndarray": Array, "scalar": scalar, "from_buffer": from_buffer}


def _other_stand_ins() -> dict[str, type]:
    """For chumpy's and scipy's objects: they take the state and give back an array."""

    class Ch:
        def unwrapped(self) -> Any:
            return self.__dict__["x"]

    class Csc:
        def unwrapped(self) -> np.ndarray:
            return _dense(self.__dict__, sparse.csc_matrix)

    class Csr:
        def unwrapped(self) -> np.ndarray:
            return _dense(self.__dict__, sparse.csr_matrix)

    return {"Ch": Ch, "csc": Csc, "csr": Csr}


def _new(classes: tuple[type, ...]) -> Callable[..., Any]:
    def reconstruct(cls: Any, *_: object) -> Any:
        if cls not in classes:
            raise pickle.UnpicklingError("an object of an unexpected class")
        return cls.__new__(cls)

    return reconstruct


def _filled(content: Any, dtype: np.dtype, shape: tuple[int, ...], order: Any) -> np.ndarray:
    """An array from a pickle's bytes (Python 2: text) or, of objects, from its list."""
    if dtype.hasobject:
        array = np.empty(len(content), object)
        array[:] = [plain(item) if hasattr(item, "unwrapped") else item for item in content]
    else:
        array = np.frombuffer(content.encode("latin1") if isinstance(content, str) else content, dtype)
    return array.reshape(shape, order=order)


def _dense(state: Mapping[str, Any], kind: Callable[..., Any]) -> np.ndarray:
    shape = state["_shape"] if "_shape" in state else state["shape"]
    parts = tuple(plain(state[key]) for key in ("data", "indices", "indptr"))
    matrix = kind(parts, shape=tuple(int(size) for size in shape))
    matrix.check_format(full_check=True)  # an index beyond the shape would write outside the array
    return matrix.toarray()


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Any:
    import torch

    return torch._utils._rebuild_tensor(storage, offset, size, stride)
