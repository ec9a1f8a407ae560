"""Leases: who holds a board, seen from outside, and free again when the holder dies."""

from __future__ import annotations

import fcntl
import getpass
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tvmops.board_locks import lease_of, leases, lock_folder, open_lock, sign, take

HOLD = """
import fcntl, sys, time
from tvmops.board_locks import open_lock, sign, take
file = open_lock(sys.argv[1])
assert take(file, fcntl.LOCK_EX)
sign(file, "measuring", seconds=60)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVMOPS_STATE", str(tmp_path))


def test_a_lease_says_who_since_when_and_until_when() -> None:
    assert leases() == []
    with open_lock("b1") as one, open_lock("b/2") as two:
        assert take(one, fcntl.LOCK_EX)
        assert take(two, fcntl.LOCK_EX)
        sign(one, "sweep (compile x)")
        sign(two, "RPC session (python)", user="ada", pid=4711, seconds=90)
        first, second = leases()
        assert (first.host, first.purpose, first.pid, first.until) == ("b1", "sweep (compile x)", os.getpid(), "")
        assert (second.host, second.user, second.pid) == ("b_2", "ada", 4711)
        assert second.since < second.until
        assert str(second).startswith("RPC session (python) of ada (pid 4711 on ")
        assert str(second).endswith(f", since {second.since}, until {second.until})")
        assert lease_of("b/2") == second
    assert leases() == []


def test_looking_is_in_nobodys_way() -> None:
    """Not even while another looks at the very moment at which one takes the lock."""
    with open_lock("b1") as taking, open_lock("b1") as looking:
        assert take(looking, fcntl.LOCK_SH)
        assert lease_of("b1") is None
        assert not take(taking, fcntl.LOCK_EX)  # one that stays is no look
        looking.close()
        assert take(taking, fcntl.LOCK_EX)


def test_the_lease_of_a_dead_process_is_free_at_once() -> None:
    argv = [sys.executable, "-c", HOLD, "b1"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        lease = lease_of("b1")
        assert lease is not None
        assert (lease.pid, lease.user) == (process.pid, getpass.getuser())
        process.kill()
        process.wait()
        assert lease_of("b1") is None
        with open_lock("b1") as file:
            assert take(file, fcntl.LOCK_EX)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": null}', '{"pid": 1, "purpose": "x"}'])
def test_a_lease_that_nobody_signed_is_one_all_the_same(text: str) -> None:
    with open_lock("b1") as file:
        assert take(file, fcntl.LOCK_EX)
        (lock_folder() / "b1").write_text(text)
        lease = lease_of("b1")
        assert lease is not None
        assert (lease.host, lease.user) == ("b1", "unknown")
