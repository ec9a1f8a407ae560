"""Boxes with their labels on a picture."""

from __future__ import annotations

import colorsys
from typing import Any, Sequence, Tuple

from .yolo import Box

MOST = 50  # boxes that a person can still tell apart, and many more than that


def draw_boxes(picture: Any, boxes: Sequence[Box], words: Sequence[str]) -> Any:
    """A copy of the picture. The likeliest box is drawn last, on top; each class has its colour."""
    from PIL import ImageDraw, ImageFont

    drawn = picture.copy()
    pen = ImageDraw.Draw(drawn)
    side = min(drawn.width, drawn.height)
    line, font = max(1, side // 150), ImageFont.load_default(size=max(10, side // 32))
    for box, text in reversed(list(zip(boxes, words))[:MOST]):
        colour, (left, top, right, bottom) = _colour(box.label), _within(box, drawn.width, drawn.height)
        pen.rectangle((left, top, right, bottom), outline=colour, width=line)
        _, _, wide, high = font.getbbox(text)
        at = max(0.0, min(left, drawn.width - wide - 2 * line)), max(0.0, top - high - 2 * line)
        pen.rectangle((at[0], at[1], at[0] + wide + 2 * line, at[1] + high + 2 * line), fill=colour)
        pen.text((at[0] + line, at[1] + line), text, fill=(0, 0, 0), font=font)
    return drawn


def _within(box: Box, width: int, height: int) -> Tuple[float, float, float, float]:
    """Its edges, cut to the picture, each side at least a pixel long."""
    left, top = (min(max(edge, 0.0), size - 2.0) for edge, size in ((box.left, width), (box.top, height)))
    right = min(max(box.left + box.width, left + 1), width - 1.0)
    bottom = min(max(box.top + box.height, top + 1), height - 1.0)
    return left, top, right, bottom


def _colour(label: int) -> Tuple[int, int, int]:
    """Neighbouring numbers far apart on the colour wheel, light enough for black letters."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618033988749895 % 1.0, 0.6, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)
