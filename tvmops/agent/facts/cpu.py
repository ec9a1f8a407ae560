"""Processors: Ansible's counts, and for TVM's targets the model, features and clusters."""

import os

from .board import colon_values

MODEL_KEYS = ("model name", "Processor", "vendor_id", "cpu", "Vendor", "processor")
# /proc/cpuinfo's "CPU part" for Arm Ltd. (implementer 0x41) and NVIDIA: arch/arm64/include/asm/cputype.h
PARTS = {
    ("0x41", "0xc05"): "Cortex-A5",
    ("0x41", "0xc07"): "Cortex-A7",
    ("0x41", "0xc08"): "Cortex-A8",
    ("0x41", "0xc09"): "Cortex-A9",
    ("0x41", "0xc0d"): "Cortex-A17",
    ("0x41", "0xc0e"): "Cortex-A17",
    ("0x41", "0xc0f"): "Cortex-A15",
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd04"): "Cortex-A35",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd09"): "Cortex-A73",
    ("0x41", "0xd0a"): "Cortex-A75",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x4e", "0x003"): "Denver 2",
    ("0x4e", "0x004"): "Carmel",
}


def collect(board):
    """ansible_processor*, tvmops_cpu."""
    pairs = colon_values(board.read("proc/cpuinfo"))
    facts = _ansible(pairs, board)
    facts["tvmops_cpu"] = describe(pairs, board)
    return facts


def _ansible(pairs, board):
    """The counts as Ansible computes them, oddities included, so that the same playbook sees the same numbers."""
    sockets, cores = {}, {}
    socket = core = 0
    for key, value in pairs:
        if key == "physical id":
            socket = value
            sockets.setdefault(socket, 1)
        elif key == "core id":
            core = value
            cores[core] = 1
        elif key == "cpu cores" and value.isdigit():
            sockets[socket] = int(value)
        elif key == "siblings" and value.isdigit():
            cores[core] = int(value)
    processors = sum(1 for key, _ in pairs if key == "processor")
    count = len(sockets) or processors
    per_socket = (list(sockets.values())[0] if sockets else 1) or 1
    threads = int(round((list(cores.values())[0] if cores else 1) / float(per_socket)))
    return {
        "ansible_processor": [value for key, value in pairs if key in MODEL_KEYS],
        "ansible_processor_count": count,
        "ansible_processor_cores": per_socket,
        "ansible_processor_threads_per_core": threads,
        "ansible_processor_vcpus": threads * count * per_socket,
        "ansible_processor_nproc": len(os.sched_getaffinity(0)) if board.live else processors,
    }


def describe(pairs, board):
    """model, implementer, part, features, and clusters [{"cpus", "part", "max_khz"}]: big and little cores are two."""
    processors = _per_processor(pairs)
    first = processors[0][1] if processors else {}
    merged = dict(pairs)
    clusters = {}
    for number, fields in processors:
        known = {key: fields.get(key, merged.get(key, "")) for key in ("CPU implementer", "CPU part", "model name")}
        part = PARTS.get((known["CPU implementer"], known["CPU part"])) or known["CPU part"] or known["model name"]
        top = board.number("sys/devices/system/cpu/cpu%d/cpufreq/cpuinfo_max_freq" % number)
        if top is None:
            top = board.number("sys/devices/system/cpu/cpufreq/policy%d/cpuinfo_max_freq" % number)
        clusters.setdefault((part, top), []).append(number)
    implementer = first.get("CPU implementer", merged.get("CPU implementer", ""))
    part = first.get("CPU part", merged.get("CPU part", ""))
    return {
        "model": first.get("model name")
        or PARTS.get((implementer, part))
        or merged.get("Processor")
        or merged.get("model name", ""),
        "implementer": implementer or first.get("vendor_id", ""),
        "part": part,
        "features": (first.get("flags") or first.get("Features") or merged.get("Features", "")).split(),
        "clusters": [
            {"cpus": cpus, "part": part, "max_khz": top}
            for (part, top), cpus in sorted(clusters.items(), key=lambda item: item[1])
        ],
    }


def _per_processor(pairs):
    """[(number, {key: value})]; old kernels put what all processors share in a block of its own."""
    found = []
    for key, value in pairs:
        if key == "processor" and value.isdigit():
            found.append((int(value), {}))
        elif key is None:
            found.append((None, {}))
        elif found:
            found[-1][1].setdefault(key, value)
    return [(number, fields) for number, fields in found if number is not None]
