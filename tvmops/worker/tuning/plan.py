"""What a tune job is to do, read from its job.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

from ..failures import JobError

TUNERS: Dict[str, List[str]] = {
    "autotvm": ["xgb", "ga", "random", "gridsearch"],
    "ansor": ["xgb", "random"],
    "meta_schedule": ["random", "ga", "xgb"],
}
METHODS = list(TUNERS)


class TunePlan(NamedTuple):
    """Settings of one tuning run. `trials`: per task. Seconds unless the name says milliseconds.

    `identity` is what the log must belong to (logs.make_identity); no session takes longer than `session_timeout`.
    """

    method: str
    tuner: str
    log: Path
    identity: Dict[str, Any] = {}
    trials: int = 64
    tasks: Optional[int] = None
    early_stopping: Optional[int] = None
    builders: int = 1
    timeout: Optional[float] = None
    transfer: bool = False
    number: int = 4
    repeat: int = 3
    min_repeat_ms: int = 50
    cross_compiler: Optional[str] = None
    boards: List[Dict[str, Any]] = []
    others: List[Path] = []
    threads: Optional[int] = None
    session_timeout: int = 300


def read_plan(settings: Dict[str, Any], log: Path) -> TunePlan:
    """The plan in a tune job's job.json. Raises JobError (BadInput) that names the key."""
    tune = settings.get("tune")
    if not isinstance(tune, dict):
        raise JobError("BadInput", "job.json of a tune job needs 'tune', a mapping with 'method' and 'trials'")
    own = set(TunePlan._fields) - {"log", "identity", "boards", "cross_compiler"}
    unknown = sorted(set(tune) - own)
    if unknown:
        raise JobError("BadInput", f"tune.{unknown[0]}: there is no such setting; known: {', '.join(sorted(own))}")
    method = _choice(tune, "method", METHODS, None)
    return TunePlan(
        method=method,
        tuner=_choice(tune, "tuner", TUNERS[method], TUNERS[method][0]),
        log=log,
        trials=_whole(tune, "trials", 64, 1),
        tasks=_whole(tune, "tasks", None, 1),
        early_stopping=_whole(tune, "early_stopping", None, 1),
        builders=_whole(tune, "builders", 1, 1),
        timeout=_seconds(tune, "timeout"),
        transfer=bool(tune.get("transfer", False)),
        number=_whole(tune, "number", 4, 1),
        repeat=_whole(tune, "repeat", 3, 1),
        min_repeat_ms=_whole(tune, "min_repeat_ms", 50, 0),
        cross_compiler=settings.get("cross_compiler"),
        boards=_boards(settings.get("boards") or []),
        others=[Path(name) for name in tune.get("others") or []],
        threads=_whole(tune, "threads", None, 1),
        session_timeout=_whole({**settings, **tune}, "session_timeout", 300, 1),
    )


def _choice(tune: Dict[str, Any], key: str, known: List[str], default: Optional[str]) -> str:
    value = tune.get(key) or default
    if value not in known:
        raise JobError("BadInput", f"tune.{key} must be one of {', '.join(known)}, not {value!r}")
    return value


def _whole(tune: Dict[str, Any], key: str, default: Any, least: int) -> Any:
    value = tune.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise JobError("BadInput", f"tune.{key} must be a whole number of at least {least}, not {value!r}")
    return value


def _seconds(tune: Dict[str, Any], key: str) -> Optional[float]:
    value = tune.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise JobError("BadInput", f"tune.{key} must be a number of seconds above 0, not {value!r}")
    return float(value)


def _boards(given: Any) -> List[Dict[str, Any]]:
    boards = []
    for number, board in enumerate(given, 1):
        if not isinstance(board, dict) or not board.get("host") or not isinstance(board.get("port"), int):
            raise JobError("BadInput", f"boards, item {number}: needs 'host' and 'port', has {board!r}")
        name = str(board.get("name") or f"{board['host']}:{board['port']}")
        boards.append({"name": name, "host": board["host"], "port": board["port"], "key": str(board.get("key", ""))})
    return boards
