"""Commands about offline bundles: bundle.create, bundle.show, bundle.apply."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmops.cli.common import HOST_HELP, INVENTORY_HELP, command, load
from tvmops.cli.provision import HELP, PROVISION, AnsibleFlags, run
from tvmops.errors import BundleError, ConfigError
from tvmops.paths import find_project_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tvmops.bench.sweep_file import Sweep
    from tvmops.bundle.archive import Part
    from tvmops.inventory.model import Host, Inventory
    from tvmops.playbook.state import RunOptions

BRING = "playbooks/bundle.yml"
BUNDLE_HELP = "the bundle, a file that bundle.create made"
FACTS_AGE = 600.0  # seconds
# What provision can be asked besides, and this command cannot.
LOOKING = ("syntax-check", "list-tasks", "list-tags", "list-hosts", "explain", "force-handlers", "start-at-task")


@command(
    klass=AnsibleFlags,
    auto_shortflags=False,
    iterable=["extra_vars", "include", "sweep"],
    help={
        "host": HOST_HELP,
        "group": "the same as --host",
        "inventory": INVENTORY_HELP,
        "output": "the file to write",
        "playbook": "what is to be run with the bundle",
        "extra-vars": HELP["extra-vars"],
        "include": "a file to put in as it is, under extra/; may be repeated",
        "sweep": "put in a sweep file, and the models that its workloads fetch; may be repeated",
        "sources": "put in what the hosts' stacks are compiled from, for tvmops build",
        "json_": "what is in it, as JSON",
    },
)
def create(  # noqa: PLR0917
    ctx: Any,
    host: str = "",
    group: str = "",
    inventory: str | None = None,
    output: str = "tvmops.bundle",
    playbook: str = PROVISION,
    extra_vars: list[str] | None = None,
    include: list[str] | None = None,
    sources: bool = False,
    sweep: list[str] | None = None,
    json_: bool = False,
) -> None:
    """Collect every file that provisioning these hosts needs, for a place without a network."""
    from tvmops.bench.sweep_file import load_sweep
    from tvmops.bundle.create import Collector, describe
    from tvmops.cli.extra_vars import parse_extra_vars
    from tvmops.cli.stack import provision_variables, stack_of
    from tvmops.digests import file_sha256
    from tvmops.fleet.run import PlaybookRun
    from tvmops.playbook.load import load_playbooks
    from tvmops.playbook.state import RunOptions

    pattern = _pattern(host, group)
    sweeps = [load_sweep(name) for name in sweep or ()]
    path = find_project_file(playbook)
    plays = load_playbooks([path])
    known = load(inventory, playbook_dir=path.absolute().parent)
    options = RunOptions(limit=pattern, extra_vars=parse_extra_vars(extra_vars or []))
    hosts = known.select(pattern)
    facts = _facts(hosts)
    variables = provision_variables(known, hosts, options, whole=True)
    problems = [f"{name}: {values['tvmops_release_problem']}" for name, values in variables.items()
                if "tvmops_release_problem" in values]  # fmt: skip
    if problems:
        raise BundleError(problems[0], "a bundle for hosts that cannot be provisioned would be no use")
    together = {name: {**facts[name], **variables.get(name, {})} for name in facts}
    planned = PlaybookRun(plays, known, options, together, what=path.name)
    target = Path(output)
    stacks = {one.name: stack_of(one, options.extra_vars) for one in hosts} if sources else None
    parts = _parts(sweeps, stacks)
    lock = Collector(planned, facts, variables, _tell).create(target, [_file(name) for name in include or ()], parts)
    if json_:
        print(json.dumps({**lock, "path": str(target), "sha256": file_sha256(target)}, indent=1))
        return
    print("\n".join([f"{target}:", *describe(lock, file_sha256(target))]))


@command(positional=["bundle"], help={"bundle": BUNDLE_HELP, "json_": "as JSON"})
def show(ctx: Any, bundle: str, json_: bool = False) -> None:
    """What is in a bundle, and for which hosts."""
    from tvmops.bundle.archive import read_lock
    from tvmops.bundle.create import describe
    from tvmops.digests import file_sha256

    lock = read_lock(Path(bundle))
    print(json.dumps(lock, indent=1) if json_ else "\n".join(describe(lock, file_sha256(Path(bundle)))))


@command(
    klass=AnsibleFlags,
    auto_shortflags=False,
    iterable=["extra_vars"],
    optional=["wait"],
    help={
        **{name: text for name, text in HELP.items() if name not in LOOKING},
        "bundle": BUNDLE_HELP,
        "group": "the same as --host",
    },
)
def apply(  # noqa: PLR0917
    ctx: Any,
    bundle: str = "tvmops.bundle",
    host: str = "",
    group: str = "",
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
    quiet: bool = False,
    warm: bool | str = False,
) -> None:
    """Provision hosts from a bundle: they need to reach nothing but this machine."""
    from tvmops.bundle.apply import bundle_variables
    from tvmops.bundle.archive import unpack_bundle
    from tvmops.bundle.models import place_models, sweep_lines
    from tvmops.bundle.sources import build_commands

    given = {**{name.replace("-", "_"): "" for name in LOOKING}, **locals(), "host": _pattern(host, group)}

    def prepare(inventory: Inventory, hosts: Sequence[Host], options: RunOptions) -> Mapping[str, Mapping[str, Any]]:
        names = [one.name for one in hosts]
        folder, lock = unpack_bundle(Path(bundle))
        found = bundle_variables(bundle, folder, lock, names)
        lines = build_commands(folder, lock, names)
        if not options.check:
            place_models(folder, lock)
            lines += sweep_lines(folder, lock)
        for line in lines:
            _tell(line)
        return found

    run(find_project_file(PROVISION), given, prepare, first=find_project_file(BRING))


def _parts(sweeps: Sequence[Sweep], with_sources: Mapping[str, str] | None) -> list[Part]:
    """What was asked for besides the hosts' needs; `with_sources`: the stacks, by host, whose sources are wanted."""
    from tvmops.bundle.models import collect_models
    from tvmops.bundle.sources import collect_sources
    from tvmops.stack import load_stack

    parts = [collect_models(sweeps, _tell)] if sweeps else []
    if with_sources is not None:
        parts.append(collect_sources({name: load_stack(stack) for name, stack in with_sources.items()}, _tell))
    return parts


def _pattern(host: str, group: str) -> str:
    if bool(host) == bool(group):
        raise ConfigError("name the hosts once: --host PATTERN or --group NAME", "see: tvmops inventory.list")
    return host or group


def _facts(hosts: Sequence[Host]) -> dict[str, dict[str, Any]]:
    from tvmops.errors import TvmopsError
    from tvmops.fleet.facts import known_or_gathered

    found = known_or_gathered(hosts, max_age=FACTS_AGE)
    for value in found.values():
        if isinstance(value, TvmopsError):
            raise value
    return {name: value for name, value in found.items() if isinstance(value, dict)}


def _file(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise ConfigError(f"--include {name}: no such file")
    return path


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


COMMANDS = [create, show, apply]
