"""What a bundle must bring: packages and whatever fetches by itself, and where its package sources are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from board_program import program
from bundle_runs import collector, planned
from playbook_texts import MACHINES, Texts, facts_of

from tvmops.bundle.create import sources_of
from tvmops.bundle.needs import Needs, needs_of
from tvmops.errors import BundleError

PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - apt: {name: zstd}
    - apt: {pkg: "rsync, clinfo"}
    - apt: {name: [git]}
    - apt: {name: nano, state: absent}
    - command: echo pip
      register: said
    - name: With pip
      command: {argv: "{{ [said.stdout, '-m', 'pip', 'install', '-r', 'x'] }}"}
    - name: With git
      shell: cd /tmp && git clone https://host/x
    - name: Logs
      script: {cmd: "files/tophub_fetch.py x"}
    - name: Not here
      command: curl https://host/x
      when: false
    - name: A file
      get_url: {url: "https://host/y", dest: /tmp/y}
"""


def test_packages_by_any_name_and_whatever_fetches_by_itself_is_found(tmp_path: Path) -> None:
    assert needs_of(planned(tmp_path, {"b1": {}}, PLAYBOOK).plans["b1"]) == Needs(
        packages=["clinfo", "git", "rsync", "zstd"],
        elsewhere=[
            "With pip (command): pip install",
            "With git (shell): git clone",
            "Logs (script): tophub_fetch.py",
            "A file (get_url): https://host/y",
        ],
    )


def sources_in(folder: Path, facts: dict[str, Any], **variables: str) -> list[str]:
    """The lines that bundle.create asks apt for, for a host with these facts and variables."""
    made = collector(folder, {"b1": variables}, facts={"b1": facts})
    question = made.mirror_question(made.run.hosts["b1"])
    return [source.line() for source in sources_of("b1", question)]


MIRRORS: list[dict[str, str]] = [
    {"apt_mirror": "http://lan/archive/", "apt_security_mirror": "http://lan/security/"},
    {"apt_mirror": "http://lan/archive", "apt_backports": "true", "apt_components": "main contrib"},
    {"apt_mirror": "official"},
]


@pytest.mark.parametrize("board", sorted(MACHINES))
def test_a_bundle_has_the_package_sources_that_provisioning_writes(board: str, tmp_path: Path) -> None:
    for variables in MIRRORS:
        texts = Texts(facts_of(board), variables, "mirrors")
        question, components = texts.value("mirror_question"), texts.value("mirror_components")
        entries = program("mirror_probe").apt_mirrors.candidate(question, variables["apt_mirror"])["entries"]
        wanted = [f"deb {one['uri']} {suite} {components}" for one in entries for suite in one["suites"]]
        assert sources_in(tmp_path, facts_of(board), **variables) == wanted


def test_raspbian_has_one_suite(tmp_path: Path) -> None:
    facts = facts_of("rpi3b", ansible_distribution="Debian", ansible_distribution_release="buster",
                     ansible_lsb={"id": "Raspbian", "codename": "buster"})  # fmt: skip
    lines = sources_in(tmp_path, facts, apt_mirror="http://lan/raspbian")
    assert lines == ["deb http://lan/raspbian buster main contrib non-free rpi"]


@pytest.mark.parametrize(("mirror", "said"), [("", "no apt_mirror"), ("tina", "tina has no packages of debian")])
def test_a_host_whose_mirror_is_not_known_is_named(mirror: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=f"b1: .*{said}"):
        sources_in(tmp_path, facts_of("nuc"), apt_mirror=mirror)
