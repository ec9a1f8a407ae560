"""What lab tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tvmops.lab import Board, Lab
from tvmops.paths import project_root


class Commands:
    """tvmops commands that share one state folder."""

    def __init__(self, lab: Lab, state: Path) -> None:
        self.inventory = f"lab:{lab.id}"
        self.environment = {**os.environ, "TVMOPS_STATE": str(state), "NO_COLOR": "1"}

    def __call__(self, *arguments: str, rc: int = 0) -> str:
        """The output of a command that must end with exit code `rc`."""
        done = subprocess.run(
            [sys.executable, "-m", "tvmops", *arguments],
            env=self.environment,
            cwd=project_root(),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == rc, done.stdout + done.stderr
        return done.stdout + done.stderr

    def on(self, *arguments: str, rc: int = 0) -> str:
        """As calling it, with the lab as inventory."""
        return self(*arguments, "-i", self.inventory, rc=rc)


def shell(lab: Lab, board: Board | str, script: str, user: str = "root", timeout: float = 60.0) -> str:
    """The output of a script that must succeed on a board."""
    result = lab.exec(board, ["sh", "-ec", script], user=user, timeout=timeout)
    assert result.rc == 0, result
    return result.stdout.strip()
