"""known_hosts files: finding a machine's keys with file and line, adding one, taking one out."""

from __future__ import annotations

import base64
import binascii
import contextlib
import fnmatch
import hashlib
import hmac
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tvmops.errors import HostKeyError


@dataclass(frozen=True)
class HostKey:
    """A machine's public key. `name` is what known_hosts calls the machine, `address` where it was seen."""

    type: str
    blob: bytes
    name: str
    address: str

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` prints it."""
        return fingerprint(self.blob)

    @property
    def line(self) -> str:
        """The line known_hosts wants, without a newline."""
        return f"{self.name} {self.type} {base64.b64encode(self.blob).decode()}"


@dataclass(frozen=True)
class StoredKey:
    """A line of a known_hosts file that speaks of a machine. `marker` is "", "@revoked" or "@cert-authority"."""

    path: Path
    line: int
    marker: str
    hosts: str
    type: str
    blob: bytes

    @property
    def where(self) -> str:
        """file:line."""
        return f"{self.path}:{self.line}"


def fingerprint(blob: bytes) -> str:
    """SHA256:... of a public key."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def find(names: Sequence[str], paths: Iterable[Path]) -> list[StoredKey]:
    """All lines that speak of a machine, those under the earlier of its `names` first; missing files are empty.

    Raises HostKeyError when a file cannot be read: checking against half of what is known would be a guess.
    """
    files = [_file(path) for path in paths]
    return [entry for name in names for file in files for entry in file.about(name)]


class _File:
    """One file's lines, those with plain names by name: a fleet's file has a line per board and is asked for each."""

    def __init__(self, entries: list[StoredKey]) -> None:
        self._plain: dict[str, list[StoredKey]] = {}
        self._others: list[StoredKey] = []  # patterns and hashed names
        for entry in entries:
            if set("*?!|") & set(entry.hosts):
                self._others.append(entry)
                continue
            for name in set(entry.hosts.lower().split(",")):
                self._plain.setdefault(name, []).append(entry)

    def about(self, name: str) -> list[StoredKey]:
        """The lines that speak of a machine, in order."""
        found = [entry for entry in self._others if matches(entry.hosts, name)]
        return sorted(found + self._plain.get(name.lower(), []), key=lambda entry: entry.line)


_files: dict[Path, tuple[tuple[int, ...], _File]] = {}


def _file(path: Path) -> _File:
    """The file as it is now; read again only when it was changed since."""
    try:
        status = path.stat()
        state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    except OSError:
        return _File(_read(path))  # which says what is wrong
    known = _files.get(path)
    if known is None or known[0] != state:
        known = _files[path] = (state, _File(_read(path)))
    return known[1]


def matches(hosts: str, name: str) -> bool:
    """Whether the host field of a line (patterns, negations, a hashed name) covers `name`."""
    if hosts.startswith("|1|"):
        return _hash_matches(hosts, name)
    covered = False
    for pattern in hosts.lower().split(","):
        # Only * and ? are special in known_hosts; [host]:port has brackets that mean themselves.
        plain = pattern.lstrip("!").replace("[", "[[]")
        if fnmatch.fnmatchcase(name.lower(), plain):
            if pattern.startswith("!"):
                return False
            covered = True
    return covered


def hashed(name: str, salt: bytes | None = None) -> str:
    """A host name as `HashKnownHosts yes` stores it."""
    salt = salt or os.urandom(20)
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def append(path: Path, line: str) -> None:
    """Add a line, making the file (0600) and its folder (0700) when they are missing."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "rb+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            line = line if file.read(1) == b"\n" else "\n" + line
        file.write(line.encode() + b"\n")
        os.fsync(file.fileno())


def remove(path: Path, names: Sequence[str], lines: Iterable[int]) -> None:
    """Take `names` out of these lines; a line that names nothing else goes. The file is replaced atomically.

    Raises HostKeyError for a line whose pattern also covers other machines.
    """
    wanted = set(lines)
    kept: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="surrogateescape").splitlines(), 1):
        rest = _without(line, names, f"{path}:{number}") if number in wanted else line
        kept += [] if rest is None else [rest]
    status = path.stat()
    handle, name = tempfile.mkstemp(prefix=path.name + ".", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(line + "\n" for line in kept)
            os.fchmod(file.fileno(), status.st_mode & 0o777)
            with contextlib.suppress(PermissionError):
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fsync(file.fileno())
        Path(name).replace(path.resolve())
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _without(line: str, names: Sequence[str], where: str) -> str | None:
    hosts, rest = line.split(None, 1)
    if hosts.startswith("|1|"):
        return None
    others = [host for host in hosts.split(",") if host.lower() not in names]
    if any(matches(host, name) for host in others for name in names):
        raise HostKeyError(
            f"{where}: the pattern '{hosts}' covers other machines too, so the line was left alone",
            "change that line by hand",
        )
    return f"{','.join(others)} {rest}" if others else None


def _read(path: Path) -> list[StoredKey]:
    try:
        content = path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise HostKeyError(f"{path}: cannot read known host keys: {error.strerror}", "check its permissions") from error
    found = []
    for number, line in enumerate(content.splitlines(), 1):
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#"):
            continue
        # A damaged key matches nothing; the other lines still count.
        with contextlib.suppress(binascii.Error, ValueError):
            blob = base64.b64decode(words[2], validate=True)
            found.append(StoredKey(path, number, marker, words[0], words[1], blob))
    return found


def _hash_matches(stored: str, name: str) -> bool:
    parts = stored.split("|")
    if len(parts) != 4:
        return False
    try:
        salt = base64.b64decode(parts[2], validate=True)
    except (binascii.Error, ValueError):
        return False
    return bool(salt) and hmac.compare_digest(hashed(name, salt).encode(), stored.encode())
