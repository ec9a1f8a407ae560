"""Pictures for models that read text, drawn with the font inside Pillow: the same on every machine with that Pillow."""

from __future__ import annotations

import math
from typing import Any, Sequence, Tuple

import numpy as np

from ..failures import JobError

PAPER, INK = 255, 0
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def text_line(text: str, size: int = 40, margin: int = 8) -> Any:
    """A line of dark text on white, as high as the text."""
    from PIL import Image, ImageDraw

    font = _font(size)
    left, top, right, bottom = font.getbbox(text)
    picture = Image.new(
        "RGB", (math.ceil(right - left) + 2 * margin, math.ceil(bottom - top) + 2 * margin), _gray(PAPER)
    )
    ImageDraw.Draw(picture).text((margin - left, margin - top), text, fill=_gray(INK), font=font)
    return picture


def text_page(lines: Sequence[str], width: int, height: int, size: int) -> Any:
    """A page filled with the lines, over and over."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (width, height), _gray(PAPER))
    draw, font = ImageDraw.Draw(picture), _font(size)
    for row in range(1, height // (2 * size)):
        draw.text((size, row * 2 * size), lines[row % len(lines)], fill=_gray(INK), font=font)
    return picture


def line_on_page(text: str, width: int, height: int, size: int) -> Tuple[Any, Tuple[int, int, int, int]]:
    """A white page with one line in its middle, and the box of its ink (left, top, right, bottom)."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (width, height), _gray(PAPER))
    font = _font(size)
    left, top, right, bottom = font.getbbox(text)
    at = (round((width - right - left) / 2), round((height - bottom - top) / 2))
    ImageDraw.Draw(picture).text(at, text, fill=_gray(INK), font=font)
    return picture, (
        math.floor(at[0] + left),
        math.floor(at[1] + top),
        math.ceil(at[0] + right),
        math.ceil(at[1] + bottom),
    )


def fit_height(picture: Any, width: int, height: int) -> np.ndarray:
    """Scaled to `height`, values from -1 to 1, channels first, filled up with 0 on the right: PP-OCR's line format."""
    from PIL import Image

    wide = min(width, math.ceil(height * picture.width / picture.height))
    scaled = picture.resize((wide, height), Image.BILINEAR)
    filled = np.zeros((3, height, width), dtype=np.float32)
    filled[:, :, :wide] = normalized(scaled, (0.5,) * 3, (0.5,) * 3)
    return filled


def normalized(picture: Any, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """(pixel / 255 - mean) / std, channels first, float32."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32) / 255.0
    scaled = (pixels - np.asarray(mean, dtype=np.float32)) / np.asarray(std, dtype=np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1), dtype=np.float32)


def scale_short_side(picture: Any, size: int, resample: str = "bicubic") -> Any:
    """The picture with its shorter side `size` long."""
    scale = size / min(picture.width, picture.height)
    return stretch(picture, round(picture.width * scale), round(picture.height * scale), resample)


def stretch(picture: Any, width: int, height: int, resample: str = "bicubic") -> Any:
    """Exactly this size, its shape lost. Raises JobError (BadInput) for a filter that Pillow has not."""
    from PIL import Image

    filters = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
    if resample not in filters:
        raise JobError("BadInput", f"'resample' must be one of {', '.join(sorted(filters))}, not '{resample}'")
    return picture.resize((width, height), filters[resample])


def middle(picture: Any, width: int, height: int) -> Any:
    """The middle of the picture. Raises JobError (BadInput) where it is smaller than that."""
    if picture.width < width or picture.height < height:
        raise JobError(
            "BadInput", f"a picture of {picture.width}x{picture.height} has no middle of {width}x{height}; scale it up"
        )
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size=size)


def _gray(level: int) -> Tuple[int, int, int]:
    return (level, level, level)
