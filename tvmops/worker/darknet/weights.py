"""darknet's weights: a header, then every layer's floats one after the other, without any mark between them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

import numpy as np

from ..failures import JobError
from .layers import Layer, Network

VERSION = (0, 2, 0)
FLOAT = 4

Blobs = Dict[str, np.ndarray]


class Header(NamedTuple):
    """`size` in bytes; files from transposing versions keep connected layers' weights the other way round."""

    size: int
    transposed: bool


def layout(layer: Layer) -> List[Tuple[str, Tuple[int, ...]]]:
    """The layer's arrays in the file's order, with their shapes."""
    count = layer.shape[0]
    statistics = [(name, (count,)) for name in ("scales", "mean", "variance")]
    if layer.kind == "convolutional":
        size = layer.settings["size"]
        kernel = ("weights", (count, layer.source[0] // layer.settings["groups"], size, size))
        return [("biases", (count,)), *(statistics if layer.settings["normalized"] else []), kernel]
    if layer.kind == "connected":
        inputs = layer.source[0] * layer.source[1] * layer.source[2]
        matrix = [("biases", (count,)), ("weights", (count, inputs))]
        return [*matrix, *(statistics if layer.settings["normalized"] else [])]
    return []


def wanted_floats(network: Network) -> int:
    """How many floats the network's weights have."""
    return sum(_size(shape) for layer in network.layers for _, shape in layout(layer))


def load(path: Path, network: Network) -> Dict[int, Blobs]:
    """Every layer's arrays by its number. Raises JobError (BadInput) unless the file has exactly what the cfg wants."""
    with path.open("rb") as stream:
        head = header(stream.read(20), path.name)
    rest = path.stat().st_size - head.size
    wanted = wanted_floats(network)
    if rest != wanted * FLOAT:
        have = f"{rest // FLOAT} floats" + (f" and {rest % FLOAT} bytes" if rest % FLOAT else "")
        raise JobError(
            "BadInput", f"{path.name} has {have}, {network.file} wants {wanted} floats; {_advice(rest, wanted)}"
        )
    flat = np.fromfile(str(path), dtype="<f4", offset=head.size)
    if not np.isfinite(flat).all():
        raise JobError("BadInput", f"{path.name} has NaN or infinite weights; the file is damaged")
    return _split(flat, network, head.transposed)


def _advice(rest: int, wanted: int) -> str:
    if rest < wanted * FLOAT:
        return "the file is cut off, or belongs to another cfg"
    return "it belongs to another cfg"


def header(start: bytes, name: str) -> Header:
    """What the file's first bytes say: three versions, then how many pictures were seen, in 32 or 64 bits."""
    if len(start) < 16:
        raise JobError("BadInput", f"{name} is no darknet weights file: it has only {len(start)} bytes")
    major, minor, _ = struct.unpack("<3i", start[:12])
    if not (0 <= major < 1 << 16 and 0 <= minor < 1 << 16):
        raise JobError("BadInput", f"{name} is no darknet weights file: its version would be {major}.{minor}")
    transposed = major > 1000 or minor > 1000
    wide = major * 10 + minor >= 2 and major < 1000 and minor < 1000
    return Header(20 if wide else 16, transposed)


def save(path: Path, network: Network, blobs: Dict[int, Blobs], version: Tuple[int, int, int] = VERSION) -> None:
    """Writes what `load` reads. Versions before 0.2 have the shorter header."""
    wide = version[0] * 10 + version[1] >= 2
    with path.open("wb") as stream:
        stream.write(struct.pack("<3i", *version) + struct.pack("<q" if wide else "<i", 0))
        for layer in network.layers:
            for name, shape in layout(layer):
                array = np.ascontiguousarray(blobs[layer.index][name], dtype="<f4")
                assert array.shape == shape, (layer.index, name, array.shape, shape)
                stream.write(array.tobytes())


def _split(flat: np.ndarray, network: Network, transposed: bool) -> Dict[int, Blobs]:
    found: Dict[int, Blobs] = {}
    at = 0
    for layer in network.layers:
        blobs = {}
        for name, shape in layout(layer):
            piece = flat[at : at + _size(shape)]
            at += piece.size
            turned = transposed and layer.kind == "connected" and name == "weights"
            blobs[name] = piece.reshape(shape[::-1]).T if turned else piece.reshape(shape)
        if blobs:
            found[layer.index] = blobs
    return found


def _size(shape: Tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
