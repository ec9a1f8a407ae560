"""Task `file_type`: Magika must name the type of a file from its first and last bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

from .common import only_input, setting, verdict


def prepare(
    settings: Dict[str, Any], specs: Dict[str, Any], model: Any, cache_dir: Path
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """`content` as the model's tokens; sizes and labels are in the model's configuration, `config_member`."""
    name, shape = only_input(settings, specs, 2, "int32")
    config = json.loads(model.companion(setting(settings, "config_member")).decode("utf-8"))
    tokens = features(setting(settings, "content").encode("utf-8"), config)
    return {name: np.array(tokens, dtype=np.int32).reshape(shape)}, {"labels": config["target_labels_space"]}


def features(content: bytes, config: Dict[str, Any]) -> List[int]:
    """The first `beg_size` and last `end_size` bytes without outer white space, filled up with the padding token."""
    padding = [config["padding_token"]]
    first = list(content[: config["block_size"]].lstrip()[: config["beg_size"]])
    last = list(content[-config["block_size"] :].rstrip()[-config["end_size"] :])
    return first + padding * (config["beg_size"] - len(first)) + padding * (config["end_size"] - len(last)) + last


def check(settings: Dict[str, Any], knowledge: Dict[str, Any], outputs: List[np.ndarray]) -> Dict[str, Any]:
    """The likeliest type must be the `expected` one."""
    scores = outputs[0][0]
    answer = knowledge["labels"][int(scores.argmax())]
    return verdict(answer == settings.get("expected"), answer, str(settings.get("expected")))
