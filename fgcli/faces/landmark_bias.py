"""Where an analyser sees a head's own landmarks: what it means by them is not quite where they lie on the head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from fgcli.config import build
from fgcli.console import say
from fgcli.faces import ANALYSERS
from fgcli.geometry.camera import project, to_pixels
from fgcli.geometry.centring import centred
from fgcli.geometry.extraction import bias_of, drawing
from fgcli.geometry.head import Head
from fgcli.geometry.light import directional
from fgcli.geometry.parameters import Parameters

SIDE = 256
"""Side of the renders, px."""
VIEWS = [(nod, turn) for nod in (-0.1, 0.0, 0.1) for turn in (-0.2, -0.1, 0.0, 0.1, 0.2)]
"""How the mean head looks in them, radians."""


def measure(head: Head, analyser: Mapping[str, Any]) -> np.ndarray:
    """The bias (68, 2) of an analyser on renders of the mean head, as `extraction.unbiased` takes it.

    0 where landmarks are exact, the analyser is not one of fg's, the head has no texture, or too few renders are found.

    Args:
        analyser: what faces.h5 says of it: name in ANALYSERS, its arguments, and a notice.
    """
    if analyser.get("name") not in ANALYSERS or not len(head.uv):
        return np.zeros((68, 2))
    finder = build(ANALYSERS, {k: v for k, v in analyser.items() if k != "notice"}, "preprocess.analyser")
    p = Parameters.zeros(len(VIEWS))
    p.pose[:, :2] = torch.tensor(VIEWS)
    p = p.replace(
        camera=centred(head, p.shape, p.expression, p.pose, 1.3),
        light=directional((0.2, 0.4, 1.0)).expand(len(VIEWS), -1, -1),
    )
    drawn, found, true = drawing(head, p, SIDE), [], []
    pictures = torch.where(drawn.mask > 0.5, drawn.image.clamp(0, 1), torch.tensor(0.6)).movedim(1, 3)
    ndc = project(head.landmarks(head.vertices(p.shape, p.expression, p.pose), p.pose), p.camera)
    for picture, marks in zip((pictures * 255).byte().numpy(), to_pixels(ndc, SIDE).numpy(), strict=True):
        faces = finder.analyse(np.ascontiguousarray(picture))
        if len(faces) == 1:
            found.append(faces[0].landmarks)
            true.append(marks)
    if len(found) < len(VIEWS) // 2:
        say(f"flame: the analyser finds {len(found)} of {len(VIEWS)} renders of the head; its bias is not corrected")
        return np.zeros((68, 2))
    return bias_of(np.array(found), np.array(true))
