"""Weights of the right layout without any training: for networks whose real weights are not at hand.

Scaled so that signals neither die nor overflow, and so that heads find boxes, but not one in every cell. What such a
network sees in a picture means nothing; that every engine sees the same does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict

import numpy as np

from .layers import HEADS, Layer, Network
from .weights import Blobs, layout, save

# Before activation, in a head: how far values spread, and where their middle is.
BOX, OBJECTNESS = 0.5, 1.5
CLASSES = {False: 1.5, True: 12.0}  # a softmax over many classes needs more to prefer one
OBJECTNESS_BIAS, CLASSES_BIAS = -3.5, -3.5
GAIN = 2.9  # what a leaky activation and a filter without mean leave of a signal's variance, made good
RESIDUAL = 0.1  # a branch that a [shortcut] adds: sums of many would grow without end


def generate(path: Path, network: Network, seed: int) -> None:
    """Writes the weights file; the same seed gives the same file everywhere (RandomState's streams are frozen)."""
    draw = np.random.RandomState(seed)
    blobs: Dict[int, Blobs] = {}
    for layer in network.layers:
        if layout(layer):
            blobs[layer.index] = _blobs(network, layer, draw)
    temporary = path.with_name(f".{path.name}.part")
    save(temporary, network, blobs)
    temporary.replace(path)


def _blobs(network: Network, layer: Layer, draw: np.random.RandomState) -> Blobs:
    shapes = dict(layout(layer))
    count = layer.shape[0]
    kernel = draw.standard_normal(shapes["weights"]).astype(np.float32)
    # Without its mean a filter passes differences on and not brightness, which would drown them layer by layer.
    kernel -= kernel.reshape(count, -1).mean(axis=1).reshape([-1] + [1] * (kernel.ndim - 1))
    kernel *= np.float32(np.sqrt(GAIN / kernel[0].size))
    found = {"weights": kernel, "biases": draw.uniform(-0.1, 0.1, count)}
    if layer.settings["normalized"]:
        found["scales"] = draw.uniform(0.8, 1.2, count) * (RESIDUAL if _in_shortcut(network, layer) else 1.0)
        found["mean"] = draw.uniform(-0.1, 0.1, count)
        found["variance"] = draw.uniform(0.8, 1.2, count)
    following = network.layers[layer.index + 1] if layer.index + 1 < len(network.layers) else None
    if following is not None and following.kind in HEADS:
        _shape_head(found, following)
    return {name: np.asarray(array, dtype=np.float32) for name, array in found.items()}


def _shape_head(found: Blobs, head: Layer) -> None:
    classes = head.settings["classes"]
    spread = [BOX] * 4 + [OBJECTNESS] + [CLASSES[head.settings.get("softmax", False)]] * classes
    every = np.tile(np.array(spread, dtype=np.float32), len(head.settings["anchors"]))
    found["weights"] = found["weights"] * every.reshape(-1, 1, 1, 1)
    middle = [0.0] * 4 + [OBJECTNESS_BIAS] + [CLASSES_BIAS] * classes
    found["biases"] = found["biases"] + np.tile(middle, len(head.settings["anchors"]))


def _in_shortcut(network: Network, layer: Layer) -> bool:
    return any(other.kind == "shortcut" and layer.index == other.index - 1 for other in network.layers)
