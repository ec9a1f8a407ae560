"""Small darknet networks with every kind of layer, and what OpenCV's own reader of cfg and weights makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

NET = "[net]\nwidth={size}\nheight={size}\nchannels=3\n"


def conv(
    filters: int, size: int = 3, stride: int = 1, activation: str = "leaky", more: str = "batch_normalize=1"
) -> str:
    return f"[convolutional]\nfilters={filters}\nsize={size}\nstride={stride}\npad=1\nactivation={activation}\n{more}\n"


# YOLOv3's layers, and those of its successors that OpenCV reads too: groups, mish, pooling pyramids, parts of channels.
V3 = "".join(
    [
        NET.format(size=96),
        conv(16, 3, 2),
        "[maxpool]\nsize=2\nstride=2\n",
        conv(32, activation="mish"),  # 2
        conv(16, 1),
        conv(32, more="groups=2\nbatch_normalize=1"),
        "[shortcut]\nfrom=-3\nactivation=leaky\n",  # 5
        "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n",
        conv(32, 3, 2, activation="swish"),
        "[maxpool]\nsize=2\nstride=1\n",
        "[maxpool]\nsize=5\nstride=1\n",
        "[route]\nlayers=-1,-2,7\n",  # 10
        conv(32, 1, activation="relu"),
        conv(14, 1, activation="linear", more=""),
        "[yolo]\nmask=1,2\nanchors=8,8, 20,28, 40,30\nclasses=2\nnum=3\nscale_x_y=1.05\n",
        "[route]\nlayers=-3\n",
        "[upsample]\nstride=2\n",  # 15
        "[route]\nlayers=-1,5\n",
        conv(7, 1, activation="linear", more=""),
        "[yolo]\nmask=0\nanchors=8,8, 20,28, 40,30\nclasses=2\nnum=3\n",
    ]
)

# YOLOv2's passthrough and its softmax over classes.
V2 = "".join(
    [
        NET.format(size=96),
        conv(8),
        "[maxpool]\nsize=2\nstride=2\n",
        conv(16, 3, 2),
        conv(16),
        "[maxpool]\nsize=2\nstride=2\n",
        conv(32),  # 5
        "[route]\nlayers=-3\n",
        conv(8, 1),
        "[reorg]\nstride=2\n",
        "[route]\nlayers=-1,5\n",
        conv(24, 1, activation="linear", more=""),
        "[region]\nanchors=0.6,0.7, 2,2.5, 4,3\nclasses=3\ncoords=4\nnum=3\nsoftmax=1\nthresh=0.2\n",
    ]
)


def opencv_rows(cfg: Path, weights: Path, data: np.ndarray, outputs: list[str]) -> dict[str, np.ndarray]:
    """Per head one row a box: centre and size in parts of the input, objectness, and the classes' scores.

    OpenCV puts 0 for scores below its own threshold of 0.2.
    """
    net = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.enableWinograd(False)  # its rounding is ten times that of a plain sum
    net.setInput(data)
    names = list(net.getUnconnectedOutLayersNames())
    rows = [np.asarray(found) for found in net.forward(names)]
    # It calls a [region] 'detection_out'.
    return dict(zip(names if set(names) == set(outputs) else outputs, rows, strict=True))


def our_rows(head: dict[str, Any], candidates: Any) -> np.ndarray:
    """What tvmops decodes, in OpenCV's order: cell by cell, within a cell anchor by anchor."""
    table = np.concatenate([candidates.boxes, candidates.objectness[:, np.newaxis], candidates.scores], axis=1)
    count, (_, height, width) = len(head["anchors"]), head["shape"]
    turned: np.ndarray = table.reshape(count, height, width, -1).transpose(1, 2, 0, 3)
    return turned.reshape(len(table), -1)


def opencv_boxes(rows: dict[str, np.ndarray], threshold: float, overlap: float) -> list[tuple[int, float, list[float]]]:
    """(class, score, [left, top, width, height] in parts of the input) after OpenCV's own suppression."""
    table = np.concatenate(list(rows.values())).astype(np.float64)
    corners = np.concatenate([table[:, :2] - table[:, 2:4] / 2, table[:, 2:4]], axis=1)
    found = []
    for label in range(table.shape[1] - 5):
        scores = table[:, 5 + label]
        # Its overlaps are of rectangles of double precision, given in any unit.
        for index in cv2.dnn.NMSBoxes(corners.tolist(), scores.tolist(), threshold, overlap):
            found.append((label, float(scores[index]), corners[index].tolist()))
    return found
