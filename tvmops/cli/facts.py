"""The command `facts`: what boards say about themselves."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from tvmops.cli.common import HOST_HELP, INVENTORY_HELP, command, load, select
from tvmops.cli.warming import WARM_HELP, use_warm
from tvmops.errors import TvmopsError

SHOWN = (
    ("distribution", ("ansible_distribution", "ansible_distribution_version", "ansible_distribution_release")),
    ("kernel", ("ansible_kernel",)),
    ("architecture", ("ansible_machine", "ansible_userspace_architecture", "tvmops_abi")),
    ("board", ("tvmops_device_tree_model", "ansible_product_name")),
    ("processors", ("ansible_processor_vcpus",)),
    ("memory, MB", ("ansible_memtotal_mb", "ansible_swaptotal_mb")),
    ("glibc", ("tvmops_glibc",)),
    ("libstdc++", ("tvmops_libstdcxx",)),
    ("Python", ("ansible_python_version", "tvmops_pythons")),
    ("init", ("ansible_service_mgr",)),
    ("L4T, JetPack", ("tvmops_l4t", "tvmops_jetpack")),
    ("CUDA", ("tvmops_cuda",)),
    ("OpenCL", ("tvmops_opencl_icds",)),
    ("CPU", ("tvmops_cpu",)),
)


@command(
    help={
        "inventory": INVENTORY_HELP,
        "host": HOST_HELP,
        "json_": "all facts as one JSON object",
        "refresh": "ask the boards even when their facts are known and younger than an hour",
        "warm": WARM_HELP,
    },
    optional=["warm"],
)
def facts(  # noqa: PLR0917
    ctx: Any,
    host: str,
    inventory: str | None = None,
    json_: bool = False,
    refresh: bool = False,
    warm: bool | str = False,
) -> None:
    """Facts of hosts: architecture, distribution, libraries, CPU, memory, Python, accelerators."""
    from tvmops.fleet.facts import known_or_gathered
    from tvmops.inventory import FactsCache

    use_warm(warm)
    hosts = select(load(inventory), host)
    gathered = known_or_gathered(hosts, max_age=-1.0 if refresh else 3600.0)
    good = {name: found for name, found in gathered.items() if isinstance(found, dict)}
    if json_:
        print(json.dumps(good, indent=1, default=str))
    else:
        for one in hosts:
            if one.name in good:
                print(f"{one.name}  (as of {_time(FactsCache().gathered_at(one))})")
                print("\n".join(_rows(good[one.name])))
    errors = [found for found in gathered.values() if isinstance(found, TvmopsError)]
    for error in errors[1:]:
        print(f"tvmops: {error}", file=sys.stderr)
    if errors:
        raise errors[0]


def _time(seconds: float | None) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def _rows(found: dict[str, Any]) -> list[str]:
    rows = []
    for label, names in SHOWN:
        values = [found[name] for name in names if found.get(name) not in (None, "", "NA", [], {})]
        if values:
            text = "  ".join(_short(value) for value in values)
            rows.append(f"  {label:<14} {text}")
    return rows


def _short(value: Any) -> str:
    if isinstance(value, dict):
        shown = {key: item for key, item in value.items() if item and key not in ("features", "path")}
        return ", ".join(f"{key} {_short(item)}" for key, item in shown.items())
    if isinstance(value, list):
        return "; ".join(_short(item) for item in value)
    return str(value)


COMMANDS = [facts]
