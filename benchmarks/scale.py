"""How the cost of a run grows with the tasks and with the hosts: measured on plain lab boards, drawn into docs/images/.

    python benchmarks/scale.py                    (as root; minutes) measures, writes the JSON and draws
    python benchmarks/scale.py --draw-only        draws what benchmarks/scale.json holds

Every number is of a run that changes nothing, as a fresh process: the median of --repeat runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tvmops.lab import Lab

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "scale.json"
IMAGES = HERE.parent / "docs" / "images"
TASKS = (40, 400, 4000)
HOSTS = (1, 2, 5, 10, 20, 50, 100, 200)
PYTHON = (
    "echo 'deb {mirror} bookworm main' > /etc/apt/sources.list; rm -f /etc/apt/sources.list.d/*;"
    " apt-get update -q > /dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends"
    " python3 > /dev/null && apt-get clean"
)


class Boards:
    """A lab whose boards have Python from the start: one board installs it, the others share its files."""

    def __init__(self, hosts: int) -> None:
        self.lab = Lab(id="pscale")
        self.lab.down(purge=True)
        self.lab.up(["b1"], plain=True)
        mirror = self.lab.cache.variables()["apt_mirror"]
        done = self.lab.exec("b1", ["sh", "-c", PYTHON.format(mirror=mirror)], timeout=900)
        if done.rc != 0:
            raise SystemExit(f"b1: {done.stderr[-1000:]}")
        (files,) = self.lab.machine("b1").folder.rglob("upper")
        self.lab.down()
        layer = self.lab.folder / "layer" / "amd64"
        for folder in ("usr", "var/lib/dpkg", "etc/python3", "etc/python3.11", "etc/apt"):
            if (files / folder).exists():
                (layer / folder).parent.mkdir(parents=True, exist_ok=True)
                subprocess.run(["cp", "-a", f"{files / folder}/.", f"{layer / folder}/"], check=True)
        (board,) = (files.parent,)
        subprocess.run(["rm", "-rf", str(files), str(board / "work")], check=True)
        started = time.monotonic()
        self.lab.up(hosts, plain=True, cache=False)
        print(f"{hosts} boards are up after {time.monotonic() - started:.0f} s", flush=True)
        self.folder = Path(tempfile.mkdtemp(prefix="tvmops-scale-"))
        self.inventory = self.folder / "hosts.yml"
        described = self.lab.inventory()
        _as_root(described)
        self.inventory.write_text(yaml.safe_dump(described))

    def run(self, playbook: Path, hosts: int) -> dict[str, float]:
        """One run of tvmops on the first boards. Raises SystemExit when a host failed."""
        program = [str(Path(sys.executable).with_name("tvmops")), "playbook", str(playbook), "-i", str(self.inventory)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["TVMOPS_STATE"] = str(self.folder / "state")
        names = ",".join(f"b{number}" for number in range(1, hosts + 1))
        boards_before, began = self._cpu(hosts), time.monotonic()
        with _Memory(self.lab) as memory, (self.folder / "out").open("w+") as out:
            done = subprocess.Popen(
                [*program, "--limit", names],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=environment,
            )  # fmt: skip
            watch = threading.Timer(1800, done.kill)
            watch.start()
            _, status, usage = os.wait4(done.pid, 0)
            watch.cancel()
            done.returncode = code = os.waitstatus_to_exitcode(status)
            wall = time.monotonic() - began
            out.seek(0)
            text = out.read()
        recap = [line for line in text.splitlines() if "unreachable=0" in line and "failed=0" in line]
        if code != 0 or len(recap) != hosts:
            raise SystemExit(f"exit code {code}, {len(recap)} of {hosts} hosts:\n{text[-3000:]}")
        return {
            "wall": wall,
            "controller_cpu": usage.ru_utime + usage.ru_stime,
            "boards_cpu": self._cpu(hosts) - boards_before,
            "controller_peak_mb": usage.ru_maxrss / 1024,
            "agent_peak_mb": memory.peak / 1024,
            "changed": sum(int(line.split("changed=")[1].split()[0]) for line in recap),
        }

    def _cpu(self, hosts: int) -> float:
        """CPU seconds of the boards so far."""
        total = 0
        for number in range(1, hosts + 1):
            text = (self.lab.cgroup.child(f"b{number}").path / "cpu.stat").read_text()
            total += int(text.split("usage_usec ")[1].split()[0])
        return total / 1e6


def _as_root(groups: dict[str, Any]) -> None:
    for group in groups.values():
        for name, variables in ((group or {}).get("hosts") or {}).items():
            group["hosts"][name] = {**(variables or {}), "ansible_user": "root"}
        _as_root((group or {}).get("children") or {})


class _Memory:
    """Looks again and again how much memory agents have used at most (their peak resident size, in KiB)."""

    def __init__(self, lab: Lab) -> None:
        self.peak = 0
        self._group = lab.cgroup.child("b1").path
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.01):
            for group in [self._group, *self._group.rglob("*/")]:
                try:
                    pids = (group / "cgroup.procs").read_text().split()
                except OSError:
                    continue
                for pid in pids:
                    self.peak = max(self.peak, _agent_peak(pid))


def _agent_peak(pid: str) -> int:
    process = Path("/proc", pid)
    try:
        if b"agent-" not in (process / "cmdline").read_bytes():
            return 0
        text = (process / "status").read_text()
        return int(text.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        return 0  # it has just ended


def playbook_of(count: int, folder: Path) -> Path:
    """A playbook of so many tasks: folders, files, lines and guarded commands in turn."""
    tasks: list[dict[str, Any]] = []
    for number in range(count):
        name = f"/srv/scale/{number // 100}"
        kinds: list[dict[str, Any]] = [
            {"ansible.builtin.file": {"path": f"{name}/d{number}", "state": "directory", "mode": "0755"}},
            {
                "ansible.builtin.copy": {
                    "content": f"{{{{ inventory_hostname }}}} {number}\n",
                    "dest": f"{name}/f{number}",
                }
            },
            {"ansible.builtin.lineinfile": {"path": f"{name}/l{number}", "line": f"line {number}", "create": True}},
            {"ansible.builtin.command": {"cmd": f"touch {name}/c{number}", "creates": f"{name}/c{number}"}},
        ]
        if number % 100 == 0:
            kinds = [{"ansible.builtin.file": {"path": name, "state": "directory", "mode": "0755"}}]
        tasks.append({"name": f"step {number}", **kinds[number % len(kinds)]})
    path = folder / f"tasks-{count}.yml"
    path.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}], sort_keys=False))
    return path


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All sizes; each is run once to make it so, then --repeat times."""
    from provision import WORKLOAD, variables

    variables()
    boards = Boards(max(options.hosts))
    found: dict[str, Any] = {"cores": os.cpu_count(), "tasks": {}, "hosts": {}}
    plans = [("tasks", count, playbook_of(count, boards.folder), 1) for count in options.tasks]
    plans += [("hosts", count, WORKLOAD / "site.yml", count) for count in options.hosts]
    try:
        for axis, count, playbook, hosts in plans:
            first = boards.run(playbook, hosts)
            runs = [boards.run(playbook, hosts) for _ in range(options.repeat)]
            if any(one["changed"] for one in runs):
                raise SystemExit(f"{axis} {count}: a second run changed something")
            medians = {name: round(statistics.median(one[name] for one in runs), 4) for name in runs[0]}
            found[axis][str(count)] = {**medians, "first_wall": round(first["wall"], 4)}
            print(f"{axis} {count}: {found[axis][str(count)]}", flush=True)
    finally:
        if not options.keep:
            boards.lab.down(purge=True)
    return found


def draw(found: dict[str, Any], folder: Path) -> None:
    """docs/images/scale-tasks.png and scale-hosts.png."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    for axis, label in (("tasks", "tasks in the playbook, one host"), ("hosts", "hosts, 40 steps each")):
        sizes = sorted(int(one) for one in found[axis])
        figure, plot = pyplot.subplots(figsize=(7, 4), dpi=110)
        for name, title in (
            ("wall", "wall"),
            ("controller_cpu", "controller's CPU"),
            ("boards_cpu", "boards' CPU (agents, sshd)"),
        ):
            plot.plot(sizes, [found[axis][str(one)][name] for one in sizes], marker="o", label=title)
        plot.set_xlabel(label)
        plot.set_ylabel("seconds, nothing to change")
        plot.set_xlim(left=0)
        plot.set_ylim(bottom=0)
        plot.grid(alpha=0.3)
        plot.legend(frameon=False)
        plot.set_title(f"Cost of a run; controller and boards share {found['cores']} cores", fontsize=10)
        figure.tight_layout()
        figure.savefig(folder / f"scale-{axis}.png")
        pyplot.close(figure)


def _sizes(text: str) -> Sequence[int]:
    return [int(one) for one in text.split(",")]


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=_sizes, default=list(TASKS))
    parser.add_argument("--hosts", type=_sizes, default=list(HOSTS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--images", type=Path, default=IMAGES)
    parser.add_argument("--draw-only", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave the boards running")
    options = parser.parse_args()
    if not options.draw_only:
        options.results.write_text(json.dumps(measure(options), indent=1) + "\n")
    draw(json.loads(options.results.read_text()), options.images)


if __name__ == "__main__":
    main()
