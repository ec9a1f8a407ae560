"""Build a source tree with CMake on this machine, or say what this machine can build with.

    python3 -I build probe                prints JSON
    python3 -I build build SPEC.json      builds in the folder of SPEC.json; the last line is JSON
    python3 -I build sweep                removes swap files that killed builds have left

Standard library only, Python 3.5 or newer. What SPEC.json holds: building.py.
"""

import json
import os
import signal
import sys

sys.dont_write_bytecode = True

import building  # noqa: E402
import probe  # noqa: E402
import running  # noqa: E402


def main(arguments):
    """Exit status 0; 1: the build failed; 2: wrong use."""
    if arguments[:1] == ["probe"] and len(arguments) == 1:
        probe.main()
        return 0
    if arguments[:1] == ["sweep"] and len(arguments) == 1:
        print(json.dumps({"removed": building.sweep()}))
        return 0
    if arguments[:1] == ["build"] and len(arguments) == 2:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _leave)
        result = building.build(os.path.abspath(arguments[1]))
        try:
            for line in building.complaint(result):
                sys.stderr.write(line + "\n")
            sys.stderr.flush()
        except (IOError, OSError):
            pass  # nobody reads it; the next build in this folder tells it again
        running.tell(json.dumps(result, sort_keys=True))
        return 1 if result["outcome"] == "failed" else 0
    sys.stderr.write(__doc__)
    return 2


def _leave(number, _frame):
    """Asked to end: by way of an exception, so that swap is given back and compilers are ended."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
