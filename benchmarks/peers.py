"""tvmops beside raw ssh, pyinfra and Ansible on the peers' own workload: their folder, their hosts, their site.yml.

The folder given by --peers is copied; in the copy its own scripts make the peers' environments, the hosts (network
namespaces with an sshd each, a relay for the delay) and the playbook, which is run as it is. Tools take turns; medians
of the no-op runs are compared with the targets. Each size is one command, as root:

    python benchmarks/peers.py --peers FOLDER --hosts 32 --delay 0 --repeat 3
    python benchmarks/peers.py --peers FOLDER --hosts 8 --delay 1 --repeat 5     (1: 10 ms each way)
    python benchmarks/peers.py --peers FOLDER --hosts 1 --delay 1 --repeat 9
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

FLOOR = "floor-sh"
OURS = ("tvmops", "tvmops-warm")
TOOLS = (*OURS, FLOOR, "pyinfra", "ansible-mitogen", "ansible-pipelining")
SLOW = ("ansible", "ansible-pipelining", "ansible-mitogen")  # minutes a run: a third of the rounds is enough
KINDS = ("first", "no-op")
# (hosts, delayed) -> other tool -> the largest ratio of walls of the no-op runs that is good enough.
TARGETS: dict[tuple[int, int], dict[str, float]] = {
    (32, 0): {FLOOR: 0.3, "pyinfra": 1 / 10, "ansible-pipelining": 1 / 60, "ansible-mitogen": 1 / 15},
    (8, 1): {FLOOR: 0.5, "pyinfra": 1 / 10},
    (1, 1): {FLOOR: 1.0},
}
PREFIX = "import sys; sys.path.append('ansible')\nfrom common import *\n"
# Not in /root: each of their hosts puts a folder of its own there.
SCRATCH = Path("/var/tmp/tvmops-peers")
CPU_TARGET = 0.030  # seconds of the controller's CPU per host, no-op


class Peers:
    """The peers' folder, copied and set up."""

    def __init__(self, folder: Path, scratch: Path, hosts: int) -> None:
        self.home = scratch
        shutil.copytree(folder, scratch, dirs_exist_ok=True, copy_function=shutil.copyfile)
        for name in ("venvs.sh", "setup_lab.sh", "teardown_lab.sh", "host.sh"):
            (scratch / name).chmod(0o755)
        for needed, command in (("venv-fabric", ["bash", "venvs.sh"]), ("workload/vars.json", ["workload/gen.py"])):
            if not (scratch / needed).exists():
                self._do(command if command[0] == "bash" else [sys.executable, *command])
        self._do(["./setup_lab.sh", str(hosts), "10000"])
        self._do([str(scratch / "venv-fabric/bin/python"), "ansible/gen.py"])
        (scratch / "lab/cp").mkdir(parents=True, exist_ok=True)
        self.lab = self._module()

    def _do(self, command: list[str]) -> str:
        done = subprocess.run(command, cwd=self.home, check=False, text=True, capture_output=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def _module(self) -> Any:
        """Their run_all.py with our two entries; its last line would run it."""
        path = self.home / "run_all.py"
        module: Any = ModuleType("run_all")
        module.__file__ = str(path)
        text = path.read_text().rstrip().removesuffix("main()")
        exec(compile(text, str(path), "exec"), module.__dict__)
        module.TOOLS["tvmops"] = self._command
        module.TOOLS["tvmops-warm"] = lambda n, d: [*self._command(n, d), "--warm"]
        return module

    def _command(self, hosts: int, delayed: int) -> list[str]:
        program = Path(sys.executable).with_name("tvmops")
        return [
            "env", "-u", "PYTHONDONTWRITEBYTECODE", f"TVMOPS_STATE={self.home}/state",
            str(program), "playbook", f"{self.home}/ansible/site.yml",
            "-i", str(self._inventory(hosts, delayed)), "-e", f"@{self.home}/ansible/group_vars/all.yml",
        ]  # fmt: skip

    def _inventory(self, hosts: int, delayed: int) -> Path:
        return self.home / f"ansible/inv_{hosts}_{delayed}_tvmops"

    def prepare(self, hosts: int, delayed: int) -> None:
        """Their inventory, and ours: with where the host keys are (they give that to Ansible in its ansible.cfg)."""
        theirs = self.home / f"ansible/inv_{hosts}_{delayed}"
        sizes = f"range(1, {hosts} + 1), {delayed}, {str(theirs)!r}"
        self._python(f"import gen\ngen.inv({sizes})")
        known = f"[all:vars]\nansible_ssh_common_args=-o UserKnownHostsFile={self.home}/keys/known_hosts\n"
        self._inventory(hosts, delayed).write_text(theirs.read_text() + known)

    def reset(self, hosts: int) -> None:
        """All hosts as before the first run."""
        self._python(f"reset(range(1, {hosts} + 1))")

    def wrong(self, hosts: int) -> int:
        """How many things on the hosts are not as the workload wants them, by the peers' own check."""
        return int(self._python(f"print(sum(len(diff(i)) for i in range(1, {hosts} + 1)))"))

    def _python(self, code: str) -> str:
        return self._do([str(self.home / "venv-fabric/bin/python"), "-c", f"{PREFIX}{code}"])

    def run(self, tool: str, hosts: int, delayed: int) -> dict[str, Any]:
        """One run: wall, CPU seconds of the controller's side and of the hosts', changes."""
        done: dict[str, Any] = self.lab.one(tool, hosts, delayed)
        if done["rc"] != 0:
            raise SystemExit(f"{tool}: exit code {done['rc']}\n{done['out'][-3000:]}")
        changes = our_changes(done["out"]) if tool in OURS else self.lab.changed(tool, done["out"])[0]
        return {"wall": done["wall"], "controller": done["ctl"], "hosts": done["hosts"], "changed": changes}

    def down(self) -> None:
        """Take the hosts away."""
        self._do(["./teardown_lab.sh"])


def our_changes(output: str) -> int:
    """Changed steps: loop items, and tasks without a loop."""
    lines = re.findall(r"^(\S+: .*?)( \(.*\))? \.\.\. (\w+)$", output, re.M)
    looped = {title for title, label, _ in lines if label}
    return sum(status == "changed" and bool(label or title not in looped) for title, label, status in lines)


def measure(peers: Peers, options: argparse.Namespace) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """All rounds: tool -> kind -> runs."""
    hosts, delayed = options.hosts, options.delay
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {tool: {kind: [] for kind in KINDS} for tool in options.tools}
    peers.prepare(hosts, delayed)
    for round_ in range(options.repeat):
        for tool, kinds in runs.items():
            if tool in SLOW and round_ >= max(1, options.repeat // 3):
                continue
            peers.reset(hosts)
            peers.lab.killcp()
            for kind in KINDS:
                if tool != "tvmops-warm":
                    peers.lab.killcp()  # nobody else's connections are warm in a second run, either
                one = peers.run(tool, hosts, delayed)
                one["wrong"] = peers.wrong(hosts)
                kinds[kind].append(one)
                shown = "  ".join(f"{name} {one[name]:.3f}" for name in ("wall", "controller", "hosts"))
                print(f"round {round_ + 1}: {tool:20} {kind:6} {shown}  changed {one['changed']}", flush=True)
                if one["wrong"] or (tool in OURS and (one["changed"] == 0) != (kind == "no-op")):
                    raise SystemExit(f"{tool}, {kind} run: {one['changed']} changes, {one['wrong']} things wrong")
            peers.lab.killcp()
    return runs


def summary(runs: dict[str, dict[str, list[dict[str, Any]]]], hosts: int, delayed: int) -> str:
    """A Markdown table of medians, and the targets."""
    medians = {
        (tool, kind): {name: statistics.median(one[name] for one in found) for name in ("wall", "controller", "hosts")}
        for tool, kinds in runs.items()
        for kind, found in kinds.items()
        if found
    }
    lines = [
        f"{hosts} hosts, {10 * delayed} ms each way; first run / no-op",
        "",
        "| tool | wall, s | x ssh | controller CPU per host, ms | hosts' CPU, s |",
        "|---|---|---|---|---|",
    ]
    for tool in runs:
        found = [medians[tool, kind] for kind in KINDS]
        walls = " / ".join(f"{one['wall']:.2f}" for one in found)
        floor = [medians.get((FLOOR, kind)) for kind in KINDS]
        ratios = " / ".join(f"{a['wall'] / b['wall']:.2f}" for a, b in zip(found, floor, strict=True) if b)
        cpu = " / ".join(f"{one['controller'] / hosts * 1000:.0f}" for one in found)
        their_cpu = " / ".join(f"{one['hosts']:.2f}" for one in found)
        lines.append(f"| {tool} | {walls} | {ratios} | {cpu} | {their_cpu} |")
    lines.append("")
    for ours in (tool for tool in OURS if tool in runs):
        mine = medians[ours, "no-op"]
        for other, limit in TARGETS.get((hosts, delayed), {}).items():
            if other in runs:
                ratio = mine["wall"] / medians[other, "no-op"]["wall"]
                lines.append(
                    f"{ours} / {other}: {ratio:.4f}, at most {limit:.4f}: {'met' if ratio <= limit else 'MISSED'}"
                )
        cpu = mine["controller"] / hosts
        if hosts >= 8:  # with one host this is the start of Python
            met = "met" if cpu <= CPU_TARGET else "MISSED"
            lines.append(f"{ours}: controller CPU per host {cpu * 1000:.0f} ms, at most {CPU_TARGET * 1000:.0f}: {met}")
    return "\n".join(lines)


def main() -> None:
    """Set up, measure, print, take down."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", type=Path, required=True, help="the folder with the peers' run_all.py and site.yml")
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--delay", type=int, choices=(0, 1), default=0, help="1: 10 ms each way")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--tools", type=lambda text: text.split(","), default=list(TOOLS))
    parser.add_argument("--scratch", type=Path, default=SCRATCH, help="where the copy is kept")
    parser.add_argument("--keep", action="store_true", help="leave the hosts running")
    parser.add_argument("--output", type=Path, help="JSON of all runs")
    options = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("network namespaces need root")
    peers = Peers(options.peers, options.scratch.absolute(), options.hosts)
    try:
        runs = measure(peers, options)
    finally:
        if not options.keep:
            peers.down()
    print("\n" + summary(runs, options.hosts, options.delay))
    if options.output:
        described = {"hosts": options.hosts, "delay_ms": 10 * options.delay, "runs": runs}
        options.output.write_text(json.dumps(described, indent=1) + "\n")


if __name__ == "__main__":
    main()
