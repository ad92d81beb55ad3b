"""Fitting: from a photo to the head's numbers, by landmarks, by pixels, by networks that guess them."""

EXTRACTORS = {
    "deca": "fgcli.fitting.extract:Deca",
    "regress": "fgcli.fitting.extract:Regress",
    "fit": "fgcli.fitting.extract:Fit",
}
"""First guesses: `guess(images (n, 3, h, w) in [0, 1], landmarks (n, 68, 2) in [-1, 1]) -> Parameters`."""
