"""What went wrong: faults of a build, and the first real error in what compilers, linkers and CMake say."""

import collections
import re

BEFORE, AFTER = 3, 14  # lines kept around the first error
TAIL = 25

_COMPILERS = r"(?:g\+\+|gcc|clang|clang\+\+|c\+\+|cc|cc1|cc1plus|as|lto1|nvcc)"
# What names a cause. A line that comes of another fault, like ninja's FAILED, is weak.
STRONG = [
    re.compile(pattern)
    for pattern in (
        r"^CMake Error\b",
        r":\s+(?:fatal |internal compiler )?error:\s",
        r"^\S*" + _COMPILERS + r": (?:(?:fatal )?error|internal compiler error): ",
        r"undefined reference to ",
        r"\bld(?:\.\w+)?: (?:cannot|error|.*: error adding symbols|.*uses VFP)",
        r"\bld(?:\.\w+)?: .*file (?:in wrong format|not recognized)",
        r"\bld(?:\.\w+)?: final link failed",
        r"^\S*ld: (?!warning|skipping).*: (?:undefined|multiple definition)",
        r"Killed signal terminated program",
        r"\bKilled\s*$|\bKilled\s+\(program ",
        r"No space left on device",
        r"Disk quota exceeded|Read-only file system|Input/output error",
        r"virtual memory exhausted|[Cc]annot allocate memory|out of memory",
        r"Illegal instruction|Segmentation fault|Bus error",
        r"Exec format error",
        r"^ninja: error: (?!.*stopped)",
        r"^ninja: fatal: ",
        r"free\(\): invalid pointer",
        r"CommandLine Error: Option ",
        r"version `\S+' not found",
        r"error while loading shared libraries",
        r"^make(?:\[\d+\])?: \*\*\* No rule to make target",
    )
]
WEAK = re.compile(r"^FAILED: |^ninja: build stopped|^make(?:\[\d+\])?: \*\*\* |^collect2: ")
OUT_OF_MEMORY = re.compile(
    r"Killed signal terminated program|\bKilled\s+\(program|\bKilled\s*$|\bError 137\b"
    r"|virtual memory exhausted|[Cc]annot allocate memory|out of memory allocating|std::bad_alloc"
)


class BuildFault(Exception):
    """A build that cannot go on: what happened, and what to do."""

    def __init__(self, message, hint="", step=""):
        Exception.__init__(self, message)
        self.message = message
        self.hint = hint
        self.step = step


class Reader:
    """Reads output line by line and keeps the first real error with the lines around it, in bounded memory."""

    def __init__(self):
        self.number = 0
        self.out_of_memory = False
        self._recent = collections.deque(maxlen=TAIL)
        self._strong = None
        self._weak = None

    def line(self, text):
        """Take the next line, without its newline."""
        self.number += 1
        if OUT_OF_MEMORY.search(text):
            self.out_of_memory = True
        for found in (self._strong, self._weak):
            if found is not None and len(found["after"]) < AFTER:
                found["after"].append(text)
        if self._strong is None and any(pattern.search(text) for pattern in STRONG):
            self._strong = self._found(text)
        elif self._weak is None and WEAK.search(text):
            self._weak = self._found(text)
        self._recent.append(text)

    def _found(self, text):
        return {"line": self.number, "text": text, "before": list(self._recent)[-BEFORE:], "after": []}

    def first_error(self):
        """{"line", "text", "context": [lines]}: the first error, else the last lines; None when nothing was said."""
        found = self._strong or self._weak
        if found is None:
            if not self._recent:
                return None
            return {"line": self.number, "text": self._recent[-1], "context": list(self._recent)}
        context = [one[:400] for one in found["before"] + [found["text"]] + found["after"]]
        return {"line": found["line"], "text": found["text"][:400], "context": context}
