"""Task `classification`: the likeliest class of a picture must be an expected one, or the reference framework's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np

from ..failures import JobError
from .common import only_input, setting, verdict
from .files import open_picture, read_labels
from .pictures import IMAGENET_MEAN, IMAGENET_STD, middle, scale_short_side, stretch

SHORT_SIDE_OVER_CROP = 256 / 224
SHOWN = 5


def prepare(
    settings: Dict[str, Any], specs: Dict[str, Any], model: Any, cache_dir: Path
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """`image`, fitted (`geometry`, or `resize`) and normalised: (pixel / `scale` - `mean`) / `std`.

    Channels stand where the input has room for three; a batch gets the picture as often as it is large.
    """
    name, shape = only_input(settings, specs, 4, "float32")
    first = _channels_first(shape)
    height, width = shape[2:] if first else shape[1:3]
    picture = _fitted(open_picture(settings, cache_dir), settings, width, height)
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32) / np.float32(settings.get("scale", 255))
    array = (pixels - _three(settings, "mean", IMAGENET_MEAN)) / _three(settings, "std", IMAGENET_STD)
    array = np.ascontiguousarray(array.transpose(2, 0, 1) if first else array, dtype=np.float32)
    return {name: np.repeat(array[np.newaxis], shape[0], axis=0)}, {"labels": read_labels(settings, cache_dir)}


def learn(settings: Dict[str, Any], knowledge: Dict[str, Any], outputs: List[np.ndarray]) -> Dict[str, Any]:
    """The class that the reference framework says."""
    return {"reference": _top(outputs[0][:1], 1)[0]}


def check(settings: Dict[str, Any], knowledge: Dict[str, Any], outputs: List[np.ndarray]) -> Dict[str, Any]:
    """`expected` among the likeliest `top` classes (1 unless given), for every picture of the batch."""
    labels = knowledge["labels"]
    expected = _expected(setting(settings, "expected"), knowledge)
    counted = _count(settings)
    batch = [_top(outputs[0][i : i + 1], max(SHOWN, counted)) for i in range(len(outputs[0]))]
    ok = all(any(index in expected for index in top[:counted]) for top in batch)
    wanted = " or ".join(_show(index, labels) for index in expected[:SHOWN])
    if len(expected) > SHOWN:
        wanted += f" or one of {len(expected) - SHOWN} more"
    if counted > 1:
        wanted += f" among the first {counted}"
    return verdict(ok, ", ".join(_show(index, labels) for index in batch[0][:SHOWN]), wanted)


def _expected(given: Any, knowledge: Dict[str, Any]) -> List[int]:
    """Class numbers: `reference`, numbers, or a word that the labels have, such as `cat`."""
    if given == "reference":
        return [knowledge["reference"]]
    found: List[int] = []
    for item in given if isinstance(given, list) else [given]:
        if isinstance(item, int):
            found.append(item)
            continue
        named = [int(key) for key, label in knowledge["labels"].items() if str(item).lower() in label.lower()]
        if not named:
            raise JobError("BadInput", f"'expected' of task 'classification' says '{item}', which no label has")
        found += named
    return found


def _top(scores: np.ndarray, count: int) -> List[int]:
    return [int(index) for index in np.argsort(-scores.reshape(-1), kind="stable")[:count]]


def _channels_first(shape: Sequence[int]) -> bool:
    if 3 not in (shape[1], shape[3]):
        raise JobError("BadInput", f"task 'classification' feeds pictures of three colours; the input is {list(shape)}")
    return shape[1] == 3


def _fitted(picture: Any, settings: Dict[str, Any], width: int, height: int) -> Any:
    """The steps of `geometry` one by one. Without it: the short side to `resize`, and the middle cut out."""
    short = int(settings.get("resize") or round(height * SHORT_SIDE_OVER_CROP))
    for step in settings.get("geometry") or [{"short_side": short}, {"crop": [width, height]}]:
        ((name, value),) = step.items() if isinstance(step, dict) and len(step) == 1 else [("", None)]
        if name not in STEPS:
            raise JobError("BadInput", f"a step of 'geometry' is one of {', '.join(sorted(STEPS))}, not {step}")
        picture = STEPS[name](picture, *_numbers(name, value), settings.get("resample", "bicubic"))
    if picture.size != (width, height):
        raise JobError("BadInput", f"'geometry' gives {picture.width}x{picture.height}, the input is {width}x{height}")
    return picture


def _numbers(name: str, value: Any) -> List[int]:
    given = list(value) if isinstance(value, list) else [value] * (1 if name == "short_side" else 2)
    if len(given) != (1 if name == "short_side" else 2) or not all(type(size) is int and size > 0 for size in given):
        raise JobError("BadInput", f"'{name}' of 'geometry' needs a size, or [width, height], not {value}")
    return given


def _crop(picture: Any, width: int, height: int, resample: str) -> Any:
    del resample
    return middle(picture, width, height)


# Each takes a picture, its numbers and the name of a filter.
STEPS: Dict[str, Callable[..., Any]] = {"stretch": stretch, "short_side": scale_short_side, "crop": _crop}


def _three(settings: Dict[str, Any], key: str, default: Sequence[float]) -> np.ndarray:
    values = np.asarray(settings.get(key, default), dtype=np.float32)
    if values.shape not in ((), (3,)) or not np.isfinite(values).all() or (key == "std" and not values.all()):
        raise JobError("BadInput", f"'{key}' of task 'classification' must be a number or three, not {settings[key]}")
    return values


def _count(settings: Dict[str, Any]) -> int:
    count = settings.get("top", 1)
    if type(count) is not int or count < 1:
        raise JobError("BadInput", f"'top' of task 'classification' must be a whole number above 0, not {count!r}")
    return count


def _show(index: int, labels: Dict[str, str]) -> str:
    label = labels.get(str(index))
    return f"{index} {label}" if label else str(index)
