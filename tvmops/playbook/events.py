"""What a run tells its listeners: one RunEvent per thing that happened, and a recap per host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CENSORED = "the output has been hidden due to the fact that 'no_log: true' was specified for this result"


@dataclass(frozen=True)
class RunEvent:
    """One event of one host.

    kind: "play" (a play begins), "start" (a task), "progress" (last line of a long command), "item" (one loop item is
    done), "task" (a task is done), "host" (the host has finished). `status` of item and task: ok, changed, failed,
    rescued (failed in a block with rescue), ignored, skipped, unreachable. `seconds` counts from the host's start;
    `done` of `total` tasks.
    """

    kind: str
    host: str
    seconds: float = 0.0
    play: str = ""
    task: str = ""
    module: str = ""
    position: str = ""
    handler: bool = False
    status: str = ""
    label: str | None = None
    text: str = ""
    result: dict[str, Any] | None = None
    done: int = 0
    total: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON, without what is empty."""
        values = {"event": self.kind, "host": self.host, "seconds": round(self.seconds, 3)}
        for name in ("play", "task", "module", "position", "status", "text", "handler", "done", "total"):
            value = getattr(self, name)
            if value:
                values[name] = value
        if self.label is not None:
            values["label"] = self.label
        if self.result is not None:
            values["result"] = self.result
        return values


@dataclass
class HostRecap:
    """The counts of Ansible's PLAY RECAP for one host, and how its run ended.

    `task` is the last one that began; `running`: its end was not seen. `stopped`: why it ended without a failure of its
    own.
    """

    host: str
    ok: int = 0
    changed: int = 0
    unreachable: int = 0
    failed: int = 0
    skipped: int = 0
    rescued: int = 0
    ignored: int = 0
    seconds: float = 0.0
    task: str = ""
    position: str = ""
    error: str = ""
    hint: str = ""
    exit_code: int = 0
    stopped: str = ""
    forgiven: int = 0
    interrupted: bool = False
    running: bool = False

    @property
    def spoiled(self) -> bool:
        """True when something went wrong that `meta: clear_host_errors` has not forgiven."""
        return self.failed + self.unreachable > self.forgiven or bool(self.stopped)

    def count(self, status: str, changed: bool = False) -> None:
        """Add one finished task."""
        if status == "skipped":
            self.skipped += 1
        elif status == "failed":
            self.failed += 1
        elif status == "rescued":
            self.rescued += 1
        elif status == "ignored":
            self.ok += 1
            self.ignored += 1
            self.changed += changed
        else:
            self.ok += 1
            self.changed += status == "changed"


def censor(result: dict[str, Any]) -> dict[str, Any]:
    """What may be shown of a result under no_log."""
    kept: dict[str, Any] = {
        key: result[key] for key in ("changed", "failed", "skipped", "unreachable") if key in result
    }
    return {"censored": CENSORED, **kept}


def status_of(result: dict[str, Any], ignore_errors: bool = False, ignore_unreachable: bool = False) -> str:
    """The one-word status of a result."""
    if result.get("unreachable"):
        return "ignored" if ignore_unreachable else "unreachable"
    if result.get("failed"):
        return "ignored" if ignore_errors else "failed"
    if result.get("skipped"):
        return "skipped"
    return "changed" if result.get("changed") else "ok"
