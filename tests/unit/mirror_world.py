"""Package mirrors as far as tests go: what each of them has, and what the program that asks them finds."""

from __future__ import annotations

import email.message
import io
import json
import urllib.error
from typing import Any

from board_program import program
from playbook_texts import Texts

probe = program("mirror_probe")
Names = dict[str, tuple[str, str]]  # of a suite: its InRelease's Codename and Suite
TUNA = "http://mirrors.tuna.tsinghua.edu.cn"


class World:
    """Mirrors, as far as these tests go: URL -> content; all else is 404."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | Exception] = {}
        self.first: dict[str, bytes] = {}  # what is answered once, before the content

    def has(
        self,
        base: str,
        names: dict[str, tuple[str, str]],
        *architectures: str,
        date: str = "01 Nov 2026",
        size: int = 9,
    ) -> World:
        for suite, (codename, other) in names.items():
            text = f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nSuite: {other}\nCodename: {codename}\n"
            self.files[f"{base}/dists/{suite}/InRelease"] = f"{text}Date: {date} 10:00:00 UTC\n".encode()
        for architecture in architectures:
            self.files[f"{base}/dists/{next(iter(names))}/main/binary-{architecture}/Packages.xz"] = b"x" * size
        return self

    def open(self, url: str, timeout: float) -> Any:
        content = self.files.get(url, urllib.error.HTTPError(url, 404, "Not Found", email.message.Message(), None))
        if isinstance(content, Exception):
            raise content
        return io.BytesIO(self.first.pop(url, content))


def ubuntu(release: str) -> Names:
    return {f"{release}{end}": (release, f"{release}{end}") for end in ("", "-updates", "-backports", "-security")}


def debian(release: str) -> Names:
    return {release: (release, "oldstable"), f"{release}-updates": (f"{release}-updates", "oldstable-updates")}


def security(release: str) -> Names:
    return {f"{release}-security": (f"{release}-security", "oldstable-security")}


def everything() -> World:
    """The public archives with what they hold of these releases."""
    world = World()
    for release in ("xenial", "bionic", "jammy"):
        for host in (TUNA, "http://mirrors.ustc.edu.cn"):
            size = 10**6 if host == TUNA else 9  # what is larger and takes as long came faster
            world.has(f"{host}/ubuntu", ubuntu(release), "amd64", "i386", size=size)
            world.has(f"{host}/ubuntu-ports", ubuntu(release), "arm64", "armhf", size=size)
        world.has("http://ports.ubuntu.com/ubuntu-ports", ubuntu(release), "arm64", "armhf")
        world.has("http://archive.ubuntu.com/ubuntu", ubuntu(release), "amd64", "i386")
        world.has("http://security.ubuntu.com/ubuntu", ubuntu(release))
    for host in (TUNA, "http://mirrors.ustc.edu.cn", "http://deb.debian.org"):
        size = 10**6 if host == TUNA else 9
        world.has(f"{host}/debian", debian("bookworm"), "amd64", "arm64", "armhf", size=size)
        world.has(f"{host}/debian-security", security("bookworm"))
        world.has(f"{host}/raspbian/raspbian", {"bookworm": ("bookworm", "oldstable")}, "armhf", size=size)
    world.has("http://archive.debian.org/debian", {"buster": ("buster", "oldoldstable")}, "armhf")
    world.has("http://archive.debian.org/debian-security", {"buster/updates": ("buster", "oldoldstable")})
    return world


def found(texts: Texts, world: World) -> dict[str, Any]:
    """What the board's program answers; the texts know it from then on."""
    answer: dict[str, Any] = {}
    for kind, question in (("apt", "mirror_question"), ("pip", "mirror_index_question")):
        if texts.value(f"mirror_{kind}_wanted"):
            asked = texts.value(question)
            reports = (probe.apt_mirrors if kind == "apt" else probe.python_indexes).survey(asked, world)
            answer[kind] = probe.asking.choose(reports, asked["again"])
            assert answer[kind] is not None, probe.sentence(asked["what"], reports)
    texts.results["mirror_answer"] = {"rc": 0, "stdout": json.dumps(answer)}
    return answer
