"""Playbooks run for real: a local host, the real agent, and a note of every batch it was sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playbook_runs import NotingSessions, Ran, RunPlaybook

from tvmops.fleet.run import PlaybookRun
from tvmops.inventory import load_inventory
from tvmops.playbook.load import load_playbooks
from tvmops.playbook.state import RunOptions

INVENTORY = "all:\n  hosts:\n    h1: {ansible_connection: local, number: 1}\n"


@pytest.fixture
def run_playbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPlaybook:
    """run_playbook(text, inventory=..., files={name: text}, **options) -> Ran."""
    monkeypatch.setenv("TVMOPS_STATE", str(tmp_path / "state"))

    def run(text: str, *, inventory: str = INVENTORY, files: dict[str, str] | None = None, **options: Any) -> Ran:
        for name, content in {"hosts.yml": inventory, "site.yml": text, **(files or {})}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        extra = {"root": str(tmp_path), **options.pop("extra_vars", {})}
        plays = load_playbooks([tmp_path / "site.yml"])
        hosts = load_inventory([tmp_path / "hosts.yml"], playbook_dir=tmp_path)
        ran = Ran()
        PlaybookRun(plays, hosts, RunOptions(extra_vars=extra, **options)).run(
            [ran], lambda host, notify: NotingSessions(host, notify, ran.batches.setdefault(host.name, []))
        )
        return ran

    return run
