"""Pin a board's clocks for measuring, and give them back: governors, turbo, a Jetson's power mode.

    python3 -I power set SETTINGS [--check] [--root DIR]
    python3 -I power restore [--check] [--root DIR]

SETTINGS is JSON; what is absent or empty is left alone: {"cpu": "performance", "turbo": "off", "gpu": "performance",
"gpu_names": REGEX, "nvpmodel": "0", "jetson_clocks": true}

What was there before the first change is kept in /var/lib/tvmops/power.json until it is restored. One line of JSON says
what was done: {"changed", "changes": [{"what", "before", "after"}], "notes": [..], "firmware": {..} or null}; with exit
status 1 its "problem" says what could not be. --check only says what would be done.

Standard library only, Python 3.5 or newer.
"""

import json
import sys

import board_files
import firmware
import jetson
import kernel_clocks
import undoing


def set_up(work, wanted):
    """Raises Problem. A Jetson's power mode comes first, because it sets which clocks there are."""
    reason = kernel_clocks.not_its_own(work.board)
    if reason:
        work.notes.append(reason)
        return
    kernel_clocks.refuse(work.board, wanted)
    record = undoing.Record(work.board)
    jetson.set_up(work, wanted, record)
    kernel_clocks.set_up(work, wanted, record)


def restore(work):
    """Bring back what the record holds, the last thing first. Raises Problem."""
    board, record = work.board, undoing.Record(work.board)
    if record.kept is None:
        work.notes.append("nothing to restore: no clock of this board was changed")
        return
    # A user's own clock can be written only once the governor that heeds it is back.
    for path, value in sorted(record.kept["values"], key=lambda one: one[0].endswith("scaling_setspeed")):
        before = board.read(path)
        if before is None:
            work.notes.append("/%s is no longer there" % path)
        elif before != value:
            kernel_clocks.write(work, path, before, value)
    if record.kept.get("jetson_clocks"):
        store = board.path(undoing.CLOCKS_STORE)
        work.change("jetson_clocks", "on", "as before", lambda: board.output("jetson_clocks", "--restore", store))
    mode, before = record.kept.get("nvpmodel"), jetson.power_mode(board)
    if mode and before not in (None, mode):
        work.change("nvpmodel", before, mode, lambda: jetson.set_power_mode(board, mode))
    work.change("/" + undoing.RECORD, "kept", "removed", record.remove)


def main(arguments):
    """Exit status 0 or 1, and one line of JSON."""
    root, check, words = "/", False, []
    remaining = list(arguments)
    while remaining:
        word = remaining.pop(0)
        if word == "--root":
            root = remaining.pop(0)
        elif word == "--check":
            check = True
        else:
            words.append(word)
    work, answer = undoing.Work(board_files.Board(root), check), {"firmware": None}
    try:
        if words[0] == "set":
            answer["firmware"] = firmware.report(work.board)
            work.notes += firmware.notes(answer["firmware"])
            set_up(work, json.loads(words[1]))
        elif words[0] == "restore":
            restore(work)
        else:
            raise board_files.Problem("set or restore")
    except board_files.Problem as problem:
        answer["problem"] = str(problem)
    except (IOError, OSError) as error:
        answer["problem"] = "%s: %s" % (error.filename, error.strerror)
    answer.update(changed=bool(work.changes), changes=work.changes, notes=work.notes)
    print(json.dumps(answer, sort_keys=True))
    return 1 if "problem" in answer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
