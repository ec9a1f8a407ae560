"""Package mirrors: what is asked and written on each kind of board, text by text."""

from __future__ import annotations

import pytest
from mirror_world import TUNA, World, everything, found, probe
from playbook_texts import Texts, facts_of


def body(text: str) -> str:
    header, _, rest = text.partition("\n")
    assert header.startswith("# Written by tvmops from ")
    assert header.endswith("the file before it is kept with the ending .tvmops.orig.")
    return rest


ONE_LINE = {
    "jetson-nano": """\
deb http://mirrors.tuna.tsinghua.edu.cn/ubuntu-ports bionic main restricted universe
deb http://mirrors.tuna.tsinghua.edu.cn/ubuntu-ports bionic-updates main restricted universe
deb http://mirrors.tuna.tsinghua.edu.cn/ubuntu-ports bionic-security main restricted universe
""",
    "rk3288": """\
deb http://mirrors.tuna.tsinghua.edu.cn/ubuntu-ports xenial main restricted universe
deb http://mirrors.tuna.tsinghua.edu.cn/ubuntu-ports xenial-updates main restricted universe
deb http://mirrors.tuna.tsinghua.edu.cn/ubuntu-ports xenial-security main restricted universe
""",
    "pynq-z1": """\
deb http://mirrors.tuna.tsinghua.edu.cn/ubuntu-ports bionic main restricted universe
deb http://mirrors.tuna.tsinghua.edu.cn/ubuntu-ports bionic-updates main restricted universe
deb http://mirrors.tuna.tsinghua.edu.cn/ubuntu-ports bionic-security main restricted universe
""",
    "rpi3b": """\
deb http://mirrors.tuna.tsinghua.edu.cn/raspbian/raspbian bookworm main contrib non-free rpi
""",
    "nuc": """\
deb http://mirrors.tuna.tsinghua.edu.cn/debian bookworm main
deb http://mirrors.tuna.tsinghua.edu.cn/debian bookworm-updates main
deb http://mirrors.tuna.tsinghua.edu.cn/debian-security bookworm-security main
""",
    "server": """\
deb http://mirrors.tuna.tsinghua.edu.cn/ubuntu jammy main restricted universe
deb http://mirrors.tuna.tsinghua.edu.cn/ubuntu jammy-updates main restricted universe
deb http://mirrors.tuna.tsinghua.edu.cn/ubuntu jammy-security main restricted universe
""",
}


@pytest.mark.parametrize("board", sorted(ONE_LINE))
def test_sources_of_each_kind_of_board(board: str) -> None:
    texts = Texts(facts_of(board), {"apt_mirror_candidates": ["tuna", "ustc"]}, "mirrors")
    assert found(texts, everything())["apt"]["name"] == "tuna"
    assert body(texts.render("sources.list.j2", mirror_deb822_present=False)) == ONE_LINE[board]


def test_ports_have_no_official_security_host_and_amd64_has() -> None:
    for board, release, expected in (
        ("jetson-nano", "bionic", ["http://ports.ubuntu.com/ubuntu-ports"] * 2),
        ("server", "jammy", ["http://archive.ubuntu.com/ubuntu", "http://security.ubuntu.com/ubuntu"]),
    ):
        texts = Texts(facts_of(board), {"apt_mirror_candidates": ["official"]}, "mirrors")
        entries = found(texts, everything())["apt"]["entries"]
        assert [one["uri"] for one in entries] == expected
        assert [one["suites"] for one in entries] == [[release, f"{release}-updates"], [f"{release}-security"]]


def test_a_security_mirror_that_was_named_counts_on_every_distribution() -> None:
    for board, release in (("server", "jammy"), ("nuc", "bookworm")):
        named = {"apt_mirror": "http://lan/archive", "apt_security_mirror": "http://lan/security/"}
        question = Texts(facts_of(board), named, "mirrors").value("mirror_question")
        entries = probe.apt_mirrors.candidate(question, "http://lan/archive")["entries"]
        assert [(one["uri"], one["suites"]) for one in entries] == [
            ("http://lan/archive", [release, f"{release}-updates"]),
            ("http://lan/security", [f"{release}-security"]),
        ]


def test_deb822_with_sources_and_backports_as_the_tutorial_has_them() -> None:
    variables = {"apt_mirror": f"{TUNA}/ubuntu-ports", "apt_deb_src": True, "apt_backports": True,
                 "apt_components": "main multiverse restricted universe"}  # fmt: skip
    texts = Texts(facts_of("jetson-nano"), variables, "mirrors")
    found(texts, everything())
    assert (
        body(texts.render("distribution.sources.j2"))
        == """\
Types: deb deb-src
URIs: http://mirrors.tuna.tsinghua.edu.cn/ubuntu-ports
Suites: bionic bionic-updates bionic-backports
Components: main multiverse restricted universe
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg

Types: deb deb-src
URIs: http://mirrors.tuna.tsinghua.edu.cn/ubuntu-ports
Suites: bionic-security
Components: main multiverse restricted universe
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg
"""
    )
    one_line = body(texts.render("sources.list.j2", mirror_deb822_present=False))
    assert one_line.splitlines()[1] == f"deb-src {TUNA}/ubuntu-ports bionic main multiverse restricted universe"
    assert texts.render("sources.list.j2", mirror_deb822_present=True).count("\ndeb") == 0


def test_a_release_that_mirrors_have_thrown_out_comes_from_the_archive_with_a_warning() -> None:
    facts = facts_of("nuc", ansible_distribution_release="buster", ansible_architecture="armv7l",
                     ansible_userspace_bits="32", ansible_lsb={"id": "Debian", "codename": "buster"})  # fmt: skip
    texts = Texts(facts, {"apt_mirror_candidates": ["tuna", "official"]}, "mirrors")
    assert found(texts, everything())["apt"]["name"] == "archive"
    # buster-updates is not there any more: what is not there is not written.
    assert (
        body(texts.render("sources.list.j2", mirror_deb822_present=False))
        == """\
deb [check-valid-until=no] http://archive.debian.org/debian buster main
deb [check-valid-until=no] http://archive.debian.org/debian-security buster/updates main
"""
    )
    assert "Check-Valid-Until: no" in texts.render("distribution.sources.j2")
    assert texts.value("mirror_warnings") == ["buster: public security updates ended in 2024-06"]


@pytest.mark.parametrize(
    ("lsb", "codename", "release"),
    [
        (("Pynqlinux", "Austin", "PynqLinux, based on Ubuntu 20.04"), "austin", "focal"),
        (("Ubuntu", "bionic", "PYNQ Linux, based on Ubuntu"), "trinity", "bionic"),
        (("pynqlinux", "Belfast", "PYNQ Linux, based on Ubuntu 22.04"), "Belfast", "jammy"),
    ],
)
def test_images_of_pynq_are_ubuntu_in_whatever_way_they_say_it(
    lsb: tuple[str, str, str], codename: str, release: str
) -> None:
    about = dict(zip(("id", "codename", "description"), lsb, strict=True))
    changes = {"ansible_distribution": "PynqLinux", "ansible_distribution_release": codename, "ansible_lsb": about}
    texts = Texts(facts_of("pynq-z1", **changes), {}, "mirrors")
    names = ("mirror_distribution", "mirror_release", "mirror_architecture", "mirror_archive")
    assert [texts.value(name) for name in names] == ["ubuntu", release, "armhf", "ubuntu-ports"]


def test_a_32_bit_raspberry_pi_os_on_a_64_bit_kernel_is_raspbian() -> None:
    facts = facts_of("rpi3b", ansible_architecture="aarch64", ansible_userspace_bits="32")
    texts = Texts(facts, {}, "mirrors")
    assert (texts.value("mirror_archive"), texts.value("mirror_architecture")) == ("raspbian", "armhf")
    told = Texts(facts, {"apt_distribution": "debian", "apt_architecture": "arm64", "apt_release": "trixie"}, "mirrors")
    assert told.value("mirror_suites") == ["trixie", "trixie-updates"]


def test_settings_of_pip() -> None:
    world = World()
    world.files["https://pypi.tuna.tsinghua.edu.cn/simple/pip/"] = b"pip-24.0.tar.gz" * 9
    texts = Texts(facts_of("nuc"), {"pip_index_candidates": ["tuna", "official"]}, "mirrors")
    found(texts, world)
    assert texts.render("pip.conf.j2") == (
        "# Written by tvmops from pip_index_candidates.\n[global]\nindex-url = https://pypi.tuna.tsinghua.edu.cn/simple\n"
    )
    lan = Texts(facts_of("nuc"), {"pip_index": "http://192.168.1.9:3141/index/"}, "mirrors")
    found(lan, world)
    assert lan.render("pip.conf.j2").splitlines()[2:] == [
        "index-url = http://192.168.1.9:3141/index/",
        "trusted-host = 192.168.1.9",
    ]
