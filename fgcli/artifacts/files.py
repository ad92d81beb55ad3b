"""Writing and reading artifacts: whole or not at all, and equal bytes for equal content.

A file is written aside, flushed to disk and renamed, so that a name in place is always a whole file. It holds no
time and no host, and no path but those that its params name. Datasets are contiguous and uncompressed, so that rows
can be memory-mapped from any process.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

import fgcli
from fgcli.artifacts.checks import flaws, read
from fgcli.artifacts.schemas import FACES, SCHEMAS, Field, Schema
from fgcli.artifacts.told import Told, told
from fgcli.console import readable
from fgcli.errors import FgError, FlawError

UMASK = os.umask(0)
os.umask(UMASK)
"""Of this process; it can be read only by setting it."""
RUN_AGAIN = "run the stage that writes it"
HEAD = {"schema": str, "fg_version": str, "params": dict, "inputs": dict, "meta": dict}
"""What every artifact says of itself."""


@dataclass(frozen=True)
class Artifact:
    """A file that was read: its arrays by name, and where it comes from."""

    path: Path
    schema: str
    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]
    params: dict[str, Any]
    inputs: dict[str, str]
    fg_version: str

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def group(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays below `prefix/`, by their names without it."""
        inner = {k[len(prefix) + 1 :]: v for k, v in self.arrays.items() if k.startswith(prefix + "/")}
        return Told(inner, self.path, prefix, RUN_AGAIN)


class Writer:
    """An artifact being written: `put` whole arrays, or `allocate` one and fill slices of it."""

    def __init__(self, file: h5py.File, schema: Schema) -> None:
        self._file, self._schema = file, schema
        self._axes: dict[str, int] = {}

    def put(self, name: str, array: Any) -> None:
        """Writes one array; text arrays may be lists of str."""
        field = self._schema.fields.get(name)
        is_text = field.dtype == "str" if field else np.asarray(array).dtype.kind == "U"
        array = _text(array) if is_text else np.asarray(array, order="C")
        self.allocate(name, array.shape, array.dtype)[...] = array

    def allocate(self, name: str, shape: tuple[int, ...], dtype: Any) -> h5py.Dataset:
        """Makes an empty contiguous dataset to be filled slice by slice."""
        if name in self._schema.fields:
            self._check(name, self._schema.fields[name], shape, np.dtype(dtype))
        elif name.split("/")[0] not in self._schema.groups:
            raise ValueError(f"{self._schema.tag} has no field {name!r}")
        return self._file.create_dataset(name, shape, dtype, track_times=False)

    def _check(self, name: str, field: Field, shape: tuple[int, ...], dtype: np.dtype) -> None:
        axes = field.axes.split()
        fits = dtype.kind == "S" if field.dtype == "str" else dtype == np.dtype(field.dtype)
        if not fits or len(shape) != len(axes):
            raise ValueError(f"{self._schema.tag} {name}: expected {field.dtype} ({field.axes}), got {dtype} {shape}")
        for axis, size in zip(axes, shape, strict=True):
            want = int(axis) if axis.isdigit() else self._axes.setdefault(axis, size)
            if want != size:
                raise ValueError(f"{self._schema.tag} {name}: axis {axis} is {want} elsewhere, got {size}")

    def finish(self, meta: Mapping[str, Any], params: Mapping[str, Any], inputs: Mapping[str, Path]) -> None:
        """Checks that the schema is fulfilled and writes the head."""
        missing = [k for k, field in self._schema.fields.items() if not field.optional and k not in self._file]
        missing += [k for k in self._schema.meta if k not in meta]
        if missing:
            raise ValueError(f"{self._schema.tag} lacks {', '.join(missing)}")
        head = {
            "schema": self._schema.tag,
            "fg_version": fgcli.__version__,
            "params": params,
            "inputs": {k: sha256(p) for k, p in sorted(inputs.items())},
            "meta": meta,
        }
        # One JSON text in a dataset: attributes are limited to 64 KiB.
        text = np.frombuffer(json.dumps(head, default=_plain).encode(), np.uint8)
        self._file.create_dataset("head", data=text, track_times=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@contextmanager
def create(
    path: Path, schema: Schema, *, params: Mapping[str, Any], inputs: Mapping[str, Path], meta: Mapping[str, Any]
) -> Iterator[Writer]:
    """Yields a Writer; the file takes its name only when the block ends without an error.

    Raises:
        FgError: the folder cannot be written, or the disk is full.
    """
    with write_aside(path) as part, Writer(h5py.File(part, "w", libver="v110"), schema) as writer:
        yield writer
        writer.finish(meta, params, inputs)


def save(
    path: Path,
    schema: Schema,
    arrays: Mapping[str, Any],
    *,
    params: Mapping[str, Any],
    inputs: Mapping[str, Path],
    meta: Mapping[str, Any],
) -> None:
    """Writes a whole artifact at once."""
    with create(path, schema, params=params, inputs=inputs, meta=meta) as writer:
        for name in sorted(arrays):
            writer.put(name, arrays[name])


@contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Yields a path of its own beside `path`; renames it into place when the block succeeds, else removes it."""
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(".part", f".{path.name}.", path.parent)
        part = Path(name)
        os.fchmod(handle, 0o666 & ~UMASK)  # mkstemp's files are for their owner alone
        os.close(handle)
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
        flush(path.parent)
    except BaseException as error:
        with_space = _explain(path, error)
        try:
            if part:
                part.unlink(missing_ok=True)
        except OSError:
            pass
        if with_space:
            raise FgError(with_space) from error
        raise


def flush(folder: Path) -> None:
    """A rename lasts through a power cut only once its folder is on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON, whole or not at all.

    Raises:
        ValueError: a number is not finite; JSON has no word for it.
    """
    text = as_json(content)
    with write_aside(path) as part:
        part.write_bytes(text)


def as_json(content: Any) -> bytes:
    """The bytes of fg's JSON; raises ValueError where a number is not finite."""
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    return text.encode("utf-8", errors="backslashreplace")  # which JSON reads as the same letters


def _explain(path: Path, error: BaseException) -> str:
    text = str(error)
    told = re.search(r"errno = (\d+)", text)  # HDF5 hides the system's error in its message
    number = int(told[1]) if told else getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"{path}: expected room on the disk to write it, found none left; free some or choose another output"
    if number in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST):
        return f"{path}: expected a folder that can be written, found one that cannot; choose another output"
    if number == errno.EFBIG:
        return f"{path}: expected to write a file of its size, found the file-size limit; raise ulimit -f"
    return ""


def verify_free_space(path: Path, need_bytes: int) -> None:
    """Raises FgError when the disk of `path` has less than `need_bytes` left: before the work, not after it."""
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < need_bytes:
        raise FgError(
            f"{path}: expected {need_bytes / 1e6:.0f} MB of free disk, found {free / 1e6:.0f} MB; "
            "free some or choose another output"
        )


def load(
    path: Path, schema: Schema | None = None, names: tuple[str, ...] | None = None, mend: str = RUN_AGAIN
) -> Artifact:
    """Reads an artifact, whole or only the arrays in `names` (none: only its head); `mend` helps when it is damaged.

    Raises:
        FgError: no such file, not HDF5, truncated, damaged, or an artifact of another kind or version.
    """
    with _open(path, mend) as file:
        head = _head(path, file, mend)
        if schema is not None and head["schema"] != schema.tag:
            made_by = SCHEMAS.get(head["schema"].split("/")[0])
            found = f"{head['schema']} file" if made_by else f"file of unknown kind {head['schema']}"
            raise FgError(f"{path}: expected a {schema.tag} file, found a {found}; give the file of the right stage")
        kind, arrays = _known(head["schema"]), {}
        for name in _datasets(file) if names is None else names:
            arrays[name] = read(file[name], name, kind, head["meta"])
    known = {key: told(head[key], path, key, mend) for key in ("schema", "meta", "params", "inputs", "fg_version")}
    return Artifact(path, arrays=Told(arrays, path, "the dataset", mend), **known)


@contextmanager
def blamed(path: Path, mend: str = RUN_AGAIN) -> Iterator[None]:
    """Inside the block a flaw found is that of this file, and `mend` helps."""
    try:
        yield
    except FlawError as error:
        raise FgError(f"{path}: {error}; {mend}") from error


def verify_finite(where: str, values: np.ndarray, fix: str) -> None:
    """Raises FgError if a row of values (n, ...) is not finite; `where` they stand, and what mends it."""
    bad = np.flatnonzero(~np.isfinite(values).all(tuple(range(1, values.ndim))))
    if len(bad):
        raise FgError(
            f"{where}: expected finite numbers, found NaN or infinity in {len(bad)} of {len(values)} rows, the first "
            f"of them {bad[0]}; {fix}"
        )


def rows(path: Path, name: str) -> np.ndarray:
    """One dataset as a read-only memory map: any worker may index it in any order.

    Raises:
        FgError: as `load`.
    """
    with _open(path) as file:
        schema = _head(path, file, RUN_AGAIN)["schema"]
        if name not in file:
            raise FgError(
                f"{path}: expected a file with {name}, found a {schema} file; give the file of the right stage"
            )
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset):
            raise FgError(f"{path}: expected the dataset {name}, found a group; {RUN_AGAIN}")
        shape, dtype, offset = dataset.shape, dataset.dtype, dataset.id.get_offset()
    if offset is None:  # nothing was ever written, as in a file with no rows
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape)


def people(faces: Path) -> np.ndarray:
    """(n,) int64: equal for rows of faces.h5 that show one person, as far as is known; rows of no person stand alone.

    Raises:
        FgError: as `load`.
    """
    grouped = "group" in layout(faces)
    stored = load(faces, FACES, ("group",) if grouped else ("identity",))
    if grouped:
        return stored["group"].astype(np.int64)
    identity = stored["identity"].astype(np.int64)
    known = (identity >= 0) & (stored.meta["content"] == "faces")  # a class is no person
    return np.where(known, identity, -1 - np.arange(len(identity)))


def layout(path: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and type of every dataset, by name."""
    with _open(path) as file:
        return {name: (file[name].shape, str(file[name].dtype)) for name in _datasets(file)}


def sha256(path: Path) -> str:
    """Content hash of a file, as hex."""
    if not path.exists():
        raise FgError(f"{path}: expected this file, found none; run the stage that writes it")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _open(path: Path, mend: str = RUN_AGAIN) -> Iterator[h5py.File]:
    if not path.is_file():
        raise FgError(f"{path}: expected an fg artifact, found no such file; run the stage that writes it")
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        if error.errno == errno.EACCES:
            raise FgError(f"{path}: expected a readable file, found no permission; change its mode") from error
        with open(path, "rb") as raw:
            whole = raw.read(8) == b"\x89HDF\r\n\x1a\n"
        found = "a truncated or damaged one" if whole else "another kind of file"
        raise FgError(f"{path}: expected a whole HDF5 file, found {found}; {mend}") from error
    with file:
        try:
            with blamed(path, mend):
                yield file
        except (OSError, RuntimeError, KeyError, UnicodeError) as error:
            reason = " ".join(str(error).split())
            raise FgError(f"{path}: expected readable datasets, found damage ({reason}); {mend}") from error


def _head(path: Path, file: h5py.File, mend: str) -> dict[str, Any]:
    if "head" not in file:
        raise FgError(f"{path}: expected an fg artifact, found an HDF5 file of something else; check the path")
    try:
        head = json.loads(file["head"][()].tobytes())
        sound = all(isinstance(head[key], kind) for key, kind in HEAD.items())
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise FgError(f"{path}: expected the head of an fg artifact, found a damaged one; {mend}")
    schema = _known(head["schema"])
    for flaw in flaws(file, schema, head) if schema else ():
        raise FgError(f"{path}: {flaw}; {mend}")
    return head


def _known(tag: str) -> Schema | None:
    """The schema of a name and version; None where this fg has another version of it, or none."""
    schema = SCHEMAS.get(tag.split("/")[0])
    return schema if schema and schema.tag == tag else None


def _datasets(file: h5py.File) -> tuple[str, ...]:
    found: list[str] = []
    file.visititems(lambda name, node: found.append(name) if isinstance(node, h5py.Dataset) else None)
    return tuple(name for name in found if name != "head")


def _text(values: Any) -> np.ndarray:
    encoded = [readable(str(v)).encode() for v in values]
    return np.array(encoded, f"S{max(map(len, encoded), default=1) or 1}")


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} does not belong in an artifact's head")
