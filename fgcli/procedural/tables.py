"""The measurements of the head, in cm and degrees. Everything a sculptor would change stands here.

An analytic model of our own: proportions are the textbook ones (eyes half way up a head of 23 cm, pupils 6.2 cm apart,
hairline, brow, nose base and chin in thirds, an eye's width between the eyes); no scan, photo or other model is in it.

Head space: x to the subject's left, y up, z out of the face; the eye line is y = 0, the ear canals are near z = 0.
The skin is a grid over `angle` (0 in front, 90 the subject's left, 180 behind) and `level`, which on the face is -y of
the front profile and runs on as arc length over the crown and under the chin.
"""

from __future__ import annotations

import numpy as np

CROWN, NECK_BASE = -17.9, 21.5
EYE_LEVEL, MOUTH_LEVEL, MENTON_LEVEL = 0.0, 6.45, 11.2
INNER_CANTHUS, OUTER_CANTHUS, MOUTH_CORNER = 12.9, 37.6, 24.6

LOFT = np.array(
    [
        # level  front y, z   half width  side y, z   back y, z   flatness
        [-17.9, 11.90, -0.8, 0.00, 11.9, -0.8, 11.9, -0.8, 1.00],
        [-15.0, 11.45, 2.2, 3.10, 11.5, -0.8, 11.3, -4.0, 1.00],
        [-12.2, 10.35, 4.9, 5.20, 10.4, -0.8, 9.90, -6.7, 1.00],
        [-9.6, 8.90, 6.95, 6.55, 8.8, -0.9, 7.80, -8.5, 0.98],
        [-7.0, 7.00, 8.35, 7.30, 6.6, -0.9, 5.30, -9.4, 0.94],
        [-4.5, 4.50, 9.05, 7.55, 4.2, -0.9, 2.90, -9.7, 0.90],
        [-2.2, 2.20, 9.15, 7.45, 2.1, -0.8, 1.10, -9.6, 0.90],
        [0.0, 0.00, 8.95, 7.25, 0.1, -0.6, -0.80, -9.2, 0.94],
        [2.0, -2.00, 8.95, 7.05, -1.7, -0.4, -2.60, -8.6, 0.98],
        [4.2, -4.20, 8.95, 6.70, -3.5, -0.2, -4.40, -7.7, 1.00],
        [6.45, -6.45, 8.90, 6.15, -5.6, 0.0, -6.10, -6.9, 1.02],
        [8.4, -8.40, 8.75, 5.85, -6.7, 0.1, -7.20, -6.5, 1.05],
        [10.0, -10.00, 8.50, 5.65, -7.3, 0.2, -8.10, -6.4, 1.05],
        [11.2, -11.10, 7.75, 5.45, -7.8, 0.2, -8.90, -6.3, 1.00],
        [12.6, -11.60, 6.40, 5.00, -8.5, -0.1, -9.90, -6.3, 1.00],
        [14.6, -11.95, 4.50, 4.75, -9.6, -0.6, -11.30, -6.4, 1.00],
        [16.2, -12.80, 3.50, 4.80, -11.0, -1.2, -12.60, -6.5, 1.00],
        [18.2, -14.60, 3.20, 4.95, -13.4, -1.5, -14.50, -6.8, 1.00],
        [21.5, -17.80, 3.50, 5.70, -17.0, -1.7, -17.60, -7.4, 1.00],
    ]
)

COLUMNS = [(0.0, 0), (12.9, 6), (24.6, 5), (37.6, 5), (60.0, 4), (90.0, 4), (180.0, 6)]
"""(angle, quads since the knot before) of one half; the eye's and the mouth's corners are knots."""
ROWS = [(-17.9, 0), (-7.0, 6), (-3.4, 4), (-1.2, 4), (0.0, 5), (1.2, 4), (2.7, 4), (3.5, 3), (4.5, 6), (5.6, 3)]
ROWS += [(6.45, 5), (7.4, 5), (8.6, 4), (11.2, 6), (12.6, 2), (16.2, 3), (21.5, 2)]
"""(level, quads since the knot before); the eyes' and the mouth's slits are knots."""

EYE_CENTRE, EYE_RADIUS, IRIS_RADIUS = np.array([3.08, 0.0, 6.2]), 1.5, 0.6
LID = 0.13
"""How far the lids lie above the eyeball."""
LID_UP, LID_DOWN, CANTHUS_TILT = 0.52, 0.42, 0.09
"""How far the slit opens above and below the eye line, and the outer corner's rise over the middle."""

NOSE_HEIGHT = [(-5.0, 0.0), (-4.65, 0.1), (-4.4, 0.42), (-4.15, 1.1), (-3.9, 1.7), (-3.5, 2.05), (-3.1, 2.05)]
NOSE_HEIGHT += [(-2.6, 1.85), (-1.6, 1.38), (-0.6, 0.85), (0.2, 0.42), (0.9, 0.22), (1.8, 0.05), (2.6, 0.0)]
NOSE_WIDTH = [(-4.6, 0.7), (-3.6, 0.88), (-3.0, 0.86), (-2.0, 0.78), (-0.8, 0.7), (0.3, 0.68), (1.2, 0.9), (2.4, 1.3)]
"""(y, height above the profile) and (y, half width) of the nose's ridge."""
LIPS = [(-2.2, -0.02), (-1.45, 0.02), (-1.0, 0.34), (-0.6, 0.6), (-0.3, 0.6), (-0.12, 0.42), (0.0, 0.15), (0.12, 0.42)]
LIPS += [(0.35, 0.7), (0.62, 0.68), (0.85, 0.5), (1.2, 0.2), (1.9, 0.0)]
"""(y above the mouth's line, height) of the lips' profile."""

BUMPS = [
    # x, y, width, height of the bell; its height in z; its power
    (1.28, -3.75, 0.46, 0.42, 0.92, 2.6),  # wings of the nose
    (0.0, -3.4, 0.62, 0.5, 0.28, 2.4),  # ball of its tip
    (2.05, -3.2, 0.5, 0.9, -0.12, 2.0),  # groove beside it
    (0.55, -4.2, 0.28, 0.16, -0.35, 2.0),  # nostrils
    (2.7, 2.15, 1.5, 0.55, 0.32, 2.0),  # brow ridge
    (0.0, 2.1, 0.9, 0.6, 0.08, 2.0),  # glabella
    (3.2, 0.2, 1.45, 0.9, -0.6, 2.4),  # socket
    (1.55, 0.5, 0.55, 0.8, -0.45, 2.0),  # its inner corner
    (4.5, -2.3, 1.3, 1.0, 0.42, 2.0),  # cheek bone
    (2.6, -2.2, 1.0, 0.9, 0.12, 2.0),  # front of the cheek
    (4.4, -5.6, 1.2, 1.6, -0.3, 2.0),  # hollow of the cheek
    (0.0, -6.1, 2.3, 1.7, 0.32, 2.0),  # muzzle
    (0.0, -5.1, 0.2, 0.5, -0.08, 2.0),  # philtrum
    (0.0, -8.25, 1.3, 0.42, -0.26, 2.0),  # fold under the lip
    (0.0, -9.75, 1.35, 0.95, 0.6, 2.2),  # chin
    (2.75, -6.6, 0.4, 0.55, -0.16, 2.0),  # corners of the mouth
]
