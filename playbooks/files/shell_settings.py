"""Lines in the start-up files of users' shells that set TVM's environment by hand, as tutorials have it.

    python3 shell_settings.py [FOLDER...]      FOLDER: homes (default: those of all users who can log in)

Prints FILE:LINE: TEXT for each. Standard library only, Python 3.5 or newer.
"""

import io
import os
import pwd
import re
import sys

NAMES = (".bashrc", ".bash_profile", ".profile", ".zshrc", ".zprofile")
OURS = "# tvmops:"
# TVM's own variables always; the general ones where they are about TVM.
SETTING = re.compile(r"^\s*(?:export\s+)?(?:TVM_\w+=|(?:PYTHONPATH|LD_LIBRARY_PATH)=.*tvm)", re.IGNORECASE)
NO_LOGIN = ("nologin", "false", "sync")


def main(arguments):
    """Exit status 0."""
    for home in arguments or homes():
        for name in NAMES:
            path = os.path.join(home, name)
            for number, line in found(path):
                print("%s:%d: %s" % (path, number, line[:200]))
    return 0


def homes():
    """The homes of users who can log in, each once."""
    every = [user.pw_dir for user in pwd.getpwall() if os.path.basename(user.pw_shell) not in NO_LOGIN]
    return sorted(home for home in set(every) if os.path.isdir(home) and home != "/")


def found(path):
    """[(number, line)] of the settings in a file."""
    try:
        with io.open(path, encoding="utf-8", errors="replace") as stream:
            lines = stream.read(1 << 20).splitlines()
    except (IOError, OSError):
        return []
    return [(number, line.strip()) for number, line in enumerate(lines, 1) if SETTING.match(line) and OURS not in line]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
