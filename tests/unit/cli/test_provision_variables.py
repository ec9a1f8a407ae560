"""What `tvmops provision` finds out about hosts before it runs its playbook."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tvmops.cli.stack import provision_variables
from tvmops.inventory import load_inventory
from tvmops.playbook.state import RunOptions


def test_a_host_that_gives_no_facts_has_a_reason_to_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be back when the play begins: a board that just restarted."""
    monkeypatch.setenv("TVMOPS_STATE", str(tmp_path / "state"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    path = tmp_path / "hosts.yml"
    gone = f"{{ansible_host: 127.0.0.1, ansible_port: {port}, ansible_ssh_timeout: 1}}"
    path.write_text(f"all: {{hosts: {{gone: {gone}}}}}\n")
    inventory = load_inventory([path])
    variables = provision_variables(inventory, list(inventory.hosts.values()), RunOptions())
    problem = variables["gone"]["tvmops_release_problem"]
    assert "for lack of facts" in problem
    assert "127.0.0.1" in problem
