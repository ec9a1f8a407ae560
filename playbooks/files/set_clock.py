"""Set this board's clock from the controller's, when it is off by more than a little.

    TVMOPS_CLOCK='{"controller": S, "uptime": S, "tolerance": S, "delay": S, "check": false}' python3 set_clock.py

controller: seconds since 1970, read on the controller after it had been told `uptime`, this board's seconds since it
started. So the controller's reading lies between that moment and now, and the middle is wrong by half of that at most;
when that is more than half of `delay`, nothing is set. Exit status 0: the clock is right; 3: it was set (check: it
would be); 1: it cannot be. One line says which. Standard library only, Python 3.5 or newer.
"""

import json
import os
import subprocess
import sys
import time

UPTIME = "/proc/uptime"
# No time before the system's own files were made can be right.
SYSTEM_FILES = ("/usr/lib/os-release", "/etc/os-release")
KEEPERS = (
    (["hwclock", "--systohc", "--utc"], "/dev/rtc0"),
    (["fake-hwclock", "save", "force"], "/sbin/fake-hwclock"),
    (["fake-hwclock", "save", "force"], "/usr/sbin/fake-hwclock"),
)
RIGHT, WRONG, SET = 0, 1, 3


def main():
    """Exit status as above, and one line."""
    asked = json.loads(os.environ["TVMOPS_CLOCK"])
    status, text = work(asked)
    print(text)
    return status


def work(asked):
    """(exit status, a line for people)."""
    seen = uptime()
    delay = max(0.0, seen - asked["uptime"])
    if delay > asked["delay"]:
        return WRONG, (
            "%.1f s passed between this board's word and now: too long to set a clock by. Is the link or the "
            "board that slow (--limit it to few boards, or give clock_delay more seconds)?" % delay
        )
    now = asked["controller"] + delay / 2
    off = time.time() - now
    if abs(off) <= asked["tolerance"] + delay / 2:
        return RIGHT, "the clock is right to within %.1f s" % (abs(off) + delay / 2)
    made = system_made()
    if now < made:
        return WRONG, "the controller's clock says %s, but this system was made %s: set the controller's clock" % (
            date(now), date(made),
        )  # fmt: skip
    what = "%s (%s instead of %s)" % (distance(off), date(now + off), date(now))
    if asked["check"]:
        return SET, "the clock is %s; it would be set" % what
    try:
        time.clock_settime(time.CLOCK_REALTIME, now + uptime() - seen)
    except OSError as error:
        return WRONG, "the clock is %s, and this system may not set it (%s): %s" % (
            what, error.strerror, "it is a container, whose clock is its host's" if contained() else "is it root's?",
        )  # fmt: skip
    return SET, "the clock was %s; it is set%s" % (what, keep())


def uptime():
    """Seconds since the board started, which no setting of clocks changes."""
    with open(UPTIME) as stream:
        return float(stream.read().split()[0])


def system_made():
    """The latest time that this system's files bear, as their packages were built with."""
    times = [os.stat(path).st_mtime for path in SYSTEM_FILES if os.path.exists(path)]
    return max(times) if times else 0.0


def contained():
    return os.path.exists("/run/systemd/container") or os.path.exists("/.dockerenv")


def keep():
    """Have the hardware's clock, or what stands in for it, keep the time over a restart."""
    for command, needs in KEEPERS:
        if not os.path.exists(needs):
            continue
        try:
            subprocess.check_output(command, stderr=subprocess.STDOUT, timeout=20)
        except (OSError, subprocess.SubprocessError) as error:
            return ", but the hardware's clock did not take it (%s)" % error
        return ", the hardware's too"
    return ""


def distance(seconds):
    """A difference in words."""
    size = abs(seconds)
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if size >= 2 * length:
            return "%d %s %s" % (size / length, unit, "fast" if seconds > 0 else "slow")
    return "%.1f seconds %s" % (size, "fast" if seconds > 0 else "slow")


def date(seconds):
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


if __name__ == "__main__":
    sys.exit(main())
