"""Why a job failed: a kind that programs read and a message that says what happened and what to do."""

from __future__ import annotations

import contextlib
import re

# What TVM puts around its words: Python's lines, and frames such as "2: tvm::runtime::...".
_FRAME = re.compile(r"File |at |Traceback|Stack trace|\[bt\]|\d+: \S")

KINDS = (
    "NotOnnx",
    "DynamicShape",
    "BadInput",
    "UnsupportedOperator",
    "Compile",
    "WrongOutput",
    "Rpc",
    "VersionMismatch",
    "Download",
    "Internal",
)


class JobError(Exception):
    """A job that cannot be done. `kind` is one of KINDS."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        if kind not in KINDS:
            raise ValueError(f"unknown failure kind {kind}")
        self.kind = kind
        self.message = message


@contextlib.contextmanager
def failing_as(kind: str, what: str):
    """Any other exception inside becomes a JobError of this kind: `what`, then the exception's own words."""
    try:
        yield
    except JobError:
        raise
    except Exception as error:
        raise JobError(kind, f"{what}: {first_words(error)}") from error


def first_words(error: BaseException, limit: int = 500) -> str:
    """The exception's message in one short line, without the C++ frames that TVM adds."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(line for line in lines if not _FRAME.match(line))
    text = text or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."
