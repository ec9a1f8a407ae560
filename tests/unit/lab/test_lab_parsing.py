"""What the lab reads from the controller, and what it makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvmops.errors import LabError, MissingTool
from tvmops.lab.checks import parse_size
from tvmops.lab.emulation import own_entry
from tvmops.lab.inventory import LEVEL_2, LEVEL_3, LEVEL_4, x86_level
from tvmops.lab.mirrors import DEBIAN, SECURITY, parse_pip_config, parse_targets
from tvmops.lab.notes import active, note
from tvmops.lab.relay import Link
from tvmops.lab.tools import require


def test_a_debian_controllers_own_mirror_is_used() -> None:
    text = "http://mirror.example/debian/ bookworm main\nhttp://mirror.example/security bookworm-security main\n"
    mirror = parse_targets(text + "http://mirror.example/debian bookworm contrib\n")
    assert (mirror.main, mirror.security) == ("http://mirror.example/debian", "http://mirror.example/security")


def test_a_mirror_of_another_debian_release_has_ours_too() -> None:
    assert parse_targets("https://m.example/debian trixie main\n").main == "https://m.example/debian"


@pytest.mark.parametrize("text", ["", "http://archive.example/ubuntu noble main\n", "cdrom:[x]/ bookworm main\n"])
def test_other_controllers_use_the_public_mirror(text: str) -> None:
    mirror = parse_targets(text)
    assert (mirror.main, mirror.security) == (DEBIAN, SECURITY)


def test_pip_configuration_is_read_and_the_environment_wins() -> None:
    index = parse_pip_config(
        ":env:.cert='/etc/env.pem'\n"
        "global.cert='/etc/file.pem'\n"
        "global.index-url='https://index.example/simple'\n"
        "global.extra-index-url='https://more.example/simple file:///opt/simple'\n"
    )
    assert index.url == "https://index.example/simple"
    assert index.extra == ["https://more.example/simple"]
    assert index.ca_bundle == "/etc/env.pem"
    assert index.environment()["REQUESTS_CA_BUNDLE"] == "/etc/env.pem"


def test_without_pip_configuration_the_public_index_is_used() -> None:
    index = parse_pip_config("")
    assert (index.url, index.extra, index.ca_bundle) == ("https://pypi.org/simple/", [], None)


def test_processor_levels() -> None:
    assert x86_level(set()) == "x86-64"
    assert x86_level(LEVEL_2) == "x86-64-v2"
    assert x86_level(LEVEL_3 | {"avx512f"}) == "x86-64-v3"
    assert x86_level(LEVEL_4) == "x86-64-v4"
    assert x86_level(LEVEL_4 - {"fma"}) == "x86-64-v2"


@pytest.mark.parametrize(
    ("text", "size"), [("400M", 400 << 20), ("2G", 2 << 30), ("2GiB", 2 << 30), ("99999999", None)]
)
def test_sizes(text: str, size: int | None) -> None:
    assert parse_size(text) == (size or 99999999)


@pytest.mark.parametrize("text", ["", "G", "-1G", "1.5G", "2X", "1M"])
def test_wrong_sizes(text: str) -> None:
    with pytest.raises(LabError):
        parse_size(text)


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvmops.lab.tools.SEARCH_PATH", "/nowhere")
    with pytest.raises(MissingTool, match="mmdebstrap, zstd") as caught:
        require(["zstd", "mmdebstrap"])
    assert caught.value.hint == "install them: apt-get install mmdebstrap zstd"


def test_the_emulators_entry_is_the_systems_with_credentials() -> None:
    system = "enabled\ninterpreter /usr/bin/qemu\nflags: PF\noffset 0\nmagic 7f45\nmask ffff\n"
    assert own_entry("qemu-arm", system) == r":tvmops-qemu-arm:M::\x7f\x45:\xff\xff:/usr/bin/qemu:CFOP"


def test_faults_are_remembered_until_they_end(tmp_path: Path) -> None:
    note(tmp_path, "delay", ["100"])
    note(tmp_path, "hang")
    note(tmp_path, "killsshd")
    assert active(tmp_path) == {"delay": ["100"], "hang": []}
    note(tmp_path, "cut")
    assert active(tmp_path) == {"delay": ["100"], "cut": []}
    note(tmp_path, "poweron")
    assert active(tmp_path) == {"delay": ["100"]}
    note(tmp_path, "clear")
    assert active(tmp_path) == {}


@given(
    frames=st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(min_size=14, max_size=1500)), max_size=50),
    delay=st.floats(0, 0.5),
    jitter=st.floats(0, 0.2),
    rate=st.sampled_from([0.0, 1e5, 1e7]),
)
def test_a_bad_cable_keeps_the_order_and_sends_to_the_other_end(
    frames: list[tuple[int, bytes]], delay: float, jitter: float, rate: float
) -> None:
    link = Link(1, 2, {"delay": delay, "jitter": jitter, "rate": rate})
    for source, frame in frames:
        link.accept(source, frame)
    arrived = sorted(link.queue)
    for source in (1, 2):
        sent = [frame for origin, frame in frames if origin == source]
        got = [frame for _, _, target, frame in arrived if target == 3 - source]
        assert is_part_of(got, sent)
        assert rate or len(got) == len(sent)


def is_part_of(part: list[bytes], whole: list[bytes]) -> bool:
    """Whether `part` is `whole` with some frames left out."""
    rest = iter(whole)
    return all(frame in rest for frame in part)
