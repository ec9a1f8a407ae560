"""Times a 40-step playbook on N plain lab boards: tvmops, parallel `ssh host sh -s`, ansible-playbook (pipelining).

Same boards, same playbook file, interleaved repetitions; prints medians and ratios and writes them as JSON.
Usage, as root: python benchmarks/provision.py [--boards 8] [--repeat 5] [--no-ansible] [--output FILE]
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

from tvmops.lab import Lab
from tvmops.paths import cache_dir

HERE = Path(__file__).resolve().parent
WORKLOAD = HERE / "workload"
ANSIBLE = "ansible-core==2.19.14"
quote = shlex.quote


def variables() -> dict[str, Any]:
    """The workload's description; makes the 1 MiB file it names when that is not there."""
    blob = WORKLOAD / "blob.bin"
    if not blob.exists():
        blob.write_bytes(random.Random(7).randbytes(1 << 20))
    described: dict[str, Any] = yaml.safe_load((WORKLOAD / "vars.yml").read_text())
    return described


def shell_script(host: str, v: Mapping[str, Any]) -> str:
    """The 40 steps as an idempotent shell script that prints how many it changed."""
    root = v["root"]
    lines = ["set -e; n=0; ch() { n=$((n+1)); }", f"mkdir -p {quote(root)}; cd {quote(root)}"]

    def mode(item: Mapping[str, str]) -> str:
        return item["mode"].lstrip("0")

    def put(content: bytes, item: Mapping[str, str]) -> None:
        dest, digest = quote(item["dest"]), hashlib.sha1(content, usedforsecurity=False).hexdigest()
        text = base64.encodebytes(content).decode()
        lines.append(
            f'if [ "$(sha1sum {dest} 2>/dev/null | cut -c1-40)$(stat -c %a {dest} 2>/dev/null)" !='
            f" {digest}{mode(item)} ]; then base64 -d > {dest}.t <<E"
            f" && chmod {mode(item)} {dest}.t && mv {dest}.t {dest} && ch\n{text}E\nfi"
        )

    for item in v["dirs"]:
        path = quote(item["path"])
        lines.append(
            f'[ "$(stat -c %a {path} 2>/dev/null)" = {mode(item)} ] ||'
            f" {{ mkdir -p {path}; chmod {mode(item)} {path}; ch; }}"
        )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(WORKLOAD / "templates"), trim_blocks=True, keep_trailing_newline=True
    )
    for item in v["templates"]:
        put(environment.get_template(item["src"]).render(v, inventory_hostname=host).encode(), item)
    for item in v["edits"]:
        path, line, regexp = quote(item["path"]), quote(item["line"]), item["regexp"]
        edit = quote(f"s|{regexp}.*|{item['line']}|")
        lines.append(
            f"grep -qxF {line} {path} || {{ if grep -qE {quote(regexp)} {path}; then sed -i -E {edit} {path};"
            f" else echo {line} >> {path}; fi; ch; }}"
        )
    for count in v["stamps"]:
        lines.append(f"[ -e var/stamp{count} ] || {{ seq 1 {count} | sha256sum > var/stamp{count}; ch; }}")
    for item in v["links"]:
        path, to = quote(item["path"]), quote(item["to"])
        lines.append(f'[ "$(readlink {path})" = {to} ] || {{ ln -sfn {to} {path}; ch; }}')
    for name in v["packages"]:
        lines.append(
            f"dpkg-query -W -f '${{Status}}' {name} | grep -q 'ok installed' || {{ apt-get install -y {name}; ch; }}"
        )
    lines.append(f"getent group {v['group']} >/dev/null || {{ groupadd -r {v['group']}; ch; }}")
    lines.append(
        f"getent passwd {v['user']} >/dev/null ||"
        f" {{ useradd -r -M -g {v['group']} -s /usr/sbin/nologin {v['user']}; ch; }}"
    )
    put(v["notice"]["content"].encode(), v["notice"])
    put((WORKLOAD / v["blob"]["src"]).read_bytes(), v["blob"])
    return "\n".join([*lines, "echo changed $n", ""])


class Fleet:
    """N plain boards with a full Python on them, and the ways to run the workload there."""

    def __init__(self, boards: int, ansible: bool) -> None:
        self.variables = variables()
        self.lab = Lab(id="pbench")
        self.boards = self.lab.up(boards, plain=True)
        inventory = yaml.safe_load(Path(self.lab.inventory_path).read_text())
        self.hosts = self._hosts(inventory)
        self.folder = Path(tempfile.mkdtemp(prefix="tvmops-bench-"))
        self.inventory = self.folder / "hosts.yml"
        self.inventory.write_text(
            yaml.safe_dump(
                {"all": {"hosts": {name: {**host, "ansible_user": "root"} for name, host in self.hosts.items()}}}
            )
        )
        self.ansible = self._ansible() if ansible else None
        self._prepare()

    def _hosts(self, node: Any) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for group in node.values():
            shared = (group or {}).get("vars") or {}
            below = {name: dict(host or {}) for name, host in ((group or {}).get("hosts") or {}).items()}
            for name, host in self._hosts((group or {}).get("children") or {}).items():
                below[name] = {**below.get(name, {}), **host}
            for name, host in below.items():
                found[name] = {**shared, **found.get(name, {}), **host}
        return found

    def _ansible(self) -> Path:
        folder = cache_dir() / "peers" / ANSIBLE.replace("==", "-")
        if not (folder / ".complete").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            subprocess.run([str(folder / "bin/pip"), "install", "-q", ANSIBLE], check=True)
            (folder / ".complete").touch()
        (self.folder / "ansible.cfg").write_text(
            "[defaults]\nhost_key_checking = True\nforks = 50\nretry_files_enabled = False\n"
            "interpreter_python = /usr/bin/python3\n[ssh_connection]\npipelining = True\n"
            f"ssh_args = -o ControlMaster=auto -o ControlPersist=60s\ncontrol_path_dir = {self.folder}/cp\n"
        )
        return folder / "bin/ansible-playbook"

    def ssh(self, host: str) -> list[str]:
        """The plain OpenSSH command for a board, host keys checked."""
        given = self.hosts[host]
        options = shlex.split(given.get("ansible_ssh_common_args", ""))
        key = given["ansible_ssh_private_key_file"]
        return [
            "ssh",
            "-i",
            key,
            *options,
            "-o",
            "BatchMode=yes",
            "-o",
            "LogLevel=ERROR",
            f"root@{given['ansible_host']}",
        ]

    def each(self, script: Callable[[str], str]) -> list[str]:
        """Run a script on all boards at once; their outputs."""
        running = []
        for host in self.hosts:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as its ssh
            file.write(script(host).encode())
            file.seek(0)
            running.append((host, subprocess.Popen([*self.ssh(host), "sh", "-s"], stdin=file, stdout=subprocess.PIPE)))
        outputs = []
        for host, process in running:
            output = process.communicate(timeout=900)[0].decode()
            if process.returncode != 0:
                raise SystemExit(f"{host}: the script failed: {output[-500:]}")
            outputs.append(output)
        return outputs

    def _prepare(self) -> None:
        mirror = next(iter(self.hosts.values()))["apt_mirror"]
        self.each(
            lambda _: (
                f"echo 'deb {mirror} bookworm main' > /etc/apt/sources.list; rm -f /etc/apt/sources.list.d/*;"
                " apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q"
                " --no-install-recommends python3 python3-apt ca-certificates sudo >/dev/null; echo done"
            )
        )

    def reset(self) -> None:
        """Take the workload's traces away."""
        v = self.variables
        self.each(
            lambda _: f"rm -rf {v['root']}; userdel {v['user']} 2>/dev/null; groupdel {v['group']} 2>/dev/null; true"
        )

    def run_shell(self) -> int:
        """The floor: one rendered script per host over OpenSSH, all at once. Returns the number of changes."""
        return sum(int(output.split()[-1]) for output in self.each(lambda host: shell_script(host, self.variables)))

    def run_tvmops(self) -> int:
        """`tvmops playbook`, a fresh process. Returns the number of changes."""
        return self._recap(
            [sys.executable, "-m", "tvmops", "playbook", str(WORKLOAD / "site.yml"), "-i", str(self.inventory)]
        )

    def run_ansible(self) -> int:
        """`ansible-playbook` with pipelining and forks=50. Returns the number of changes."""
        return self._recap([str(self.ansible), "-i", str(self.inventory), str(WORKLOAD / "site.yml")])

    def _recap(self, command: list[str]) -> int:
        # Byte code is cached where people run this; some build environments switch that off.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["ANSIBLE_CONFIG"] = str(self.folder / "ansible.cfg")
        environment["TVMOPS_STATE"] = str(self.folder / "state")
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=1800,
            check=False,
        )
        recap = [line for line in done.stdout.splitlines() if "changed=" in line and "unreachable=" in line]
        if done.returncode != 0 or len(recap) != len(self.hosts):
            raise SystemExit(f"{command}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return sum(int(line.split("changed=")[1].split()[0]) for line in recap)


def measure(fleet: Fleet, repeat: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of every first and no-op run, tools interleaved."""
    tools: dict[str, Callable[[], int]] = {"ssh": fleet.run_shell, "tvmops": fleet.run_tvmops}
    if fleet.ansible:
        tools["ansible"] = fleet.run_ansible
    times: dict[str, dict[str, list[float]]] = {tool: {"first": [], "no-op": []} for tool in tools}
    for round_ in range(repeat):
        for tool, run in tools.items():
            if tool == "ansible" and round_ >= max(1, repeat // 3):
                continue  # minutes a run; its spread is small beside the ratio
            fleet.reset()
            for kind in ("first", "no-op"):
                start = time.perf_counter()
                changed = run()
                times[tool][kind].append(time.perf_counter() - start)
                if (kind == "no-op") != (changed == 0):
                    raise SystemExit(f"{tool}, {kind} run: {changed} changes")
            print(
                f"round {round_ + 1}: {tool:8} " + "  ".join(f"{k} {v[-1]:.2f} s" for k, v in times[tool].items()),
                flush=True,
            )
    return times


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--boards", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--no-ansible", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave the boards running")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    fleet = Fleet(options.boards, not options.no_ansible)
    try:
        times = measure(fleet, options.repeat)
    finally:
        if not options.keep:
            fleet.lab.down(purge=True)
    medians = {tool: {kind: statistics.median(v) for kind, v in kinds.items()} for tool, kinds in times.items()}
    print(f"\nN={options.boards}, medians\n\n| tool | first, s | x ssh | no-op, s | x ssh |\n|---|---|---|---|---|")
    for tool, kinds in medians.items():
        cells = [f"{kinds[k]:.2f} | {kinds[k] / medians['ssh'][k]:.2f}" for k in ("first", "no-op")]
        print(f"| {tool} | {' | '.join(cells)} |")
    if options.output:
        options.output.write_text(json.dumps({"boards": options.boards, "seconds": times}, indent=1) + "\n")


if __name__ == "__main__":
    main()
