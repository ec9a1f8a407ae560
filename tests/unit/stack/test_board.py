"""Does a stack fit a board: by architecture, C library and Python, as the board's facts give them."""

from __future__ import annotations

from typing import Any

import pytest

from tvmops.errors import StackError
from tvmops.stack import board_python, check_board, load_stack, release_variables

STACK = load_stack("relax-0.27")
DEBIAN_12 = {
    "ansible_architecture": "x86_64",
    "ansible_userspace_architecture": "x86_64",
    "ansible_python_version": "3.11.2",
    "ansible_python": {"executable": "/usr/bin/python3"},
    "tvmops_glibc": "2.36",
    "tvmops_pythons": {"/usr/bin/python3": "3.11.2", "/usr/bin/python3.11": "3.11.2"},
}


def facts(**changes: Any) -> dict[str, Any]:
    return {**DEBIAN_12, **changes}


def test_debian_12_fits() -> None:
    assert check_board(STACK, DEBIAN_12) == []
    assert board_python(STACK, DEBIAN_12) == ("/usr/bin/python3", "3.11")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ansible_userspace_architecture": "armv7l", "ansible_architecture": "aarch64"}, "built for armv7l"),
        ({"tvmops_glibc": "2.24"}, "its glibc is 2.24; stack relax-0.27 needs 2.27 or newer"),
        ({"tvmops_glibc": None}, "not glibc"),
        (
            {"ansible_python_version": "3.6.9", "tvmops_pythons": {"/usr/bin/python3": "3.6.9"}},
            "no Python from 3.10 up to, not including, 3.14 (found: 3.6.9)",
        ),
    ],
)
def test_one_sentence_for_each_thing_that_does_not_fit(changes: dict[str, Any], reason: str) -> None:
    reasons = check_board(STACK, facts(**changes))
    assert len(reasons) == 1
    assert reason in reasons[0]


def test_a_jetson_nano_hears_of_everything_at_once() -> None:
    jetson = facts(
        ansible_hostname="nano",
        ansible_userspace_architecture="aarch64",
        ansible_python_version="3.6.9",
        tvmops_pythons={},
        tvmops_glibc="2.26",
    )
    assert len(check_board(STACK, jetson)) == 2
    with pytest.raises(StackError, match=r"does not fit nano: its glibc is 2.26.*; it has no Python"):
        release_variables(STACK, jetson)


def test_another_python_is_taken_when_the_systems_is_too_old() -> None:
    pythons = {
        "/usr/bin/python3": "3.8.10",
        "/usr/bin/python3.10": "3.10.1",
        "/opt/py/bin/python3.12": "3.12.0",
        "/opt/new/bin/python3": "3.14.0",
    }
    old = facts(ansible_python_version="3.8.10", tvmops_pythons=pythons)
    assert board_python(STACK, old) == ("/opt/py/bin/python3.12", "3.12")
    assert check_board(STACK, old) == []


def test_the_python_that_gave_the_facts_comes_first() -> None:
    own = facts(ansible_python={"executable": "/venv/bin/python"}, ansible_python_version="3.12.1")
    assert board_python(STACK, own) == ("/venv/bin/python", "3.12")
