"""Runs a compiled model on this board, without RPC: compared with the reference first, timed then.

    python3 -s local_run.py FOLDER RELEASE

FOLDER has job.json, model.so and reference.npz; it gets status.json (the phase), output_0.npy.. and, at the end and in
one step, outcome.json. RELEASE is the folder of TVM's runtime. Ends with exit status 0 when there is an outcome.
Standard library only, Python 3.5 or newer.
"""

import os
import signal
import sys
import traceback

import local_steps
from local_compare import Failure

HINTS = {
    signal.SIGILL: ": the model or the runtime is compiled for a processor with more instructions than this one has",
    signal.SIGKILL: ": somebody ended it, or the board's memory was used up",
}
WORDS = 500


class Overdue(Exception):
    """timeout(1) has sent its signal."""


def main(arguments):
    """The exit status."""
    folder, release = (os.path.abspath(argument) for argument in arguments)
    signal.signal(signal.SIGTERM, _overdue)
    # In a process of its own: a library for another processor ends it by a signal, a model too large by the kernel.
    child = None
    try:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os._exit(run(folder, release))
        outcome = ending(os.waitpid(child, 0)[1])
    except Overdue:
        if child:
            os.kill(child, signal.SIGKILL)
        outcome = failure("Timeout", "its time was over")
    if outcome is not None:
        local_steps.write_json(os.path.join(folder, "outcome.json"), outcome)
    return 0


def run(folder, release):
    """Do the job and leave its outcome.json, also of one that failed."""
    try:
        outcome = local_steps.measure(folder, release)
    except Failure as error:
        outcome = failure(error.kind, str(error))
    except MemoryError:
        outcome = failure("Board", "the board has too little memory for the model")
    except Exception as error:  # TVM's own classes: what they say is for people
        traceback.print_exc()
        outcome = failure("Board", "cannot run the model on the board: %s" % first_words(error))
    local_steps.write_json(os.path.join(folder, "outcome.json"), outcome)
    return 0


def ending(status):
    """The outcome of a child that could not leave one itself; None when it did."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGTERM:
            return failure("Timeout", "its time was over")
        name = signal.Signals(number).name
        return failure("Crash", "the model ended by %s%s" % (name, HINTS.get(number, "")))
    if os.WEXITSTATUS(status) != 0:
        return failure("Board", "the program ended with exit status %d" % os.WEXITSTATUS(status))
    return None


def failure(kind, message):
    """outcome.json of a job that failed."""
    return {"ok": False, "error": {"kind": kind, "message": message}}


def first_words(error):
    """What an exception says, in one short line, without the frames that TVM adds."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    frames = ("File ", "at ", "Traceback", "Stack trace", "[bt]")
    text = " ".join(line for line in lines if not line.startswith(frames)) or type(error).__name__
    return text[:WORDS]


def _overdue(_number, _frame):
    raise Overdue()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
