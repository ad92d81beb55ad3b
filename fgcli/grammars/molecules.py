"""Molecules as SMILES or SELFIES, by RDKit: whether there is such a molecule, how it scores, what it looks like."""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from fgcli.errors import FgError

LARGEST_RING = 6
"""Atoms of a ring that costs nothing."""
MEANS = {"log_p": 2.40, "accessibility": -2.46, "ring": -0.033}
STDS = {"log_p": 0.94, "accessibility": 0.48, "ring": 0.18}
"""Of the parts of the score over 1,500 training molecules of MOSES."""


@cache
def chem() -> Any:
    """RDKit, told to keep quiet of molecules that it does not take.

    Raises:
        FgError: it is not installed.
    """
    try:
        from rdkit import Chem
    except ImportError as error:
        raise FgError('rdkit: expected the installed package, found none; pip install "fgcli[grammar]"') from error
    importlib.import_module("rdkit.RDLogger").DisableLog("rdApp.*")  # type checkers do not know what it has
    return Chem


def molecule(smiles: str) -> Any:
    """RDKit's molecule of a SMILES; None where there is none, as of text with atoms of impossible valence."""
    return chem().MolFromSmiles(smiles) if smiles else None


def smiles_of(selfies: str) -> str:
    """The SMILES of a SELFIES; empty for the empty one, and where a symbol is none of SELFIES'.

    Raises:
        FgError: selfies is not installed.
    """
    package = selfies_package()
    try:
        return str(package.decoder(selfies))
    except package.DecoderError:
        return ""


def selfies_of(smiles: str) -> str:
    """A SELFIES of a SMILES.

    Raises:
        ValueError: it has none.
        FgError: selfies is not installed.
    """
    package = selfies_package()
    try:
        return str(package.encoder(smiles))
    except package.EncoderError as error:
        raise ValueError(" ".join(str(error).split())[:200]) from error


@cache
def selfies_package() -> ModuleType:
    """The package selfies.

    Raises:
        FgError: it is not installed.
    """
    if importlib.util.find_spec("selfies") is None:
        raise FgError('selfies: expected the installed package, found none; pip install "fgcli[grammar]"')
    return importlib.import_module("selfies")


def penalised_log_p(smiles: str) -> float:
    """log P - synthetic accessibility - (atoms of the largest ring - 6)+, each normalised by MEANS and STDS.

    Raises:
        ValueError: no molecule.
    """
    mol = molecule(smiles)
    if mol is None:
        raise ValueError(f"expected a molecule, found {smiles!r}")
    largest = max(map(len, mol.GetRingInfo().AtomRings()), default=0)
    parts = {
        "log_p": importlib.import_module("rdkit.Chem.Crippen").MolLogP(mol),
        "accessibility": -accessibility().calculateScore(mol),
        "ring": -float(max(0, largest - LARGEST_RING)),
    }
    return float(sum((value - MEANS[name]) / STDS[name] for name, value in parts.items()))


@cache
def accessibility() -> ModuleType:
    """Ertl and Schuffenhauer's synthetic accessibility, which lies among the contributions in RDKit's wheel.

    Raises:
        FgError: it is not there.
    """
    chem()
    import rdkit

    path = Path(str(rdkit.__file__)).parent / "Contrib" / "SA_Score" / "sascorer.py"
    spec = importlib.util.spec_from_file_location("sascorer", path)
    if not path.exists() or spec is None or spec.loader is None:
        raise FgError(f"{path}: expected RDKit's synthetic accessibility, found none; install RDKit from its wheel")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("sascorer", module)
    spec.loader.exec_module(module)
    return module


def drawn(smiles: str, side: int) -> np.ndarray:
    """The molecule, uint8 (side, side, 3)."""
    from rdkit.Chem.Draw import rdMolDraw2D

    canvas = rdMolDraw2D.MolDraw2DCairo(side, side)
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, molecule(smiles))
    canvas.FinishDrawing()
    return np.asarray(Image.open(io.BytesIO(canvas.GetDrawingText())).convert("RGB"))
