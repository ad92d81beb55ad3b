"""Damage to one file, drawn at random: bytes, HDF5 structure, heads, JSON, params, photos, tables.

Every function takes a generator of numbers and a path, changes that file alone, and says what it did.
"""

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml
from PIL import Image

ODD = [
    "",
    " ",
    "\x00",
    "a\nb",
    "Zoë/łódź",
    "🙂",
    "\u202e",
    "../../x",
    "x" * 5000,
    "nan",
    "-1",
    "~",
    "${x}",
    "'\"",
    "\ud800",
]
"""Texts that people and programs write and few expect."""
VALUES = [None, True, False, 0, -1, 1, 2, -0.5, 1e-12, 1e30, 2**62, 2**70, -(2**63), "", "x", "nan", [], {}, [1, "a"],
          {"name": "x"}, {"a": {"b": [None]}}, [[[]]], "🙂"]  # fmt: skip
"""What may stand where another value should."""


def pick(rng, choices):
    """One of them."""
    choices = list(choices)
    return choices[int(rng.integers(len(choices)))]


# ---- bytes


def damaged_bytes(rng, path: Path) -> str:
    """Truncated, cut to nothing, bits turned, a range zeroed, more bytes than there were, or another file's."""
    old = path.read_bytes()
    kind = pick(rng, ["truncate", "empty", "bit", "bytes", "zeros", "append", "text", "twice"])
    at = int(rng.integers(len(old))) if old else 0
    new = bytearray(old)
    if kind == "truncate":
        new = new[:at]
    elif kind == "empty":
        new = bytearray()
    elif kind == "bit" and old:
        new[at] ^= 1 << int(rng.integers(8))
    elif kind == "bytes":
        for place in rng.integers(len(old), size=20) if old else ():
            new[place] = int(rng.integers(256))
    elif kind == "zeros":
        new[at : at + 200] = bytes(len(new[at : at + 200]))
    elif kind == "append":
        new += rng.bytes(300)
    elif kind == "text":
        new = bytearray(b"<html>not found</html>\n")
    elif kind == "twice":
        new += bytes(new)
    path.write_bytes(bytes(new))
    return f"{kind} at {at} of {len(old)}"


# ---- HDF5


def damaged_dataset(rng, path: Path) -> str:
    """One dataset removed, renamed, of another type, shape, layout, or with other values."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
        name = pick(rng, [n for n in names if n != "head"] or names)
        kind = pick(rng, DATASETS)
        return f"{name}: {DATASETS[kind](rng, file, name) or kind}"


def replace(file, name, array, **how) -> None:
    del file[name]
    file.create_dataset(name, data=array, track_times=False, **how)


def _removed(rng, file, name):
    del file[name]


def _renamed(rng, file, name):
    file.move(name, name + pick(rng, ["2", " ", "ß"]))


def _retyped(rng, file, name):
    array = file[name][()]
    if array.dtype.kind == "S":
        replace(file, name, np.zeros(array.shape, np.float32))
        return "numbers instead of text"
    kind = pick(rng, ["f2", "f8", "i1", "i8", "u4", "?", "c8", ">f4", "S4"])
    with np.errstate(all="ignore"):
        replace(file, name, array.astype(kind))
    return f"as {kind}"


def _reshaped(rng, file, name):
    array = file[name][()]
    made = {
        "fewer rows": lambda: array[: len(array) // 2],
        "no rows": lambda: array[:0],
        "more rows": lambda: np.concatenate([array, array]),
        "flat": lambda: array.reshape(-1),
        "an axis more": lambda: array[..., None],
        "a scalar": lambda: array.reshape(-1)[0],
        "narrower": lambda: array[..., :-1],
        "turned": lambda: np.ascontiguousarray(array.T),
    }
    kind = pick(rng, made)
    if array.ndim == 0 or not array.size:
        kind, new = "an axis more", array[..., None]
    else:
        new = made[kind]()
    replace(file, name, new)
    return kind


def _not_finite(rng, file, name):
    array = file[name][()]
    if array.dtype.kind != "f" or not array.size:
        return _extreme(rng, file, name)
    value = pick(rng, [np.nan, np.inf, -np.inf])
    everywhere = array.ndim == 0 or rng.random() < 0.5
    if everywhere:
        file[name][...] = np.full(array.shape, value, array.dtype)
    else:
        array.reshape(-1)[int(rng.integers(array.size))] = value
        file[name][...] = array
    return f"{value} {'everywhere' if everywhere else 'once'}"


def _extreme(rng, file, name):
    array = file[name][()]
    if not array.size:
        return "nothing to change"
    if array.dtype.kind == "S":
        return _odd_text(rng, file, name)
    if array.dtype.kind == "b":
        file[name][...] = ~array
        return "the opposite"
    bounds = np.iinfo(array.dtype) if array.dtype.kind in "iu" else np.finfo(array.dtype)
    value = pick(rng, [bounds.max, bounds.min, bounds.max // 2, 7])
    if array.ndim == 0 or rng.random() < 0.5:
        array = np.full(array.shape, value, array.dtype)
    else:
        array.reshape(-1)[int(rng.integers(array.size))] = value
    file[name][...] = array
    return f"value {value}"


def _odd_text(rng, file, name):
    array = file[name][()]
    if array.dtype.kind != "S" or not array.size:
        return _extreme(rng, file, name) if array.dtype.kind in "iuf" else "nothing to change"
    text = pick(rng, [b"\xff\xfe", *(t.encode(errors="surrogatepass") for t in ODD)])
    new = [bytes(t) for t in array.reshape(-1)]
    new[int(rng.integers(len(new)))] = text
    replace(file, name, np.array(new, f"S{max(map(len, new)) or 1}"))
    return f"text {text[:20]!r}"


def _chunked(rng, file, name):
    array = file[name][()]
    if array.ndim and array.size:
        replace(file, name, array, chunks=True, compression="gzip")


def _a_group(rng, file, name):
    del file[name]
    file.create_group(name)


def _group_beside(rng, file, name):
    file.create_group(pick(rng, ["empty", "weights/empty", "methods/empty"]))


def _linked(rng, file, name):
    del file[name]
    file[name] = h5py.SoftLink(pick(rng, ["/nowhere", f"/{name}", "/head"]))


DATASETS = {
    "removed": _removed, "renamed": _renamed, "retyped": _retyped, "reshaped": _reshaped, "not finite": _not_finite,
    "not finite too": _not_finite, "extreme": _extreme, "text": _odd_text, "chunked": _chunked, "a group": _a_group,
    "a group more": _group_beside, "a link": _linked,
}  # fmt: skip


def damaged_head(rng, path: Path) -> str:
    """The JSON head broken, or one of its values, however deep, removed or replaced."""
    with h5py.File(path, "r+") as file:
        head = json.loads(file["head"][()].tobytes())
        kind = pick(rng, ["broken", "version", "kind", *["value"] * 9])
        if kind == "broken":
            text = json.dumps(head)[: int(rng.integers(20))]
        else:
            if kind == "version":
                head["schema"], told = head["schema"] + pick(rng, ["0", "9", ".1", ""]), "schema"
            elif kind == "kind":
                head["schema"], told = pick(rng, ["faces/2", "latents/2", "x", "generator/1", "", "/"]), "schema"
            else:
                told = changed(rng, head)
            text = json.dumps(head)
            kind += f" {told}"
        replace(file, "head", np.frombuffer(text.encode(), np.uint8))
    return kind


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Keys that lead to every value of nested dicts and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(rng, content: Any, within: tuple = ()) -> str:
    """Removes, replaces or adds one value below `within`; returns where and what."""
    known = [place for place in places(content) if place[: len(within)] == within and len(place) > len(within)]
    *outer, key = pick(rng, known)
    inside = content
    for part in outer:
        inside = inside[part]
    where = ".".join(map(str, [*outer, key]))
    kind = pick(rng, ["removed", "replaced", "replaced", "negated", "added", "wrapped"])
    old = inside[key]
    if kind == "removed":
        del inside[key]
        return f"{where} removed"
    if kind == "negated" and isinstance(old, int | float):
        inside[key] = -old if old else -1
    elif kind == "added" and isinstance(old, dict):
        old[pick(rng, ["more", "", "Zoë", "x.y", "stepz"])] = pick(rng, VALUES)
    elif kind == "wrapped":
        inside[key] = [old]
    else:
        inside[key] = pick(rng, VALUES)
    return f"{where}: {str(old)[:40]!r} -> {str(inside[key])[:40]!r}"


def damaged_artifact(rng, path: Path) -> str:
    """Any of the above."""
    return pick(rng, [damaged_bytes, damaged_dataset, damaged_dataset, damaged_dataset, damaged_head, damaged_head])(
        rng, path
    )


# ---- text


def damaged_json(rng, path: Path) -> str:
    """JSON of other content, or no JSON."""
    if rng.random() < 0.4:
        return damaged_bytes(rng, path)
    content = json.loads(path.read_text())
    told = changed(rng, content)
    path.write_text(json.dumps(content))
    return told


def damaged_params(rng, path: Path, section: str) -> str:
    """params.yaml with one value of a section changed, or no YAML."""
    if rng.random() < 0.15:
        return damaged_bytes(rng, path)
    content = yaml.safe_load(path.read_text())
    told = changed(rng, content, (section,)) if rng.random() < 0.9 else changed(rng, content)
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False))
    return told


def damaged_table(rng, path: Path) -> str:
    """labels.csv in another encoding, with other columns, rows twice, or letters that no table has."""
    text = path.read_text()
    lines = text.splitlines()
    row = int(rng.integers(1, len(lines)))
    made = {
        "utf-16": lambda: text.encode("utf-16"),
        "latin-1": lambda: text.replace("a", "ä", 1).encode("latin-1"),
        "bom": lambda: text.encode("utf-8-sig"),
        "nul": lambda: (text[:50] + "\x00" + text[50:]).encode(),
        "no header": lambda: "\n".join(lines[1:]).encode(),
        "no file column": lambda: text.replace("file", "name", 1).encode(),
        "column twice": lambda: text.replace("smiling", "identity", 1).encode(),
        "row twice": lambda: "\n".join([*lines, lines[row]]).encode(),
        "row cut": lambda: "\n".join([*lines[:row], lines[row].split(",")[0]]).encode(),
        "row longer": lambda: "\n".join([*lines, lines[row] + ",1,1,1"]).encode(),
        "odd value": lambda: text.replace(",1", f",{pick(rng, ODD)}", 1).encode(errors="surrogatepass"),
        "odd name": lambda: text.replace("smiling", pick(rng, ODD), 1).encode(errors="surrogatepass"),
        "quote": lambda: text.replace(",", ',"', 1).encode(),
        "huge field": lambda: (text + "x" * 200_000 + ",1\n").encode(),
        "semicolons": lambda: text.replace(",", ";").encode(),
        "returns": lambda: text.replace("\n", "\r").encode(),
        "empty": lambda: b"",
        "only header": lambda: (lines[0] + "\n").encode(),
    }
    kind = pick(rng, made)
    path.write_bytes(made[kind]())
    return kind


# ---- photos


def damaged_photo(rng, path: Path) -> str:
    """A photo of another format, mode or size, damaged, or no photo: a folder, a link, a pipe."""
    kind = pick(rng, [*PHOTOS, *["bytes"] * 6])
    return damaged_bytes(rng, path) if kind == "bytes" else f"{kind} {PHOTOS[kind](rng, path) or ''}"


def _saved(format, convert=None, **options):
    def change(rng, path):
        image = Image.open(path).convert("RGB")
        image.load()
        (convert(image) if convert else image).save(path, format, **options)

    return change


def _sized(width, height):
    return _saved("PNG", lambda image: image.resize((width, height)))


def _lies(rng, path):
    _saved("PNG")(rng, path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", *rng.integers(0, 60000, 2).tolist())
    path.write_bytes(content)


def _animated(rng, path):
    image = Image.open(path).convert("RGB")
    image.save(path, "GIF", save_all=True, append_images=[image.rotate(9), image.rotate(18)])


def _exif(rng, path):
    image = Image.open(path).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = pick(rng, [0, 3, 6, 8, 9, 65535])
    image.save(path, "JPEG", exif=exif.tobytes()[: int(rng.integers(8, 60))] if rng.random() < 0.5 else exif)


def _special(make):
    def change(rng, path):
        path.unlink()
        make(path)

    return change


PHOTOS = {
    "1 px": _sized(1, 1), "2 px": _sized(2, 2), "a line": _sized(3000, 1), "a pillar": _sized(5, 4000),
    "16-bit": _saved("PNG", lambda i: Image.fromarray(np.asarray(i.convert("L"), np.uint16) * 257)),
    "float": _saved("TIFF", lambda i: Image.fromarray(np.full((90, 90), np.nan, np.float32))),
    "cmyk": _saved("JPEG", lambda i: i.convert("CMYK")), "palette": _saved("PNG", lambda i: i.quantize(7)),
    "one bit": _saved("PNG", lambda i: i.convert("1")), "lab": _saved("TIFF", lambda i: i.convert("LAB")),
    "transparent": _saved("PNG", lambda i: i.convert("RGBA")), "webp": _saved("WEBP"), "bmp": _saved("BMP"),
    "icc": _saved("PNG", icc_profile=b"no profile at all"), "animated": _animated, "exif": _exif, "size lies": _lies,
    "grey": _saved("PNG", lambda i: Image.new("RGB", (120, 120), (90, 90, 90))),
    "a folder": _special(lambda path: path.mkdir()), "a pipe": _special(os.mkfifo),
    "a link to nothing": _special(lambda path: path.symlink_to("nowhere.jpg")),
    "a link to itself": _special(lambda path: path.symlink_to(path.name)),
    "a link to a device": _special(lambda path: path.symlink_to("/dev/zero")), "gone": _special(lambda path: None),
}  # fmt: skip
