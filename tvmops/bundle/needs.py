"""What a playbook will fetch from the network on each host, read off its plan before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tvmops.playbook.plan import Entry, HostPlan, title_of
from tvmops.playbook.values import Constant, Dictionary, Text, Value
from tvmops.playbook.values import Sequence as Values

# Tasks with this tag say where packages come from; the bundle has its own answer to that.
ANSWERED = "mirrors"
# Variables of playbooks/vars/tophub.yml and mxnet.yml by which tasks are known whose files the bundle brings.
LOGS_ASKED = "tophub_question"
WHEELS_ASKED = "mxnet_offline"
# Modules that fetch what they are told from where they are told, and the argument that says where.
FETCHING = {"get_url": "url", "git": "repo", "pip": "name", "uri": "url"}
# Modules that run a program, and programs that fetch: known by the words of the task, also of one that waits.
RUNNING = ("command", "shell", "script")
FETCHERS = re.compile(r"\bpip3? (?:\S+ )*?install\b|\bgit clone\b|\bcurl\b|\bwget\b|\b(?:tophub|toolchain)_fetch\.py\b")


@dataclass
class Needs:
    """Of one host: `packages` to install with apt; `tophub`, `mxnet`: whether tuning logs and MXNet are wanted;
    `elsewhere`: tasks that go to the network by other ways, as text.
    """

    packages: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    tophub: bool = False
    mxnet: bool = False


def needs_of(plan: HostPlan) -> Needs:
    """What the plan's tasks fetch, as far as it is known before the run."""
    needs = Needs()
    for entry in _entries(plan):
        module = entry.task.module
        if module == "apt":
            _add_packages(entry, needs)
        elif module in FETCHING:
            needs.elsewhere += _addresses(entry, FETCHING[module])
        elif module in RUNNING:
            _add_programs(entry, needs)
    needs.packages = sorted(set(needs.packages))
    return needs


def _entries(plan: HostPlan) -> Iterator[Entry]:
    for play in plan.plays:
        yield from (entry for entry in play.entries if ANSWERED not in entry.task.tags)


def _arguments(entry: Entry) -> Sequence[dict[str, Any]]:
    if entry.prepared is None:
        return ()
    return [step.args for step in entry.prepared.steps if step.args is not None]


def _add_packages(entry: Entry, needs: Needs) -> None:
    if entry.prepared is None:
        needs.elsewhere.append(f"{title_of(entry.task)} (apt): waits for {entry.waits_for}")
    for args in _arguments(entry):
        if args.get("state", "present") == "absent":
            continue
        for name in ("name", "pkg", "package"):
            needs.packages += _words(args.get(name))
        if args.get("deb"):
            needs.elsewhere.append(f"{title_of(entry.task)} (apt): {args['deb']}")


def _words(value: Any) -> list[str]:
    """A list of apt's as it may be written: a list, or one text with commas."""
    found = value.split(",") if isinstance(value, str) else value or ()
    return [str(one).strip() for one in found if str(one).strip()]


def _add_programs(entry: Entry, needs: Needs) -> None:
    """The task, when it runs a program that fetches."""
    written = _text(entry.task.args)
    fetcher = FETCHERS.search(written)
    if fetcher is None or (entry.prepared is not None and not _arguments(entry)):
        return
    if LOGS_ASKED in written:
        needs.tophub = True
    elif WHEELS_ASKED in written:
        needs.mxnet = True
    else:
        needs.elsewhere.append(f"{title_of(entry.task)} ({entry.task.module}): {fetcher[0]}")


def _text(value: Value) -> str:
    """The words of a task's arguments, as they are written."""
    if isinstance(value, Dictionary):
        return " ".join(_text(one) for _, one in value.items)
    if isinstance(value, Values):
        return " ".join(_text(one) for one in value.items)
    written = value.text if isinstance(value, Text) else _flat(value.value) if isinstance(value, Constant) else ""
    return re.sub(r"[\[\]'\",{}\s]+", " ", written)


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        value = list(value.values())
    return " ".join(map(_flat, value)) if isinstance(value, list | tuple) else str(value)


def _addresses(entry: Entry, argument: str) -> list[str]:
    title = title_of(entry.task)
    if entry.prepared is None:
        return [f"{title} ({entry.task.module}): waits for {entry.waits_for}"]
    found = [args.get(argument) for args in _arguments(entry)]
    flat = [one for value in found for one in (value if isinstance(value, list) else [value]) if one]
    return [f"{title} ({entry.task.module}): {one}" for one in flat if _outside(str(one))]


def _outside(address: str) -> bool:
    return not address.startswith(("/", "file:"))
