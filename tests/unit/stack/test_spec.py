"""Stack files: what they say, and every way they can be wrong, with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvmops.errors import ConfigError, ConfigErrors
from tvmops.paths import project_root
from tvmops.stack.spec import FileRules, Pin, load_stack, read_stack, stack_names, version_tuple

GOOD = """\
name: tiny
api: relax
version: "1.0"
python: ">=3.10,<3.14"
boards:
  architectures: [x86_64]
  glibc: "2.28"
runtime:
  - apache-tvm==1.0
compile:
  - onnx==1.2; python_version >= "3.11"
  - onnx==1.1; python_version < "3.11"
extras:
  torch: [torch==2.0]
files:
  include: ["tvm/*.py"]
  exclude: ["tvm/relax/*"]
"""


def write(folder: Path, text: str, name: str = "tiny.yml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def complaints(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        read_stack(write(folder, text))
    return str(raised.value)


def test_a_good_file(tmp_path: Path) -> None:
    stack = read_stack(write(tmp_path, GOOD))
    assert (stack.name, stack.api, stack.version, stack.glibc) == ("tiny", "relax", "1.0", "2.28")
    assert [str(pin) for pin in stack.pins("3.10")] == ["apache-tvm==1.0", "onnx==1.1"]
    assert [str(pin) for pin in stack.pins("3.12", ("torch",))] == ["apache-tvm==1.0", "onnx==1.2", "torch==2.0"]
    assert stack.supports_python("3.13.2")
    assert not stack.supports_python("3.14")
    assert not stack.supports_python("3.9")


def test_all_faults_at_once_with_their_places(tmp_path: Path) -> None:
    text = GOOD.replace("api: relax", "api: relaxx").replace("glibc:", "glibcc:")
    text = text.replace("- apache-tvm==1.0", "- apache-tvm>=1.0").replace("extras:", "extra:")
    with pytest.raises(ConfigErrors) as raised:
        read_stack(write(tmp_path, text))
    shown = str(raised.value)
    for expected in (
        "tiny.yml:2:6: unknown api 'relaxx'",
        "did you mean 'relax'?",
        "tiny.yml:7:3: unknown boards key 'glibcc'",
        "tiny.yml:9:5: 'apache-tvm>=1.0' is not an exact pin",
        "tiny.yml:13:1: unknown stack key 'extra'",
        "did you mean 'extras'?",
    ):
        assert expected in shown


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: tiny", "name: other", "tiny.yml:1:7: name 'other' differs from the file's name 'tiny'"),
        ('">=3.10,<3.14"', "3.11", "'python' must be text"),
        ('">=3.10,<3.14"', '"3.11"', "'3.11' is no Python range"),
        ("[x86_64]", "[x86-64]", "unknown architecture 'x86-64'"),
        ("  - apache-tvm==1.0\n", "  apache-tvm: 1.0\n", "'runtime' must be a list"),
        ('  include: ["tvm/*.py"]', '  include: ["/tvm"]', "'/tvm' is no glob"),
        ("version: ", "versionn: ", "'version' is missing"),
        ('python_version < "3.11"', "sys_platform == 'linux'", "is not an exact pin"),
    ],
)
def test_single_faults(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    assert expected in complaints(tmp_path, GOOD.replace(old, new))


def test_not_a_mapping(tmp_path: Path) -> None:
    assert "tiny.yml:1:1: a stack file is a mapping" in complaints(tmp_path, "- a\n")


def test_unknown_names_suggest_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no stack 'relax-0\.72'.*\n.*did you mean 'relax-0\.27'"):
        load_stack("relax-0.72")
    with pytest.raises(ConfigError, match=r"no extra 'troch'\n.*did you mean 'torch'"):
        read_stack(write(tmp_path, GOOD)).pins("3.11", ("troch",))


@pytest.mark.parametrize("name", stack_names())
def test_shipped_stacks_pin_everything_once_for_each_python(name: str) -> None:
    assert (project_root() / "stacks" / f"{name}.yml").is_file()
    stack = load_stack(name)
    low, high = version_tuple(stack.python_min)[1], version_tuple(stack.python_below)[1]
    for minor in range(low, high):
        names = [pin.name for pin in stack.pins(f"3.{minor}", tuple(stack.extras))]
        assert sorted(names) == sorted(set(names)), f"Python 3.{minor}"
        assert len([pin for pin in stack.baseline if pin.holds_for(f"3.{minor}")]) == (1 if stack.baseline else 0)


@given(st.integers(0, 40), st.integers(0, 40))
def test_of_two_opposite_markers_exactly_one_holds(limit: int, python: int) -> None:
    older, newer = Pin("a", "1", ("<", f"3.{limit}")), Pin("a", "2", (">=", f"3.{limit}"))
    assert older.holds_for(f"3.{python}") != newer.holds_for(f"3.{python}")
    assert newer.holds_for(f"3.{python}") == (python >= limit)


def test_globs_cross_folders_and_exclude_wins() -> None:
    rules = FileRules(("tvm/*.py",), ("tvm/relax/*",))
    assert rules.takes("tvm/a/b/c.py")
    assert not rules.takes("tvm/relax/deep/x.py")
    assert not rules.takes("tvm/lib/libtvm_compiler.so")
