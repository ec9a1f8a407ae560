"""INI inventories: what they mean, how they are recognised, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvmops.errors import ConfigError, ConfigErrors
from tvmops.inventory import load_inventory
from tvmops.inventory.ini_source import parse_value

TEXT = """\
# a comment
gateway ansible_host=192.168.1.2 note='two words'   # to the end of the line
; another
[rpi]
rpi-[01:02]:2222 ansible_user=pi cores=4
[2001:db8::5]:22 name_of=six
fe80::1

[rpi:vars]
mirror = http://mirror/debian # not a comment
limits = ['a', ('b', 2)]
[boards:children]
rpi
jetson
[jetson]
nano
rpi-01 cores=2
[boards:vars]
own = True
"""


def test_groups_hosts_and_variables(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text(TEXT)
    inventory = load_inventory([path])
    assert list(inventory.hosts) == ["gateway", "rpi-01", "rpi-02", "2001:db8::5", "fe80::1", "nano"]
    assert inventory.groups["ungrouped"].hosts == ["gateway"]
    assert inventory.groups["boards"].hosts == ["rpi-01", "rpi-02", "2001:db8::5", "fe80::1", "nano"]
    assert inventory.hosts["gateway"].vars == {"ansible_host": "192.168.1.2", "note": "two words"}
    mirror = {"mirror": "http://mirror/debian # not a comment", "limits": ["a", ["b", 2]], "own": True}
    assert inventory.hosts["rpi-01"].vars == {"ansible_port": 2222, "ansible_user": "pi", "cores": 2, **mirror}
    assert inventory.hosts["2001:db8::5"].vars == {"ansible_port": 22, "name_of": "six", **mirror}
    assert inventory.hosts["rpi-01"].origins["mirror"] == f"{path}:10"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("-1.5", -1.5), ("True", True), ("None", None), ("yes", "yes"), ("true", "true"), ("0644", "0644"),
        ("'5'", "5"), ("{'a': (1,)}", {"a": [1]}), ("...", "..."), ("2j", "2j"), ("b'x'", "x"), ("", ""),
        ("{{ other }}", "{{ other }}"), ("5 # five", 5), ("a # b", "a # b"),
    ],
)  # fmt: skip
def test_values_are_literals_or_text(text: str, value: object) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


@given(st.recursive(st.integers() | st.booleans() | st.none() | st.text(), st.lists, max_leaves=8))
def test_a_literal_comes_back(value: object) -> None:
    assert parse_value(repr(value)) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hosts.ini", "one\n"),
        ("hosts", "one\n"),
        ("hosts", "# c\none ansible_host=h url=http://x:80/\n"),
        ("hosts.yml", "[g]\none\n"),
        ("hosts", "one:2222\n"),
    ],
)
def test_recognised_as_ini(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert list(load_inventory([path]).hosts) == ["one"]


@pytest.mark.parametrize(
    "text", ["all:\n  hosts:\n    one:\n", "---\nall: {hosts: {one: }}\n", '{"all": {"hosts": {"one": {}}}}']
)
def test_recognised_as_yaml_without_a_suffix(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hosts"
    path.write_text(text)
    assert list(load_inventory([path]).hosts) == ["one"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[g]\na b\n", ":2:1: 'b' is not name=value"),
        ("[g]\n  a x='1\n", ":2:3: 'a x='1': No closing quotation"),
        ("[g]\na:\n", ":2:1: 'a:': a port must follow the ':'"),
        ("[g]\na[3:1]\n", "'[3:1]' runs backwards"),
        ("[g:vras]\n", "kind 'vras'\n  did you mean 'vars'?"),
        ("[a group]\n", ":1:1: '[a group]' is not a section"),
        ("[boards]\n[borads:vars]\nx=1\n", ":2:1: there is no group 'borads'\n  did you mean 'boards'?"),
        ("[g:children]\nh\n", ":2:1: there is no group 'h'"),
        ("[g:children]\nh x\n", ":2:1: 'h x' is not a group's name"),
        ("[g]\n[g:vars]\nx\n", ":3:1: 'x' is not name=value"),
        ("[g:children]\nh\n[h:children]\ng\n", ":4:1: group 'g' would be its own ancestor"),
    ],
)
def test_faults_are_named_with_file_line_column(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "hosts.ini"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_inventory([path])
    assert str(caught.value).startswith(f"{path}:")
    assert expected in str(caught.value)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "hosts.ini"
    path.write_text("[g]\na b\nc d\n[x:vars]\n")
    with pytest.raises(ConfigErrors) as caught:
        load_inventory([path])
    assert len(caught.value.errors) == 3


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hosts.ini"
    path.write_bytes(b"[g]\na x=\xff\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_inventory([path])
