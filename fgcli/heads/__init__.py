"""The head: a mesh in FLAME's layout and its numbers, camera, light and renders.

Metres, radians. x points to the subject's left (image right in a frontal view), y up, z out of the face.
"""

HEADS = {
    "procedural": "fgcli.procedural:procedural_head",
    "flame": "fgcli.foreign.flame_files:flame_head",
}
"""Head models: a function that returns a `fgcli.heads.head.Head`."""
