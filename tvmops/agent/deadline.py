"""A task's deadline: what runs past it is stopped, its programs first."""

import signal
import sys

AGAIN = 1.0  # seconds between further looks at a task that is past its deadline
PATIENCE = 5  # of those until a task that went on all the same is stopped once more


class _Clock:
    """held: inside how many `held` blocks the task is; looks: how often the alarm has rung."""

    held = 0
    looks = 0


class TaskTimedOut(BaseException):
    """The running task is past its deadline. No Exception: modules must not take it for a fault of theirs."""


def within(seconds, function, *arguments):
    """Call `function`, in the main thread, for so long at most. Raises TaskTimedOut, and what it raises."""
    before = signal.signal(signal.SIGALRM, _on_alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
        try:
            return function(*arguments)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except TaskTimedOut:
        # It may have come in the very moment in which the timer was to be stopped.
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise
    finally:
        signal.signal(signal.SIGALRM, before)
        _Clock.looks = 0


class held(object):  # noqa: N801
    """A block that the deadline does not cut through, but ends: programs in it are killed, then it is over."""

    def __enter__(self):
        _Clock.held += 1

    def __exit__(self, *_exception):
        _Clock.held -= 1
        if not _Clock.held and _Clock.looks:
            raise TaskTimedOut()


def _on_alarm(number, frame):
    _Clock.looks += 1
    if _Clock.held:
        process = sys.modules.get("%s.process" % __package__)
        if process is not None:
            process.kill_all()
    elif _Clock.looks % PATIENCE == 1:
        raise TaskTimedOut()
