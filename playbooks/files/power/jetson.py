"""NVIDIA's own programs for the clocks of Jetsons: nvpmodel and jetson_clocks."""

import os
import re

from board_files import Problem
from undoing import CLOCKS_STORE


def set_up(work, wanted, record):
    """The power mode first, because it sets which clocks there are. Raises Problem."""
    board = work.board
    mode = str(wanted.get("nvpmodel", ""))
    if mode:
        before = power_mode(board)
        if before is None:
            work.notes.append("this board has no nvpmodel: no power mode to choose")
        elif before != mode:
            work.change("nvpmodel", before, mode, lambda: _choose_power_mode(board, mode, before, record))
    if wanted.get("jetson_clocks"):
        if board.program("jetson_clocks") is None:
            work.notes.append("this board has no jetson_clocks")
        elif not clocks_pinned(board):
            work.change("jetson_clocks", "off", "on", lambda: _pin_clocks(board, record))


def _choose_power_mode(board, mode, before, record):
    record.keep([], nvpmodel=before)
    set_power_mode(board, mode)


def power_mode(board):
    """The number that `nvpmodel -q` ends with; None without nvpmodel."""
    lines = board.output("nvpmodel", "-q").split()
    return lines[-1] if lines and lines[-1].isdigit() else None


def set_power_mode(board, mode):
    board.output("nvpmodel", "-m", mode)
    now = power_mode(board)
    if now != mode:
        raise Problem("nvpmodel -m %s was not taken, the mode is still %s; it may need a reboot" % (mode, now))


def clocks_pinned(board):
    """Whether every core's lowest clock is its highest, as jetson_clocks leaves them."""
    text = board.output("jetson_clocks", "--show")
    cores = re.findall(r"cpu\d+:\s*(?:Online=1\s+)?(?:Gonvernor|Governor)=\S+\s+MinFreq=(\d+)\s+MaxFreq=(\d+)", text)
    return bool(cores) and all(low == high for low, high in cores)


def _pin_clocks(board, record):
    store = board.path(CLOCKS_STORE)
    if not os.path.isdir(os.path.dirname(store)):
        os.makedirs(os.path.dirname(store))
    if not os.path.exists(store):
        board.output("jetson_clocks", "--store", store)
    record.keep([], jetson_clocks=True)
    board.output("jetson_clocks")
    if not clocks_pinned(board):
        raise Problem("jetson_clocks ran, but --show says that clocks still vary")
