"""Running git so that it asks nobody, runs nothing of the repository's, and does not wait for ever."""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tvmops.errors import ConfigError, MissingTool, StackError
from tvmops.stack.environment import OnProgress, quiet
from tvmops.stack.spec import version_tuple

STALL = 120.0  # seconds without a word from git, which reports its progress every second
DEADLINE = 7200.0  # seconds for one git command
VERSION_DEADLINE = 30.0  # seconds
OLDEST = "2.32"  # knows GIT_CONFIG_GLOBAL
LOW_SPEED = "1000"  # bytes a second over https; slower than this for LOW_SPEED_SECONDS is a broken line
LOW_SPEED_SECONDS = "60"
SSH = "ssh -oBatchMode=yes -oConnectTimeout=20 -oServerAliveInterval=15"
_LOOK = 0.5  # seconds between looks at whether git has ended
KEPT_OUTPUT = 400  # lines of git's messages

# Environment that would lead git to another repository, or let others' programs run.
_DROPPED = re.compile(
    r"^GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR|NAMESPACE|PREFIX|"
    r"CONFIG(_.*)?|TEMPLATE_DIR|EXTERNAL_DIFF|EXEC_PATH|PROXY_COMMAND|ASKPASS|TRACE.*)$|^SSH_ASKPASS"
)


_LINE_END = re.compile(rb"(?<=[\r\n])")


class GitFailed(StackError):
    """git ended with an error; `output` is what it wrote."""

    def __init__(self, message: str, hint: str, output: str) -> None:
        super().__init__(message, hint)
        self.output = output


@dataclass(frozen=True)
class Git:
    """git with a configuration of ours. `protocols` are those it may speak; `config` a file that `make_git` wrote."""

    config: Path
    protocols: tuple[str, ...]

    def run(self, folder: Path, *arguments: str, on_progress: OnProgress = quiet) -> str:
        """git's standard output. Raises GitFailed, and MissingTool where git is not installed."""
        if shutil.which("git") is None:
            raise MissingTool("git is not installed", "apt-get install git")
        with subprocess.Popen(
            ["git", *arguments],
            cwd=folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # its transport programs end with it
        ) as process:
            try:
                out, said, why = self._listen(process, on_progress)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        if why or process.returncode != 0:
            what = f"git {arguments[0]} {why or f'failed with exit code {process.returncode}'}"
            raise GitFailed(what, "", f"{said}\n{what}")
        return out

    def _listen(self, process: subprocess.Popen[bytes], on_progress: OnProgress) -> tuple[str, str, str]:
        """Its output, its messages, and why it was given up ("" when it ended by itself)."""
        assert process.stdout is not None and process.stderr is not None
        out = bytearray()
        messages = _Messages(on_progress)
        sinks: dict[int, Callable[[bytes], None]] = {
            process.stdout.fileno(): out.extend,
            process.stderr.fileno(): messages.add,
        }
        began = heard = time.monotonic()
        with selectors.DefaultSelector() as selector:
            for number in sinks:
                selector.register(number, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(_LOOK)
                for key, _ in ready:
                    heard = time.monotonic()
                    data = os.read(key.fd, 1 << 16)
                    if data:
                        sinks[key.fd](data)
                    else:
                        selector.unregister(key.fd)
                if not ready and process.poll() is not None:
                    break  # what it left behind (ssh's shared connection) holds the pipes open
                why = _given_up(began, heard)
                if why:
                    return "", messages.text(), why
        try:
            process.wait(STALL)
        except subprocess.TimeoutExpired:
            return "", messages.text(), f"said all it had to say {STALL:.0f} s ago, but did not end"
        return out.decode("utf-8", "surrogateescape"), messages.text(), ""

    def _environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not _DROPPED.match(name)}
        environment.update(
            GIT_CONFIG_GLOBAL=str(self.config),
            GIT_ALLOW_PROTOCOL=":".join(self.protocols),
            GIT_TERMINAL_PROMPT="0",
            GIT_LFS_SKIP_SMUDGE="1",
            GIT_OPTIONAL_LOCKS="0",
            LC_ALL="C.UTF-8",
        )
        return environment


def _given_up(began: float, heard: float) -> str:
    now = time.monotonic()
    if now - heard > STALL:
        return f"was ended: no progress for {STALL:.0f} s"
    return f"was ended after {DEADLINE:.0f} s" if now - began > DEADLINE else ""


class _Messages:
    """What git writes to its standard error: lines that end in a newline, progress that ends in a carriage return."""

    def __init__(self, on_progress: OnProgress) -> None:
        self.on_progress = on_progress
        self.lines: list[str] = []
        self.rest = b""

    def add(self, data: bytes) -> None:
        *whole, self.rest = _LINE_END.split(self.rest + data)
        for piece in whole:
            text = piece.decode("utf-8", "replace").strip()
            if text:
                self.on_progress(text)
                if piece.endswith(b"\n"):
                    self.lines = [*self.lines, text][-KEPT_OUTPUT:]

    def text(self) -> str:
        return "\n".join([*self.lines, self.rest.decode("utf-8", "replace").strip()]).strip()


def make_git(folder: Path, protocols: Sequence[str], mirrors: Mapping[str, str]) -> Git:
    """git for one fetch. `mirrors` maps the beginnings of URLs to what is asked instead, for submodules, too.

    Raises MissingTool for a git that would not read this configuration.
    """
    _check_version()
    settings = [
        # The user's own choice, below or in the environment, is stronger.
        *([] if "GIT_SSH" in os.environ else [("core", "sshCommand", SSH)]),
        *(("include", "path", str(path)) for path in _own_configs()),  # proxies, certificates, credential helpers
        ("core", "hooksPath", "/dev/null"),
        ("core", "fsmonitor", "false"),
        ("core", "autocrlf", "false"),
        ("core", "symlinks", "true"),
        ("core", "askPass", ""),
        ("init", "templateDir", ""),
        ("init", "defaultBranch", "none"),
        ("gc", "auto", "0"),
        ("maintenance", "auto", "false"),
        ("advice", "detachedHead", "false"),
        ("fetch", "recurseSubmodules", "false"),
        ("submodule", "recurse", "false"),
        ("http", "lowSpeedLimit", LOW_SPEED),
        ("http", "lowSpeedTime", LOW_SPEED_SECONDS),
        # A mirror on this machine may belong to another user; nothing of it is run.
        ("safe", "directory", "*"),
    ]
    lines = [f"[{section}]\n\t{name} = {_quoted(value)}" for section, name, value in settings]
    for asked, instead in mirrors.items():
        lines.append(f"[url {_quoted(instead)}]\n\tinsteadOf = {_quoted(asked)}")
    config = folder / "gitconfig"
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Git(config, tuple(protocols))


def _check_version() -> None:
    if shutil.which("git") is None:
        return  # said when it is run
    done = subprocess.run(["git", "--version"], capture_output=True, text=True, timeout=VERSION_DEADLINE, check=False)
    found = re.search(r"\d+(?:\.\d+)+", done.stdout)
    if found and version_tuple(found[0]) < version_tuple(OLDEST):
        raise MissingTool(f"git {found[0]} is too old", f"{OLDEST} or newer is needed: older ones pass over mirrors")


def _own_configs() -> list[Path]:
    """The user's own git configuration, in the order in which git reads it."""
    given = os.environ.get("GIT_CONFIG_GLOBAL")
    if given:
        return [Path(given).absolute()]
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return [base / "git" / "config", Path.home() / ".gitconfig"]


def _quoted(text: str) -> str:
    if "\n" in text or "\0" in text:
        raise ConfigError(f"{text!r} cannot be part of a mirror or URL", "write it in one line")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
