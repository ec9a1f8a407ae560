"""The command `restore`: undo what a run changed in the files of boards."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit

from tvmops.cli.common import HOST_HELP, INVENTORY_HELP, command, load, select
from tvmops.errors import ConfigError

if TYPE_CHECKING:
    from tvmops.fleet.restore import Undone

INCOMPLETE = 2  # the exit status when something could not be undone, as for a failed task


@command(
    help={
        "host": HOST_HELP,
        "run": "the run to undo: its name as --list shows it, or 'last'",
        "inventory": INVENTORY_HELP,
        "list_": "show the runs on the boards that can be undone",
        "check": "change nothing, say what would be undone",
        "diff": "show the differences in files",
        "force": "also where a file is no longer what the run left",
        "json_": "the result as one JSON object",
        "ask-become-pass": "ask for the sudo password, for what was done as root",
    },
)
def restore(  # noqa: PLR0917
    ctx: Any,
    host: str,
    run: str = "",
    inventory: str | None = None,
    list_: bool = False,
    check: bool = False,
    diff: bool = False,
    force: bool = False,
    json_: bool = False,
    ask_become_pass: bool = False,
) -> None:
    """Undo the file changes of a run, the last one first, and say what cannot be undone."""
    from tvmops.cli.provision import asked_password
    from tvmops.fleet.record import new_run_folder
    from tvmops.fleet.restore import Wish, known_runs
    from tvmops.fleet.restore import restore as undo

    if bool(run) == list_:
        raise ConfigError("restore wants --run or --list", f"see: tvmops restore --host {host} --list")
    hosts = select(load(inventory), host)
    password = asked_password() if ask_become_pass else None
    if list_:
        _show(known_runs(hosts, password), json_, _listed)
        return
    folder = new_run_folder()
    results = undo(hosts, Wish(run, folder.name, check, diff, force, password))
    kept = {one.host: _as_dict(one) for one in results}
    (folder / "restore.json").write_text(json.dumps(kept, indent=1, default=str) + "\n", encoding="utf-8")
    _show(results, json_, lambda one: _told(one, check))
    if not check and not json_ and any(result["undone"] for one in results for result in one.results):
        print(f"undo this with: tvmops restore --host {host} --run {folder.name}")
    if not all(one.complete for one in results):
        raise Exit(code=INCOMPLETE)


def _show(results: list[Undone], as_json: bool, lines: Any) -> None:
    """Print all hosts, then raise the first one's error."""
    if as_json:
        print(json.dumps({one.host: _as_dict(one) for one in results}, indent=1, default=str))
    else:
        for one in results:
            if one.error is None:
                print("\n".join(lines(one)))
    errors = [one.error for one in results if one.error is not None]
    for error in errors[1:]:
        print(f"tvmops: {error}", file=sys.stderr)
    if errors:
        raise errors[0]


def _as_dict(one: Undone) -> dict[str, Any]:
    return {"results": one.results, "notes": one.notes, "error": one.error and one.error.message}


def _listed(one: Undone) -> list[str]:
    lines = [f"{one.host}: {note}" for note in one.notes]
    if not one.results:
        return [*lines, f"{one.host}: no run there can be undone"]
    lines.append(one.host)
    for run in one.results:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run["started"]))
        text = f"  {run['run']}  {when}  {run['what'] or '?'} by {run['owner'] or '?'} as {run['user']}: "
        text += _count(run["paths"], "path") + (f", {_count(run['others'], 'other change')}" if run["others"] else "")
        lines.append(text + (f"; undone by {', '.join(run['undone_by'])}" if run["undone_by"] else ""))
    return lines


def _told(one: Undone, check: bool) -> list[str]:
    from tvmops.fleet.diffs import diff_text

    lines = [f"{one.host}: {note}" for note in one.notes]
    for result in one.results:
        paths = result["undone"]
        verb = "would be restored" if check else "restored"
        lines.append(f"{one.host}: run {result['run']} as {result['user']}: {_count(len(paths), 'path')} {verb}")
        lines += [f"  {path}" for path in paths]
        lines += [f"  left as it is: {path}: {why}" for path, why in result["conflicts"].items()]
        lines += [f"  its former content is lost: {path}: {why}" for path, why in result["lost"].items()]
        lines += [f"  not undone: {other}" for other in result["others"]]
        lines += diff_text(result).splitlines()
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


COMMANDS = [restore]
