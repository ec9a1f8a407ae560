"""The command that builds stacks for boards, each ABI once, and ships what was built: build."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit

from tvmops.cli.common import HOST_HELP, INVENTORY_HELP, chosen, command, load, select
from tvmops.cli.extra_vars import tell_hosts
from tvmops.cli.provision import HELP, AnsibleFlags, asked_password
from tvmops.errors import ConfigError, StackError

if TYPE_CHECKING:
    from tvmops.fleet.building import Outcome
    from tvmops.fleet.building_plan import Asked, BuildPlan
    from tvmops.fleet.recap import Recap

TARGETS = ("runtime", "full")
BUILD_TYPES = ("Release", "RelWithDebInfo", "MinSizeRel", "Debug")
STORE_HELP = "where artifacts are kept: a folder or an fsspec URL (default: $TVMOPS_STORE, else the cache)"


def _progress(text: str) -> None:
    print(text, file=sys.stderr)


def _main_steps(text: str) -> None:
    # pip and git say a line for every file, downloads one every second; what concerns the plan begins like this.
    steps = ("facts", "looking", "fetching", "unpacking", "packing", "cloning", "waiting", "making")
    if text.startswith(steps) and not text.endswith(" MB"):
        _progress(text)


@command(
    klass=AnsibleFlags,
    iterable=["set_", "extra_vars"],
    auto_shortflags=False,
    help={
        "host": HOST_HELP,
        "group": "the same as --host",
        "inventory": INVENTORY_HELP,
        "stack": "stack to build (default: each board's tvm_stack)",
        "builder": "where it is compiled: cross (this machine), native (the board), host:NAME (default: tvm_builder)",
        "target": "runtime (what boards need) or full (the compiler with LLVM, for compile hosts)",
        "set_": "USE_X=Y: an option of config.cmake; may be repeated; stronger than stack and board",
        "extra-vars": HELP["extra-vars"],
        "source": "a source of the stack by name, or a folder, archive, git bundle or URL that holds the same",
        "sha256": "the SHA-256 of an archive that the stack does not pin",
        "build-type": ", ".join(BUILD_TYPES),
        "jobs": "compile at most so many files at once (default: what memory and cores allow)",
        "store": STORE_HELP,
        "plan": "print the plan only",
        "no-ship": "build and store; send nothing to boards",
        "ask-become-pass": "ask for the sudo password",
        "json_": "one JSON event per line",
        "quiet": "show failures only",
    },
)
def build(
    ctx: Any,
    *,
    host: str = "",
    group: str = "",
    inventory: str | None = None,
    stack: str = "",
    builder: str = "",
    target: str = "runtime",
    set_: list[str] | None = None,
    source: str = "",
    sha256: str = "",
    extra_vars: list[str] | None = None,
    build_type: str = "Release",
    jobs: int = 0,
    store: str = "",
    plan: bool = False,
    no_ship: bool = False,
    ask_become_pass: bool = False,
    json_: bool = False,
    quiet: bool = False,
) -> None:
    """Build each board's stack once per ABI, keep it in the store, and ship it. Prints the plan first."""
    from tvmops.fleet.building_planner import Planner
    from tvmops.stack.store import Store

    asked = asked_for(locals())
    loaded = load(inventory)
    tell_hosts(loaded.hosts.values(), extra_vars)
    hosts = select(loaded, chosen(host, group))
    kept = Store(store or None)
    try:
        made = Planner(loaded, asked, kept, _main_steps).plan(hosts)
        print(json.dumps(made.as_dict()) if json_ else "\n".join(made.lines()), flush=True)
        if plan:
            return
        password = asked_password() if ask_become_pass else None
        outcome = _build(made, loaded, kept, password, json_=json_, quiet=quiet)
        shipped = not no_ship and target == "runtime"
        recap = _ship_or_say(made, loaded, password, ship=shipped, json_=json_, quiet=quiet)
    finally:
        kept.close()
    _end(made, outcome, recap)


def asked_for(given: dict[str, Any]) -> Asked:
    """What the options ask for. Raises ConfigError."""
    from tvmops.fleet.building_plan import Asked
    from tvmops.source import did_you_mean
    from tvmops.stack.config import parse_settings

    for option, known in (("target", TARGETS), ("build_type", BUILD_TYPES)):
        if given[option] not in known:
            name = option.replace("_", "-")
            raise ConfigError(f"--{name} {given[option]}: there is no such one", did_you_mean(given[option], known))
    if given["jobs"] < 0:
        raise ConfigError(f"--jobs {given['jobs']}: wants a number of jobs, at least 1")
    return Asked(
        stack=given["stack"] or None,
        builder=given["builder"] or None,
        target=given["target"],
        overrides=parse_settings(given["set_"] or ()),
        source=given["source"] or None,
        sha256=given["sha256"],
        build_type=given["build_type"],
        jobs=given["jobs"] or None,
    )


def _build(made: BuildPlan, inventory: Any, store: Any, password: str | None, *, json_: bool, quiet: bool) -> Outcome:
    from tvmops.cli.console import choose_view
    from tvmops.fleet.building import build_all

    say: Callable[[str], None] = (lambda _text: None) if json_ else _progress
    return build_all(made, inventory, store, say, lambda: choose_view(json_, quiet), password=password)


def _ship_or_say(
    made: BuildPlan, inventory: Any, password: str | None, *, ship: bool, json_: bool, quiet: bool
) -> Recap | None:
    """Name each board's artifact, and send it there; None when nothing was sent."""
    from tvmops.fleet.building import artifacts_by_board

    artifacts = artifacts_by_board(made, _main_steps)
    if json_:
        named = {name: {"key": one.key, "path": str(one.path), "size": one.size} for name, one in artifacts.items()}
        print(json.dumps({"event": "artifacts", "boards": named}), flush=True)
    if not ship or not artifacts:
        return None
    from tvmops.cli.console import choose_view
    from tvmops.fleet.shipping import ship as ship_all

    say: Callable[[str], None] = (lambda _text: None) if json_ else _progress
    return ship_all(artifacts, inventory, [choose_view(json_, quiet)], become_password=password, say=say)


def _end(made: BuildPlan, outcome: Outcome, recap: Recap | None) -> None:
    """One message for all that did not go well; boards that were refused make the command fail, too."""
    messages = list(outcome.failed.values())
    messages += [f"{board.host.name}: {reason}" for board in made.refused for reason in board.refused]
    if messages:
        raise StackError("\n".join(messages), f"{len(made.refused)} of {len(made.boards)} boards got nothing")
    if recap is not None and not recap.ok:
        raise Exit(code=recap.exit_code)


COMMANDS = [build]
