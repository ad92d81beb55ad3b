"""Faces in photos: decoding, detection, landmarks, alignment, masks."""

ANALYSERS = {
    "dlib": "fgcli.faces.dlib_analyser:DlibAnalyser",
    "uniface": "fgcli.faces.uniface_analyser:UnifaceAnalyser",
}
"""Analysers: `analyse(image uint8 (h, w, 3)) -> list[Face]`; `notice`: one sentence about terms of use, or ""."""

SEGMENTERS = {
    "landmark_hull": "fgcli.faces.landmark_hull:LandmarkHull",
    "uniface": "fgcli.faces.uniface_segmenter:UnifaceSegmenter",
    "flame": "fgcli.faces.head_segmenter:HeadSegmenter",
    "given": "fgcli.faces.given:Given",
}
"""Segmenters: `segment(view) -> uint8 (size, size)`, 255 on the face; `view` is a `fgcli.faces.view.View`."""
