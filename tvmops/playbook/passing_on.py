"""What plays, blocks, roles and imports pass on to the tasks in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tvmops.playbook.fields import Fields
from tvmops.playbook.keywords import PASSED_ON_BELOW_PLAYS
from tvmops.playbook.model import Inherited

# Fields of Inherited that a Task has, too, under the same names.
SHARED = (
    "any_errors_fatal", "become", "become_method", "become_user", "check_mode", "delegate_facts", "delegate_to", "diff",
    "environment", "group", "ignore_errors", "ignore_unreachable", "no_log", "notify", "notify_position", "path",
    "role", "run_once", "tags", "throttle", "timeout", "vars", "when",
)  # fmt: skip


def passed_on(fields: Fields, outer: Inherited) -> Inherited:
    """`outer` with what a mapping says on top: most words replace, tags, conditions and environment add up."""
    if fields.data.keys().isdisjoint(PASSED_ON_BELOW_PLAYS):
        return outer
    notify = fields.names("notify")
    own: dict[str, Any] = {
        "delegate_to": fields.template("delegate_to"),
        "delegate_facts": fields.flag("delegate_facts"),
        "run_once": fields.flag("run_once"),
        "check_mode": fields.flag("check_mode"),
        "diff": fields.flag("diff"),
        "timeout": fields.number("timeout"),
        "throttle": fields.number("throttle"),
        "any_errors_fatal": fields.flag("any_errors_fatal"),
        "ignore_unreachable": fields.flag("ignore_unreachable"),
        "become": fields.flag("become"),
        "become_user": fields.template("become_user"),
        "become_method": fields.become_method(),
        "ignore_errors": fields.flag("ignore_errors"),
        "no_log": fields.flag("no_log"),
        "notify": notify,
        "notify_position": None if notify is None else fields.data.at("notify"),
    }
    return replace(
        outer,
        environment=outer.environment + fields.environment(),
        tags=outer.tags | fields.tags(),
        when=outer.when + (fields.conditions("when") or ()),
        **{name: value for name, value in own.items() if value is not None},
    )


def with_variables(fields: Fields, outer: Inherited) -> Inherited:
    """As passed_on, with the mapping's `vars` above those of `outer`."""
    inner = passed_on(fields, outer)
    own = fields.variables()
    return replace(inner, vars=(own, *inner.vars)) if own.values else inner


def shared(inherited: Inherited) -> dict[str, Any]:
    """The fields that a task takes over."""
    return {name: getattr(inherited, name) for name in SHARED}
