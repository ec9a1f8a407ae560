"""Run records: `.tvmops/runs/<time>-<id>/<host>/` with plan.json, events.jsonl and diffs.patch."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from tvmops.paths import state_dir
from tvmops.playbook.events import RunEvent
from tvmops.playbook.plan import HostPlan


def new_run_folder() -> Path:
    """A fresh folder for one run, private to its user. Names sort by time, within a second too."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    folder = state_dir() / "runs" / f"{stamp}-{os.urandom(2).hex()}"
    folder.mkdir(parents=True, mode=0o700)
    return folder


class HostRecord:
    """One host's files. Events are written as they come, so that a run that is killed leaves what it did."""

    def __init__(self, run_folder: Path, plan: HostPlan) -> None:
        self.folder = run_folder / plan.host.replace(os.sep, "_")
        self.folder.mkdir(mode=0o700)
        self._plan: dict[str, Any] = {"host": plan.host, "plays": []}
        self.add_plan(plan)
        self._events: IO[str] = (self.folder / "events.jsonl").open("w", encoding="utf-8", buffering=1)
        self._diffs: IO[str] | None = None

    def add_plan(self, plan: HostPlan) -> None:
        """The host's next plays."""
        self._plan["plays"] += plan.as_dict()["plays"]
        # Not indented: that would be done in Python, and take as long as planning.
        text = json.dumps(self._plan, default=str, ensure_ascii=False)
        (self.folder / "plan.json").write_text(text + "\n", encoding="utf-8")

    def add(self, event: RunEvent) -> None:
        """Write one event; progress lines are for the eye only."""
        if event.kind == "progress":
            return
        self._events.write(json.dumps(event.as_dict(), default=str, ensure_ascii=False) + "\n")
        if event.kind in ("task", "item") and event.result:
            self._add_diff(event)

    def _add_diff(self, event: RunEvent) -> None:
        from tvmops.fleet.diffs import diff_text

        text = diff_text(event.result or {})
        if not text:
            return
        if self._diffs is None:
            self._diffs = (self.folder / "diffs.patch").open("w", encoding="utf-8")
        self._diffs.write(f"# {event.task}{f' ({event.label})' if event.label else ''}\n{text}")

    def close(self) -> None:
        """Close the files."""
        self._events.close()
        if self._diffs is not None:
            self._diffs.close()


def write_recap(run_folder: Path, recap: dict[str, Any]) -> None:
    """The whole run's end in recap.json."""
    (run_folder / "recap.json").write_text(json.dumps(recap, indent=1) + "\n", encoding="utf-8")
