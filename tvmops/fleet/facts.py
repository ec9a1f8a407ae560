"""Gather facts from many hosts at once: one round trip each, kept in the facts cache."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tvmops.connection import connect
from tvmops.connection.session import AgentSession
from tvmops.errors import AgentError, TvmopsError
from tvmops.inventory import FactsCache, Host


def gather(hosts: Sequence[Host], forks: int = 50) -> dict[str, dict[str, Any] | TvmopsError]:
    """Facts, or the error that kept them away, by host name; one bad host never hides the others."""
    with ThreadPoolExecutor(max_workers=max(1, min(forks, len(hosts)))) as pool:
        return dict(zip((host.name for host in hosts), pool.map(_gather_or_error, hosts), strict=True))


def known_or_gathered(hosts: Sequence[Host], max_age: float) -> dict[str, dict[str, Any] | TvmopsError]:
    """As gather, but hosts whose facts are at most `max_age` seconds old are not asked again."""
    cache = FactsCache()
    known: dict[str, dict[str, Any] | TvmopsError] = {}
    for host in hosts:
        facts = cache.get(host, max_age)
        if facts is not None:
            known[host.name] = facts
    missing = [host for host in hosts if host.name not in known]
    known.update(gather(missing) if missing else {})
    return {host.name: known[host.name] for host in hosts}


def gather_one(host: Host) -> dict[str, Any]:
    """The facts of one host, also put into the cache. Raises HostUnreachable, AgentError and kin."""
    results: list[dict[str, Any]] = []

    def listen(event: dict[str, Any]) -> None:
        if event["ev"] == "done":
            results.append(event["result"])

    connection = connect(host)
    try:
        session = AgentSession(connection, become=None)
        try:
            batch = {"id": 1, "check": False, "diff": False, "tasks": [setup_task(1)]}
            session.run_batch(batch, _no_blobs, listen)
        finally:
            session.close()
    finally:
        connection.close()
    if not results or results[0].get("failed"):
        reason = results[0].get("msg") if results else "the agent sent no result"
        raise AgentError(
            f"{host.name}: facts: {reason}", "run it again with --refresh; if it stays, report the message"
        )
    facts: dict[str, Any] = results[0]["ansible_facts"]
    FactsCache().put(host, facts)
    return facts


def setup_task(task_id: int) -> dict[str, Any]:
    """The wire form of a `setup` task."""
    return {
        "id": task_id,
        "module": "setup",
        "args": {},
        "loop": None,
        "become_user": None,
        "environment": {},
        "check": False,
        "diff": False,
        "no_log": False,
        "ignore_errors": False,
        "changed_when": None,
        "failed_when": None,
    }


def _gather_or_error(host: Host) -> dict[str, Any] | TvmopsError:
    try:
        return gather_one(host)
    except TvmopsError as error:
        return error


def _no_blobs(digest: str) -> bytes:
    raise AgentError(f"the agent asked for content {digest} that no task mentions")
