"""Building what a plan lacks: in rounds, one build on every builder at once; packed, checked, stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvmops.digests import file_sha256
from tvmops.errors import Interrupted, StackError
from tvmops.fleet.building_plan import HERE, Board, Build, BuildPlan
from tvmops.fleet.fleet import Listener
from tvmops.fleet.lost import Manners
from tvmops.fleet.recap import Recap
from tvmops.fleet.run import PlaybookRun
from tvmops.inventory.model import Inventory
from tvmops.paths import cache_dir, find_project_file
from tvmops.playbook.events import RunEvent
from tvmops.playbook.load import load_playbooks
from tvmops.playbook.state import RunOptions
from tvmops.stack import ensure_artifact
from tvmops.stack.abi import mismatches
from tvmops.stack.artifact import Artifact
from tvmops.stack.board import board_python
from tvmops.stack.built_artifact import discard, pack_result
from tvmops.stack.catalogue import diagnose
from tvmops.stack.environment import beside, locked
from tvmops.stack.store import BUILD_DEADLINE, Store

PLAYBOOK = "playbooks/build.yml"
COMPILE = "Compile"  # the task whose result says how it went
Say = Callable[[str], None]
MakeView = Callable[[], Listener]


@dataclass
class Outcome:
    """What became of a plan's builds. `failed` has a message for each build key, `seconds` how long each took."""

    built: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class _Results:
    """Keeps what the build program said on each builder."""

    def __init__(self) -> None:
        self.said: dict[str, dict[str, Any]] = {}
        self.output: dict[str, str] = {}
        self.trouble: dict[str, str] = {}

    def begin(self, hosts: list[str], totals: Mapping[str, int]) -> None:
        """Nothing to do."""

    def event(self, event: RunEvent) -> None:
        """Remember the compile task's result, and why anything failed."""
        result = event.result or {}
        if event.kind == "task" and event.task == COMPILE:
            text = str(result.get("stdout") or "")
            self.output[event.host] = text
            self.said[event.host] = _last_json(text)
        if event.kind in ("task", "host") and event.status in ("failed", "unreachable"):
            self.trouble.setdefault(event.host, str(result.get("msg") or event.text or event.status))

    def end(self, recap: Recap) -> None:
        """Nothing to do."""


def _last_json(text: str) -> dict[str, Any]:
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                value = json.loads(line)
            except ValueError:
                return {}
            return value if isinstance(value, dict) else {}
    return {}


def build_all(
    plan: BuildPlan, inventory: Inventory, store: Store, say: Say, make_view: MakeView, *, password: str | None = None
) -> Outcome:
    """Build what the plan lacks; artifacts are put into the plan's builds. Raises Interrupted, HostBusy and kin.

    Builders work at the same time, one build each, then the next ones. What fails is in the outcome, the others go on.
    """
    return _Building(inventory, store, say, make_view, password).run(plan)


class _Building:
    """The builds of one plan."""

    def __init__(self, inventory: Inventory, store: Store, say: Say, make_view: MakeView, password: str | None) -> None:
        self._inventory = inventory
        self._store = store
        self._say = say
        self._make_view = make_view
        self._password = password
        self._outcome = Outcome()

    def run(self, plan: BuildPlan) -> Outcome:
        waiting: dict[str, list[Build]] = {}
        for build in plan.to_build:
            waiting.setdefault(build.where, []).append(build)
        while waiting:
            batch = [builds.pop(0) for builds in waiting.values()]
            waiting = {where: builds for where, builds in waiting.items() if builds}
            with ExitStack() as held:
                # In one order everywhere: two controllers never wait for each other.
                for build in sorted(batch, key=lambda one: one.key):
                    held.enter_context(self._store.building(build.key, self._say))
                for build in batch:
                    # Others' builds of another key may have the same folder; a board's lease sees to that elsewhere.
                    if build.where == HERE:
                        lock = beside(Path(build.folder), ".lock")
                        held.enter_context(locked(lock, self._say, BUILD_DEADLINE))
                self._batch(batch)
        for build in plan.builds:
            _refuse_misfits(build)
        return self._outcome

    def _batch(self, batch: Sequence[Build]) -> None:
        """One build on each of several builders."""
        missing = []
        for build in batch:
            build.artifact = self._found(build.key)  # another one may have built it while we waited
            if build.artifact is None:
                missing.append(build)
            else:
                self._say(f"{build.title}: {build.key} is in the store by now")
        if not missing:
            return
        results = _Results()
        variables = {build.where: variables_of(build) for build in missing}
        options = RunOptions(
            extra_vars={"build_hosts": ",".join(variables)}, forks=len(missing), become_password=self._password
        )
        what = f"building {', '.join(build.title for build in missing)}"
        plays = load_playbooks([find_project_file(PLAYBOOK)])
        prepared = PlaybookRun(plays, self._inventory, options, variables, what)
        # Another build on the same builder is waited for, not refused. Here the work folder's lock sees to that.
        prepared.manners = Manners(wait=BUILD_DEADLINE)
        prepared.holds_this_machine = False
        recap = prepared.run([results, self._make_view()])
        if recap.interrupted:
            hint = "what was compiled is kept: run the same command again to go on"
            raise Interrupted(f"interrupted while {what}", hint)
        for build in missing:
            self._finish(build, results, recap)

    def _found(self, key: str) -> Artifact | None:
        try:
            return self._store.find(key)
        except StackError:
            return None  # damaged: built again, it takes the damaged one's place

    def _finish(self, build: Build, results: _Results, recap: Recap) -> None:
        said = results.said.get(build.where, {})
        ended = recap.hosts.get(build.where)
        fetched = result_file(build.key)
        if ended is None or ended.spoiled or said.get("outcome") not in ("built", "unchanged"):
            fetched.unlink(missing_ok=True)
            self._fail(build, _failure(build, results, ended))
            return
        try:
            if file_sha256(fetched) != said["out"]["sha256"]:
                raise StackError(f"{build.title}: what came from {build.where} is not what was built", "run it again")
            packed = pack_result(fetched, build.order)
            build.artifact = self._store.put(packed, build.key)
            discard(packed)
        except (StackError, OSError) as error:
            self._fail(build, _explained(error, build))
            return
        finally:
            fetched.unlink(missing_ok=True)
        self._outcome.built.append(build.key)
        self._outcome.seconds[build.key] = float(said.get("seconds", {}).get("total", 0.0))
        self._say(f"{build.title}: artifact {build.artifact.key}, {build.artifact.size / 1e6:.1f} MB packed")

    def _fail(self, build: Build, why: str) -> None:
        self._outcome.failed[build.key] = why
        for board in build.boards:
            board.refused.append(f"its build {build.key} failed")


def _failure(build: Build, results: _Results, ended: Any) -> str:
    """One message: what failed, its first real error, what is known about it, where the log is."""
    said = results.said.get(build.where, {})
    place = "here" if build.where == HERE else f"on {build.where}"
    lines = [f"{build.title} could not be built {place}"]
    error = said.get("error") or {}
    context = [str(line) for line in error.get("context") or []]
    trouble = str(results.trouble.get(build.where) or getattr(ended, "error", None) or "")
    if said.get("message"):
        lines.append(f"  {said['message']}")
        lines += [f"  | {line}" for line in context[:8]]
    else:
        lines.append(f"  {trouble or 'it ended without a word'}")
    told = [str(said.get("message", "")), *context, trouble, results.output.get(build.where, "")]
    diagnosis = diagnose("\n".join(told))
    if diagnosis is not None:
        lines += [f"  {diagnosis.id}: {diagnosis.cause}", f"  {diagnosis.fix}"]
    elif said.get("hint"):
        lines.append(f"  {said['hint']}")
    if said.get("log"):
        lines.append(f"  the whole log: {said['log']}{'' if build.where == HERE else f' on {build.where}'}")
    return "\n".join(lines)


def _explained(error: StackError | OSError, build: Build) -> str:
    """What stands against a result, with what the catalogue knows of it."""
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"{build.title} was built, but cannot be packed: {place}{error.strerror or error}\n  run it again"
    text = str(error)
    found = diagnose(text)
    return text if found is None else f"{text}\n  {found.id}: {found.cause}\n  {found.fix}"


def _refuse_misfits(build: Build) -> None:
    """What is known only from what was built: symbol versions that a board has not. Those boards get nothing."""
    if build.artifact is None:
        return
    for board in build.boards:
        if not board.refused and board.facts is not None:
            board.refused += mismatches(build.artifact.manifest, board.facts)
    build.boards = [board for board in build.boards if not board.refused]


def variables_of(build: Build) -> dict[str, Any]:
    """The variables that playbooks/build.yml wants on the build's builder."""
    result_file(build.key).parent.mkdir(parents=True, exist_ok=True)
    return {
        "build_work": build.folder,
        "build_archive": str(build.order.source.archive),
        "build_config": build.order.config.text,
        "build_spec": build.order.spec,
        "build_output": str(result_file(build.key)),
    }


def result_file(key: str) -> Path:
    """Where a build's out.tar.gz goes on the controller."""
    return cache_dir() / "build" / "results" / f"{key}.tar.gz"


def artifacts_by_board(plan: BuildPlan, say: Say) -> dict[str, Artifact]:
    """The artifact of every board that gets one, by name; those of wheels are made now, or the board is refused."""
    found = {
        board.host.name: build.artifact
        for build in plan.builds
        if build.artifact is not None
        for board in build.boards
        if not board.refused
    }
    for board in plan.wheels:
        try:
            if not board.refused:
                found[board.host.name] = _from_wheels(board, say)
        except StackError as error:
            board.refused.append(error.message)
    return found


def _from_wheels(board: Board, say: Say) -> Artifact:
    assert board.facts is not None
    python = board_python(board.stack, board.facts)
    assert python is not None  # or it would have been refused
    return ensure_artifact(board.stack, board.abi.arch, python[1], say)
