"""What --source, --sha256 and --mirror mean, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from source_trees import git, make_repository, stack_with, whole_tree, write_tree

from tvmops.digests import file_sha256
from tvmops.errors import ConfigError, StackError
from tvmops.stack.sources import parse_mirrors
from tvmops.stack.sources.request import mirrored, resolve
from tvmops.stack.spec import Stack

HEX = "ab" * 32
URL = "https://example.com/apache/tvm-src-v1.0.tar.gz"


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    vta = {"kind": "git", "url": "https://example.com/vta", "ref": "refs/heads/main", "commit": "d" * 40}
    return stack_with(
        tmp_path,
        upstream={"kind": "git", "url": "https://example.com/tvm", "ref": "refs/tags/v1.0", "commit": "c" * 40},
        archive={"kind": "archive", "url": URL, "sha256": HEX, "strip": 1},
        vta={**vta, "into": "3rdparty/vta-hw"},
    )


def found(stack: Stack, choice: str | None, sha256: str = "") -> dict[str, Any]:
    return dict(resolve(stack, choice, sha256).source)


def test_names(stack: Stack) -> None:
    assert found(stack, None)["commit"] == "c" * 40
    assert found(stack, "archive")["sha256"] == HEX
    request = resolve(stack, "archive+vta")
    assert request.source["kind"] == "archive"
    assert [name for name, _ in request.parts] == ["vta"]


def test_a_git_repository_elsewhere_is_pinned_by_the_stacks_commit(stack: Stack, tmp_path: Path) -> None:
    make_repository(tmp_path / "tvm", {"a": "a"})
    git(tmp_path, "clone", "--quiet", "--bare", "tvm", "mirror.git")
    git(tmp_path / "tvm", "bundle", "create", "--quiet", str(tmp_path / "any.name"), "main")
    places = ["git@lan:mirrors/tvm", "ssh://git@lan/tvm", "git://lan/tvm", "https://lan/tvm", "https://lan/tvm.git"]
    places += [str(tmp_path / "mirror.git"), str(tmp_path / "any.name")]
    for place in places:
        source = found(stack, place)
        assert (source["kind"], source["url"], source["commit"]) == ("git", place, "c" * 40)
    # A checkout is taken as it is.
    assert found(stack, str(tmp_path / "tvm")) == {"kind": "folder", "path": str(tmp_path / "tvm")}


def test_an_archive_needs_a_hash(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "my+tvm.tar.gz"  # a + that adds no part
    path.write_bytes(b"anything")
    digest = file_sha256(path)
    with pytest.raises(ConfigError, match="no archive that stack tiny pins") as raised:
        resolve(stack, str(path))
    assert digest in raised.value.hint
    assert found(stack, str(path), digest.upper())["path"] == str(path)
    with pytest.raises(StackError, match=f"has the SHA-256 {digest}, not {HEX}"):
        resolve(stack, str(path), HEX)
    with pytest.raises(ConfigError, match="that is no SHA-256"):
        resolve(stack, str(path), "1234")
    with pytest.raises(ConfigError, match="pins no archive of that name"):
        resolve(stack, "https://lan/other.tar.xz")
    assert found(stack, "https://lan/other.tar.xz", HEX)["sha256"] == HEX
    assert found(stack, "https://lan/download?file=7", HEX)["kind"] == "archive"
    # What the stack pins needs none, wherever it lies.
    assert found(stack, "https://lan/tvm-src-v1.0.tar.gz") == {
        **stack.sources["archive"],
        "url": "https://lan/tvm-src-v1.0.tar.gz",
    }
    stack.sources["archive"]["sha256"] = digest
    assert found(stack, f"file://{path}")["strip"] == 1


def test_what_is_refused(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no such source") as raised:
        resolve(stack, "upstraem")
    assert "upstream" in raised.value.hint
    for choice in ("ext::sh -c id", "--upload-pack=id", str(tmp_path / "nothing")):
        with pytest.raises(ConfigError, match="no such source, and there is no such file"):
            resolve(stack, choice)
    with pytest.raises(ConfigError, match="ftp is not supported"):
        resolve(stack, "ftp://lan/tvm.tar.gz")
    with pytest.raises(ConfigError, match="holds a login") as raised:
        resolve(stack, "https://me:secret@lan/tvm.git")
    assert "secret" not in str(raised.value)
    # A server's token is given as a user's name as often as not.
    with pytest.raises(ConfigError, match="the URL at lan holds a login") as raised:
        resolve(stack, "https://secret@lan/tvm.git")
    assert "secret" not in str(raised.value)
    with pytest.raises(ConfigError, match="the URL without a host holds a login") as raised:
        resolve(stack, "https://me:secret@/tvm.git")
    assert "secret" not in str(raised.value)
    for broken in ("https://[lan/tvm.git", "https://a..b/tvm.tar.gz", "https://lan:port/tvm.git", "https:///tvm.git"):
        with pytest.raises(ConfigError, match="is no URL"):
            resolve(stack, broken, HEX)
    with pytest.raises(ConfigError, match="upstream is no archive"):
        resolve(stack, "upstream", HEX)
    with pytest.raises(ConfigError, match="has no sources: it is made of wheels"):
        resolve(stack_with(tmp_path), None)
    with pytest.raises(ConfigError, match="pins no commit"):
        resolve(stack_with(tmp_path), "https://lan/tvm.git")


def test_mirrors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path / "mirrors" / "org", {"a": "a"})
    monkeypatch.setenv("TVMOPS_SOURCE_MIRRORS", f"https://github.com/={tmp_path}/mirrors/ https://a/=https://b/")
    mirrors = parse_mirrors(["https://github.com/org/=git@lan:org/"])
    assert mirrored("https://github.com/apache/tvm", mirrors) == f"{tmp_path}/mirrors/apache/tvm"
    assert mirrored("https://github.com/org/a", mirrors) == "git@lan:org/a"
    assert mirrored("https://a/x", mirrors) == "https://b/x"
    assert mirrored("https://c/x", mirrors) == "https://c/x"
    for wrong, words in (
        ("https://a/", "not of the form FROM=TO"),
        ("https://a/=", "not of the form FROM=TO"),
        (f"https://a/={tmp_path}/nothing", "there is no"),
        ("https://a/=https://u:p@b/", "holds a login"),
    ):
        with pytest.raises(ConfigError, match=words):
            parse_mirrors([wrong])


def test_a_folder_named_like_a_source(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_tree(tmp_path / "upstream")
    monkeypatch.chdir(tmp_path)
    assert found(stack, "upstream")["kind"] == "git"
    assert found(stack, "./upstream")["kind"] == "folder"
