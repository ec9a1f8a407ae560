"""Files over sftp for fsspec, through the same checked connection as everything else: host keys, ssh_config, jumps."""

from __future__ import annotations

from typing import Any

from fsspec.implementations.sftp import SFTPFileSystem

from tvmops.connection.dial import dial
from tvmops.connection.settings import resolve
from tvmops.inventory.model import Host

DEADLINE = 15.0  # seconds for connecting


class CheckedSftp(SFTPFileSystem):  # type: ignore[misc]  # fsspec has no types
    """fsspec's sftp files. Its own connection would accept every host key; `variables` are those of a host."""

    cachable = False  # a connection belongs to who opened it: threads do not share one

    def __init__(self, host: str, variables: dict[str, Any] | None = None, **given: Any) -> None:
        self.variables = dict(variables or {})
        super().__init__(host, **given)

    def _connect(self) -> None:
        named = {"ansible_user": self.ssh_kwargs.get("username"), "ansible_port": self.ssh_kwargs.get("port")}
        variables = {**{name: value for name, value in named.items() if value}, **self.variables}
        self.session = dial(resolve(Host(self.host, variables)), DEADLINE)
        self.ftp = self.session.transport.open_sftp_client()

    def close(self) -> None:
        """End the connection."""
        self.session.close()
