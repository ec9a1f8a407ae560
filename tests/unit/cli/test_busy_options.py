"""What --wait, --steal and --timeout mean."""

from __future__ import annotations

from typing import Any

import pytest

from tvmops.cli.provision import manners
from tvmops.errors import ConfigError
from tvmops.fleet.lost import Manners


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Manners()),
        ({"wait": True}, Manners(wait=3600.0)),  # as Invoke gives an option without its value
        ({"wait": "90", "steal": True}, Manners(wait=90.0, steal=True)),
        ({"timeout": "2.5"}, Manners(timeout=2.5)),
    ],
)
def test_what_is_given_counts(given: dict[str, Any], expected: Manners) -> None:
    assert manners({"wait": "", "steal": False, "timeout": "", **given}) == expected


@pytest.mark.parametrize("option", ["wait", "timeout"])
@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "1e9"])
def test_what_is_no_time_is_refused(option: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"--{option} {value}: wants a number of seconds"):
        manners({"wait": "", "steal": False, "timeout": "", option: value})
