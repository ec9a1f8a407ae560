"""Lock files: what they say, and when they are refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tvmops.errors import ConfigError
from tvmops.paths import project_root
from tvmops.stack import environment_path, load_stack
from tvmops.stack.lock import Locked, locked_packages, read_lock, section_name, write_lock
from tvmops.stack.spec import Pin, Stack

STACKS = project_root() / "stacks"


def small(folder: Path) -> Stack:
    """A stack of one package, with an extra."""
    stack = replace(load_stack("relay-0.19"), name="small", path=str(folder / "small.yml"))
    return replace(stack, compile=(Pin("six", "1.17.0"),), extras={"more": (Pin("Idna", "3.20"),)})


def sections(idna: str = "3.20") -> dict[str, list[Locked]]:
    return {section_name(): [Locked("six", "1.17.0", "a" * 64, ("base",)), Locked("idna", idna, "b" * 64, ("more",))]}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "small.lock"
    both = {**sections(), "py3.9-riscv64": [Locked("torch", "2.13.0", "-", ("a", "b"))]}
    write_lock(path, both, "small")
    assert read_lock(path) == both
    assert "tvmops env.lock --stack small" in path.read_text()
    assert read_lock(tmp_path / "none.lock") == {}


def test_an_environment_gets_what_its_extras_need(tmp_path: Path) -> None:
    stack = small(tmp_path)
    assert locked_packages(stack, ()) == []
    unlocked = environment_path(stack)
    write_lock(tmp_path / "small.lock", sections(), "small")
    assert [one.name for one in locked_packages(stack, ())] == ["six"]
    assert [one.requirement() for one in locked_packages(stack, ("more",))][1] == f"idna==3.20 --hash=sha256:{'b' * 64}"
    assert environment_path(stack) != unlocked, "an environment made without the lock is another one"


def test_a_lock_that_is_older_than_the_pins_is_refused(tmp_path: Path) -> None:
    write_lock(tmp_path / "small.lock", sections("3.19"), "small")
    assert locked_packages(small(tmp_path), ())
    with pytest.raises(ConfigError, match=r"pins Idna==3\.20, the lock has 3\.19"):
        locked_packages(small(tmp_path), ("more",))


@pytest.mark.parametrize("line", ["six==1.17.0", "six==1.17.0 short base", "six 1.17.0 - base"])
def test_lines_that_are_none(tmp_path: Path, line: str) -> None:
    path = tmp_path / "small.lock"
    path.write_text(f"# made\n[py3.11-x86_64]\n{line}\n")
    with pytest.raises(ConfigError, match=r"small\.lock:3: not a line of a lock file"):
        read_lock(path)
    path.write_text(f"six==1.17.0 {'a' * 64} base\n")
    with pytest.raises(ConfigError, match=r"small\.lock:1:"):
        read_lock(path)


@pytest.mark.parametrize("path", sorted(STACKS.glob("*.lock")), ids=lambda path: path.stem)
def test_the_locks_in_stacks_have_what_the_stacks_pin(path: Path) -> None:
    stack = load_stack(path.stem)
    for name, section in read_lock(path).items():
        python = name.partition("-")[0].removeprefix("py")
        assert stack.supports_python(python)
        known = {(one.name.lower().replace("_", "-"), one.version) for one in section}
        for extras in [(), *((extra,) for extra in stack.extras)]:
            for pin in stack.pins(python, extras):
                assert (pin.name.lower().replace("_", "-"), pin.version) in known, (name, pin)
    if section_name() in read_lock(path) or sys.version_info[:2] == (3, 11):
        assert locked_packages(stack, tuple(stack.extras))
