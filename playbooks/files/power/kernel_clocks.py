"""Clocks that the kernel sets: governors of processors and GPUs, turbo."""

import os
import re

from board_files import Problem

CPU_FREQ = "sys/devices/system/cpu"
GPU_NAMES = "gpu|mali|gp10b|gv11b|ga10b"
# In YAML on and off are truth values.
SWITCH = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}


class Setting:
    """One file of the kernel's, and what it should hold."""

    def __init__(self, path, wanted, choices=None, follows=None):
        self.path, self.wanted = path, wanted
        self.choices = choices  # the file beside it that lists what it may hold
        self.follows = follows  # a file whose value counts only under the present one, e.g. a user's own clock


def settings_of(board, wanted):
    """([Setting], [notes]): what of `wanted` this board has a file for, and what it has none for."""
    found, notes = [], []
    for key, collect, what in (
        ("cpu", cpu_settings, "no cpufreq: its CPU clock cannot be set from here"),
        ("turbo", turbo_settings, "no switch for turbo"),
        ("gpu", gpu_settings, "no GPU whose clock the kernel scales"),
    ):
        if wanted.get(key):
            settings = collect(board, wanted)
            found += settings
            if not settings:
                notes.append("this board has %s" % what)
    return found, notes


def cpu_settings(board, wanted):
    """One for each group of processors that share a clock."""
    folders = board.glob(CPU_FREQ + "/cpufreq/policy[0-9]*")
    if not folders:
        folders, seen = [], set()
        for folder in board.glob(CPU_FREQ + "/cpu[0-9]*/cpufreq"):
            real = os.path.realpath(board.path(folder))
            if real not in seen:
                seen.add(real)
                folders.append(folder)
    return [
        Setting(folder + "/scaling_governor", wanted["cpu"], "scaling_available_governors", "scaling_setspeed")
        for folder in folders
        if board.read(folder + "/scaling_governor") is not None
    ]


def turbo_settings(board, wanted):
    """Intel's switch is upside down."""
    word = wanted["turbo"].lower()
    if word not in SWITCH:
        raise Problem("power_turbo is on or off, not '%s'" % wanted["turbo"])
    on = SWITCH[word]
    for path, value in ((CPU_FREQ + "/intel_pstate/no_turbo", "01"[not on]), (CPU_FREQ + "/cpufreq/boost", "01"[on])):
        if board.read(path) is not None:
            return [Setting(path, value)]
    return []


def gpu_settings(board, wanted):
    """Governors of GPUs under devfreq (Mali, Jetson); Intel's GPU has a lowest clock instead, set to its highest."""
    names = _pattern(wanted.get("gpu_names") or GPU_NAMES)
    found = [
        Setting(folder + "/governor", wanted["gpu"], "available_governors")
        for folder in board.glob("sys/class/devfreq/*")
        if names.search(os.path.basename(folder)) and board.read(folder + "/governor") is not None
    ]
    if wanted["gpu"] == "performance":
        for folder in board.glob("sys/class/drm/card[0-9]*"):
            top = board.read(folder + "/gt_max_freq_mhz")
            if top and board.read(folder + "/gt_min_freq_mhz") is not None:
                found.append(Setting(folder + "/gt_min_freq_mhz", top))
    return found


def _pattern(text):
    try:
        return re.compile(text)
    except re.error as error:
        raise Problem("power_gpu_names: '%s' is no regular expression: %s" % (text, error))


def not_its_own(board):
    """Why the clocks are not this board's to set; None when they are."""
    if board.read("run/systemd/container") or board.read("run/host/container-manager"):
        return "this board is a container: its clocks are those of the machine that holds it; nothing was changed"
    try:
        read_only = os.statvfs(board.path(CPU_FREQ)).f_flag & os.ST_RDONLY
    except OSError:
        return None
    return "the kernel's settings are read-only here; nothing was changed" if read_only else None


def refuse(board, wanted):
    """Raises Problem when the kernel lacks what is wanted, before anything is changed."""
    for one in settings_of(board, wanted)[0]:
        if board.read(one.path) != one.wanted:
            _possible(board, one)


def set_up(work, wanted, record):
    """Raises Problem."""
    board = work.board
    settings, missing = settings_of(board, wanted)
    work.notes += missing
    due = [(one, board.read(one.path)) for one in settings]
    due = [(one, before) for one, before in due if before != one.wanted]
    if due and not work.check:
        record.keep(_before(board, due))
    for one, before in due:
        write(work, one.path, before, one.wanted)


def _before(board, due):
    values = []
    for one, before in due:
        values.append((one.path, before))
        beside = os.path.join(os.path.dirname(one.path), one.follows or "")
        speed = board.read(beside) if one.follows and before == "userspace" else None
        if speed and speed.isdigit():
            values.append((beside, speed))
    return values


def _possible(board, setting):
    choices = board.read(os.path.join(os.path.dirname(setting.path), setting.choices)) if setting.choices else None
    if choices and setting.wanted not in choices.split():
        raise Problem("/%s cannot be '%s'; it can be: %s" % (setting.path, setting.wanted, ", ".join(choices.split())))


def write(work, path, before, value):
    """Change the content of a file from `before` to `value`. Raises Problem."""
    work.change("/" + path, before, value, lambda: _write(work.board, path, value))


def _write(board, path, value):
    """Write and look again: a driver may take a value and keep its own."""
    try:
        with open(board.path(path), "w") as stream:
            stream.write(value + "\n")
    except (IOError, OSError) as error:
        raise Problem("/%s does not take '%s': %s" % (path, value, error.strerror))
    now = board.read(path)
    if now != value:
        raise Problem("/%s was set to '%s' and is still '%s'" % (path, value, now))
