"""The files of a store, wherever they are: read, written so that no half of one is ever seen, listed."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tvmops.errors import StackError, TvmopsError
from tvmops.paths import user_path

Result = TypeVar("Result")
LOCAL = ("file", "local")


class StoreFiles:
    """Files below one fsspec URL. `variables` say how a host of an sftp URL is reached (those of an inventory)."""

    def __init__(self, url: str, variables: Mapping[str, Any] | None = None) -> None:
        self.url = url
        self._files, root = self._open(variables or {})
        self._root = root.rstrip("/")
        protocol = self._files.protocol
        protocols = (protocol,) if isinstance(protocol, str) else tuple(protocol)
        self.folder = Path(self._root) if set(protocols) & set(LOCAL) else None

    def _open(self, variables: Mapping[str, Any]) -> tuple[Any, str]:
        import fsspec

        if "://" not in self.url:
            return fsspec.filesystem("file"), str(Path(os.path.abspath(user_path(self.url))))  # noqa: PTH100
        given: dict[str, Any] = {}
        protocol = self.url.partition("://")[0]
        if protocol in ("sftp", "ssh"):
            from tvmops.connection.sftp import CheckedSftp

            kind: Any = CheckedSftp
            given["variables"] = dict(variables)
        else:
            kind = self._kind(protocol)
        with self.explained("opened"):
            options = kind._get_kwargs_from_urls(self.url)
            return kind(**options, **given), str(kind._strip_protocol(self.url))

    def _kind(self, protocol: str) -> Any:
        import fsspec

        try:
            return fsspec.get_filesystem_class(protocol)
        except ValueError as error:
            raise StackError(f"store {self.url}: there is no protocol '{protocol}'", "see docs/building.md") from error
        except ImportError as error:
            raise StackError(f"store {self.url}: {error}", "install that package beside tvmops") from error

    def path(self, name: str) -> str:
        """Where a file is, in the file system's own words."""
        return f"{self._root}/{name}"

    def read(self, name: str) -> bytes | None:
        """A small file's content, None when it is not there. Raises StackError."""
        with self.explained(f"read ({name})"):
            try:
                return bytes(self._files.cat_file(self.path(name)))
            except FileNotFoundError:
                return None

    def fetch(self, name: str, to: Path) -> bool:
        """Copy a file to this machine; False when it is not there. Raises StackError."""
        with self.explained(f"read ({name})"):
            try:
                self._files.get_file(self.path(name), str(to))
            except FileNotFoundError:
                return False
            return True

    def write(self, name: str, source: bytes | Path) -> None:
        """Put a file there, whole or not at all. Raises StackError."""
        path = self.path(name)
        part = f"{path}.{secrets.token_hex(4)}.part"
        with self.explained(f"written ({name})"):
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            try:
                if isinstance(source, Path):
                    self._files.put_file(str(source), part)
                else:
                    self._files.pipe_file(part, source)
                self._files.mv(part, path)
            except BaseException:
                with contextlib.suppress(Exception):
                    self._files.rm_file(part)
                raise

    def remove(self, name: str) -> None:
        """Take a file away, if it is there. Raises StackError."""
        with self.explained(f"written ({name})"), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self.path(name))

    def names(self, folder: str = "") -> list[str]:
        """The names of the files in a folder of the store, sorted. Raises StackError."""
        with self.explained("listed"):
            try:
                # Not from fsspec's memory of folders: others write here, too.
                self._files.invalidate_cache()
                found = self._files.ls(self.path(folder).rstrip("/") or "/", detail=False)
            except FileNotFoundError:
                return []
        return sorted(str(one).rstrip("/").rpartition("/")[2] for one in found)

    @contextlib.contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Errors of the file system as one StackError."""
        try:
            yield
        except TvmopsError:
            raise
        except Exception as error:  # each kind of store has errors of its own: paramiko's, botocore's, aiohttp's
            text = str(error).strip() or type(error).__name__
            raise StackError(f"store {self.url} cannot be {what}: {text}", "name another one with --store") from error

    def close(self) -> None:
        """End the connection, where there is one."""
        close: Callable[[], None] | None = getattr(self._files, "close", None)
        if close is not None:
            close()
