"""Host variables to connection settings."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvmops.connection.options import (
    OPTION_NAMES,
    WITHOUT_EFFECT,
    become_settings,
    connection_kind,
    python_interpreter,
    ssh_options,
)
from tvmops.connection.settings import Settings, resolve
from tvmops.errors import ConfigError, TvmopsError
from tvmops.inventory.model import Host


def board(**variables: Any) -> Host:
    return Host("board", variables)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """An ssh_config of the test's own."""
    path = tmp_path / "config"
    path.write_text("")
    return path


def settled(config: Path, text: str, arguments: str = "", **variables: Any) -> Settings:
    """The settings that this ssh_config, these arguments and variables give."""
    config.write_text(text)
    return resolve(board(ansible_ssh_common_args=f"-F {config} {arguments}", **variables))


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "ssh"), ("ssh", "ssh"), ("smart", "ssh"), ("paramiko", "ssh"), ("local", "local")],
)
def test_kinds(value: str | None, kind: str) -> None:
    assert connection_kind(board(ansible_connection=value)) == kind


def test_unknown_kind_names_host_variable_and_origin() -> None:
    host = Host("board", {"ansible_connection": "winrm"}, {"ansible_connection": "hosts.yml:7"})
    with pytest.raises(ConfigError, match=r"^hosts.yml:7: board: ansible_connection: 'winrm' is not supported"):
        connection_kind(host)


def test_every_way_of_writing_an_option_means_the_same() -> None:
    for arguments in (
        "-o Port=2200 -o User=me -J a,b -i /k",
        "-oPort=2200 -o 'User me' -Ja,b -i/k",
        "-o port=2200 -o User me -o ProxyJump=a,b -o IdentityFile=/k",
        "-p 2200 -l me -J 'a,b' -o 'IdentityFile = \"/k\"'",
        "-p2200 -lme -o 'ProxyJump a,b' -o \"IdentityFile /k\"",
    ):
        options = ssh_options(board(ansible_ssh_common_args=arguments))
        assert options.given == {"port": "2200", "user": "me", "proxyjump": "a,b"}, arguments
        assert options.identity_files == ("/k",)


def test_variables_win_over_arguments_and_common_over_extra() -> None:
    options = ssh_options(
        board(
            ansible_user="inventory",
            ansible_ssh_common_args="-o User=common -o Port=1 -o ConnectTimeout=5",
            ansible_ssh_extra_args="-o Port=2 -o ServerAliveInterval=7",
        )
    )
    assert options.given == {"user": "inventory", "port": "1", "connecttimeout": "5", "serveraliveinterval": "7"}


def test_variables_win_over_arguments_and_those_over_ssh_config(config: Path) -> None:
    text = "Host *\n User cfg\n Port 1\n ConnectTimeout 9\n IdentityFile /cfg\n HostName real.example\n"
    plain = settled(config, text)
    assert (plain.user, plain.port, plain.connect_timeout, plain.hostname) == ("cfg", 1, 9.0, "real.example")
    assert plain.identity_files == ("/cfg",)
    arguments = settled(config, text, "-p 2 -l arg -i /arg")
    assert (arguments.user, arguments.port, arguments.identity_files) == ("arg", 2, ("/arg", "/cfg"))
    variables = settled(
        config, text, "-p 2 -l arg -i /arg", ansible_user="var", ansible_port=3, ansible_ssh_private_key_file="/var"
    )
    assert (variables.user, variables.port) == ("var", 3)
    assert variables.identity_files == ("/var", "/arg", "/cfg")


@pytest.mark.parametrize("value", ["no", "off", "No", "false"])
def test_checking_is_never_weakened(value: str) -> None:
    with pytest.raises(ConfigError, match="never weakens host key checking") as info:
        ssh_options(board(ansible_ssh_extra_args=f"-o StrictHostKeyChecking={value}"))
    assert "trust --host board" in info.value.hint


@pytest.mark.parametrize("value", ["yes", "ask", "accept-new"])
def test_what_is_strict_anyway_is_accepted(value: str) -> None:
    ssh_options(board(ansible_ssh_extra_args=f"-o StrictHostKeyChecking={value}"))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("-o ForwardAgent=yes", "board: ansible_ssh_common_args: ssh option 'ForwardAgent' is not supported"),
        ("-A", "option '-A' is not supported"),
        ("-o Prot=22", "ssh option 'Prot' is not supported\n  did you mean 'Port'?"),
        ("-o Port=ssh", "'ssh' is not a number"),
        ("-o Port", "has no value"),
        ("-p", "option '-p' needs a value"),
        ("-o 'Port=22", "cannot be split"),
        ("-o AddressFamily=ipv4", "not one of any, inet, inet6"),
        ("host", "option 'host' is not supported"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(arguments: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as info:
        ssh_options(board(ansible_ssh_common_args=arguments))
    assert complaint in str(info.value)


@pytest.mark.parametrize(
    "variables",
    [
        {"ansible_port": "many"},
        {"ansible_port": 0},
        {"ansible_port": 65536},
        {"ansible_port": True},
        {"ansible_host": "-oProxyCommand=touch /tmp/x"},
        {"ansible_host": "two words"},
        {"ansible_host": ["10.0.0.1"]},
        {"ansible_host": "{{ address }}"},
        {"ansible_user": "a\nb"},
        {"ansible_password": {"a": 1}},
    ],
)
def test_values_that_cannot_be_meant(variables: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="board: ansible_"):
        ssh_options(board(**variables))


def test_passwords_do_not_show() -> None:
    host = board(ansible_password="secret-word", ansible_become=True, ansible_become_password="other-secret")
    assert "secret" not in repr(ssh_options(host))
    assert "secret" not in repr(resolve(board(ansible_password="secret-word", ansible_ssh_common_args="-F none")))
    assert "secret" not in repr(become_settings(host))


def test_interpreter() -> None:
    assert python_interpreter(board()) is None
    assert python_interpreter(board(ansible_python_interpreter="auto_silent")) is None
    assert python_interpreter(board(ansible_python_interpreter="/usr/bin/python3.8")) == "/usr/bin/python3.8"


def test_jump_chain_of_ssh_config(config: Path) -> None:
    text = (
        "Host board\n HostName 10.1.0.5\n ProxyJump outer,me@inner:2200\n"
        "Host outer\n HostName 192.0.2.1\n ProxyJump gate\n IdentityFile /outer\n"
        "Host inner\n ProxyJump elsewhere\nHost gate\n Port 443\n User guard\n"
    )
    jumps = settled(config, text).jumps
    assert jumps[0].user == "guard"
    assert [hop.address for hop in jumps] == ["gate:443", "192.0.2.1:22", "inner:2200"]
    assert jumps[2].user == "me"
    assert jumps[1].identity_files == ("/outer",)
    assert all(hop.is_jump for hop in jumps)


def test_jump_for_all_hosts_does_not_jump_through_itself(config: Path) -> None:
    jumps = settled(config, "Host *\n ProxyJump bastion\n").jumps
    assert [hop.hostname for hop in jumps] == ["bastion"]


def test_jumps_in_a_circle(config: Path) -> None:
    with pytest.raises(ConfigError, match=r"circle: board -> a -> b -> a"):
        settled(config, "Host board\n ProxyJump a\nHost a\n ProxyJump b\nHost b\n ProxyJump a\n")


def test_proxy_command_is_filled_in_with_what_counts_in_the_end(config: Path) -> None:
    text = "Host *\n ProxyCommand nc -X %% %h %p %r\n Port 1\n"
    assert settled(config, text, ansible_port=2222, ansible_user="me").proxy_command == "nc -X % board 2222 me"
    assert settled(config, text, "-o ProxyCommand=none").proxy_command is None
    over = settled(config, "Host *\n ProxyJump j\n", "-o 'ProxyCommand=nc %h %p'")
    assert (over.proxy_command, over.jumps) == ("nc board 22", ())


def test_include_and_match(config: Path, tmp_path: Path) -> None:
    (tmp_path / "one.conf").write_text("Host board\n User included\n")
    text = f"Host *\n  Include {tmp_path}/*.conf\n  Port 77\nMatch host board\n ConnectTimeout 3\n"
    found = settled(config, text)
    assert (found.user, found.port, found.connect_timeout) == ("included", 77, 3.0)


def test_include_in_a_circle(config: Path) -> None:
    with pytest.raises(ConfigError, match="nests deeper"):
        settled(config, f"Include {config}\n")


def test_damaged_ssh_config_names_the_file(config: Path) -> None:
    with pytest.raises(ConfigError, match=str(config)):
        settled(config, "Host 'unfinished\n")
    with pytest.raises(ConfigError, match="no such file"):
        resolve(board(ansible_ssh_common_args=f"-F {config}.missing"))


def test_names_in_known_hosts() -> None:
    plain = resolve(board(ansible_host="Board.Example", ansible_ssh_common_args="-F none"))
    assert plain.key_names == ("board.example",)
    port = resolve(board(ansible_host="::1", ansible_port=2222, ansible_ssh_common_args="-F none"))
    assert port.key_names == ("[::1]:2222", "::1")
    assert port.address == "[::1]:2222"


words = st.text(st.characters(blacklist_categories=["Cs"]), max_size=30)
options = st.builds(
    "-o {}{}{}".format, st.sampled_from(sorted(OPTION_NAMES.values())) | words, st.sampled_from(["=", " ", ""]), words
)
arguments = words | options | st.lists(options | words, max_size=4).map(" ".join)
values = st.none() | st.booleans() | st.integers() | st.floats() | words | st.lists(words, max_size=2)


@given(arguments, values, values, values)
def test_parsing_never_crashes(text: str, host: Any, port: Any, user: Any) -> None:
    try:
        found = ssh_options(
            board(ansible_ssh_common_args=text, ansible_host=host, ansible_port=port, ansible_user=user)
        )
    except ConfigError as error:
        assert "board: " in error.message
    else:
        assert found.given.get("stricthostkeychecking", "yes").lower() in ("yes", "ask", "accept-new")
        assert not {name.lower() for name in WITHOUT_EFFECT} & set(found.given)


@given(arguments)
def test_resolving_never_crashes(text: str) -> None:
    with contextlib.suppress(TvmopsError):
        resolve(board(ansible_ssh_common_args="-F none", ansible_ssh_extra_args=text))


plain_values = st.text(st.characters(categories=["L", "N"], include_characters="/._@%-"), min_size=1, max_size=20)


@given(st.dictionaries(st.sampled_from(["User", "HostKeyAlias", "ProxyCommand", "UserKnownHostsFile"]), plain_values))
def test_what_is_quoted_comes_back(chosen: dict[str, str]) -> None:
    text = " ".join("-o " + shlex.quote(f"{name}={value}") for name, value in chosen.items())
    assert ssh_options(board(ansible_ssh_common_args=text)).given == {k.lower(): v for k, v in chosen.items()}
