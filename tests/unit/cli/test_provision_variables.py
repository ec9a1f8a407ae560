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


def test_a_bundle_has_whole_artifacts_whatever_the_boards_have_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text("all: {hosts: {b1: {}}}\n")
    inventory = load_inventory([path])
    hosts = list(inventory.hosts.values())
    monkeypatch.setattr("tvmops.fleet.facts.known_or_gathered", lambda hosts, max_age: {"b1": {}})
    monkeypatch.setattr("tvmops.stack.release_variables", lambda *_, **__: {"tvmops_release_archive": "whole"})
    monkeypatch.setattr(
        "tvmops.stack.board_shipping.lightened", lambda found, _: {**found, "tvmops_release_archive": "what it lacks"}
    )
    found = provision_variables(inventory, hosts, RunOptions())
    assert found["b1"]["tvmops_release_archive"] == "what it lacks"
    found = provision_variables(inventory, hosts, RunOptions(), whole=True)
    assert found["b1"]["tvmops_release_archive"] == "whole"


def test_options_that_are_none_fail_their_host_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text("all: {hosts: {b1: {tvm_build_options: nonsense}, b2: {}}, vars: {tvm_stack: relay-0.19}}\n")
    inventory = load_inventory([path])
    facts = {"ansible_architecture": "aarch64", "tvmops_glibc": "2.31", "ansible_python_version": "3.9.2"}
    monkeypatch.setattr("tvmops.fleet.facts.known_or_gathered", lambda hosts, max_age: {"b1": facts, "b2": facts})
    monkeypatch.setenv("TVMOPS_STORE", str(tmp_path / "store"))
    found = provision_variables(inventory, list(inventory.hosts.values()), RunOptions())
    assert "tvm_build_options" in found["b1"]["tvmops_release_problem"]
    assert "tvm_build_options" not in found["b2"]["tvmops_release_problem"]
    told = provision_variables(
        inventory, list(inventory.hosts.values()), RunOptions(extra_vars={"tvm_build_options": {"USE_X": "ON"}})
    )
    assert "tvm_build_options" not in told["b1"]["tvmops_release_problem"], "--extra-vars are the strongest"
