"""Heads in three dimensions: models, camera, light, renders, textures, and their parameters from photos.

Metres, radians. x points to the subject's left (image right in a frontal view), y up, z out of the face.
"""

HEADS = {
    "procedural": "fgcli.geometry.procedural:procedural_head",
    "flame": "fgcli.geometry.flame_files:flame_head",
}
"""Head models: a function that returns a `fgcli.geometry.head.Head`."""

EXTRACTORS = {
    "deca": "fgcli.geometry.extract:Deca",
    "regress": "fgcli.geometry.extract:Regress",
    "fit": "fgcli.geometry.extract:Fit",
}
"""First guesses: `guess(images (n, 3, h, w) in [0, 1], landmarks (n, 68, 2) in [-1, 1]) -> Parameters`."""
