"""The command tree: `invoke NAME` inside the checkout, `tvmops NAME` anywhere."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import re
import sys
from collections.abc import Iterator, Sequence

from invoke.collection import Collection
from invoke.exceptions import Exit, ParseError
from invoke.program import Program

import tvmops
from tvmops.errors import ConfigError

# Commands at the top -> the theme, a module of tvmops.cli, that has them.
TOP: dict[str, str] = {
    "provision": "provision",
    "playbook": "provision",
    "build": "build",
    "attach": "attach",
    "restore": "restore",
    "trust": "trust",
    "ssh-config": "ssh_config",
    "facts": "facts",
    "sweep": "sweep",
    "report": "report",
    "results": "report",
    "demo": "demo",
    "warm": "warm",
}
# Themes whose commands carry the theme's name: lab.up.
GROUPS: tuple[str, ...] = ("inventory", "lab", "stack", "env", "rpc", "release", "bundle", "tuning")
# With these, Invoke shows or completes the names of all commands.
NEED_ALL = ("--list", "--complete")


def themes_for(words: Sequence[str]) -> list[str]:
    """The themes whose commands a command line names; all of them when it names none.

    Only these are imported, because start-up time is part of every run. A value that happens to be a command's name
    imports a theme too many, which does no harm.
    """
    every = list(dict.fromkeys([*TOP.values(), *GROUPS]))
    if any(word.startswith(NEED_ALL) for word in words):
        return every
    named = {TOP.get(word) or word.partition(".")[0] for word in words if word in TOP or "." in word}
    return [theme for theme in every if theme in named] or every


def build_namespace(words: Sequence[str] = ()) -> Collection:
    """The commands that a command line needs, gathered from the theme modules' COMMANDS lists; without words, all."""
    root = Collection()
    for theme in themes_for(words):
        target = Collection(theme) if theme in GROUPS else root
        for item in importlib.import_module(f"tvmops.cli.{theme}").COMMANDS:
            target.add_task(item)
        if target is not root:
            root.add_collection(target)
    return root


class _TvmopsProgram(Program):
    """Invoke's program with this project's name in its help."""

    def __init__(self) -> None:
        commands = build_namespace(sys.argv[1:])
        super().__init__(name="tvmops", binary="tvmops", namespace=commands, version=tvmops.__version__)

    def parse_core(self, argv: list[str] | None) -> None:
        """As Invoke's, which also stops Python from caching byte code: without it the next start is as slow as this."""
        before = sys.dont_write_bytecode
        words = list(sys.argv if argv is None else argv)
        if words[2:] == ["--help"]:  # Invoke takes it for the value of a command's positional argument
            words = [words[0], "--help", words[1]]
        super().parse_core(words)
        sys.dont_write_bytecode = before

    def parse_tasks(self) -> None:
        """As Invoke's; what cannot be parsed ends as one message with the nearest name."""
        with self._explaining():
            super().parse_tasks()

    def parse_cleanup(self) -> None:
        """As Invoke's (--help, --list), with the same messages."""
        with self._explaining():
            super().parse_cleanup()

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except ParseError as error:
            raise Exit(f"tvmops: {self._explained(error)}", code=ConfigError.exit_code) from error
        except ValueError as error:  # Invoke converts values and lets the conversion's error through
            message = f"an option wants a whole number: {error}\n  see: tvmops --help COMMAND"
            raise Exit(f"tvmops: {message}", code=ConfigError.exit_code) from error

    def _explained(self, error: ParseError) -> str:
        from tvmops.source import did_you_mean

        known = error.context.name if error.context else None
        message, see = str(error), f"see: tvmops --help {known}" if known else "see: tvmops --list"
        unknown = re.fullmatch(r"No idea what '(.*)' is!", message)
        if unknown:
            word = unknown[1]
            option = word.startswith("-") and error.context is not None
            names = list(error.context.flags) if option and error.context else list(build_namespace().task_names)
            kind = "option" if word.startswith("-") else "command"
            message = f"{known + ': ' if known else ''}there is no {kind} '{word}'"
            return f"{message}\n  {did_you_mean(word, names) or see}"
        message = re.sub(r"Flag <Argument: (\S+?)[ >].*", r"--\1 wants a value", message)
        return f"{known + ': ' if known else ''}{message}\n  {see}"


def main() -> None:
    """Entry point of the `tvmops` console script."""
    # A start makes objects that stay: looking for garbage among them every 700 objects takes a tenth of its time.
    gc.set_threshold(50_000)
    try:
        _TvmopsProgram().run()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has gone: what was asked for was shown.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    finally:
        # Python's last garbage collections would look through all that was ever imported: 40 ms of every run.
        gc.freeze()


if __name__ == "__main__":
    main()
