"""Stacks that are built: sources, options and what goes with them, and every way they can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvmops.errors import ConfigError
from tvmops.stack.reading import option_value
from tvmops.stack.spec import load_stack, read_stack

GOOD = """\
name: built
api: relay
version: "1.0"
tag: v0.19.0
python: ">=3.10,<3.12"
boards:
  architectures: [x86_64, armv7l]
  glibc: "2.27"
sources:
  upstream:
    kind: git
    url: https://example.org/tvm
    ref: refs/tags/v1.0
    commit: 0123456789012345678901234567890123456789
  tarball:
    kind: archive
    url: https://example.org/tvm.tar.gz
    sha256: 0123456789012345678901234567890123456789012345678901234567890123
  wheel:
    kind: wheel
    pin: tvm-things==1.0
    sha256: 0123456789012345678901234567890123456789012345678901234567890123
    root: tvm
  hardware:
    kind: git
    url: https://example.org/hw
    ref: refs/heads/main
    commit: 0123456789012345678901234567890123456789
    into: 3rdparty/hw
options:
  runtime:
    USE_RPC: ON
    USE_LLVM: false
    USE_ALIGNMENT: 64
server: lean
tophub: [arm_cpu_v0.08.log]
board_packages: [libopenblas0]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "built.yml"
    path.write_text(text)
    return path


def test_a_built_stack_needs_no_wheels(tmp_path: Path) -> None:
    stack = read_stack(write(tmp_path, GOOD))
    assert stack.is_built
    assert (stack.runtime, stack.rules.include, stack.tag, stack.server) == ((), (), "v0.19.0", "lean")
    assert list(stack.sources) == ["upstream", "tarball", "wheel", "hardware"]
    assert stack.sources["tarball"]["strip"] == 1
    assert stack.sources["upstream"]["complete"] is True
    assert stack.sources["wheel"]["complete"] is False
    assert stack.sources["wheel"]["overlay"] == ""
    assert stack.tophub == ("arm_cpu_v0.08.log",)
    assert stack.board_packages == ("libopenblas0",)


def test_options_are_cmakes_words_and_know_their_place(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    stack = read_stack(path)
    assert stack.options == {"runtime": {"USE_RPC": "ON", "USE_LLVM": "OFF", "USE_ALIGNMENT": "64"}}
    line = GOOD.splitlines().index("    USE_LLVM: false") + 1
    assert stack.places["runtime.USE_LLVM"] == f"{path}:{line}:5"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "kind: git\n    url: https://example.org/tvm\n",
            "kind: gti\n    url: https://example.org/tvm\n",
            "no known kind",
        ),
        ("ref: refs/tags/v1.0", "ref: v1.0", "'v1.0' is no 'ref'\n  it is a whole name like refs/tags/"),
        ("commit: 0123456789012345678901234567890123456789\n  tar", "commit: '0123'\n  tar", "40 hex digits"),
        ("    root: tvm\n", "    root: ../tvm\n", "'../tvm' is no 'root'"),
        ("    root: tvm\n", "    rot: tvm\n", "a wheel source has no 'rot'\n  did you mean 'root'?"),
        ("    ref: refs/tags/v1.0\n", "", "source 'upstream' lacks 'ref'"),
        ("    root: tvm\n", "    root: tvm\n    complete: perhaps\n", "'complete' is yes or no, not 'perhaps'"),
        ("USE_RPC: ON", "use_rpc: ON", "'use_rpc' is no option of config.cmake"),
        ("USE_RPC: ON", "USE_RPC: [1]", "[1] is no value of an option"),
        ("  runtime:\n", "  runtimes:\n", "unknown options key 'runtimes'\n  did you mean 'runtime'?"),
        ("server: lean", "server: leen", "unknown server 'leen'\n  did you mean 'lean'?"),
        ("arm_cpu_v0.08.log", "arm_cpu.log", "'arm_cpu.log' is not a tophub file"),
        ("libopenblas0", "'lib blas'", "'lib blas' is not a package of apt"),
        ("tag: v0.19.0", "tag: '0.19'", "'0.19' is not a release tag"),
        ("tag: v0.19.0", "tag: v0.19.9", "'v0.19.9' is no release"),
        ("tag: v0.19.0\n", "", "'tag' is missing"),
        ("sources:\n", "sources: []\nrest:\n", "'sources' must name at least one source"),
    ],
)
def test_single_faults(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as raised:
        read_stack(write(tmp_path, GOOD.replace(old, new)))
    assert expected in str(raised.value)
    assert "built.yml:" in str(raised.value)


def test_the_default_source_is_a_whole_tree(tmp_path: Path) -> None:
    text = GOOD.replace("    ref: refs/tags/v1.0\n", "    ref: refs/tags/v1.0\n    into: 3rdparty/x\n")
    with pytest.raises(ConfigError, match="the first source is the default"):
        read_stack(write(tmp_path, text))


@pytest.mark.parametrize(
    ("given", "expected"), [(True, "ON"), (False, "OFF"), (64, "64"), ("none", "none"), (None, None), ("a\nb", None)]
)
def test_values_of_options(given: object, expected: str | None) -> None:
    assert option_value(given) == expected


def test_shipped_stacks_that_are_built() -> None:
    stacks = [load_stack(name) for name in ("relay-0.19", "relay-0.18", "relay-0.8")]
    assert all(stack.is_built and stack.api == "relay" and stack.server == "lean" for stack in stacks)
    assert all({"runtime", "full"} == set(stack.options) for stack in stacks)
    default = next(iter(stacks[0].sources.values()))
    assert (default["kind"], default["complete"]) == ("wheel", False)
    assert not load_stack("relax-0.27").is_built
