"""Real loopback ssh servers, and small helpers, for integration tests."""

from __future__ import annotations

import atexit
import contextlib
import functools
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import processes

from tvmops.inventory.model import Host


def free_port() -> int:
    """A loopback port that nobody listened on a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A new private key at `path`, its public half beside it."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", str(path)]
    subprocess.run(command, check=True)
    return path


@dataclass
class Sshd:
    """A running ssh server on 127.0.0.1 with keys and a known_hosts file of its own."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    user: str = field(default_factory=getpass.getuser)

    @property
    def key(self) -> Path:
        """The private key that it lets in."""
        return self.folder / "client"

    @property
    def known_hosts(self) -> Path:
        """Has its ed25519 host key."""
        return self.folder / "known_hosts"

    def host_key(self, kind: str = "ed25519") -> str:
        """'type base64' of its public host key."""
        words = (self.folder / f"host_{kind}.pub").read_text().split()
        return f"{words[0]} {words[1]}"

    def options(self, *more: str) -> str:
        """ssh arguments for ansible_ssh_common_args that leave the user's own files alone."""
        own = [f"UserKnownHostsFile={self.known_hosts}", "GlobalKnownHostsFile=none", "IdentitiesOnly=yes"]
        return " ".join(["-F", "none", *(f"-o {option}" for option in own), *more])

    def vars(self, **more: Any) -> dict[str, Any]:
        """Host variables for an inventory; a keyword with the value None takes one out."""
        values: dict[str, Any] = {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.port,
            "ansible_user": self.user,
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": self.options(),
            **more,
        }
        return {name: value for name, value in values.items() if value is not None}

    def host(self, name: str = "board", **more: Any) -> Host:
        """A Host with these variables."""
        return Host(name, self.vars(**more))

    def processes(self) -> list[int]:
        """The server and the processes it has for its connections."""
        return processes.tree(self.process.pid)

    def signal(self, number: int) -> None:
        """Send a signal to all of them."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """End the server and its connections."""
        for pid in reversed(self.processes()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)


@functools.cache
def _rsa_key() -> Path:
    """A folder with an RSA key, made once: that takes half a second."""
    folder = Path(tempfile.mkdtemp(prefix="tvmops-rsa-"))
    atexit.register(shutil.rmtree, folder)
    make_key(folder / "host_rsa", "rsa")
    return folder


def start_sshd(folder: Path, **settings: str) -> Sshd:
    """A server with keys in `folder`; `settings` are lines of sshd_config."""
    for kind in ("ed25519", "ecdsa"):
        make_key(folder / f"host_{kind}", kind)
    for name in ("host_rsa", "host_rsa.pub"):
        shutil.copy(_rsa_key() / name, folder / name)
    make_key(folder / "client")
    shutil.copy(folder / "client.pub", folder / "authorized_keys")
    # sshd reads it as the user who logs in, who may be another one.
    (folder / "authorized_keys").chmod(0o644)
    port = free_port()
    lines = {
        "ListenAddress": f"127.0.0.1:{port}",
        "AuthorizedKeysFile": str(folder / "authorized_keys"),
        "PidFile": "none",
        "UsePAM": "no",
        "StrictModes": "no",
        "PermitRootLogin": "yes",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "MaxStartups": "100",
        "UseDNS": "no",
        "PrintMotd": "no",
        **settings,
    }
    keys = [f"HostKey {folder}/host_{kind}" for kind in ("ed25519", "ecdsa", "rsa")]
    config = folder / "sshd_config"
    config.write_text("\n".join([*keys, *(f"{name} {value}" for name, value in lines.items())]) + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    program = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    assert program, "these tests need openssh-server"
    log = (folder / "sshd.log").open("wb")
    with log:
        process = subprocess.Popen(
            [program, "-D", "-e", "-f", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = Sshd(folder, port, process)
    server.known_hosts.write_text(f"[127.0.0.1]:{port} {server.host_key()}\n")
    _wait_until_listening(server)
    return server


def _wait_until_listening(server: Sshd) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        assert server.process.poll() is None, (server.folder / "sshd.log").read_text()
        try:
            with socket.create_connection(("127.0.0.1", server.port), 1):
                return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"sshd did not start: {(server.folder / 'sshd.log').read_text()}")
