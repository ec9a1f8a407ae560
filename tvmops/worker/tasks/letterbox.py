"""darknet's way of fitting a picture into a network's input: shape kept, the rest grey; its own arithmetic."""

from __future__ import annotations

from typing import Any, NamedTuple, Tuple

import numpy as np

GREY = 0.5


class Placing(NamedTuple):
    """Where the scaled picture lies in the network's input, in pixels of the input."""

    left: float
    top: float
    width: int
    height: int


def placing(picture: Tuple[int, int], net: Tuple[int, int]) -> Placing:
    """For sizes given as (width, height). Margins are not rounded: darknet takes boxes back by halves of pixels."""
    width, height = net
    if net[0] * picture[1] < net[1] * picture[0]:
        height = max(1, picture[1] * net[0] // picture[0])
    else:
        width = max(1, picture[0] * net[1] // picture[1])
    return Placing((net[0] - width) / 2, (net[1] - height) / 2, width, height)


def letterbox(picture: Any, width: int, height: int) -> np.ndarray:
    """A Pillow picture as [3, height, width], values from 0 to 1."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
    place = placing((picture.width, picture.height), (width, height))
    boxed = np.full((3, height, width), GREY, dtype=np.float32)
    left, top = (width - place.width) // 2, (height - place.height) // 2
    scaled = _scale(_scale(pixels, place.width, 2), place.height, 1)
    boxed[:, top : top + place.height, left : left + place.width] = scaled
    return boxed


def _scale(pixels: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Linear along one axis, first and last pixel kept where they are."""
    length = pixels.shape[axis]
    step = np.float32(length - 1) / np.float32(max(1, size - 1))
    at = np.arange(size, dtype=np.float32) * step
    before = np.minimum(at.astype(np.int64), length - 1)
    part = (at - before.astype(np.float32)).astype(np.float32)
    # The last pixel is the last one, whatever rounding made of its place.
    before[-1], part[-1] = length - 1, 0
    after = np.minimum(before + 1, length - 1)
    shape = [-1 if i == axis else 1 for i in range(3)]
    weight = part.reshape(shape)
    return (1 - weight) * pixels.take(before, axis) + weight * pixels.take(after, axis)
