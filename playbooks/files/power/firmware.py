"""What a Raspberry Pi's firmware says of its supply; it lowers the clock without telling the kernel."""

import re

from board_files import Problem

BITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
SINCE_BOOT = 16  # bits 16 to 19 say the same of any time since boot


def report(board):
    """A Raspberry Pi's own report on its supply: {"raw", "now", "since_boot"}; None on other boards."""
    try:
        # The kernel's file may say 0 for ever: the firmware's own program is asked first.
        text = board.output("vcgencmd", "get_throttled")
    except Problem:
        text = ""
    text = text or board.read("sys/devices/platform/soc/soc:firmware/get_throttled") or ""
    match = re.search(r"^(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})\s*$", text.strip())
    if not match:
        return None
    value = int(match.group(1), 16)
    return {
        "raw": "0x%x" % value,
        "now": [name for bit, name in sorted(BITS.items()) if value >> bit & 1],
        "since_boot": [name for bit, name in sorted(BITS.items()) if value >> (bit + SINCE_BOOT) & 1],
    }


def notes(found):
    """What of the report an owner must know."""
    if found is None or not (found["now"] or found["since_boot"]):
        return []
    now = ", ".join(found["now"]) or "nothing"
    text = "the firmware reports (get_throttled %s) now: %s; since boot: %s. It lowers the clock whatever the governor "
    text += "says: use a stronger supply or better cooling before measuring"
    return [text % (found["raw"], now, ", ".join(found["since_boot"]) or "nothing")]
