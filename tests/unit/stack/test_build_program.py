"""The build program: results packed, and what becomes of faults; nothing is compiled."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import building
import collect
import faults
import pytest
import swap
from small_build import MB, pack

from tvmops.stack.catalogue import diagnose


def test_what_is_collected_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    rules = [
        {"file": "build/lib.so", "to": "lib/lib.so", "mode": "0755"},
        {"tree": "src/python", "to": "python", "include": ["*.py"], "exclude": ["*/tests/*"]},
        {"file": "LICENSE", "to": "licences/LICENSE", "optional": True},
    ]
    results = []
    for name in ("one", "two"):
        work = tmp_path / name
        for path in (
            "build/lib.so",
            "src/python/b.py",
            "src/python/a/a.py",
            "src/python/a/tests/t.py",
            "src/python/x.c",
        ):
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_text(path)
            os.utime(work / path, (len(name), time.time()))
        results.append(collect.collect(str(work), rules, "", str(work / "out.tar.gz")))
    assert results[0]["sha256"] == results[1]["sha256"]
    assert results[0]["files"] == 3
    with tarfile.open(tmp_path / "one" / "out.tar.gz") as tar:
        assert [(one.name, one.mode, one.mtime, one.uid) for one in tar] == [
            ("lib/lib.so", 0o755, 0, 0),
            ("python/a/a.py", 0o644, 0, 0),
            ("python/b.py", 0o644, 0, 0),
        ]


def test_what_was_not_built_is_named(tmp_path: Path) -> None:
    with pytest.raises(faults.BuildFault, match="has left no build"):
        collect.collect(str(tmp_path), [{"file": "build/lib.so", "to": "x"}], "", str(tmp_path / "out"))
    with pytest.raises(faults.BuildFault, match="name no file"):
        collect.collect(str(tmp_path), [{"tree": "src", "to": "x", "optional": True}], "", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def prepared(work: Path, **changes: Any) -> str:
    """A spec whose sources are packed and of which nothing is compiled: the steps that need tools are replaced."""
    work.mkdir()
    pack(work / "source.tar.gz", {"lib.so": b"library"})
    chain = {"c": "", "cxx": "", "cmake": "", "strip": ""}
    spec = {"archive": "source.tar.gz", "toolchain": chain, "install": [{"file": "src/lib.so", "to": "lib.so"}]}
    (work / "spec.json").write_text(json.dumps({**spec, **changes}))
    return str(work / "spec.json")


def test_swap_that_does_not_come_back_costs_no_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def swapoff(_argv: list[str]) -> None:
        raise OSError(0, "swapoff: /w/tvmops-build.swap: swapoff failed: Cannot allocate memory")

    def configure(one: Any) -> None:
        one.swap.size = 256 * MB
        monkeypatch.setattr(swap.probe, "swaps", lambda: [{"path": one.swap.path}])
        monkeypatch.setattr(swap, "_run", swapoff)

    monkeypatch.setattr(building.compiling, "configure", configure)
    monkeypatch.setattr(building.compiling, "make", lambda _one: None)
    result = building.build(prepared(tmp_path / "w"))
    assert (result["outcome"], result["out"]["files"]) == ("built", 1), result
    assert "swapoff failed: Cannot allocate memory" in result["notes"][-1]
    found = diagnose(result["notes"][-1].partition("restart: ")[2])
    assert found is not None and found.id == "B12"
    assert building.sweep() == []


def test_faults_of_the_system_are_results_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = prepared(tmp_path / "w")
    (tmp_path / "w" / "lock").mkdir()
    result = building.build(path)
    assert (result["outcome"], result["message"]) == ("failed", f"{tmp_path}/w/lock: Is a directory")

    def hang(argv: list[str], **_given: Any) -> None:
        raise subprocess.TimeoutExpired(argv, 300)

    monkeypatch.setattr(building.compiling, "configure", lambda _one: None)
    monkeypatch.setattr(building.compiling, "make", lambda _one: None)
    monkeypatch.setattr(collect.subprocess, "run", hang)
    rules = [{"file": "src/lib.so", "to": "lib.so", "strip": True}]
    result = building.build(prepared(tmp_path / "v", toolchain={"strip": "/usr/bin/strip"}, install=rules))
    assert result["outcome"] == "failed" and "/usr/bin/strip" in result["message"], result


def test_another_orders_configuration_is_not_built(tmp_path: Path) -> None:
    """A second controller may have put its own there while this build waited for its turn."""
    path = prepared(tmp_path / "w", config="config.cmake", config_sha256="0" * 64)
    (tmp_path / "w" / "config.cmake").write_text("set(USE_RPC ON)\n")
    result = building.build(path)
    assert result["outcome"] == "failed" and "config.cmake" in result["message"], result
    assert "run" in result["hint"]
