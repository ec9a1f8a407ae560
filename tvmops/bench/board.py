"""A host as a sweep uses it: one connection, one agent, one tunnel, kept for the whole sweep."""

from __future__ import annotations

import contextlib
import hashlib
import shlex
import threading
from pathlib import Path
from typing import Any, Protocol

from tvmops.bench import job_files
from tvmops.bench.baseline import run_on_board
from tvmops.bench.board_local import LocalRuns
from tvmops.bench.jobs import BoardIdentity
from tvmops.connection import Connection, connect
from tvmops.connection.session import AgentSession
from tvmops.errors import AgentError, HostUnreachable, RpcError, TvmopsError
from tvmops.inventory import FactsCache, Host
from tvmops.rpc import Endpoint

CPU_SAMPLE_SECONDS = 0.05
LAST_CONNECT_SECONDS = 8.0  # to end a program there although the sweep has ended
DEFAULT_PREFIX = "/opt/tvmops"
# What identical boards have in common: processor, number of cores, and what the device tree calls the board.
MODEL = (
    "{ uname -m; nproc; grep -m 1 -E '^(model name|Hardware|CPU part)' /proc/cpuinfo; "
    "tr -d '\\0' </proc/device-tree/model; } | sha256sum"
)


class RpcAccess(Protocol):
    """How a board's RPC server is reached. Knows which stacks need one."""

    def open(self, connection: Connection, stack: str) -> Endpoint | None:
        """A way to a server that has just answered a handshake; starts it when it is down. Raises RpcError."""

    def check(self, connection: Connection, stack: str) -> object:
        """Raises RpcError unless the board carries the runtime that `stack` compiles for."""

    def restore(self, connection: Connection, stack: str) -> None:
        """Restart a server that is dead. Raises RpcError."""

    def close(self) -> None:
        """Close the tunnel."""


class NoRpc:
    """For stacks whose worker runs models in its own process."""

    def open(self, connection: Connection, stack: str) -> Endpoint | None:
        """Nothing to open."""

    def check(self, connection: Connection, stack: str) -> None:
        """Nothing to compare."""

    def restore(self, connection: Connection, stack: str) -> None:
        """Nothing to restore."""

    def close(self) -> None:
        """Nothing to close."""


class HostBoard:
    """The Board of a real host. Every method may raise HostUnreachable and its kin."""

    def __init__(self, host: Host, rpc: RpcAccess) -> None:
        self.host = host
        self.shares_cpu = bool(host.vars.get("tvmops_shares_cpu", False))
        self._prefix = prefix_of(host)
        self._rpc = rpc
        self._local_runs = LocalRuns(self._prefix)
        self._lock = threading.Lock()
        self._closed = False
        self._connection: Connection | None = None
        self._agent: AgentSession | None = None
        self._facts: dict[str, Any] | None = None

    def identify(self) -> BoardIdentity:
        """Connect; which machine answered, and which releases it carries."""
        links = [shlex.quote(f"{self._prefix}/{name}") for name in ("current", "baselines/current")]
        looks = ["head -n 1 /etc/machine-id", *(f"readlink {link}" for link in links), MODEL]
        # One line each, empty where there is nothing.
        script = "; ".join(f'echo "$({look} 2>/dev/null)"' for look in looks)
        done = self._open().run(script, timeout=30.0)
        machine_id, release, baseline, model = [*done.stdout.splitlines(), "", "", "", ""][:4]
        identity = _anonymous(machine_id.strip())
        return BoardIdentity(identity, _last_part(release), _last_part(baseline), model.strip()[:16] or None)

    def facts(self) -> dict[str, Any]:
        """Facts, gathered anew in every sweep and put into the cache."""
        if self._facts is None:
            self._facts = dict(self._ask("setup", {})["ansible_facts"])
            FactsCache().put(self.host, self._facts)
        return self._facts

    def conditions(self) -> dict[str, Any]:
        """The conditions right now."""
        return dict(self._ask("conditions", {"sample": CPU_SAMPLE_SECONDS})["conditions"])

    def rpc(self, stack: str) -> Endpoint | None:
        """The way to its RPC server."""
        return self._rpc.open(self._open(), stack)

    def restore_rpc(self, stack: str) -> None:
        """Restart its RPC server."""
        self._rpc.restore(self._open(), stack)

    def run_baseline(self, job: dict[str, Any], files: dict[str, Path], deadline: float) -> dict[str, Any]:
        """Run another runtime there."""
        return run_on_board(self._open(), self._prefix, job, files, deadline)

    def run_local(
        self, job: dict[str, Any], files: dict[str, Path], deadline: float, into: Path
    ) -> dict[str, Any] | None:
        """Run the model there without RPC. After HostUnreachable, the next call finds what still runs."""
        if job.get("profile"):
            return job_files.failure("BadInput", "mode local does not profile operators; measure by RPC (--mode rpc)")
        try:
            connection = self._open()
            self._rpc.check(connection, job["stack"])
            return self._local_runs.run(connection, job, files, deadline, into, check=self._check_open)
        except RpcError as error:
            return job_files.failure("Board", str(error))
        except HostUnreachable:
            if self._closed:
                self._end_local_runs()
            raise

    def reset(self) -> None:
        """Drop agent, tunnel and connection."""
        with self._lock:
            agent, connection = self._agent, self._connection
            self._agent = self._connection = None
        self._rpc.close()
        for part in (agent, connection):
            if part is not None:
                with contextlib.suppress(Exception):  # it is broken: that is why it goes
                    part.close()

    def close(self) -> None:
        """End everything; the board cannot be used again."""
        self._closed = True
        self.reset()

    def _end_local_runs(self) -> None:
        """On a connection of its own: the board's was cut because the sweep ends."""
        with contextlib.suppress(TvmopsError):  # a board that is gone ends them by itself
            connection = connect(self.host, LAST_CONNECT_SECONDS)
            try:
                for key in self._local_runs.running():
                    self._local_runs.end(connection, key)
            finally:
                connection.close()

    def _open(self) -> Connection:
        with self._lock:
            known = self._connection
        if known is None:
            self._check_open()
            known = connect(self.host)
            with self._lock:
                self._connection = known
        self._check_open()
        return known

    def _check_open(self) -> None:
        if self._closed:
            self.reset()
            raise HostUnreachable(f"{self.host.name}: its connection was closed, as the sweep ends")

    def _ask(self, module: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """The result of one agent module. The agent stays for the next one."""
        connection = self._open()
        agent = self._agent
        if agent is None:
            agent = self._agent = AgentSession(connection, become=None)
        self._check_open()
        results: list[dict[str, Any]] = []

        def listen(event: dict[str, Any]) -> None:
            if event["ev"] == "done":
                results.append(event["result"])

        agent.run_batch(_batch(module, arguments), _no_blobs, listen)
        if not results or results[0].get("failed"):
            reason = results[0].get("msg") if results else "the agent sent no result"
            raise AgentError(f"{self.host.name}: {module}: {reason}")
        return results[0]


def prefix_of(host: Host) -> str:
    """The folder on the host that holds releases and baselines."""
    return str(host.vars.get("tvmops_prefix") or DEFAULT_PREFIX).rstrip("/")


def _batch(module: str, arguments: dict[str, Any]) -> dict[str, Any]:
    task = {"id": 1, "module": module, "args": arguments, "loop": None, "become_user": None, "environment": {}}
    task |= {"check": False, "diff": False, "no_log": False, "ignore_errors": False}
    task |= {"changed_when": None, "failed_when": None}
    return {"op": "batch", "id": 1, "check": False, "diff": False, "tasks": [task], "blobs": {}}


def _no_blobs(digest: str) -> bytes:
    raise AgentError(f"the agent asked for content {digest} that no task mentions")


def _last_part(path: str) -> str | None:
    return path.strip().rstrip("/").rpartition("/")[2] or None


def _anonymous(machine_id: str) -> str | None:
    # machine-id(5): the number itself is confidential; a hash made for one application may be shown.
    return hashlib.sha256(f"tvmops {machine_id}".encode()).hexdigest()[:16] if machine_id else None
