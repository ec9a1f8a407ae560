"""How fact collectors look at a board: files under a root, and programs only where the root is the real one."""

import glob
import os
import re
import select
import struct
import subprocess


class Board:
    """The board itself, or (root, machine, bits given) a recorded tree of one."""

    def __init__(self, root="/", machine=None, bits=None):
        self.root = root
        self.live = root == "/"
        self.machine = machine or os.uname()[4]
        self.bits = bits or struct.calcsize("P") * 8

    def path(self, name):
        """Where a file of the board is."""
        return os.path.join(self.root, name.lstrip("/"))

    def read(self, name, limit=1 << 20):
        """A file's text, "" when it cannot be read. NUL bytes, as the device tree has them at ends, are dropped."""
        try:
            with open(self.path(name), "rb") as stream:
                return stream.read(limit).decode("utf-8", "replace").replace("\0", "")
        except (IOError, OSError, ValueError):
            return ""

    def line(self, name):
        """A file's first line without blanks around it, "" when there is none."""
        lines = self.read(name, 4096).splitlines()
        return lines[0].strip() if lines else ""

    def number(self, name):
        """A file's content as an int, None when it is none."""
        try:
            return int(self.line(name))
        except ValueError:
            return None

    def exists(self, name):
        """True when the file or folder is there."""
        return os.path.exists(self.path(name))

    def glob(self, pattern):
        """Board paths that match, in natural order (cpu2 before cpu10)."""
        found = glob.glob(self.path(pattern))
        prefix = len(self.root.rstrip("/"))
        return sorted((name[prefix:] for name in found), key=_natural)

    def listdir(self, name):
        """The names in a folder in natural order, [] when there is none."""
        try:
            return sorted(os.listdir(self.path(name)), key=_natural)
        except OSError:
            return []

    def output(self, argv, timeout=2.0):
        """A program's stdout and stderr; "" when it fails, is too slow (`timeout` seconds), or the board is a tree."""
        if not self.live:
            return ""
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError:
            return ""
        try:
            text = process.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return ""
        return text.decode("utf-8", "replace") if process.returncode == 0 else ""

    def first_line(self, argv, timeout=2.0):
        """The first line of a program that goes on printing for ever, "" when none comes within `timeout` seconds."""
        if not self.live:
            return ""
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            return ""
        try:
            ready, _, _ = select.select([process.stdout], [], [], timeout)
            return process.stdout.readline().decode("utf-8", "replace").strip() if ready else ""
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def _natural(name):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def key_values(text):
    """`KEY=value` lines as a dict; quotes around values are taken off."""
    values = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key.strip() and not key.startswith("#"):
            values[key.strip()] = value.strip().strip("\"'")
    return values


def colon_values(text):
    """`key : value` lines as a list of pairs, blank lines as (None, "")."""
    pairs = []
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            pairs.append((key.strip(), value.strip()))
        elif not line.strip():
            pairs.append((None, ""))
    return pairs
