"""A worker that the kernel ends for lack of memory, for real: in a control group with little of it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tvmops.bench.pool import Worker, WorkerCommand, WorkerCrashed
from tvmops.lab.cgroup import hierarchies

MEGABYTES = 60
GREEDY = f"""
import os, sys
with open(sys.argv[1] + "/cgroup.procs", "w") as group:
    group.write(str(os.getpid()))
status = int(sys.argv[sys.argv.index("--status-fd") + 1])
os.write(status, b'{{"event": "ready", "versions": {{}}}}\\n')
sys.stdin.readline()
hoard = bytearray(os.urandom(1)) * ({4 * MEGABYTES} << 20)
"""


@pytest.fixture
def small_memory() -> Iterator[Path]:
    """A control group that holds little; of the old hierarchy where the machine has that one."""
    old = Path("/sys/fs/cgroup/memory")
    top, limit = (old, "memory.limit_in_bytes") if old.is_dir() else (hierarchies().unified, "memory.max")
    group = top / f"tvmops-test-{os.getpid()}"
    group.mkdir()
    (group / limit).write_text(str(MEGABYTES << 20))
    yield group
    for _ in range(100):  # the last process leaves a moment after it was waited for
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.1)


def test_the_message_names_memory_as_the_cause(small_memory: Path, tmp_path: Path) -> None:
    """and not only a signal that could be anybody's."""
    command = WorkerCommand([sys.executable, "-c", GREEDY, str(small_memory)])
    worker = Worker("greedy", command, tmp_path / "log", threading.Event())
    (tmp_path / "job").mkdir()
    with pytest.raises(WorkerCrashed, match="killed by the kernel, which ran out of memory"):
        worker.run(tmp_path / "job", 60.0, lambda _: None)
