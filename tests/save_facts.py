"""Make tests/data/facts/*.json: saved sets of the example fleet's boards, from the reproduced trees of unit tests.

    python tests/save_facts.py

A set holds the facts that the agent's own collectors find in the tree, those files that playbooks look for, and what
the board programs that look at hardware answer there. What a tree cannot show (Pythons, GPUs) is given below, from
what the makers' images are known to hold. Nothing of it was recorded on hardware.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "unit")]

# A script: the path above must come first.
from board_program import BOARDS, jetson_programs, program, run  # noqa: E402

from tvmops.agent import facts  # noqa: E402
from tvmops.agent.facts.board import Board  # noqa: E402

# Name of the saved set: (tree, machine, bits, Python, more files of the tree)
KINDS: dict[str, tuple[str, str, int, str, dict[str, str]]] = {
    "jetson-nano": ("jetson-nano", "aarch64", 64, "3.6.9", {}),
    "rpi3b": ("rpi3b", "aarch64", 32, "3.11.2", {}),
    "rk3288": (
        "rk3288",
        "armv7l",
        32,
        "3.5.2",
        {
            "sys/class/misc/mali0/device/gpuinfo": "Mali-T76x 4 cores r1p0 0x0750\n",
            "sys/module/midgard_kbase/version": "r14p0-01rel0 (UK version 10.6)\n",
        },
    ),
    "pynq-z1": ("pynq-z1", "armv7l", 32, "3.6.5", {}),
    "nuc": (
        "nuc",
        "x86_64",
        64,
        "3.11.2",
        {
            "sys/bus/pci/devices/0000:00:02.0/class": "0x030000\n",
            "sys/bus/pci/devices/0000:00:02.0/vendor": "0x8086\n",
            "sys/bus/pci/devices/0000:00:02.0/device": "0x3ea5\n",
        },
    ),
    "lab-server": ("server", "x86_64", 64, "3.10.12", {}),
}
# What the example inventory asks power for, beside governors.
POWER: dict[str, dict[str, Any]] = {
    "jetson-nano": {"nvpmodel": "0", "jetson_clocks": True},
    "nuc": {"turbo": "off"},
    "lab-server": {"turbo": "off"},
}
# Facts of the moment, of the machine that runs this, or of nobody's interest.
LEFT_OUT = ("ansible_date_time", "ansible_env", "ansible_python", "ansible_system_capabilities", "ansible_local")
FIXED_TIME = {"epoch": "1767225600", "iso8601": "2026-01-01T00:00:00Z", "date": "2026-01-01", "tz": "UTC"}


def saved_set(name: str) -> dict[str, Any]:
    """One board's facts, files and answers."""
    tree, machine, bits, python, more = KINDS[name]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(shutil.copytree(BOARDS / tree, Path(folder) / "root"))
        for path, text in more.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        found: dict[str, Any] = dict(facts.gather(Board(str(root), machine, bits)))
        if name == "jetson-nano":
            jetson_programs(root)
        answers = _answers(root, POWER.get(name, {}))
    for key in LEFT_OUT:
        found.pop(key, None)
    major, minor, micro = (int(part) for part in python.split("."))
    found |= {
        "ansible_date_time": FIXED_TIME,
        "ansible_python_version": python,
        "ansible_python": {
            "executable": "/usr/bin/python3",
            "version": {"major": major, "minor": minor, "micro": micro},
        },
        "tvmops_pythons": {"/usr/bin/python3": python},
    }
    sources = "/etc/apt/sources.list"
    if found["ansible_distribution_release"] in ("noble", "trixie"):
        sources = f"/etc/apt/sources.list.d/{found['ansible_distribution'].lower()}.sources"
    return {"facts": found, "files": {sources: "# as the image brings it\n"}, "answers": answers}


def _answers(root: Path, power: dict[str, Any]) -> dict[str, Any]:
    """What the programs print that only look, run on the tree."""
    table = yaml.safe_load((PROJECT / "playbooks/vars/opencl.yml").read_text())["opencl_table"]
    power = {"cpu": "performance", "gpu": "performance", **power}
    asked = {
        "opencl_gpu.py": [json.dumps({"driver": "auto", "table": table, "debs": False})],
        "power": ["set", json.dumps(power), "--check"],
    }
    answers = {}
    for name, arguments in asked.items():
        status, printed = run(program(name.removesuffix(".py")), *arguments, "--root", str(root))
        answers[name] = {"rc": status, "stdout": printed.strip()}
    return answers


if __name__ == "__main__":
    for each in KINDS:
        target = PROJECT / "tests" / "data" / "facts" / f"{each}.json"
        target.write_text(json.dumps(saved_set(each), indent=1, sort_keys=True) + "\n")
        print(target)
