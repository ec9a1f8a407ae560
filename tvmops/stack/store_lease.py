"""A lease on a name in a store that no file lock can reach: who builds what, among several controllers."""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tvmops.errors import StackError
from tvmops.stack.environment import OnProgress
from tvmops.stack.store_files import StoreFiles
from tvmops.user import owner_name


@dataclass(frozen=True)
class Pace:
    """Seconds: `beat` between renewals, `stale` without one after which a lease is dead (measured here: clocks differ),

    `settle` for two that took it at once to see who wrote last.
    """

    beat: float = 20.0
    stale: float = 90.0
    settle: float = 1.0


USUAL = Pace()


@contextmanager
def leased(
    files: StoreFiles,
    name: str,
    on_progress: OnProgress,
    deadline: float,
    pace: Pace = USUAL,
) -> Iterator[None]:
    """Hold the lease `name`; waits for its holder, for at most `deadline` seconds. Raises StackError.

    Stores have no atomic step in common, so two may in rare cases hold it at once: then a key is built twice, and the
    second result takes the place of the first.
    """
    token = secrets.token_hex(8)
    _acquire(files, name, token, on_progress, time.monotonic() + deadline, pace=pace)
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(files, name, token, ended, pace.beat), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join(pace.beat)
        with suppress(StackError):
            if _holder(files.read(name)).get("token") == token:
                files.remove(name)


def _acquire(files: StoreFiles, name: str, token: str, on_progress: OnProgress, end: float, *, pace: Pace) -> None:
    seen: bytes | None = None
    since = time.monotonic()
    while True:
        found = files.read(name)
        if found is None or (found == seen and time.monotonic() - since > pace.stale):
            files.write(name, _text(token, 0))
            time.sleep(pace.settle)
            found = files.read(name)
            if _holder(found).get("token") == token:
                return
        if found != seen:
            if seen is None:
                on_progress(f"waiting for {_holder(found).get('owner', 'another tvmops')}, who builds the same thing")
            seen, since = found, time.monotonic()
        if time.monotonic() > end:
            raise StackError(
                f"store {files.url}: {_holder(found).get('owner', 'another')} has built {name} for too long",
                "end that build, then run again",
            )
        time.sleep(min(2.0, pace.stale / 4))


def _renew(files: StoreFiles, name: str, token: str, ended: threading.Event, beat: float) -> None:
    count = 0
    while not ended.wait(beat):
        count += 1
        with suppress(StackError):  # the next beat may get through; if none does, another one takes over
            if _holder(files.read(name)).get("token", token) == token:
                files.write(name, _text(token, count))


def _text(token: str, count: int) -> bytes:
    owner = f"{owner_name()} (process {os.getpid()})"
    return json.dumps({"token": token, "owner": owner, "beat": count}).encode()


def _holder(text: bytes | None) -> dict[str, str]:
    try:
        value = json.loads(text or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
