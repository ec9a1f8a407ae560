"""What the Relay backend decides without TVM: targets, names of APIs, operators of a profile; weights from a seed."""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np
import pytest

from tvmops.worker.backends.api_names import find
from tvmops.worker.backends.targets import relay_target, target_settings
from tvmops.worker.failures import JobError, first_words
from tvmops.worker.random_weights import random_weight

NANO = {"tag": "nvidia/jetson-nano", "kind": "cuda", "arch": "sm_53", "keys": ["cuda", "gpu"]}


def tags(name: str) -> dict[str, Any]:
    assert name == "nvidia/jetson-nano"
    return dict(NANO)


def test_a_tag_is_what_it_stands_for_and_other_keys_win() -> None:
    settings = target_settings({"tag": "nvidia/jetson-nano", "arch": "sm_62"}, tags)
    assert settings == {"kind": "cuda", "arch": "sm_62", "keys": ["cuda", "gpu"]}
    with pytest.raises(JobError, match="needs a 'target'"):
        target_settings({}, tags)


def test_armhf_is_hard_float() -> None:
    target = {"kind": "llvm", "device": "arm_cpu", "mtriple": "armv7l-linux-gnueabihf", "mattr": "+neon,+vfp4"}
    device, host = relay_target(target, tags, "0.19.0")
    assert device["mfloat-abi"] == host["mfloat-abi"] == "hard"
    assert device["mattr"] == ["+neon", "+vfp4"]
    assert device["device"] == "arm_cpu"
    assert "device" not in host
    soft, _ = relay_target({**target, "mfloat-abi": "soft"}, tags, "0.19.0")
    assert soft["mfloat-abi"] == "soft"
    arm64, _ = relay_target({"kind": "llvm", "mtriple": "aarch64-linux-gnu"}, tags, "0.19.0")
    assert "mfloat-abi" not in arm64


def test_hosts_of_gpus() -> None:
    arm = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "num-cores": 4}
    device, host = relay_target({"tag": "nvidia/jetson-nano", "host": arm}, tags, "0.19.0")
    assert (device["kind"], "host" in device, host) == ("cuda", False, arm)
    assert relay_target({"kind": "opencl", "device": "mali"}, tags, "0.19.0")[1] == {"kind": "llvm"}
    assert relay_target({"kind": "opencl", "host": "llvm"}, tags, "0.19.0")[1] == {"kind": "llvm"}
    with pytest.raises(JobError, match="neither a 'kind'"):
        relay_target({"mcpu": "skylake"}, tags, "0.19.0")


@pytest.mark.parametrize(("version", "known"), [("0.8.0", False), ("0.9.0", True), ("0.19.0", True)])
def test_number_of_cores_where_the_release_knows_it(version: str, known: bool) -> None:
    device, host = relay_target({"kind": "llvm", "num-cores": 4}, tags, version)
    assert ("num-cores" in device, "num-cores" in host) == (known, known)


def test_an_api_by_the_first_name_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    package, module = types.ModuleType("library"), types.ModuleType("library.old")
    module.array = "the array"  # type: ignore[attr-defined]
    package.old = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "library", package)
    monkeypatch.setitem(sys.modules, "library.old", module)
    names = {"array": ["library.new.array", "library.old.array"], "gone": ["library.never"], "path": ["os.path.join"]}
    assert find(names, "array") == "the array"
    assert find(names, "gone") is None
    assert callable(find(names, "path"))


def test_tvms_frames_are_no_words() -> None:
    message = """Traceback (most recent call last):
  2: tvm::runtime::RPCClientConnect(std::string, int)
  1: _ZN3tvm
        at /project/src/rpc.cc:114
  File "/project/tvm/src/rpc.cc", line 115
InternalError: Check failed: (ok) is false: Connect to 127.0.0.1:1 failed"""
    assert first_words(Exception(message)) == (
        "InternalError: Check failed: (ok) is false: Connect to 127.0.0.1:1 failed"
    )


def test_weights_from_a_seed_keep_signals_alive() -> None:
    draw = np.random.RandomState(1)
    kernel = random_weight(draw, "conv0_weight", (64, 32, 3, 3))
    assert kernel.dtype == np.float32
    assert 0.6 < kernel.std() * np.sqrt(32 * 9 / 2) < 0.8
    assert abs(random_weight(draw, "bn0_gamma", (512,)).mean() - 1) < 0.05
    assert random_weight(draw, "bn0_running_var", (512,)).min() > 0.5
    assert abs(random_weight(draw, "bn0_running_mean", (512,)).mean()) < 0.1
    again = random_weight(np.random.RandomState(1), "conv0_weight", (64, 32, 3, 3))
    assert np.array_equal(kernel, again)
