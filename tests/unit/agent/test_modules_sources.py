"""apt_repository and deb822_repository as far as no root is needed: lines, names, texts and refusals.

tests/lab has them on a board, with apt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from driver import Driver
from hypothesis import given
from hypothesis import strategies as st

from tvmops.agent.debian import deb822, onelines

SOURCE = "deb http://a.example/debian bookworm main"


def change(board: Driver, path: Path, **args: Any) -> dict[str, Any]:
    """Check, apply and again, in a list of the test's own."""
    args = {"filename": str(path.with_suffix("")), "update_cache": False, **args}
    before = path.read_bytes() if path.exists() else None
    predicted = board.task("apt_repository", args, check=True, diff=True)
    assert (path.read_bytes() if path.exists() else None) == before
    done = board.task("apt_repository", args, diff=True)
    assert not done["failed"], done
    assert predicted["changed"] == done["changed"]
    assert predicted["diff"] == done["diff"]
    assert not board.task("apt_repository", args)["changed"]
    return done


def test_a_line_comes_and_goes(board: Driver, tmp_path: Path) -> None:
    path = tmp_path / "sub" / "x.list"
    done = change(board, path, repo="deb   http://a.example/debian  bookworm main # why", mode="0600")
    assert (done["sources_added"], done["sources_removed"], done["state"]) == ([str(path)], [], "present")
    assert path.read_text() == SOURCE + "\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert SOURCE in done["diff"][0]["after"]
    path.write_text("# kept\n" + path.read_text().rstrip("\n"))
    change(board, path, repo="deb http://b.example/debian ./")
    assert path.read_text() == f"# kept\n{SOURCE}\ndeb http://b.example/debian ./\n"
    change(board, path, repo=SOURCE, state="absent")
    assert change(board, path, repo="deb http://b.example/debian ./", state="absent")["sources_removed"] == []
    assert path.read_text() == "# kept\n"
    path.write_text(SOURCE + "\n")
    assert change(board, path, repo=SOURCE, state="absent")["sources_removed"] == [str(path)]
    assert not path.exists()


def test_a_line_is_switched_on_where_it_is(board: Driver, tmp_path: Path) -> None:
    path = tmp_path / "x.list"
    path.write_text(f"deb http://z.example/debian x main\n#  {SOURCE} # note\n")
    assert not board.task("apt_repository", {"repo": SOURCE, "filename": str(tmp_path / "x"), "state": "absent"})[
        "changed"
    ]
    change(board, path, repo=SOURCE)
    assert path.read_text() == f"deb http://z.example/debian x main\n{SOURCE} # note\n"


def test_passwords_are_not_shown(board: Driver, tmp_path: Path) -> None:
    path = tmp_path / "x.list"
    done = change(board, path, repo="deb https://me:s3cret@a.example/debian bookworm main")
    assert "s3cret" in path.read_text()
    assert "s3cret" not in str(done)
    done = change(board, path, repo="deb https://me:0ther@a.example/debian bookworm main")
    assert done["changed"]
    assert "0ther" not in str(board.events)


@pytest.mark.parametrize(
    ("repo", "words"),
    [
        ("nonsense", "apt would not take"),
        ("http://a.example/debian bookworm main", "apt would not take"),
        ("deb nourl bookworm main", "apt would not take"),
        ("deb http://a.example/debian", "apt would not take"),
        ("deb http://a.example/debian bookworm", "components"),
        ("deb http://a.example/debian ./ main", "components"),
        ("deb http://me:s3cret@a.example/debian bookworm", "***@a.example"),
        ("ppa:nginx/stable", "deb822_repository"),
        (f"{SOURCE}\n{SOURCE}", "not several"),
    ],
)
def test_what_apt_would_choke_on_is_refused(board: Driver, tmp_path: Path, repo: str, words: str) -> None:
    args = {"repo": repo, "filename": str(tmp_path / "x"), "update_cache": False}
    for check in (True, False):
        result = board.task("apt_repository", args, check=check)
        assert result["failed"]
        assert words in result["msg"]
        assert "s3cret" not in str(result)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("deb http://archive.canonical.com/ubuntu hardy partner", "archive_canonical_com_ubuntu.list"),
        ("deb [arch=amd64] https://me:pw@dl.example.com:8080/linux/ jammy x", "dl_example_com_8080_linux.list"),
        ("deb file:///srv/repo ./", "srv_repo.list"),
    ],
)
def test_names_of_files(source: str, name: str) -> None:
    assert onelines.file_name(source) == name


lists = st.lists(st.sampled_from([SOURCE, "# " + SOURCE, "#deb x", "", "deb-src http://b.example/ x y", SOURCE + " c"]))


@given(lists, lists)
def test_adding_and_removing_are_done_once(one: list[str], two: list[str]) -> None:
    texts = {"/one": "\n".join(one), "/two": "\n".join(two)}
    for edit in (lambda now: onelines.added(now, SOURCE, "/one"), lambda now: onelines.removed(now, SOURCE)):
        texts.update({name: text or "" for name, text in edit(texts).items()})
        assert edit(texts) == {}
        untouched = [line for line in "\n".join([*one, *two]).splitlines() if SOURCE not in line]
        now = [line for line in "\n".join(texts.values()).splitlines() if SOURCE not in line]
        assert [line for line in now if line] == [line for line in untouched if line]


def test_a_paragraph() -> None:
    key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME\n-----END PGP PUBLIC KEY BLOCK-----\n"
    fields = {"name": "My x", "types": ["deb"], "uris": ["http://a", "http://b"], "suites": ["s"], "pdiffs": False}
    assert deb822.paragraph({**fields, "signed_by": key, "languages": None, "date_max_future": 5}) == (
        "Date-Max-Future: 5\nX-Repolib-Name: My x\nPdiffs: no\n"
        "Signed-By:\n    -----BEGIN PGP PUBLIC KEY BLOCK-----\n    .\n"
        "    mDME\n    -----END PGP PUBLIC KEY BLOCK-----\n"
        "Suites: s\nTypes: deb\nURIs: http://a http://b\n"
    )
    assert deb822.slug("My Repo_Name x.y") == "my-repo-name-xy"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({}, "needs uris and suites"),
        ({"uris": "http://a", "suites": "s"}, "components are missing"),
        ({"uris": "http://a", "suites": "./", "components": "main"}, "no components"),
        ({"uris": "http://a", "suites": "./", "signed_by": "/nowhere/key.gpg"}, "no file /nowhere/key.gpg"),
        ({"uris": "http://a\nb", "suites": "./"}, "line break"),
        ({"uris": "http://a", "suites": "./", "signed_by": "http://127.0.0.1:1/key"}, "cannot download"),
        ({"uris": "http://a", "suites": "./", "types": "rpm"}, "none of deb, deb-src"),
        ({"name": "..", "uris": "http://a", "suites": "./"}, "no letter or digit"),
    ],
)
def test_what_would_break_apt_is_refused(board: Driver, args: dict[str, Any], words: str) -> None:
    result = board.task("deb822_repository", {"name": "tvmops-test", **args}, check=True)
    assert result["failed"]
    assert words in result["msg"]
