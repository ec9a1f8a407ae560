"""Commands that run playbooks: provision, playbook."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit
from invoke.tasks import Task

from tvmops.cli.common import HOST_HELP, INVENTORY_HELP, command, load
from tvmops.cli.warming import WARM_HELP, use_warm
from tvmops.errors import ConfigError
from tvmops.paths import find_project_file, user_path

if TYPE_CHECKING:
    from tvmops.fleet.lost import Manners
    from tvmops.fleet.paper import SavedBoard
    from tvmops.fleet.recap import Recap
    from tvmops.fleet.run import PlaybookRun
    from tvmops.inventory.model import Host, Inventory
    from tvmops.playbook.model import Play
    from tvmops.playbook.state import RunOptions

PROVISION = "playbooks/provision.yml"
RESTORE = "playbooks/mirrors-restore.yml"
# What a hook gives: variables for each host, by the host's name.
HostVariables = Callable[["Inventory", Sequence["Host"], "RunOptions"], Mapping[str, Mapping[str, Any]]]

SHORT = {
    "limit": "l", "inventory": "i", "check": "C", "diff": "D", "tags": "t", "extra-vars": "e", "forks": "f",
    "ask-become-pass": "K", "quiet": "q", "timeout": "T",
}  # fmt: skip
HELP = {
    "host": HOST_HELP,
    "limit": "the same as --host, under Ansible's name",
    "inventory": INVENTORY_HELP,
    "check": "show what would change; change nothing",
    "diff": "show changes to files",
    "tags": "run only tasks with one of these tags (comma-separated)",
    "skip-tags": "leave out tasks with one of these tags",
    "extra-vars": "NAME=VALUE, JSON or @FILE; may be repeated; stronger than every other variable",
    "forks": "how many hosts at once",
    "ask-become-pass": "ask for the sudo password",
    "timeout": "seconds that connecting may take (default 15; the host's ansible_ssh_timeout wins)",
    "wait": "wait for boards that another run holds, so many seconds at most (without a number: an hour)",
    "steal": "take boards from a run whose lease is over",
    "json_": "one JSON event per line",
    "list-hosts": "only say which hosts it would run on",
    "list-tasks": "only say which tasks it has",
    "list-tags": "only say which tags its tasks have",
    "syntax-check": "only look for mistakes in how it is written",
    "explain": "only say what would travel together, and why not more",
    "start-at-task": "begin with the task of this name (or pattern)",
    "force-handlers": "run notified handlers on hosts that fail, too",
    "quiet": "show failures and the recap only",
    "warm": WARM_HELP,
}
FACTS_HELP = "with --check: touch no board; plan for one of which this file has saved facts (tvmops facts --json)"
RESTORE_HELP = "only give back the package sources as they were before the first provision"


class AnsibleFlags(Task):  # type: ignore[type-arg]
    """A command whose one-letter options are those of ansible-playbook."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Any]:
        """Invoke's arguments with these letters and no others."""
        arguments: list[Any] = super().get_arguments(ignore_unknown_help)
        for argument in arguments:
            short = SHORT.get(argument.name.replace("_", "-"))
            argument.names = (argument.names[0], short) if short else (argument.names[0],)
        return arguments


def _options(given: dict[str, Any]) -> RunOptions:
    from tvmops.cli.extra_vars import parse_extra_vars
    from tvmops.playbook.state import RunOptions

    patterns = [one for one in (given["host"], given["limit"]) if one]
    password = asked_password() if given["ask_become_pass"] else None
    if given["forks"] < 1:
        raise ConfigError(f"--forks {given['forks']}: wants a number of hosts, at least 1")
    return RunOptions(
        limit=_both(patterns),
        tags=_words(given["tags"]),
        skip_tags=_words(given["skip_tags"]),
        check=given["check"],
        diff=given["diff"],
        extra_vars=parse_extra_vars(given["extra_vars"] or []),
        forks=given["forks"],
        become_password=password,
        force_handlers=given["force_handlers"],
        start_at=given["start_at_task"] or None,
        explain=given["explain"],
    )


def manners(given: dict[str, Any]) -> Manners:
    """What the options say about busy boards. Raises ConfigError."""
    from tvmops.fleet.lost import Manners

    wait = 3600.0 if given["wait"] is True else _seconds("--wait", given["wait"])
    return Manners(wait=wait or 0.0, steal=given["steal"], timeout=_seconds("--timeout", given["timeout"]))


def _seconds(option: str, text: str | bool) -> float | None:
    if text == "":
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 86400.5:
        raise ConfigError(f"{option} {text}: wants a number of seconds, at most 86400")
    return seconds


def asked_password() -> str:
    """The sudo password, asked for at the terminal. Raises ConfigError when there is none."""
    import getpass
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass("sudo password: ")
        except (getpass.GetPassWarning, EOFError) as error:
            hint = "without one, give the password in $TVMOPS_BECOME_PASSWORD or ansible_become_password"
            raise ConfigError("--ask-become-pass needs a terminal to ask at", hint) from error


def _both(patterns: list[str]) -> str | None:
    if len(patterns) == 2 and patterns[0] != patterns[1]:
        raise ConfigError("--host and --limit mean the same", "give one of them, for example 'boards:&jetson'")
    return patterns[0] if patterns else None


def _words(text: str) -> frozenset[str]:
    return frozenset(part.strip() for part in text.split(",") if part.strip())


def run(
    path: Path, given: dict[str, Any], prepare: HostVariables | None = None, first: Path | None = None
) -> Recap | None:
    """Load, plan and run a playbook; None when it was only looked at (--list-hosts and so on).

    `prepare` adds variables to hosts before planning; `first` is a playbook that goes before, in the same run.
    Raises ConfigError; ends with Exit when a host failed.
    """
    use_warm(given["warm"])
    from tvmops.fleet.run import PlaybookRun
    from tvmops.playbook.load import load_playbooks

    plays = load_playbooks([first, path] if first else [path])
    inventory = load(given["inventory"], playbook_dir=path.absolute().parent)
    options = _options(given)
    _reach_as_told(inventory, options.extra_vars)
    if given["syntax_check"]:
        print(f"{path}: nothing is wrong with how it is written")
        return None
    if given["list_tasks"] or given["list_tags"]:
        from tvmops.cli.listing import listing

        print("\n".join(listing(path, plays, options, tasks=given["list_tasks"], tags=given["list_tags"])))
        return None
    hosts = _hosts(path, plays, inventory, options)
    if given["list_hosts"]:
        print("\n".join(host.name for host in hosts))
        return None
    saved = _saved_board(given)
    options = replace(options, saved_facts=saved.facts if saved else None)
    extra = prepare(inventory, hosts, options) if prepare else {}
    prepared = PlaybookRun(plays, inventory, options, extra, what=path.name)
    if given["explain"]:
        from tvmops.playbook.explain import explanation

        print("\n".join(explanation(prepared.plans.values())))
        return None
    prepared.manners = manners(given)
    return show(prepared, given, saved)


def _saved_board(given: dict[str, Any]) -> SavedBoard | None:
    """What --facts names. Raises ConfigError."""
    if not given.get("facts"):
        return None
    if not given["check"]:
        raise ConfigError("--facts takes no board along", "give --check, too")
    from tvmops.fleet.paper import load_saved

    return load_saved(user_path(given["facts"]))


def _reach_as_told(inventory: Inventory, extra_vars: Mapping[str, Any]) -> None:
    """Variables of the command line are the strongest, also those that say how a host is reached."""
    told = {name: value for name, value in extra_vars.items() if name.startswith(("ansible_", "tvmops_"))}
    for host in inventory.hosts.values():
        host.vars.update(told)


def _hosts(path: Path, plays: Sequence[Play], inventory: Inventory, options: RunOptions) -> list[Host]:
    from tvmops.fleet.run import hosts_of_plays

    hosts = hosts_of_plays(plays, inventory, options)
    if not hosts:
        where = f" and --host {options.limit}" if options.limit else ""
        raise ConfigError(f"{path}: its plays{where} have no host in common", "see: tvmops inventory.list")
    return hosts


def show(prepared: PlaybookRun, given: dict[str, Any], saved: SavedBoard | None = None) -> Recap:
    """Run what was prepared in the view that was asked for; ends with Exit when it did not go well."""
    from tvmops.cli.console import choose_view
    from tvmops.fleet.paper import PaperSessions

    make = (lambda host, _notify: PaperSessions(host, saved)) if saved else None
    recap = prepared.run([choose_view(given["json_"], given["quiet"], given["diff"])], make)
    if not recap.ok:
        raise Exit(code=recap.exit_code)
    return recap


@command(
    klass=AnsibleFlags,
    auto_shortflags=False,
    iterable=["extra_vars"],
    optional=["wait"],
    help={**HELP, "facts": FACTS_HELP, "restore": RESTORE_HELP},
)
def provision(  # noqa: PLR0917
    ctx: Any,
    host: str = "",
    limit: str = "",
    inventory: str | None = None,
    check: bool = False,
    diff: bool = False,
    tags: str = "",
    skip_tags: str = "",
    extra_vars: list[str] | None = None,
    forks: int = 50,
    ask_become_pass: bool = False,
    timeout: str = "",
    wait: str = "",
    steal: bool = False,
    json_: bool = False,
    list_hosts: bool = False,
    list_tasks: bool = False,
    list_tags: bool = False,
    syntax_check: bool = False,
    explain: bool = False,
    start_at_task: str = "",
    force_handlers: bool = False,
    quiet: bool = False,
    warm: bool | str = False,
    facts: str = "",
    restore: bool = False,
) -> None:
    """Make boards right: run playbooks/provision.yml on them. A second run changes nothing."""
    given = dict(locals())
    if restore:
        run(find_project_file(RESTORE), given)
        return
    from tvmops.cli.stack import provision_variables

    run(find_project_file(PROVISION), given, prepare=provision_variables)


@command(
    klass=AnsibleFlags,
    auto_shortflags=False,
    iterable=["extra_vars"],
    optional=["wait"],
    positional=["file"],
    help={"file": "the playbook", **HELP, "facts": FACTS_HELP},
)
def playbook(  # noqa: PLR0917
    ctx: Any,
    file: str,
    host: str = "",
    limit: str = "",
    inventory: str | None = None,
    check: bool = False,
    diff: bool = False,
    tags: str = "",
    skip_tags: str = "",
    extra_vars: list[str] | None = None,
    forks: int = 50,
    ask_become_pass: bool = False,
    timeout: str = "",
    wait: str = "",
    steal: bool = False,
    json_: bool = False,
    list_hosts: bool = False,
    list_tasks: bool = False,
    list_tags: bool = False,
    syntax_check: bool = False,
    explain: bool = False,
    start_at_task: str = "",
    force_handlers: bool = False,
    quiet: bool = False,
    warm: bool | str = False,
    facts: str = "",
) -> None:
    """Run a playbook written in Ansible's language."""
    given = dict(locals())
    run(find_project_file(file), given)


COMMANDS = [provision, playbook]
