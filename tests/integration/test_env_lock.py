"""Environments from a lock: what is not what the lock says is not installed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tvmops.errors import StackError
from tvmops.stack import ensure_environment, load_stack
from tvmops.stack.lock import read_lock, section_name, write_lock
from tvmops.stack.locking import make_lock
from tvmops.stack.spec import Pin, Stack


def small(folder: Path) -> Stack:
    stack = replace(load_stack("relay-0.19"), name="small", path=str(folder / "small.yml"))
    return replace(stack, compile=(Pin("humanfriendly", "10.0"),), extras={"more": (Pin("packaging", "26.3"),)})


@pytest.mark.timeout(600)
def test_a_lock_is_made_and_kept_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "cache"))
    stack = small(tmp_path)
    path = make_lock(stack)
    (section,) = read_lock(path).values()
    assert {one.name: one.extras for one in section} == {"humanfriendly": ("base",), "packaging": ("more",)}
    python = ensure_environment(stack)
    assert (python.parents[1] / "locked.txt").read_text().startswith("humanfriendly==10.0 --hash=sha256:")
    installed = [found.name for found in python.parents[1].glob("lib/python3*/site-packages/*.dist-info")]
    assert "humanfriendly-10.0.dist-info" in installed
    assert not any(name.startswith("packaging-") for name in installed)
    wrong = [replace(one, sha256="0" * 64) for one in section]
    write_lock(path, {section_name(): wrong}, "small")
    with pytest.raises(StackError, match=r"THESE PACKAGES DO NOT MATCH THE HASHES|do not match the hashes"):
        ensure_environment(stack)
