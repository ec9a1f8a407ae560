"""The pip module: requirement lists, and a real virtual environment fed from a folder of wheels."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from driver import Driver
from hypothesis import given
from hypothesis import strategies as st
from wheels import make_wheel

from tvmops.agent import pip_probe, requirements
from tvmops.agent.modules import pip


def wheel(folder: Path, name: str, version: str, requires: str = "") -> None:
    """A wheel of one module."""
    make_wheel(folder, name, version, {f"{name}.py": f"version = {version!r}\n"}, requires=requires)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for version in ("1.0", "1.5", "2.0"):
        wheel(folder, "tvmops_a", version)
    wheel(folder, "tvmops_b", "1.0", 'Provides-Extra: more\nRequires-Dist: tvmops_c ; extra == "more"\n')
    wheel(folder, "tvmops_c", "1.0")
    return folder


@pytest.fixture(scope="module")
def venv(board: Driver, tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> dict[str, str]:
    path = tmp_path_factory.mktemp("venv") / "env"
    args = {
        "virtualenv": str(path),
        "virtualenv_command": f"{sys.executable} -m venv",
        "extra_args": f"--no-index --find-links {wheels}",
    }
    preview = board.task("pip", {**args, "name": "tvmops-a==1.0"}, check=True)
    assert preview["changed"]
    assert not path.exists()
    made = board.task("pip", {**args, "name": "tvmops-a==1.0"}, diff=True)
    assert made["changed"], made
    assert made["diff"][0]["after"] == "tvmops-a 1.0\n"
    return args


def test_present_absent_latest(board: Driver, venv: dict[str, str]) -> None:
    def changed(check: bool = False, **args: object) -> bool:
        result = board.task("pip", {**venv, **args}, check=check)
        assert not result["failed"], result["msg"]
        return bool(result["changed"])

    remove = {"virtualenv": venv["virtualenv"], "extra_args": None, "state": "absent"}
    assert not changed(name="tvmops_a", version="1.0")
    assert not changed(name="TVMops.A<2,>=1.0")
    assert changed(name="tvmops-a>=1.5,<2", check=True)
    assert changed(name="tvmops-a>=1.5,<2")
    assert not changed(name=["tvmops-a>=1.5", "tvmops-a<2"])
    assert changed(name="tvmops-a", state="latest", check=True)
    assert changed(name="tvmops-a", state="latest")
    assert not changed(name="tvmops-a", state="latest")
    assert changed(name="tvmops-b")
    assert changed(name="tvmops-b[more]")
    assert not changed(name="tvmops-b[more]")
    assert changed(name=["tvmops-b", "tvmops-c"], **remove)
    assert not changed(name=["tvmops-b", "tvmops-c"], **remove)
    assert not changed(name="tvmops-a; python_version<'3'")


def test_requirements_file(board: Driver, venv: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("tvmops-b  # the second\n")
    (tmp_path / "held.txt").write_text("tvmops-a<2\n")
    listing = tmp_path / "requirements.txt"
    listing.write_text("# ours\ntvmops-a>=1.0 ; python_version >= '3'\n-r more.txt\n-c held.txt\n")
    args = {**venv, "requirements": "requirements.txt", "chdir": str(tmp_path)}
    assert board.task("pip", args)["changed"]
    assert not board.task("pip", args)["changed"]
    (tmp_path / "held.txt").write_text("tvmops-a<1.2\n")
    assert board.task("pip", args, check=True)["changed"]
    missing = board.task("pip", {**args, "requirements": "nope.txt"})
    assert missing["failed"]
    assert "nope.txt" in missing["msg"]


def test_messages(board: Driver, venv: dict[str, str]) -> None:
    unknown = board.task("pip", {**venv, "name": "tvmops-nosuch"})
    assert unknown["failed"]
    assert "no tvmops-nosuch for this board" in unknown["msg"]
    dead = {**venv, "extra_args": "--index-url http://me:secret@127.0.0.1:9/simple", "name": "tvmops-a==9"}
    result = board.task(
        "pip", {**dead, "state": "present"}, environment={"PIP_RETRIES": "1", "PIP_CONFIG_FILE": "/dev/null"}
    )
    assert result["failed"]
    assert "127.0.0.1:9" in result["msg"]
    assert "refused" in result["msg"]
    assert "secret" not in result["msg"]
    two = board.task("pip", {**venv, "name": ["a", "b"], "version": "1"})
    assert "exactly one name" in two["msg"]
    assert "PEP 668" in pip.explain("error: externally-managed-environment\n", ["pip"])
    assert "python3-pip" in pip.explain("/usr/bin/python3: No module named pip", ["/usr/bin/python3"])
    assert "clock" in pip.explain("SSLError [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", ["pip"])


def test_lists_split_at_commas_are_put_together() -> None:
    assert requirements.joined(["a>=1", "<2", "b[x", "y]==1", " c "]) == ["a>=1,<2", "b[x,y]==1", "c"]


def test_lines_only_pip_can_judge(tmp_path: Path) -> None:
    path = tmp_path / "r.txt"
    path.write_text("-e .\na==1 --hash=sha256:00 \\\n --hash=sha256:11\n--index-url https://x\nb\n")
    found = requirements.read(str(path))
    assert found.opaque
    assert found.requirements == ["a==1", "b"]


def test_files_that_include_each_other_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("-r a.txt\nx\n")
    assert requirements.read(str(tmp_path / "a.txt")).opaque


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True)
SPECS = st.lists(
    st.tuples(st.sampled_from(["<", ">=", "!=", "==", "~="]), st.from_regex(r"[0-9]\.[0-9]", fullmatch=True)),
    max_size=3,
)


@given(st.lists(st.tuples(NAMES, st.lists(NAMES, max_size=3), SPECS), max_size=4))
def test_joining_undoes_splitting(entries: list[tuple[str, list[str], list[tuple[str, str]]]]) -> None:
    texts = [
        name + (f"[{','.join(extras)}]" if extras else "") + ",".join(operator + version for operator, version in specs)
        for name, extras, specs in entries
    ]
    assert requirements.joined(",".join(texts).split(",")) == texts


@given(st.text(), st.dictionaries(NAMES, st.just(("1.0", list, lambda: None))))
def test_no_requirement_crashes_the_probe(text: str, installed: dict[str, tuple[str, object, object]]) -> None:
    assert pip_probe.met(text, installed) in (True, False, None)
    assert pip_probe.constrained(text, installed) in (True, False, None)


@given(st.text())
def test_no_output_crashes_the_explanation(text: str) -> None:
    assert pip.explain(text, ["pip"])
