"""Bundle files: what was put in comes out; whatever was changed on the way is found and named."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from bundle_runs import collector
from bundle_variables import variables_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tvmops.bundle.apt_mirror import list_name, part_of, release_sums
from tvmops.bundle.archive import read_lock, unpack_bundle, write_bundle
from tvmops.errors import BundleError

ABOUT = {
    "playbook": "provision.yml",
    "hosts": {
        "b1": {
            "variables": {"tvmops_release_key": "k1", "tvmops_release_archive": {"file": "artifacts/k1.tar.gz"}},
            "apt": {"id": "a1", "file": "apt/a1.tar", "mirror": "debian", "security_mirror": "debian-security"},
        }
    },
    "not_in_it": [],
}


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TVMOPS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "k1.tar.gz").write_bytes(b"a release" * 200)
    (tmp_path / "a1.tar").write_bytes(b"a mirror" * 200)
    files = {"artifacts/k1.tar.gz": tmp_path / "k1.tar.gz", "apt/a1.tar": tmp_path / "a1.tar"}
    write_bundle(tmp_path / "t.bundle", ABOUT, files)
    return tmp_path / "t.bundle"


def test_what_was_put_in_comes_out_and_the_host_gets_its_variables(bundle: Path) -> None:
    variables = variables_of(bundle, ["b1"])["b1"]
    assert Path(variables["tvmops_release_archive"]).read_bytes() == b"a release" * 200
    assert Path(variables["bundle_apt_archive"]).read_bytes() == b"a mirror" * 200
    assert variables["apt_mirror"] == "file:/var/lib/tvmops/bundle/a1/debian"
    assert variables["apt_security_mirror"] == "file:/var/lib/tvmops/bundle/a1/debian-security"
    assert variables["tvmops_release_key"] == "k1"
    assert variables["apt_deb_src"] is False


def test_what_was_unpacked_before_and_damaged_since_is_unpacked_anew(bundle: Path) -> None:
    name = "tvmops_release_archive"
    first = Path(variables_of(bundle, ["b1"])["b1"][name])
    first.write_bytes(first.read_bytes()[::-1])
    assert Path(variables_of(bundle, ["b1"])["b1"][name]).read_bytes() == b"a release" * 200


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match=r"file/sub/t.bundle: Not a directory"):
        write_bundle(tmp_path / "file" / "sub" / "t.bundle", ABOUT, {})


def test_the_same_content_gives_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    folder, lock = unpack_bundle(bundle)
    write_bundle(tmp_path / "again", ABOUT, {name: folder / name for name in lock["files"]})
    assert (tmp_path / "again").read_bytes() == bundle.read_bytes()


def test_a_host_that_it_was_not_made_for_is_refused_with_the_nearest_name(bundle: Path) -> None:
    with pytest.raises(BundleError, match="not made for b11") as caught:
        variables_of(bundle, ["b11"])
    assert "b1" in str(caught.value.hint)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_any_changed_byte_of_a_file_and_any_cut_is_found(bundle: Path, data: st.DataObject) -> None:
    whole = bundle.read_bytes()
    with tarfile.open(bundle) as tar:
        places = [(one.offset_data, one.size) for one in tar.getmembers() if one.name != "bundle.json"]
    start, size = data.draw(st.sampled_from(places))
    at = start + data.draw(st.integers(0, size - 1))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    bundle.write_bytes(changed)
    with pytest.raises(BundleError, match="is damaged"):
        unpack_bundle(bundle)
    bundle.write_bytes(whole[: data.draw(st.integers(0, places[-1][0] + places[-1][1] - 1))])
    with pytest.raises(BundleError):
        unpack_bundle(bundle)
    bundle.write_bytes(whole)


def test_members_that_the_lock_does_not_know_are_refused(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "evil").write_text("x")
    with tarfile.open(bundle, "a") as tar:
        tar.add(tmp_path / "evil", arcname="../../etc/evil")
    with pytest.raises(BundleError, match="not in the bundle's lock"):
        unpack_bundle(bundle)


@pytest.mark.parametrize("word", [b'"hosts"', b'"variables"', b'"sha256"', b'"not_in_it"'])
def test_a_lock_with_a_damaged_name_is_refused(bundle: Path, word: bytes) -> None:
    bundle.write_bytes(bundle.read_bytes().replace(word, word[:-2] + b'#"', 1))
    with pytest.raises(BundleError, match="is damaged"):
        variables_of(bundle, ["b1"])


def test_files_to_include_of_the_same_name_are_refused(tmp_path: Path) -> None:
    files = [tmp_path / folder / "model.onnx" for folder in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        file.write_text(file.parent.name)
    with pytest.raises(BundleError, match="would both be extra/model"):
        collector(tmp_path, {"b1": {}}).create(tmp_path / "t.bundle", files)
    assert not (tmp_path / "t.bundle").exists()


@pytest.mark.parametrize("content", [b"", b"no tar", b"\0" * 10240])
def test_what_is_no_bundle_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(BundleError, match="no bundle"):
        read_lock(tmp_path / "x")
    with pytest.raises(BundleError, match="no such bundle"):
        read_lock(tmp_path / "y")


def test_names_of_lists_and_sums_are_read_as_apt_writes_them() -> None:
    assert list_name("http://10.0.0.1:3142/debian/") == "10.0.0.1:3142_debian"
    assert list_name("http://host/a_b") == "host_a%5fb"
    assert part_of("http://host/debian-security/") == "debian-security"
    text = "Suite: x\nMD5Sum:\n aa 1 main/Packages\nSHA256:\n bb 1 main/Packages\n cc 2 main/Packages.xz\nOther: 1\n"
    assert release_sums(text) == {"main/Packages": "bb", "main/Packages.xz": "cc"}
