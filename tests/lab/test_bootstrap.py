"""A board whose Python has no json module gets a whole one by plain shell, from the inventory's mirror."""

from __future__ import annotations

import pytest

from tvmops.connection import Become, connect
from tvmops.connection.session import AgentSession
from tvmops.errors import AgentError
from tvmops.inventory import load_inventory
from tvmops.lab import Lab
from tvmops.paths import lab_dir


def test_python_is_completed_from_the_inventorys_mirror(other_lab: Lab) -> None:
    other_lab.up(1)
    host = load_inventory([lab_dir() / other_lab.id / "inventory.yml"]).hosts["b1"]
    mirror = host.vars["apt_mirror"]
    connection = connect(host)
    assert "No module named 'json'" in connection.run("python3 -c 'import json'").stderr
    before = connection.run("find /etc/apt -type f -exec sha256sum {} +").stdout

    host.vars["apt_mirror"] = "http://127.0.0.1:9/debian"
    with pytest.raises(AgentError, match=r"python3 is incomplete.*apt-get could not install python3:(\n.*)+127.0.0.1"):
        AgentSession(connection)

    host.vars["apt_mirror"] = mirror
    notes: list[str] = []
    with AgentSession(connection, notify=notes.append) as session:
        assert session.info["user"] == "admin"
    assert any(note.startswith("Setting up python3 ") for note in notes)
    with AgentSession(connection, become=Become(), notify=notes.append) as session:
        assert session.info["user"] == "root"
    assert connection.run("find /etc/apt -type f -exec sha256sum {} +").stdout == before
    connection.close()
