"""Archives and keys of artifacts: the same content gives the same bytes and name, other content another."""

from __future__ import annotations

import io
import tarfile
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tar_members import content

from tvmops.errors import StackError
from tvmops.stack import ensure_artifact, load_stack, read_version_file
from tvmops.stack.artifact import manifest_key, write_archive
from tvmops.stack.wheels import glibc_floor

SEGMENTS = st.text("abcdefgh_0123", min_size=1, max_size=6)
NAMES = st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join)


def is_tree(names: list[str]) -> bool:
    """No name is a folder of another."""
    return not any(other.startswith(name + "/") for name in names for other in names)


CONTENTS = st.dictionaries(NAMES, st.binary(max_size=200), max_size=12).filter(lambda found: is_tree(list(found)))


def packed(contents: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    write_archive(out, contents)
    return out.getvalue()


@settings(max_examples=60, deadline=None)
@given(CONTENTS, st.randoms(use_true_random=False))
def test_order_does_not_matter_and_everything_comes_back(contents: dict[str, bytes], random: Random) -> None:
    items = list(contents.items())
    random.shuffle(items)
    archive = packed(contents)
    assert packed(dict(items)) == archive
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = {member.name: content(tar, member) for member in tar if member.isfile()}
        assert files == contents
        assert {(member.uid, member.gid, member.mtime) for member in tar} <= {(0, 0, 0)}
        assert {member.mode for member in tar if member.isdir()} <= {0o755}


def test_folders_come_before_what_is_in_them() -> None:
    with tarfile.open(fileobj=io.BytesIO(packed({"a/b/c": b"", "a/d": b""}))) as tar:
        assert tar.getnames() == ["a", "a/b", "a/b/c", "a/d"]


@given(CONTENTS.filter(bool))
def test_a_key_is_16_hex_digits_and_names_the_content(contents: dict[str, bytes]) -> None:
    manifest = {"files": {name: data.hex() for name, data in contents.items()}}
    key = manifest_key(manifest)
    assert len(key) == 16
    assert set(key) <= set("0123456789abcdef")
    assert key == manifest_key({"files": dict(reversed(manifest["files"].items()))})
    first = next(iter(contents))
    assert key != manifest_key({"files": {**manifest["files"], first: contents[first].hex() + "00"}})


@pytest.mark.parametrize(
    ("name", "floor"),
    [
        ("numpy-2.2.6-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "2.17"),
        ("ort-1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", "2.27"),
        ("psutil-7-cp36-abi3-manylinux2010_x86_64.manylinux_2_12_x86_64.manylinux_2_28_x86_64.whl", "2.12"),
        ("old-1-cp311-cp311-manylinux2014_aarch64.whl", "2.17"),
        ("cloudpickle-3.1.2-py3-none-any.whl", ""),
    ],
)
def test_glibc_floor_is_the_most_modest_tag(name: str, floor: str) -> None:
    assert glibc_floor(name) == floor


def test_version_file() -> None:
    text = "stack=relax-0.27\ntvm=0.27.0\nkey=abc\npackage=a==1\npackage=b==2\nnonsense\n"
    assert read_version_file(text) == {"stack": "relax-0.27", "tvm": "0.27.0", "key": "abc"}


@pytest.mark.parametrize(
    ("arch", "python", "expected"),
    [
        ("armv7l", "3.11", "no runtime for armv7l\n.*x86_64, aarch64"),
        ("x86_64", "3.9", "no runtime for Python 3.9\n.*3.10 or newer, below 3.14"),
    ],
)
def test_impossible_artifacts_are_refused_before_anything_is_fetched(arch: str, python: str, expected: str) -> None:
    with pytest.raises(StackError, match=expected):
        ensure_artifact(load_stack("relax-0.27"), arch, python)
