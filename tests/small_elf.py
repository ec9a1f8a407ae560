"""Small ELF libraries without code, made to measure."""

from __future__ import annotations

import struct


class _Strings:
    def __init__(self) -> None:
        self.data = b"\0"

    def add(self, text: str) -> int:
        self.data += text.encode() + b"\0"
        return len(self.data) - len(text) - 1


def make_elf(
    needed: dict[str, dict[str, str]],
    *,
    defined: tuple[str, ...] = ("TVMFuncCall",),
    hard: bool = True,
    machine: int = 40,
    attributes: bytes = b"",
) -> bytes:
    """A 32-bit ELF library: `needed` is library -> {symbol: version}, `machine` 40 is Arm, 3 i386."""
    strings, names = _Strings(), _Strings()
    symbols, indices, records = struct.pack("<IIIBBH", 0, 0, 0, 0, 0, 0), [0], b""
    index = 2
    dynamic = b"".join(struct.pack("<II", 1, strings.add(library)) for library in needed) + struct.pack("<II", 0, 0)
    for number, (library, wanted) in enumerate(needed.items()):
        auxiliary = b""
        for place, (symbol, version) in enumerate(wanted.items()):
            last = place == len(wanted) - 1
            auxiliary += struct.pack("<IHHII", 0, 0, index, strings.add(version), 0 if last else 16)
            if symbol:
                symbols += struct.pack("<IIIBBH", strings.add(symbol), 0, 0, 0x12, 0, 0)
                indices.append(index)
            index += 1
        following = 0 if number == len(needed) - 1 else 16 + len(auxiliary)
        records += struct.pack("<HHIII", 1, len(wanted), strings.add(library), 16, following) + auxiliary
    for name in defined:
        symbols += struct.pack("<IIIBBH", strings.add(name), 0x1000, 4, 0x12, 0, 7)
        indices.append(1)
    parts = [
        (".dynstr", 3, strings.data, 0, 0, 0),
        (".dynsym", 11, symbols, 1, 16, 0),
        (".gnu.version", 0x6FFFFFFF, b"".join(struct.pack("<H", one) for one in indices), 2, 2, 0),
        (".gnu.version_r", 0x6FFFFFFE, records, 1, 0, len(needed)),
        (".dynamic", 6, dynamic, 1, 8, 0),
        (".ARM.attributes", 0x70000003, attributes, 0, 0, 0),
    ]
    parts = [part for part in parts if part[2]]
    headers, body, offset = struct.pack("<10I", *[0] * 10), b"", 52
    for name, kind, content, link, entry, info in [*parts, (".shstrtab", 3, b"", 0, 0, 0)]:
        where = names.add(name)
        data = content or names.data
        headers += struct.pack("<10I", where, kind, 0, 0, offset + len(body), len(data), link, info, 1, entry)
        body += data
    flags = 0x5000000 | (0x400 if hard else 0x200)
    header = struct.pack(
        "<16sHHIIIIIHHHHHH",
        b"\x7fELF\x01\x01\x01" + bytes(9), 3, machine, 1, 0, 0, offset + len(body), flags, 52, 0, 0, 40,
        len(parts) + 2, len(parts) + 1,
    )  # fmt: skip
    return header + body + headers


def arm_attributes(**values: int) -> bytes:
    """A .ARM.attributes section with these tags (by number, as keywords like t10=4)."""
    tags = b"".join(bytes([int(name[1:]), value]) for name, value in values.items())
    part = bytes([1]) + struct.pack("<I", 5 + len(tags)) + tags
    vendor = b"aeabi\0"
    return b"A" + struct.pack("<I", 4 + len(vendor) + len(part)) + vendor + part
