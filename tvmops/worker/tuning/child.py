"""A child process of tuning: loads one module of the worker, then answers calls until its stdin ends.

    python child.py FOLDER_OF_THE_WORKER MODULE

MODULE is a name inside the worker's package (`.tuning.running`) or a path of a file of its own. Calls and answers are
pickles of plain values, each after its length in eight bytes. What the module prints goes to stderr.
"""

import importlib
import importlib.util
import os
import pickle
import struct
import sys
import threading
import time
import traceback
from pathlib import Path

NAME = "tvmops_worker"
MESSAGE_LENGTH = 2000


def main():
    """Answers {"function", "argument"} with ("value", what it returned) or ("error", type, message)."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.dup2(2, 1)
    end_with_parent()
    module = load(sys.argv[1], sys.argv[2])
    send(answers, ("ready",))
    while True:
        request = receive(requests)
        if request is None:
            return
        try:
            answer = ("value", getattr(module, request["function"])(request["argument"]))
        except Exception as error:
            traceback.print_exc()
            answer = ("error", type(error).__name__, str(error)[-MESSAGE_LENGTH:])
        send(answers, answer)


def load(worker, name):
    """The module; the worker's folder is loaded as a package, as its __main__.py does."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    if not name.startswith("."):
        spec = importlib.util.spec_from_file_location("child_module", name)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    init = Path(worker) / "__init__.py"
    spec = importlib.util.spec_from_file_location(NAME, str(init), submodule_search_locations=[worker])
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])
    return importlib.import_module(NAME + name)


def send(stream, message):
    """One pickle."""
    data = pickle.dumps(message)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def receive(stream):
    """One pickle, or None at the end."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    return pickle.loads(stream.read(struct.unpack("<Q", head)[0]))  # noqa: S301  from our own worker


def end_with_parent():
    """Ends soon after the worker, also in the middle of a call."""
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()
