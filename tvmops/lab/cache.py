"""The lab's package caches: what boards without a way out install from, as in an office with a mirror.

apt-cacher-ng serves Debian's packages and proxpi those of PyPI, on the bridge's address only. Both keep what they
fetched in the user's cache folder; a second lab that runs at the same time works on a copy of its own.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import socket
import sys
import time
from pathlib import Path

from tvmops.errors import LabError, MissingTool
from tvmops.lab import mirrors
from tvmops.lab.cgroup import Cgroup
from tvmops.lab.daemon import spawn
from tvmops.lab.network import Network
from tvmops.lab.tools import require, run
from tvmops.paths import cache_dir

APT_PORT = 3142
PIP_PORT = 3141
READY_DEADLINE = 60.0
# proxpi answers with the upstream's address when a download takes longer; boards cannot go there.
DOWNLOAD_DEADLINE = 600


class PackageCache:
    """The two caches of lab `lab_id`; `folder` takes configuration and logs."""

    def __init__(self, lab_id: str, folder: Path, network: Network) -> None:
        self.folder = folder
        self.network = network
        self.cgroup = Cgroup(f"tvmops-{lab_id}/_cache")

    def variables(self) -> dict[str, str]:
        """Inventory variables that point a board at the caches."""
        gateway = self.network.address(1)
        base = f"http://{gateway}:{APT_PORT}"
        values = {"apt_mirror": f"{base}/debian", "pip_index": f"http://{gateway}:{PIP_PORT}/index/"}
        values["apt_security_mirror"] = f"{base}/debian-security"
        return values

    def running(self) -> bool:
        """Whether the caches' processes live."""
        return self.cgroup.populated()

    def start(self) -> None:
        """Start both caches; they answer some moments later (see wait_ready)."""
        if self.running():
            return
        require(["apt-cacher-ng"])
        for module in ("proxpi", "waitress"):
            if importlib.util.find_spec(module) is None:
                raise MissingTool(
                    f"the lab's PyPI cache needs the Python package {module}",
                    f"install it: {sys.executable} -m pip install 'tvmops[lab]'",
                )
        store, lock = self._store()
        try:
            self._start_apt(store / "apt", lock)
            self._start_pip(store / "pypi", lock)
        finally:
            if lock is not None:
                os.close(lock)

    def _store(self) -> tuple[Path, int | None]:
        """The folder to keep packages in, and the descriptor of its lock, which the caches inherit and so hold."""
        shared = cache_dir() / "lab" / "cache"
        shared.mkdir(parents=True, exist_ok=True)
        lock = os.open(shared / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            own = self.folder / "store"
            if not own.exists():
                own.mkdir(parents=True)
                run(["cp", "-a", "--reflink=auto", f"{shared}/.", own], timeout=600, check=False)
            return own, None
        return shared, lock

    def _start_apt(self, store: Path, lock: int | None) -> None:
        mirror = mirrors.debian_mirror()
        settings = {
            "CacheDir": store,
            "LogDir": self.folder / "log",
            "SupportDir": "/usr/lib/apt-cacher-ng",
            "PidFile": self.folder / "apt-cacher-ng.pid",
            "SocketPath": self.folder / "apt-cacher-ng.socket",
            "Port": APT_PORT,
            "BindAddress": self.network.address(1),
            "ExThreshold": 30,
            "ForceManaged": 1,
            "Remap-debrep": f"{mirrors.DEBIAN} /debian ; {mirror.main}",
            "Remap-secrep": f"{mirrors.SECURITY} /debian-security ; {mirror.security}",
        }
        proxy = mirrors.apt_proxy()
        if proxy:
            settings["Proxy"] = proxy
        # A folder of its own: Debian's default configuration sends everything to a host that may not resolve.
        conf = self.folder / "apt-cacher-ng"
        shutil.rmtree(conf, ignore_errors=True)
        for folder in (conf, store, self.folder / "log"):
            folder.mkdir(parents=True, exist_ok=True)
        (conf / "acng.conf").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
        command = ["apt-cacher-ng", "-c", str(conf), "ForeGround=1"]
        spawn(self.cgroup, command, self.folder / "apt.log", pass_fds=[] if lock is None else [lock])

    def _start_pip(self, store: Path, lock: int | None) -> None:
        store.mkdir(parents=True, exist_ok=True)
        environment = mirrors.python_index().environment()
        environment |= {
            "PROXPI_CACHE_DIR": str(store),
            "PROXPI_INDEX_TTL": "1800",
            "PROXPI_DOWNLOAD_TIMEOUT": str(DOWNLOAD_DEADLINE),
            "PROXPI_CONNECT_TIMEOUT": "15",
            "PROXPI_READ_TIMEOUT": "60",
        }
        command = [sys.executable, "-m", "waitress", f"--listen={self.network.address(1)}:{PIP_PORT}"]
        command += ["--threads=16", "proxpi.server:app"]
        fds = [] if lock is None else [lock]
        spawn(self.cgroup, command, self.folder / "pip.log", environment=environment, pass_fds=fds)

    def wait_ready(self, deadline: float = READY_DEADLINE) -> None:
        """Wait until both caches accept connections. Raises LabError with the end of the log when one does not."""
        limit = time.monotonic() + deadline
        for port, log in ((APT_PORT, "apt.log"), (PIP_PORT, "pip.log")):
            while not self._accepts(port):
                if time.monotonic() > limit or not self.running():
                    tail = (self.folder / log).read_text(errors="replace").splitlines()[-8:]
                    raise LabError("the lab's package cache does not answer:\n" + "\n".join(tail))
                time.sleep(0.05)

    def _accepts(self, port: int) -> bool:
        try:
            with socket.create_connection((self.network.address(1), port), timeout=2.0):
                return True
        except OSError:
            return False

    def freeze(self, on: bool) -> None:
        """Make the caches hang: connections are accepted and never answered; or start them anew after that.

        Raises LabError when there is no cache to hang, or it does not start again.
        """
        if on and not self.running():
            raise LabError("this lab has no package cache", "start the lab with its cache (the default)")
        if on:
            self.cgroup.freeze(True)
            limit = time.monotonic() + 5.0
            while not self.cgroup.frozen() and time.monotonic() < limit:
                time.sleep(0.01)
        elif self.cgroup.frozen():
            # Not thawed: apt-cacher-ng may crash over the clients that left it meanwhile.
            self.stop()
            self.start()
            self.wait_ready()

    def stop(self) -> None:
        """End both caches. What they fetched stays."""
        self.cgroup.kill()
        self.cgroup.remove()
