"""Start a process of the lab that outlives the controller, inside a control group that ends it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tvmops.errors import LabError
from tvmops.lab.cgroup import Cgroup
from tvmops.lab.tools import clean_environment

# The shell joins the groups before it becomes the program, so that no moment exists in which `down` could miss it.
JOIN = 'while [ "$1" != -- ]; do echo $$ >"$1" || exit 1; shift; done; shift; "$@" </dev/null &'


def spawn(
    cgroup: Cgroup,
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> None:
    """Start `command` in `cgroup`, writing to `log`. Raises LabError when it cannot be started at all."""
    cgroup.create()
    log.parent.mkdir(parents=True, exist_ok=True)
    shell = ["/bin/sh", "-c", JOIN, "sh", *cgroup.join_files(), "--", *command]
    with log.open("ab") as output:
        done = subprocess.run(
            shell,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**clean_environment(), **(environment or {})},
            pass_fds=pass_fds,
            start_new_session=True,
            timeout=30,
            check=False,
        )
    if done.returncode != 0:
        raise LabError(f"{command[0]} did not start: see {log}")
