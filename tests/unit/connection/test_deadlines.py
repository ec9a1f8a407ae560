"""A host's deadlines: the inventory's word, the command line's, the default."""

from __future__ import annotations

from typing import Any

import pytest

from tvmops.connection.deadlines import Deadlines, deadlines
from tvmops.errors import ConfigError
from tvmops.inventory.model import Host


@pytest.mark.parametrize(
    ("variables", "option", "expected"),
    [
        ({}, None, Deadlines(15.0, 60.0, 30.0)),
        ({}, 3.0, Deadlines(3.0, 60.0, 30.0)),
        ({"ansible_timeout": 40}, 3.0, Deadlines(40.0, 60.0, 30.0)),
        ({"ansible_ssh_timeout": "4.5", "ansible_timeout": 40}, None, Deadlines(4.5, 60.0, 30.0)),
        ({"tvmops_ready_timeout": 300, "tvmops_silence_timeout": "90"}, None, Deadlines(15.0, 300.0, 90.0)),
    ],
)
def test_who_decides(variables: dict[str, Any], option: float | None, expected: Deadlines) -> None:
    assert deadlines(Host("b", variables), option) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ansible_ssh_timeout", 0),
        ("ansible_timeout", "soon"),
        ("ansible_timeout", True),
        ("ansible_timeout", "nan"),
        ("tvmops_silence_timeout", 5),
        ("tvmops_ready_timeout", [60]),
        ("tvmops_ready_timeout", 1e9),
    ],
)
def test_what_is_no_time_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"b: {name}: .* is not a time"):
        deadlines(Host("b", {name: value}))
