"""Host variables -> what a connection needs. Pure: reads no file, opens no socket.

An inventory variable wins over `ansible_ssh_common_args` and `ansible_ssh_extra_args`, those win over ssh_config.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tvmops.connection.base import Become
from tvmops.errors import ConfigError
from tvmops.inventory.model import Host
from tvmops.source import did_you_mean

KINDS = {"ssh": "ssh", "smart": "ssh", "paramiko": "ssh", "paramiko_ssh": "ssh", "local": "local"}
TRUE, FALSE = ("yes", "true", "on", "1", "y", "t"), ("no", "false", "off", "0", "n", "f")

# ssh options that change what tvmops does, and those that do not matter to it.
UNDERSTOOD = (
    "AddressFamily", "BatchMode", "ConnectTimeout", "GlobalKnownHostsFile", "HostKeyAlias", "HostName",
    "IdentitiesOnly", "IdentityFile", "Port", "ProxyCommand", "ProxyJump", "ServerAliveInterval",
    "StrictHostKeyChecking", "User", "UserKnownHostsFile",
)  # fmt: skip
WITHOUT_EFFECT = ("Compression", "ControlMaster", "ControlPath", "ControlPersist", "LogLevel", "ServerAliveCountMax")
OPTION_NAMES = {name.lower(): name for name in (*UNDERSTOOD, *WITHOUT_EFFECT)}
NUMBERS = ("connecttimeout", "port", "serveraliveinterval")
FLAGS = {"-J": "proxyjump", "-i": "identityfile", "-p": "port", "-l": "user"}


@dataclass(frozen=True)
class SshOptions:
    """What the inventory says about reaching a host. `given` holds ssh options by lower-case name."""

    name: str
    address: str
    given: Mapping[str, str] = field(default_factory=dict)
    identity_files: tuple[str, ...] = ()
    config_file: str | None = None
    password: str | None = field(default=None, repr=False)


def connection_kind(host: Host) -> str:
    """`ssh` or `local`. Raises ConfigError for anything else."""
    kind = text(host, "ansible_connection") or "ssh"
    if kind not in KINDS:
        raise ConfigError(_at(host, "ansible_connection", f"'{kind}' is not supported"), "use ssh or local")
    return KINDS[kind]


def ssh_options(host: Host) -> SshOptions:
    """Everything the host's variables say about ssh. Raises ConfigError naming the host and the option."""
    options = _Arguments(host)
    for variable, option in (("ansible_user", "user"), ("ansible_ssh_user", "user")):
        options.set_default(option, text(host, variable))
    port = first(host, "ansible_port", "ansible_ssh_port")
    options.set_default("port", None if port is None else str(_port(host, "ansible_port", port)))
    key = text(host, "ansible_ssh_private_key_file") or text(host, "ansible_private_key_file")
    if key:
        options.identity_files.append(key)
    for variable in ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"):
        options.parse(variable, text(host, variable) or "")
    address = text(host, "ansible_host") or text(host, "ansible_ssh_host") or host.name
    if address.startswith("-") or any(character.isspace() for character in address):
        raise ConfigError(_at(host, "ansible_host", f"'{address}' is not an address"), "a host name or an IP address")
    password = text(host, "ansible_password") or text(host, "ansible_ssh_pass")
    files = tuple(dict.fromkeys(options.identity_files))
    return SshOptions(host.name, address, options.given, files, options.config_file, password)


BECOME_METHODS = ("sudo", "su")


def become_settings(
    host: Host,
    *,
    become: bool = False,
    user: str | None = None,
    password: str | None = None,
    method: str | None = None,
) -> Become | None:
    """Who the agent should run as, or None for the login user. The host's variables win over the arguments.

    `become`, `user` and `method` are the playbook's keywords, `password` what --ask-become-pass read; without either
    the environment variable TVMOPS_BECOME_PASSWORD is used. Raises ConfigError.
    """
    if not boolean(host, "ansible_become", become):
        return None
    given = text(host, "ansible_become_method")
    method = (given or method or "sudo").removeprefix("ansible.builtin.")
    if method not in BECOME_METHODS:
        where = (
            _at(host, "ansible_become_method", f"'{method}' is not supported") if given else f"{host.name}: {method}"
        )
        raise ConfigError(where, f"known: {', '.join(BECOME_METHODS)}")
    secret = text(host, "ansible_become_password") or text(host, "ansible_become_pass") or password
    return Become(
        user=text(host, "ansible_become_user") or user or "root",
        method=method,
        password=secret or os.environ.get("TVMOPS_BECOME_PASSWORD") or None,
        exe=text(host, "ansible_become_exe"),
        flags=text(host, "ansible_become_flags"),
    )


WARM_SECONDS = 60.0


def warm_seconds(host: Host) -> float:
    """How long the host's connection is kept after a command; 0: not at all. The variable wins over $TVMOPS_WARM.

    Raises ConfigError.
    """
    variable = host.vars.get("tvmops_warm")
    given = os.environ.get("TVMOPS_WARM", "") if variable is None else variable
    word = str(given).strip().lower()
    if word in ("", *(one for one in FALSE if one != "0")):
        return 0.0
    if word in TRUE and word != "1":
        return WARM_SECONDS
    try:
        seconds = float(word)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 86400.5:
        name = "$TVMOPS_WARM" if variable is None else "tvmops_warm"
        raise ConfigError(_at(host, name, f"'{given}' is neither yes or no nor seconds"), "at most 86400 seconds")
    return seconds


def python_interpreter(host: Host) -> str | None:
    """The path of the host's Python as the inventory gives it; None means: find one."""
    value = text(host, "ansible_python_interpreter")
    return None if value is None or value.startswith("auto") else value


def first(host: Host, *names: str) -> Any:
    """The value of the first of these variables that is set, else None."""
    return next((host.vars[name] for name in names if host.vars.get(name) is not None), None)


def text(host: Host, name: str) -> str | None:
    """A variable as text; None when unset or empty. Raises ConfigError for lists, mappings and templates."""
    value = host.vars.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ConfigError(_at(host, name, f"must be text, not {type(value).__name__}"), "put quotes around it")
    result = str(value)
    if "\0" in result or "\n" in result:
        raise ConfigError(_at(host, name, "contains a line break or a null byte"))
    if "{{" in result:
        raise ConfigError(_at(host, name, "is a template that was not filled in"), "write the value itself")
    return result


def boolean(host: Host, name: str, default: bool) -> bool:
    """A variable as yes or no. Raises ConfigError for anything else."""
    value = host.vars.get(name)
    if value is None:
        return default
    word = str(value).strip().lower()
    if word in TRUE or word in FALSE:
        return word in TRUE
    raise ConfigError(_at(host, name, f"'{value}' is neither true nor false"))


def _at(host: Host, name: str, message: str) -> str:
    origin = getattr(host, "origins", {}).get(name)
    return f"{origin + ': ' if origin else ''}{host.name}: {name}: {message}"


def _port(host: Host, name: str, value: Any) -> int:
    try:
        port = int(str(value))
    except ValueError:
        port = 0
    if isinstance(value, bool) or not 0 < port < 65536:
        raise ConfigError(_at(host, name, f"'{value}' is not a port"), "a number from 1 to 65535")
    return port


class _Arguments:
    """Parses ssh command-line arguments; as for ssh itself the first value of an option wins."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.given: dict[str, str] = {}
        self.identity_files: list[str] = []
        self.config_file: str | None = None

    def set_default(self, option: str, value: str | None) -> None:
        if value is not None:
            self.given.setdefault(option, value)

    def parse(self, variable: str, arguments: str) -> None:
        try:
            words = shlex.split(arguments)
        except ValueError as error:
            raise ConfigError(_at(self.host, variable, f"cannot be split into words: {error}")) from error
        while words:
            word = words.pop(0)
            flag, value = word[:2], word[2:]
            if flag not in (*FLAGS, "-o", "-F"):
                raise ConfigError(
                    _at(self.host, variable, f"option '{word}' is not supported"),
                    f"supported: -o Name=value, -F, {', '.join(FLAGS)}",
                )
            if not value:
                if not words:
                    raise ConfigError(_at(self.host, variable, f"option '{flag}' needs a value"))
                value = words.pop(0)
            self._take(variable, flag, value, words)

    def _take(self, variable: str, flag: str, value: str, words: list[str]) -> None:
        if flag == "-F":
            self.config_file = self.config_file or value
        elif flag in FLAGS:
            self._option(variable, FLAGS[flag], value)
        else:
            name, separator, rest = _split_option(value)
            if not separator:
                # `-o Key Value` unquoted: ssh itself would not take it, people write it all the same.
                if not words or words[0].startswith("-"):
                    raise ConfigError(_at(self.host, variable, f"-o {value}: has no value"), "write -o Name=value")
                rest = words.pop(0)
            self._option(variable, name, rest)

    def _option(self, variable: str, written: str, value: str) -> None:
        name = written.lower()
        if name not in OPTION_NAMES:
            raise ConfigError(
                _at(self.host, variable, f"ssh option '{written}' is not supported"),
                did_you_mean(written, OPTION_NAMES.values()),
            )
        if not value.strip():
            raise ConfigError(_at(self.host, variable, f"ssh option {OPTION_NAMES[name]} has no value"))
        check = CHECKS.get(name)
        if check is not None:
            check(self.host, variable, value)
        if name == "identityfile":
            self.identity_files.append(value)
        elif OPTION_NAMES[name] not in WITHOUT_EFFECT:
            self.given.setdefault(name, value)


def _split_option(value: str) -> tuple[str, bool, str]:
    """`Name=value`, `Name = value` or `Name value` -> (name, whether there is a value, value)."""
    stripped = value.strip()
    end = next((i for i, character in enumerate(stripped) if character == "=" or character.isspace()), len(stripped))
    rest = stripped[end:].lstrip()
    rest = rest[1:].lstrip() if rest.startswith("=") else rest
    if len(rest) > 1 and rest[0] == rest[-1] == '"':
        rest = rest[1:-1]
    return stripped[:end], bool(stripped[end:]), rest


def _check_strict(host: Host, variable: str, value: str) -> None:
    if value.lower() not in ("yes", "ask", "accept-new"):
        raise ConfigError(
            _at(host, variable, f"StrictHostKeyChecking={value} is refused: tvmops never weakens host key checking"),
            f"remove the option and store the key once: tvmops trust --host {host.name}",
        )


def _check_number(host: Host, variable: str, value: str) -> None:
    if not (value.isascii() and value.isdigit() and int(value) < 65536):
        raise ConfigError(_at(host, variable, f"'{value}' is not a number from 0 to 65535"))


def _check_family(host: Host, variable: str, value: str) -> None:
    if value.lower() not in ("any", "inet", "inet6"):
        raise ConfigError(_at(host, variable, f"AddressFamily={value} is not one of any, inet, inet6"))


CHECKS: dict[str, Callable[[Host, str, str], None]] = {
    "stricthostkeychecking": _check_strict,
    "addressfamily": _check_family,
    **dict.fromkeys(NUMBERS, _check_number),
}
