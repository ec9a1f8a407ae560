"""What is done to a board's clocks, and what they were before."""

import json
import os

from board_files import Problem

RECORD = "var/lib/tvmops/power.json"
CLOCKS_STORE = "var/lib/tvmops/jetson_clocks.store"


class Record:
    """What was there before the first change: {"values": [[path, value], ..], "nvpmodel": .., "jetson_clocks": ..}."""

    def __init__(self, board):
        self.board = board
        text = board.read(RECORD)
        try:
            self.kept = json.loads(text) if text else None
        except ValueError:
            raise Problem("/%s is damaged; read it, set the clocks by hand and remove it" % RECORD)

    def keep(self, values, **others):
        """Add what is not kept yet; on the disk before anything is changed."""
        kept = self.kept or {"format": 1, "values": []}
        known = {path for path, _ in kept["values"]}
        kept["values"] += [[path, value] for path, value in values if path not in known]
        for name, value in others.items():
            kept.setdefault(name, value)
        self.kept = kept
        path = self.board.path(RECORD)
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path))
        with open(path + ".new", "w") as stream:
            json.dump(kept, stream, indent=1, sort_keys=True)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(path + ".new", path)

    def remove(self):
        for name in (CLOCKS_STORE, RECORD):
            if os.path.exists(self.board.path(name)):
                os.remove(self.board.path(name))


class Work:
    """What is done to a board, told as it goes."""

    def __init__(self, board, check):
        self.board, self.check = board, check
        self.changes, self.notes = [], []

    def change(self, what, before, after, do):
        """Do it, unless this is only a look, and tell."""
        if not self.check:
            do()
        self.changes.append({"what": what, "before": before, "after": after})
