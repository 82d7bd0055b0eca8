"""Where the notes of a graph stand: beside or on their lines, over nothing that is to be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from chaoskit.reporters.columns import Floats

__all__ = ["Curve", "Point", "note_places"]

Point: TypeAlias = tuple[float, float]
Curve: TypeAlias = tuple[Point, Point, Point, Point]
"""A cubic Bézier curve."""

LIKED = 0.68
"""Where on its line a note likes to stand: nearer to the callee, where lines are apart."""
LETTER, LINE = 7.4, 15.0
"""Width of a letter and height of a line of a note, generously."""
AIR = 3.0
"""Between a note and what is beside it."""
DEAR = 1e4
"""What it costs to lie over something that is to be read, where a point of a line that is hidden costs 1."""


def note_places(
    notes: Sequence[str], lines: Sequence[Sequence[Curve]], boxes: Sequence[tuple[Point, Point]], size: Point
) -> list[Point]:
    """The middle of each note: not over a box (two of its corners are given) or another note, hiding as little of any
    line as can be. The first choose first; where a note is empty its place means nothing."""
    points = [_points(curves) for curves in lines]
    every = np.concatenate([np.zeros((0, 2)), *points])
    taken = [(left - AIR, top - AIR, right + AIR, bottom + AIR) for (left, top), (right, bottom) in boxes]
    found: list[Point] = []
    for note, line in zip(notes, points, strict=True):
        if not note:
            found.append((0.0, 0.0))
            continue
        areas, far = _areas(line[:: max(1, len(line) // 24)], note)
        near = every[_within(every, np.concatenate([areas.min(axis=0)[:2], areas.max(axis=0)[2:]]))]
        cost = far + _outside(areas, size) + _shared(areas, np.array(taken))
        cost += [np.count_nonzero(_within(near, area)) for area in areas]
        left, top, right, bottom = (float(end) for end in areas[int(cost.argmin())])
        taken.append((left - AIR, top, right + AIR, bottom))
        found.append(((left + right) / 2, (top + bottom) / 2))
    return found


def _points(curves: Sequence[Curve], each: int = 24) -> Floats:
    """Points of a line, evenly by its curves' own clocks; shape (points, 2)."""
    t = np.linspace(0.0, 1.0, each + 1)
    weights = np.stack([(1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3], axis=1)
    found: Floats = np.concatenate([weights @ np.array(curve) for curve in curves])
    return found


def _areas(line: Floats, note: str) -> tuple[Floats, Floats]:
    """What a note may cover on and around each point of a line (left, top, right, bottom), and how far each is from
    where it likes to stand."""
    half = np.array([len(note) * LETTER, LINE]) / 2
    aside = np.array([(x, y) for x in (0, -1, 1) for y in (0, -1, 1)]) * (half + 5)
    centres = (line[:, None, :] + aside).reshape(-1, 2)
    far = np.repeat(abs(np.arange(len(line)) / len(line) - LIKED) * 10, len(aside))
    return np.hstack([centres - half, centres + half]), far


def _within(points: Floats, area: Floats) -> NDArray[np.bool_]:
    left, top, right, bottom = area
    x, y = points[:, 0], points[:, 1]
    found: NDArray[np.bool_] = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    return found


def _shared(areas: Floats, taken: Floats) -> Floats:
    """What areas share with those that are taken, so dear that anything else is better."""
    low = np.maximum(areas[:, None, :2], taken[None, :, :2])
    both = np.minimum(areas[:, None, 2:], taken[None, :, 2:]) - low
    found: Floats = np.where((both > 0).all(axis=2), DEAR + both.prod(axis=2), 0.0).sum(axis=1)
    return found


def _outside(areas: Floats, size: Point) -> Floats:
    found: Floats = DEAR * np.maximum(np.hstack([-areas[:, :2], areas[:, 2:] - size]).max(axis=1), 0.0)
    return found
