"""numpy's files without numpy: arrays of numbers in .npy files, and .npz archives of them.

Standard library only, Python 3.5 or newer, little-endian machines.
"""

import array
import ast
import json
import struct
import zipfile

MAGIC = b"\x93NUMPY"
ALIGNMENT = 64
# numpy's kind and size -> the type code of array.array; half precision has none and is converted.
TYPES = {
    "b1": "B",
    "i1": "b",
    "i2": "h",
    "i4": "i",
    "i8": "q",
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
    "f4": "f",
    "f8": "d",
}
HALF = "f2"


class ArrayError(Exception):
    """A file that holds no array of numbers."""


class Tensor(object):
    """An array: `kind` as numpy has it without byte order ("f4", "i8", "b1"); `data` its bytes, last axis fastest."""

    def __init__(self, kind, shape, data):
        self.kind = kind
        self.shape = tuple(shape)
        self.data = data

    def values(self):
        """All numbers in a row."""
        if self.kind == HALF:
            return _halves(self.data)
        found = array.array(TYPES[self.kind])
        found.frombytes(self.data)
        return found


def item_bytes(kind):
    """How many bytes a number takes."""
    return int(kind[1:])


def count_of(shape):
    """How many numbers an array of this shape has."""
    count = 1
    for length in shape:
        count *= length
    return count


def read_npy(data):
    """The Tensor in the bytes of a .npy file. Raises ArrayError."""
    try:
        return _read(data)
    except (ValueError, KeyError, TypeError, SyntaxError, struct.error) as error:
        raise ArrayError("this is no array as numpy writes it: %s" % error)


def _read(data):
    if data[:6] != MAGIC:
        raise ArrayError("this is no .npy file")
    wide = data[6] > 1  # the format's version: from 2 on the header may be longer
    (length,) = struct.unpack("<I" if wide else "<H", data[8:12] if wide else data[8:10])
    start = 12 if wide else 10
    header = ast.literal_eval(data[start : start + length].decode("utf-8" if wide else "latin1").strip())
    order, kind = header["descr"][0], header["descr"][1:]
    if order not in "<|=" or (kind not in TYPES and kind != HALF):
        raise ArrayError("arrays of type %s cannot be read on a board" % header["descr"])
    content, shape = data[start + length :], header["shape"]
    if len(content) != count_of(shape) * item_bytes(kind):
        raise ArrayError("its array of shape %s has %d bytes" % (shape, len(content)))
    if header["fortran_order"]:
        content = _last_axis_fastest(content, item_bytes(kind), shape)
    return Tensor(kind, shape, content)


def npy_bytes(tensor):
    """A Tensor as the content of a .npy file."""
    order = "|" if item_bytes(tensor.kind) == 1 else "<"
    inner = ", ".join(str(length) for length in tensor.shape) + ("," if len(tensor.shape) == 1 else "")
    header = "{'descr': '%s%s', 'fortran_order': False, 'shape': (%s), }" % (order, tensor.kind, inner)
    header += " " * (-(len(MAGIC) + 4 + len(header) + 1) % ALIGNMENT) + "\n"
    return MAGIC + b"\x01\x00" + struct.pack("<H", len(header)) + header.encode("latin1") + tensor.data


def read_reference(path):
    """(inputs, outputs) of a reference.npz: lists of (name, Tensor) in the model's order. Raises ArrayError."""
    try:
        with zipfile.ZipFile(path) as archive:
            meta = json.loads(read_npy(archive.read("meta.npy")).data.decode("utf-8"))
            found = []
            for word in ("input", "output"):
                names = ["%s_%d.npy" % (word, index) for index in range(len(meta[word + "s"]))]
                found.append([(title, read_npy(archive.read(name))) for title, name in zip(meta[word + "s"], names)])
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ArrayError("%s is no reference of a compile job: %s" % (path, error))
    return found


def _last_axis_fastest(content, size, shape):
    """Numbers that are stored first axis fastest, the other way round."""
    offsets, step = [0], size
    for length in shape:
        offsets = [offset + index * step for offset in offsets for index in range(length)]
        step *= length
    return b"".join(content[offset : offset + size] for offset in offsets)


def _halves(data):
    """Numbers of half precision. struct knows them from Python 3.6 only."""
    bits = array.array("H")
    bits.frombytes(data)
    known = {}
    for value in set(bits):
        known[value] = _half(value)
    return array.array("d", [known[value] for value in bits])


def _half(bits):
    sign = -1.0 if bits & 0x8000 else 1.0
    exponent, fraction = (bits >> 10) & 0x1F, bits & 0x3FF
    if exponent == 0x1F:
        return float("nan") if fraction else sign * float("inf")
    if exponent == 0:
        return sign * fraction * 2.0**-24
    return sign * (1024 + fraction) * 2.0 ** (exponent - 25)
