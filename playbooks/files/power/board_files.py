"""A board's files and programs, below a root folder."""

import glob
import os
import signal
import subprocess

PROGRAM_FOLDERS = ("usr/sbin", "usr/bin", "sbin", "bin", "opt/vc/bin")
PROGRAM_SECONDS = 60


class Problem(Exception):
    """What hinders, for people."""


class Board:
    """The board's files and programs below a root folder."""

    def __init__(self, root):
        self.root = root

    def path(self, name):
        return os.path.join(self.root, name.lstrip("/"))

    def read(self, name):
        """A file's text without blanks around it; None when it cannot be read."""
        try:
            with open(self.path(name), "r") as stream:
                return stream.read().strip()
        except (IOError, OSError, UnicodeDecodeError):
            return None

    def glob(self, pattern):
        prefix = len(self.root.rstrip("/")) + 1
        return sorted(name[prefix:] for name in glob.glob(self.path(pattern)))

    def program(self, name):
        """The path of a program; None when the board has none of this name."""
        found = (self.path(os.path.join(folder, name)) for folder in PROGRAM_FOLDERS)
        return next((path for path in found if os.access(path, os.X_OK)), None)

    def output(self, name, *arguments):
        """What a program prints. Raises Problem when it fails; "" when there is none of this name."""
        path = self.program(name)
        if path is None:
            return ""
        argv = [path] + list(arguments)
        pipe = subprocess.PIPE
        process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            # nvpmodel asks whether to reboot when a mode needs that: no.
            text = process.communicate(b"NO\n", timeout=PROGRAM_SECONDS)[0].decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # what a script has started holds the pipe, too
            process.communicate()
            raise Problem("%s took longer than %d s" % (" ".join(argv), PROGRAM_SECONDS))
        if process.returncode != 0:
            raise Problem("%s: exit status %d: %s" % (" ".join(argv), process.returncode, text.strip()[-300:]))
        return text
