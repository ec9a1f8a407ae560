"""Builds trials in child processes and measures them, several at once where there are several boards."""

from __future__ import annotations

import queue
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

from .boards import RUNNING, Boards
from .children import Child, ChildDied, ChildError, ChildTimeout
from .outcomes import Outcome, failed
from .plan import TunePlan


class Limits(NamedTuple):
    """Seconds that one trial's build and one trial's run may take."""

    build: float
    run: float


class Bench:
    """Builders and boards of one tuning run. `build`: (module, function) of the child side that builds."""

    def __init__(self, plan: TunePlan, device: str, build: Tuple[str, str], running: str = RUNNING) -> None:
        self._plan = plan
        self.device = device
        self._function = build[1]
        self._builders = [Child(build[0]) for _ in range(plan.builders)]
        self._free: "queue.Queue[Child]" = queue.Queue()
        for child in self._builders:
            self._free.put(child)
        self.boards = Boards(plan.boards, plan.session_timeout, running)
        self._folder = Path(tempfile.mkdtemp(prefix="tvmops-trials-"))

    def __enter__(self) -> "Bench":
        for child in self._builders:
            child.start()
        self.boards.start()
        return self

    def __exit__(self, *_exception: Any) -> None:
        for child in self._builders:
            child.kill()
        self.boards.close()
        shutil.rmtree(str(self._folder), ignore_errors=True)

    @property
    def width(self) -> int:
        """How many trials are worth proposing at once."""
        return max(len(self._builders), self.boards.count)

    def measure(self, requests: List[Dict[str, Any]], limits: Limits) -> Iterator[Tuple[int, Outcome]]:
        """Each trial's number and outcome, as they come. Raises JobError (Rpc) when no board is left."""
        if self.boards.local:
            # Built first: a compiler beside it would be in the numbers.
            yield from self._here(requests, limits)
            return
        with ThreadPoolExecutor(len(self._builders) + self.boards.count) as pool:
            futures = {pool.submit(self._one, request, limits): i for i, request in enumerate(requests)}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            finally:
                for future in futures:
                    future.cancel()

    def _here(self, requests: List[Dict[str, Any]], limits: Limits) -> Iterator[Tuple[int, Outcome]]:
        with ThreadPoolExecutor(len(self._builders)) as pool:
            built = list(pool.map(lambda request: self._build(request, limits.build), requests))
        for number, made in enumerate(built):
            yield number, made if isinstance(made, Outcome) else self._run(made, limits.run)

    def _one(self, request: Dict[str, Any], limits: Limits) -> Outcome:
        made = self._build(request, limits.build)
        return made if isinstance(made, Outcome) else self._run(made, limits.run)

    def _build(self, request: Dict[str, Any], seconds: float) -> Any:
        child = self._free.get()
        begin = time.monotonic()
        try:
            whole = {**request, "folder": str(self._folder), "cross_compiler": self._plan.cross_compiler}
            made = child.call(self._function, whole, seconds)
            return {**made, "build_seconds": time.monotonic() - begin}
        except ChildTimeout:
            return failed("build_timeout", f"took more than {seconds:.0f} s", time.monotonic() - begin)
        except ChildDied as error:
            return failed("compile", f"the builder {error}", time.monotonic() - begin)
        except ChildError as error:
            kind = "instantiation" if error.kind == "InstantiationError" else "compile"
            return failed(kind, f"{error.kind}: {error.message}", time.monotonic() - begin)
        finally:
            self._free.put(child)

    def _run(self, made: Dict[str, Any], seconds: float) -> Outcome:
        plan = self._plan
        request = {
            "artifact": made["artifact"],
            "args": made["args"],
            "entry": made["entry"],
            "device": self.device,
            "number": plan.number,
            "repeat": plan.repeat,
            "min_repeat_ms": plan.min_repeat_ms,
            "threads": plan.threads,
        }
        try:
            outcome = self.boards.run(request, seconds)
        finally:
            Path(made["artifact"]).unlink()
        return outcome._replace(seconds=outcome.seconds + made["build_seconds"])
