"""Files on the controller that tasks send: where they are looked for, template files, blobs named by sha256."""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError
from tvmops.paths import exists, user_path
from tvmops.playbook.engine import Compiled, CompileProblem, compile_file
from tvmops.playbook.faults import TemplateFault, locate
from tvmops.playbook.values import Text, final
from tvmops.playbook.variables import Known, Scope
from tvmops.source import Position

INLINE_LIMIT = 8192  # bytes; smaller blobs travel with the batch
MAP_FROM = 4 << 20  # bytes; larger files are mapped, not read
MANAGED = "Ansible managed"


def find_file(name: str, folder: str, search: Iterable[str | Path]) -> Path | None:
    """`name` in `folder` of each search path, else in the search path itself; absolute names as they are."""
    given = user_path(name)
    if given.is_absolute():
        return given if exists(given) else None
    for base in search:
        # A name that begins with the folder's is not looked for in the folder's folder of the same name.
        if given.parts[:1] != (folder,) and exists(Path(base) / folder / given):
            return Path(base) / folder / given
        if exists(Path(base) / given):
            return Path(base) / given
    return None


def need_file(name: str, folder: str, search: Iterable[str | Path]) -> Path:
    """As find_file. Raises ConfigError that says where it was looked for."""
    places = list(search)
    found = find_file(name, folder, places)
    if found is None:
        looked = ", ".join(f"{base}/{folder}" for base in dict.fromkeys(places))
        raise ConfigError(f"cannot find '{name}'", f"looked in {looked} and the folders above these")
    return found


_templates: dict[tuple[Any, ...], Compiled | CompileProblem] = {}


def _compiled_file(path: Path, search: tuple[str, ...], options: Mapping[str, Any]) -> Compiled:
    stat = path.stat()
    key = (str(path), stat.st_mtime_ns, stat.st_size, search, tuple(sorted(options.items())))
    found = _templates.get(key)
    if found is None:
        try:
            text = path.read_text(encoding="utf-8")
            found = compile_file(text, str(path), search, key[-1])
        except CompileProblem as problem:
            found = problem
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: a template must be UTF-8 text (byte {error.start})") from None
        _templates[key] = found
    if isinstance(found, CompileProblem):
        start = Position(str(path), 1)
        where = locate(start, found.needle, found.line - 1, reach=1)
        where = where if where is not start else Position(str(path), found.line)
        raise TemplateFault(where, found.message, found.hint)
    return found


def render_file(path: Path, scope: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """A template file's text for one host. Raises TemplateFault with the template's file:line, Pending."""
    search = dict.fromkeys(str(one) for one in [*(scope.get("ansible_search_path") or []), path.parent])
    folders = tuple(folder for base in search for folder in (f"{base}/templates", base))
    compiled = _compiled_file(path, folders, options)
    about = Known(
        {
            "ansible_managed": MANAGED,
            "template_path": str(path),
            "template_fullpath": str(path.absolute()),
            "template_host": os.uname().nodename,
            "template_uid": path.owner() if hasattr(path, "owner") else "",
        }
    )
    inner = scope.over(about) if isinstance(scope, Scope) else {**about.values, **scope}
    try:
        value = final(Text("", compiled, Position(str(path), 1)), inner)
    except TemplateFault as fault:
        raise _placed(fault, path, compiled) from fault.__cause__
    return "" if value is None else str(value)


def _placed(fault: TemplateFault, path: Path, compiled: Compiled) -> TemplateFault:
    """The same fault with the template's own line: Jinja leaves it in the traceback of the cause."""
    cause: BaseException | None = fault.__cause__
    line = None
    trace = cause.__traceback__ if cause else None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = compiled.template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    if line is None or (fault.position and fault.position.path != str(path)):
        return fault
    return TemplateFault(Position(str(path), line), fault.problem, fault.hint)


class BlobStore:
    """What hosts may ask for by sha256, shared by all hosts of a run. Contents of files stay in the files."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes: dict[str, bytes] = {}
        self._files: dict[str, Path] = {}
        self._known: dict[tuple[str, int, int], str] = {}

    def add_bytes(self, data: bytes) -> dict[str, Any]:
        """A reference ({"sha256", "size"}) to some bytes."""
        digest = hashlib.sha256(data).hexdigest()
        self._bytes[digest] = data
        return {"sha256": digest, "size": len(data)}

    def add_file(self, path: Path) -> dict[str, Any]:
        """A reference to a file's content. Raises ConfigError when it cannot be read."""
        try:
            stat = path.stat()
            key = (str(path), stat.st_mtime_ns, stat.st_size)
            with self._lock:
                digest = self._known.get(key)
                if digest is None:
                    with path.open("rb") as source:
                        digest = _digest(source)
                    self._known[key] = digest
                self._files[digest] = path
        except OSError as error:
            raise ConfigError(f"cannot read '{path}': {error.strerror}", "check the path and its permissions") from None
        return {"sha256": digest, "size": stat.st_size}

    def read(self, digest: str) -> bytes:
        """The content. A large file comes as a read-only memory map. Raises ConfigError when the file has changed."""
        if digest in self._bytes:
            return self._bytes[digest]
        path = self._files.get(digest)
        if path is None:
            raise ConfigError(f"no file with the sha256 {digest} belongs to this run")
        with path.open("rb") as source:
            if os.fstat(source.fileno()).st_size < MAP_FROM:
                return source.read()
            return mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)  # type: ignore[return-value]

    def inline(self, digest: str, size: int) -> bytes | None:
        """The content when it is small enough to travel with the batch."""
        return self.read(digest) if size <= INLINE_LIMIT else None


def _digest(source: Any) -> str:
    digest = hashlib.sha256()
    while piece := source.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()
