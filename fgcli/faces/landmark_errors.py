"""How an analyser errs about a head's own landmarks, measured on renders of random people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from fgcli.config import build
from fgcli.console import say
from fgcli.faces import ANALYSERS
from fgcli.fitting.extraction import drawing
from fgcli.fitting.landmark_errors import LandmarkErrors
from fgcli.heads.camera import project, to_pixels
from fgcli.heads.head import Head
from fgcli.procedural.population import Population

RENDERS, SIDE, WIDE, GREY = 208, 200, 1.25, 0.6
"""How many renders, their side (px), their framing against FFHQ's, and what is behind the heads."""
SEED = 20


def measure(head: Head, analyser: Mapping[str, Any]) -> LandmarkErrors:
    """The errors of an analyser on renders of random people.

    None where landmarks are exact, the analyser is not one of fg's, the head has no texture, or few renders are found.

    Args:
        analyser: what faces.h5 says of it: name in ANALYSERS, its arguments, and a notice.
    """
    if analyser.get("name") not in ANALYSERS or not len(head.uv):
        return LandmarkErrors.none()
    finder = build(ANALYSERS, {k: v for k, v in analyser.items() if k != "notice"}, "preprocess.analyser")
    population, numbers = Population(framing=WIDE), range(RENDERS)
    people = [population.person(head, np.random.default_rng([SEED, 1, i])) for i in numbers]
    moments = [population.moment(head, np.random.default_rng([SEED, 2, i])) for i in numbers]
    found, true = [], []
    for part in torch.arange(RENDERS).split(16):
        p = population.parameters(head, [people[i] for i in part], [moments[i] for i in part])
        drawn = drawing(head, p, SIDE)
        pictures = torch.where(drawn.mask > 0.5, drawn.image.clamp(0, 1), torch.tensor(GREY)).movedim(1, 3)
        ndc = project(head.landmarks(head.vertices(p.shape, p.expression, p.pose), p.pose), p.camera)
        for picture, marks in zip((pictures * 255).byte().numpy(), to_pixels(ndc, SIDE), strict=True):
            faces = finder.analyse(np.ascontiguousarray(picture))
            if len(faces) == 1 and not faces[0].flaw:
                found.append(torch.from_numpy(faces[0].landmarks))
                true.append(marks)
    if len(found) < RENDERS // 2:
        say(f"flame: the analyser finds {len(found)} of {RENDERS} renders of the head; what it means is not corrected")
        return LandmarkErrors.none()
    return LandmarkErrors.of(torch.stack(found).double(), torch.stack(true).double())
