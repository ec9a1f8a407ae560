"""What lab tests share."""

from __future__ import annotations

from tvmops.lab import Board, Lab


def shell(lab: Lab, board: Board | str, script: str, user: str = "root", timeout: float = 60.0) -> str:
    """The output of a script that must succeed on a board."""
    result = lab.exec(board, ["sh", "-ec", script], user=user, timeout=timeout)
    assert result.rc == 0, result
    return result.stdout.strip()
