"""One item of a task: whether it runs, how often it is tried, and what its result is taken for."""

import json
import time

from .ordered import loads
from .perform import perform
from .spool import CENSORED, unusual

RETRIES = 3
DELAY = 5.0  # seconds
CONDITIONS = ("when", "until", "changed_when", "failed_when")
NAP = 1.0  # seconds between looks at whether a waiting task is to be given up


def prepare(task):
    """Import what the task will need: a process that runs it for another user can no longer read the agent's files."""
    if any(isinstance(one.get(key), list) for one in [task] + (task.get("loop") or []) for key in CONDITIONS):
        from . import expression  # noqa: F401
    if task.get("timeout") or task.get("async"):
        from . import deadline, jobs  # noqa: F401


class Attempts:
    """One item of a task. `item` is the task itself, or one of its loop, whose settings come first."""

    def __init__(self, task, item, check, diff, registered):
        self._task = task
        self._item = item
        self._check = check
        self._diff = diff
        self._registered = registered

    def run(self, services):
        """Run it -> its result, ready to be reported."""
        return _shown(self._task, self._run(services))

    def _get(self, key):
        value = self._item.get(key)
        return self._task.get(key) if value is None else value

    def _run(self, services):
        conditions = self._get("when")
        if conditions:
            try:
                false = _first_false(conditions, self._registered)
            except _fault() as fault:
                unknown = [name for name in _names_in(conditions) if _is_unknown(self._registered.get(name))]
                if self._check and unknown:
                    reason = "it needs %s, which only a real run can tell" % ", ".join(sorted(unknown))
                    return {"changed": True, "failed": False, "unknown": True, "msg": reason}
                return {"changed": False, "failed": True, "msg": str(fault)}
            if false is not None:
                skipped = {"changed": False, "skipped": True, "skip_reason": "Conditional result was False"}
                return dict(skipped, false_condition=false)
        if self._item.get("settled") is not None:
            return dict({"failed": False}, **self._item["settled"])
        until, retries = self._get("until"), self._get("retries")
        if until is None and retries is None:
            return self._judged(self._once(services))
        return self._several(services, until, 1 + max(0, RETRIES if retries is None else int(retries)))

    def _several(self, services, until, limit):
        """Try until the conditions hold (without any: until it does not fail), `limit` times at most."""
        delay = self._get("delay")
        delay = DELAY if delay is None else float(delay) if delay >= 0 else 1.0
        for attempt in range(1, limit + 1):
            outcome = self._once(services)
            if "timedout" in outcome:
                return outcome
            if limit > 1:
                outcome["attempts"] = attempt
            outcome = self._judged(outcome)
            if limit == 1 or (self._check and outcome.get("skipped")):
                return outcome
            try:
                if self._holds(until, outcome) if until is not None else not outcome["failed"]:
                    return outcome
            except _fault() as fault:
                return {"changed": False, "failed": True, "msg": str(fault)}
            if attempt < limit:
                said = "attempt %d of %d was not enough; the next in %g s" % (attempt, limit, delay)
                services.progress(said)
                if not _sleep(delay, services):
                    return dict(outcome, failed=True, msg="interrupted before it was tried again")
        return dict(outcome, attempts=limit - 1, failed=True)

    def _once(self, services):
        args = self._item.get("args") or {}
        seconds = self._get("async")
        if seconds and not self._check:
            from . import jobs

            run = jobs.start if self._get("poll") == 0 else jobs.follow
            outcome = run(self._task, args, self._diff, services, seconds)
        else:
            outcome = perform(self._task, args, self._check, self._diff, services, limit=self._get("timeout"))
        outcome.setdefault("changed", False)
        outcome.setdefault("failed", False)
        return outcome

    def _judged(self, outcome):
        """Apply changed_when, then failed_when: true, false or conditions."""
        if outcome.get("skipped") or "timedout" in outcome:
            return outcome
        deciding = "changed"
        try:
            verdict = self._verdict("changed_when", outcome)
            if verdict is not None:
                outcome["changed"] = verdict
            deciding = "failed"
            verdict = self._verdict("failed_when", outcome)
            if verdict is not None:
                outcome["failed"] = outcome["failed_when_result"] = verdict
                if verdict:
                    outcome.setdefault("msg", "failed_when is true")
        except _fault() as fault:
            outcome.update({"failed": True, "msg": str(fault), "%s_when_result" % deciding: str(fault)})
        return outcome

    def _verdict(self, key, outcome):
        conditions = self._get(key)
        if conditions is None or isinstance(conditions, bool):
            return conditions
        return self._holds(conditions, outcome)

    def _holds(self, conditions, outcome):
        names = self._registered
        if self._task.get("register") is not None:
            names = dict(names, **{self._task["register"]: as_sent(outcome)})
        return _first_false(conditions, names) is None


def _is_unknown(result):
    return isinstance(result, dict) and (result.get("unknown") is True or result.get("unforeseen") is True)


def as_sent(value):
    """A result as the controller will read it: what is no JSON becomes what the wire makes of it."""
    text = json.dumps(value, default=unusual, skipkeys=True, ensure_ascii=False)
    return loads(text.encode("utf-8", "replace").decode("utf-8"))


def _sleep(seconds, services):
    """Wait; False when no more is to be begun."""
    end = time.monotonic() + seconds
    while not services.stopping():
        left = end - time.monotonic()
        if left <= 0:
            return True
        time.sleep(min(left, NAP))
    return False


def _shown(task, outcome):
    """The result without what no_log hides."""
    if not task.get("no_log"):
        return outcome
    kept = ("changed", "failed", "skipped")
    return dict({key: outcome[key] for key in kept if key in outcome}, censored=CENSORED)


def _first_false(conditions, registered):
    from . import expression

    return expression.first_false(conditions, registered)


def _names_in(conditions):
    from . import expression

    return expression.names_in(conditions)


def _fault():
    from . import expression

    return expression.ConditionFault
