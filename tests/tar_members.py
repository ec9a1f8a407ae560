"""What is in archives."""

from __future__ import annotations

import tarfile


def content(tar: tarfile.TarFile, member: str | tarfile.TarInfo) -> bytes:
    """The bytes of a member that is a file."""
    file = tar.extractfile(member)
    assert file is not None, f"{member} is no file"
    return file.read()
