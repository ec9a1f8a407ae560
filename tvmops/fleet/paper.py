"""A check run without a board: its saved facts answer, and what only a board can tell is said to be unknown.

A saved set is JSON: {"facts": {name: value}, "files": {path: text}, "answers": {board program: {"rc", "stdout"}}}.
`tvmops facts --json` gives facts in a form that is taken, too.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tvmops.agent import attempts, runner
from tvmops.connection.sending import Sent
from tvmops.errors import ConfigError, StackError
from tvmops.fleet.sessions import HostSessions
from tvmops.inventory.model import Host
from tvmops.paths import cache_dir
from tvmops.stack.board import board_python, check_board
from tvmops.stack.spec import Stack

OnEvent = Callable[[dict[str, Any]], None]
Result = dict[str, Any]

# Modules whose result is what they read.
READING = ("_read_piece", "conditions", "find", "get_url", "package_facts", "service_facts", "uri", "wait_for")
LONG = 60  # lines of a file that are shown; longer ones are programs
UNKNOWN = "only the board can tell"
# Written for boards, without types.
_attempts: Any = attempts
_runner: Any = runner


@dataclass(frozen=True)
class SavedBoard:
    """What is known of a kind of board. `files` are those that matter to playbooks; others are taken to be absent."""

    facts: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)


def load_saved(path: Path) -> SavedBoard:
    """Raises ConfigError when the file holds no facts."""
    hint = "save facts with: tvmops facts --host X --json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--facts {path}: {error.strerror}", hint) from error
    except ValueError as error:
        raise ConfigError(f"--facts {path}: is not JSON: {error}", hint) from error
    if isinstance(content, dict) and len(content) == 1 and "facts" not in content:
        content = {"facts": next(iter(content.values()))}  # as `tvmops facts --json` prints those of one host
    facts = content.get("facts") if isinstance(content, dict) else None
    if not isinstance(facts, dict) or "ansible_architecture" not in facts:
        raise ConfigError(f"--facts {path}: holds no facts of one board", hint)
    return SavedBoard(facts, dict(content.get("files") or {}), dict(content.get("answers") or {}))


def release_on_paper(stack: Stack, facts: Mapping[str, Any]) -> dict[str, str]:
    """As stack.board.release_variables, with an artifact that is named and not made.

    Raises StackError, with every reason, when the stack does not fit the board.
    """
    reasons, python = check_board(stack, facts), board_python(stack, facts)
    if reasons or python is None:
        name = facts.get("ansible_hostname") or "the board"
        raise StackError(f"stack {stack.name} does not fit {name}: {'; '.join(reasons)}")
    archive = cache_dir() / "paper" / "artifact-not-made.tar.gz"
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.touch()
    return {
        "tvmops_release_stack": stack.name,
        "tvmops_release_key": f"{stack.name}_{facts.get('tvmops_abi')}",
        "tvmops_release_archive": str(archive),
        "tvmops_release_size": "0",
        "tvmops_release_server": stack.server or "python",
        "tvmops_python": python[0],
    }


class PaperSessions(HostSessions):
    """The sessions of a host that is known from paper only."""

    def __init__(self, host: Host, board: SavedBoard) -> None:
        super().__init__(host)
        self._session = PaperSession(board)

    def session(self, root: bool, method: str | None = None) -> Any:  # noqa: ARG002
        """One for all users: nothing is done."""
        return self._session

    def login_user(self) -> str:
        """As the inventory says."""
        return str(self.host.vars.get("ansible_user") or "root")

    @property
    def sent(self) -> Sent:
        """Nothing ever is."""
        return Sent()

    def close(self) -> None:
        """There is nothing to close."""

    def stop_after_task(self) -> None:
        """A check on paper ends soon by itself."""


class PaperSession:
    """Takes batches as an AgentSession does. What tasks would have made is there for later ones."""

    def __init__(self, board: SavedBoard) -> None:
        self.info: dict[str, Any] = {"lease": None, "finished": [], "uid": 0}
        self._board = board
        self.files: dict[str, str | None] = dict(board.files)  # None: a folder or link that would be made

    def run_batch(self, batch: dict[str, Any], blobs: Callable[[str], bytes], on_event: OnEvent) -> None:
        """Every task's result as far as it can be foreseen."""
        registered: dict[str, Any] = {}
        started = time.monotonic()
        stopped_at = None

        def emit(name: str, **values: Any) -> None:
            on_event({"ev": name, "t": time.monotonic() - started, **values})

        for task in batch["tasks"]:
            outcome = self._task(task, registered, blobs, emit)
            emit("done", task=task["id"], result=outcome)
            if task.get("register") is not None:
                registered[task["register"]] = _runner._as_registered(task, outcome)
            if outcome.get("failed") and not task.get("ignore_errors"):
                stopped_at = task["id"]
                break
        emit("batch_end", id=batch["id"], stopped_at=stopped_at)

    def _task(
        self, task: dict[str, Any], registered: dict[str, Any], blobs: Callable[[str], bytes], emit: Callable[..., None]
    ) -> Result:
        """A task's result, its items' reported as an agent does."""
        loop = task.get("loop")
        results = []
        for index, item in enumerate([task] if loop is None else loop):
            number, label = None if loop is None else index, item.get("label")
            emit("start", task=task["id"], item=number, label=label)
            outcome = item.get("result") or self._item(task, item, registered, blobs)
            emit("result", task=task["id"], item=number, label=label, result=outcome)
            results.append(outcome)
        return results[0] if loop is None else dict(_runner.loop_result(results))

    def _item(
        self, task: dict[str, Any], item: dict[str, Any], registered: dict[str, Any], blobs: Callable[[str], bytes]
    ) -> Result:
        """Conditions and verdicts are decided by the agent's own code, only the module is on paper."""
        attempt = _attempts.Attempts(task, item, True, True, registered)
        args, check = item.get("args") or {}, bool(task.get("check"))
        found = {"changed": False, "failed": False}
        attempt._once = lambda _services: {**found, **self.outcome(task["module"], args, check, blobs)}
        return dict(attempt.run(None))

    def outcome(self, module: str, args: Mapping[str, Any], check: bool, blobs: Callable[[str], bytes]) -> Result:
        """What one task comes to. `check` false: it looks even in a check run, so its answer matters."""
        look = LOOKS.get(module)
        if look is not None:
            return look(self, args, check, blobs)
        return _would(module, args)


def _would(module: str, args: Mapping[str, Any]) -> Result:
    """A task that would do something: what, as a diff."""
    shown = {name: value for name, value in args.items() if not name.startswith("_") and value is not None}
    text = _yaml(json.loads(json.dumps(shown, default=str)))
    return {"changed": True, "msg": "would run", "diff": [_diff(module, "", text)]}


def _laid_out(text: str) -> str:
    """What a program printed, for people: one line of JSON as YAML."""
    try:
        return _yaml(json.loads(text))
    except ValueError:
        return text + "\n"


def _yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, sort_keys=True, width=110))


def _diff(name: str, before: str, after: str) -> dict[str, str]:
    return {"before": before, "after": after, "before_header": name, "after_header": name}


def _setup(paper: PaperSession, *_: Any) -> Result:
    # As if its clock were right: a saved time says nothing.
    now = {**(paper._board.facts.get("ansible_date_time") or {}), "epoch": str(int(time.time()))}
    return {"ansible_facts": {**paper._board.facts, "ansible_date_time": now}}


def _reads(*_: Any) -> Result:
    return {"unknown": True, "msg": UNKNOWN}


def _slurp(paper: PaperSession, args: Mapping[str, Any], *_: Any) -> Result:
    content = paper.files.get(str(args.get("src") or args.get("path")))
    return (
        _reads() if content is None else {"content": base64.b64encode(content.encode()).decode(), "encoding": "base64"}
    )


def _stat(paper: PaperSession, args: Mapping[str, Any], *_: Any) -> Result:
    path = str(args.get("path") or args.get("dest") or args.get("name"))
    return {"stat": {"exists": path in paper.files, "path": path}}


def _file(paper: PaperSession, args: Mapping[str, Any], *_: Any) -> Result:
    path, state = str(args.get("path") or args.get("dest") or args.get("name")), args.get("state") or "file"
    if state == "absent":
        there = path in paper.files
        paper.files.pop(path, None)
        return _would("file", args) if there else {}
    if state == "directory" and path in paper.files:
        return {}
    paper.files[path] = None
    return _would("file", args)


def _copy(paper: PaperSession, args: Mapping[str, Any], _check: bool, blobs: Callable[[str], bytes]) -> Result:
    dest, blob, content = str(args["dest"]), args.get("_blob"), args.get("content")
    if blob:
        content = blobs(blob["sha256"]).decode("utf-8", "replace") if blob["size"] < 65536 else None
    if content is None:
        paper.files[dest] = None
        return _would("copy", args)
    before, after = paper.files.get(dest), str(content)
    if dest in paper.files and (args.get("force") is False or before == after):
        return {}
    paper.files[dest] = after
    lines = after.count("\n")
    shown = f"({lines} lines)\n" if lines > LONG or dest.endswith(".py") else after
    return {"changed": True, "diff": [_diff(dest, before or "", shown)]}


def _command(paper: PaperSession, args: Mapping[str, Any], check: bool, _blobs: Any) -> Result:
    """What a program prints is known only where the saved set has it."""
    if args.get("creates") in paper.files:
        return {"rc": 0, "stdout": f"skipped, since {args['creates']} exists"}
    # A script has a name, a program is what its Python is given to run.
    paths = [str(word) for word in (args.get("argv") or [])[1:] if str(word).startswith("/")]
    name = str(args.get("name") or Path(paths[0] if paths else "").name)
    if name in paper._board.answers:
        answer = paper._board.answers[name]
        told = {"rc": answer["rc"], "stdout": answer["stdout"], "stderr": "", "changed": True}
        return {**told, "diff": [_diff(name, "", _laid_out(answer["stdout"]))]}
    if not check:
        return {"changed": True, "unknown": True, "msg": UNKNOWN}
    return {**_would("command", args), "skipped": not args.get("creates")}


LOOKS: dict[str, Callable[..., Result]] = {
    "setup": _setup,
    "slurp": _slurp,
    **dict.fromkeys(READING, _reads),
    "stat": _stat,
    "file": _file,
    "copy": _copy,
    "template": _copy,
    "command": _command,
    "shell": _command,
    "_script": _command,
}
