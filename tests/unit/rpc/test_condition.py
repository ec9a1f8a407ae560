"""One word for how usable a board's RPC server is: each from what was found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tvmops.board_locks import Lease
from tvmops.errors import BecomeError, HostUnreachable
from tvmops.rpc.condition import Expected, TrackerView, condition_of
from tvmops.rpc.server import ServerStatus
from tvmops.rpc.tracker import KeySummary
from tvmops.rpc.versions import Release

RELEASE = Release("relay-0.19", "0.19.0", "00112233445566aa", "armv7l", "")
WELL = ServerStatus("b1", 9090, "", False, RELEASE, RELEASE.key, 7, key="rk3288")
SILENT = replace(WELL, problem="port 9090: does not answer")
GONE = replace(WELL, problem="port 9090: nothing listens", listening=False, key=None)
EXPECTED = Expected("rk3288", "relay-0.19", "0.19.0")
LEASE = Lease("b1", "RPC session", "ada", 12, "desk", "2026-01-01 10:00:00", "2026-01-01 10:01:00")
OFFERS = TrackerView("the tracker", "rk3288", KeySummary("rk3288", 1, 0, (("127.0.0.1", 9090),)), has_board=True)
KNOWS_NOT = TrackerView("the tracker", "rk3288")
AWAY = TrackerView("the tracker", "rk3288", problem="the tracker does not answer")


@pytest.mark.parametrize(
    ("status", "lease", "tracker", "word", "text"),
    [
        (WELL, None, None, "free", ""),
        (WELL, None, OFFERS, "free", ""),
        (WELL, None, AWAY, "free", "the tracker does not answer"),
        (WELL, LEASE, OFFERS, "busy", "held by RPC session of ada (pid 12 on desk, since 2026-01-01 10:00:00, until"),
        (replace(WELL, busy=True), None, None, "busy", "holds no lease"),
        (GONE, None, None, "no server", "nothing listens"),
        (SILENT, None, None, "no answer", "does not answer"),
        (SILENT, None, KNOWS_NOT, "no answer", "does not answer"),
        (SILENT, None, OFFERS, "no data port", "the tracker offers it, but port 9090: does not answer"),
        (GONE, None, OFFERS, "no data port", "the tracker offers it, but port 9090: nothing listens"),
        (WELL, None, replace(OFFERS, port_problem="its port hangs"), "no data port", "offers it, but its port hangs"),
        (replace(SILENT, foreign=True), None, OFFERS, "port taken", ""),
        (
            replace(WELL, key="rk1"),
            None,
            None,
            "unknown key",
            "with the key 'rk1', but tvm_rpc_key is 'rk3288'",
        ),
        (replace(WELL, key=None), None, None, "free", ""),
        (WELL, None, KNOWS_NOT, "unknown key", "the tracker has no server of the key 'rk3288'"),
        (replace(WELL, release=replace(RELEASE, tvm="0.18.0")), LEASE, None, "version mismatch", "TVM 0.18.0"),
        (HostUnreachable("b1: no route"), None, OFFERS, "unreachable", "b1: no route"),
        (BecomeError("b1: sudo wants a password"), None, None, "unknown", "sudo"),
    ],
)
def test_each_word_has_its_own_reason(
    status: ServerStatus, lease: Lease | None, tracker: TrackerView | None, word: str, text: str
) -> None:
    found = condition_of(status, EXPECTED, lease, tracker)
    assert (found.word, text in found.text) == (word, True), found


def test_a_board_without_a_stack_has_no_wrong_version() -> None:
    other = replace(WELL, release=replace(RELEASE, tvm="0.8.0"))
    assert condition_of(other, Expected("rk3288")).word == "free"
