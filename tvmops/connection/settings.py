"""The final word on how to reach one machine: the inventory's options laid over ssh_config."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paramiko.config import SSHConfig
from paramiko.ssh_exception import SSHException

from tvmops.connection.options import SshOptions, ssh_options
from tvmops.errors import ConfigError
from tvmops.inventory.model import Host
from tvmops.paths import exists, user_path

SYSTEM_CONFIG = "/etc/ssh/ssh_config"
USER_KNOWN_HOSTS = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
GLOBAL_KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
DEFAULT_IDENTITIES = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
INCLUDE_DEPTH = 8
KEEPALIVE = 15  # seconds


@dataclass(frozen=True)
class Settings:
    """How to reach one machine. `jumps` are the machines in between, the nearest first."""

    name: str
    hostname: str
    port: int
    user: str
    identity_files: tuple[str, ...]
    explicit_identities: bool
    identities_only: bool
    user_known_hosts: tuple[Path, ...]
    global_known_hosts: tuple[Path, ...]
    host_key_alias: str | None
    hash_known_hosts: bool
    connect_timeout: float | None
    keepalive: int
    address_family: str
    batch_mode: bool
    proxy_command: str | None
    jumps: tuple[Settings, ...] = ()
    is_jump: bool = False
    password: str | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """host:port for messages."""
        return f"[{self.hostname}]:{self.port}" if ":" in self.hostname else f"{self.hostname}:{self.port}"

    @property
    def key_names(self) -> tuple[str, ...]:
        """The names under which known_hosts may hold the key; the first is the one to store it by."""
        if self.host_key_alias:
            return (self.host_key_alias.lower(),)
        plain = self.hostname.lower()
        return (plain,) if self.port == 22 else (f"[{plain}]:{self.port}", plain)


class _Config(SSHConfig):
    # ProxyCommand's and ProxyJump's tokens are filled in here, once port and user are known for good.
    TOKENS_BY_CONFIG_KEY = {
        key: tokens
        for key, tokens in SSHConfig.TOKENS_BY_CONFIG_KEY.items()
        if key not in ("proxycommand", "proxyjump")
    }


def resolve(host: Host, leave_out: Path | None = None) -> Settings:
    """The host's settings with ssh_config read, except what it includes as `leave_out`. Raises ConfigError."""
    return settle(ssh_options(host), leave_out)


def settle(options: SshOptions, leave_out: Path | None = None) -> Settings:
    """The same from what the inventory says. Raises ConfigError."""
    return _merge(options, _read_config(options, leave_out), ())


def _merge(options: SshOptions, config: SSHConfig, chain: tuple[str, ...]) -> Settings:
    looked_up: Mapping[str, Any] = _lookup(config, options)
    given = options.given

    def value(name: str, default: str = "") -> str:
        return str(given.get(name) or looked_up.get(name) or default)

    hostname = str(given.get("hostname") or looked_up.get("hostname") or options.address)
    user = value("user") or getpass.getuser()
    port = int(_number(options, "Port", value("port", "22")))
    tokens = {"%": "%", "h": hostname, "n": options.address, "p": str(port), "r": user}
    tokens |= {"u": getpass.getuser(), "d": str(Path.home())}
    identities = (*options.identity_files, *looked_up.get("identityfile", ()))
    only = value("identitiesonly").lower() == "yes"
    timeout = value("connecttimeout")
    jump = value("proxyjump", "none")
    command = value("proxycommand", "none")
    # As for ssh, whichever of the two was given first wins; inside one source ProxyJump does.
    if "proxycommand" in given and "proxyjump" not in given:
        jump = "none"
    return Settings(
        name=options.name,
        hostname=hostname,
        port=port,
        user=user,
        identity_files=tuple(_path(one, tokens) for one in identities or DEFAULT_IDENTITIES),
        explicit_identities=bool(identities),
        identities_only=only,
        user_known_hosts=_files(value("userknownhostsfile", USER_KNOWN_HOSTS), tokens),
        global_known_hosts=_files(value("globalknownhostsfile", GLOBAL_KNOWN_HOSTS), tokens),
        host_key_alias=value("hostkeyalias") or None,
        hash_known_hosts=value("hashknownhosts").lower() == "yes",
        connect_timeout=float(_number(options, "ConnectTimeout", timeout)) if timeout else None,
        keepalive=int(_number(options, "ServerAliveInterval", value("serveraliveinterval", "0"))) or KEEPALIVE,
        address_family=value("addressfamily", "any").lower(),
        batch_mode=value("batchmode").lower() == "yes",
        proxy_command=_expand(command, tokens) if jump == "none" and command != "none" else None,
        jumps=_jumps(options, config, _expand(jump, tokens), chain),
        is_jump=bool(chain),
        password=options.password,
    )


def _jumps(options: SshOptions, config: SSHConfig, jump: str, chain: tuple[str, ...]) -> tuple[Settings, ...]:
    if jump.lower() == "none":
        return ()
    hops: list[Settings] = []
    for index, word in enumerate(jump.split(",")):
        match = re.fullmatch(r"(?:ssh://)?(?:([^@]+)@)?(\[[^\]]+\]|[^:\[\]]+)(?::(\d+))?", word.strip())
        if not match or match.group(2).startswith("-"):
            raise ConfigError(f"{options.name}: ProxyJump '{jump}' is not [user@]host[:port],...")
        user, name, port = match.groups()
        name = name.strip("[]")
        if name == options.address:
            return ()  # `Host *` with ProxyJump covers the jump host too: it is reached directly
        if name in chain or len(chain) >= INCLUDE_DEPTH:
            raise ConfigError(f"{options.name}: ProxyJump leads in a circle: {' -> '.join((*chain, name))}")
        given = {key: text for key, text in (("user", user), ("port", port)) if text}
        # Only the first hop may have jumps of its own: those after it are reached through it.
        given |= {"proxyjump": "none", "proxycommand": "none"} if index else {}
        hop = _merge(SshOptions(name, name, given), config, (*(chain or (options.address,)), name))
        hops += [*hop.jumps, hop]
    return tuple(hops)


def _lookup(config: SSHConfig, options: SshOptions) -> Mapping[str, Any]:
    try:
        return config.lookup(options.address)
    except (SSHException, KeyError, ValueError) as error:
        raise ConfigError(f"{options.name}: cannot use the ssh configuration: {error}") from error


def _read_config(options: SshOptions, leave_out: Path | None = None) -> SSHConfig:
    files = ["~/.ssh/config", SYSTEM_CONFIG]
    if options.config_file is not None:
        files = [] if options.config_file == "none" else [options.config_file]
        if files and not exists(user_path(files[0])):
            raise ConfigError(f"{options.name}: -F {files[0]}: no such file")
    config = _Config()
    for name in files:
        path = user_path(name)
        if exists(path):
            try:
                config.parse(_read_lines(path, 0, leave_out))
            except (SSHException, OSError, UnicodeDecodeError, ValueError) as error:
                raise ConfigError(f"{path}: cannot use this ssh configuration: {error}") from error
    return config


def _read_lines(path: Path, depth: int, leave_out: Path | None = None) -> list[str]:
    """A configuration file with its Include lines replaced by what they name, which Paramiko does not do."""
    if depth > INCLUDE_DEPTH:
        raise ValueError(f"Include nests deeper than {INCLUDE_DEPTH} files at {path}")
    base = Path("/etc/ssh") if str(path).startswith("/etc/ssh/") else Path.home() / ".ssh"
    lines: list[str] = []
    block = "Host *"
    for line in path.read_text(encoding="utf-8").splitlines():
        match = re.match(r"\s*include(?:\s*=\s*|\s+)(.+)", line, re.IGNORECASE)
        if not match:
            block = line if re.match(r"\s*(host|match)[\s=]", line, re.IGNORECASE) else block
            lines.append(line)
            continue
        for pattern in match.group(1).split():
            full = base / user_path(pattern.strip('"'))
            for found in sorted(Path(full.anchor).glob(str(full.relative_to(full.anchor)))):
                # Blocks of the included file end with it.
                lines += [] if found == leave_out else [*_read_lines(found, depth + 1, leave_out), block]
    return lines


def _number(options: SshOptions, name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and int(value) < 65536):
        raise ConfigError(f"{options.name}: {name} in the ssh configuration is not a number: '{value}'")
    return int(value)


def _expand(value: str, tokens: Mapping[str, str]) -> str:
    return re.sub(r"%(.)", lambda match: tokens.get(match.group(1), match.group(0)), value)


def _path(value: str, tokens: Mapping[str, str]) -> str:
    return os.path.expanduser(_expand(value, tokens))  # noqa: PTH111  Path would drop a trailing slash's meaning


def _files(value: str, tokens: Mapping[str, str]) -> tuple[Path, ...]:
    words: Sequence[str] = [] if value.lower() == "none" else value.split()
    return tuple(Path(_path(word.strip('"'), tokens)) for word in words)
