"""Host ranges in inventories: `board[01:08]`, `rack-[a:c]`, `pi[0:10:2]`."""

from __future__ import annotations

import itertools
import re
import string

_RANGE = re.compile(r"\[([^\]]*)\]")


def expand(name: str) -> list[str]:
    """All the names a range stands for; the name itself when there is none. Raises ValueError saying why."""
    parts: list[list[str]] = []
    end = 0
    for match in _RANGE.finditer(name):
        parts.append([name[end : match.start()]])
        parts.append(_values(match[1]))
        end = match.end()
    parts.append([name[end:]])
    return ["".join(combination) for combination in itertools.product(*parts)]


def _values(text: str) -> list[str]:
    pieces = text.split(":")
    if len(pieces) not in (2, 3) or not pieces[1]:
        raise ValueError(f"'[{text}]' is not a range; write [first:last] or [first:last:step]")
    first, last = pieces[0] or "0", pieces[1]
    step = pieces[2] if len(pieces) == 3 else "1"
    if not step.isdecimal() or int(step) == 0:
        raise ValueError(f"'[{text}]': the step must be a number above 0")
    if first.isdecimal() and last.isdecimal():
        return _numbers(first, last, int(step), text)
    letters = string.ascii_letters
    if len(first) == len(last) == 1 and first in letters and last in letters:
        start, stop = letters.index(first), letters.index(last)
        if start > stop:
            raise ValueError(f"'[{text}]' runs backwards")
        return list(letters[start : stop + 1 : int(step)])
    raise ValueError(f"'[{text}]': both ends must be numbers or both single letters")


def _numbers(first: str, last: str, step: int, text: str) -> list[str]:
    if int(first) > int(last):
        raise ValueError(f"'[{text}]' runs backwards")
    if len(first) > 1 and first.startswith("0") and len(first) != len(last):
        raise ValueError(f"'[{text}]': a range with leading zeros needs both ends equally long")
    width = len(first) if first.startswith("0") else 0
    return [str(number).zfill(width) for number in range(int(first), int(last) + 1, step)]
