"""Runs of playbooks for tests of bundles: planned against hosts that exist as variables only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tvmops.bundle.create import Collector
from tvmops.fleet.run import PlaybookRun
from tvmops.inventory import load_inventory
from tvmops.playbook.load import load_playbooks
from tvmops.playbook.state import RunOptions

NOTHING = "- hosts: all\n  gather_facts: false\n  tasks: []\n"


def planned(
    folder: Path,
    hosts: Mapping[str, Mapping[str, Any]],
    playbook: Path | str = NOTHING,
    extra: dict[str, Any] | None = None,
    facts: dict[str, dict[str, Any]] | None = None,
) -> PlaybookRun:
    """A run of a playbook, given by its path or as text, for hosts with these variables."""
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    if isinstance(playbook, str):
        (folder / "p.yml").write_text(playbook)
        playbook = folder / "p.yml"
    inventory = load_inventory([folder / "hosts.yml"])
    return PlaybookRun(load_playbooks([playbook]), inventory, RunOptions(extra_vars=extra or {}), facts)


def collector(
    folder: Path,
    hosts: Mapping[str, Mapping[str, Any]],
    playbook: Path | str = NOTHING,
    extra: dict[str, Any] | None = None,
    facts: dict[str, dict[str, Any]] | None = None,
) -> Collector:
    """What puts together the bundle of such a run. Without facts, nothing is known of the hosts."""
    run = planned(folder, hosts, playbook, extra, facts)
    return Collector(run, facts or {name: {} for name in hosts}, {}, lambda _: None)
