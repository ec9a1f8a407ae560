"""Files from the web: resumed where they broke off, and verified before anyone reads them."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from tvmops.digests import file_sha256
from tvmops.errors import StackError
from tvmops.stack.environment import OnProgress

READ_DEADLINE = 30.0  # seconds without a byte
DEADLINE = 7200.0  # seconds for one file
ATTEMPTS = 5  # that bring nothing new, one after the other
PAUSE = 2.0  # seconds before the next attempt
MAX_BYTES = 4 << 30
_PIECE = 1 << 16
_REPORT = 1.0  # seconds between two lines of progress
_OTHER = "other ways to the same source (a mirror, a file, a folder): docs/sources.md"
_FAULTS = (urllib.error.URLError, http.client.HTTPException, OSError)


def download(url: str, target: Path, sha256: str, on_progress: OnProgress) -> None:
    """Bring the file at `url` to `target`, which then has this SHA-256. Raises StackError.

    What came before a broken connection is kept in `target`.part, and the next call goes on from there.
    """
    part = target.with_name(target.name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    resumed = part.exists()
    _bring(url, part, on_progress)
    digest = file_sha256(part)
    if digest != sha256 and resumed:
        # What lay there may have been of another file: once from the beginning.
        part.unlink()
        _bring(url, part, on_progress)
        digest = file_sha256(part)
    if digest != sha256:
        part.unlink()
        raise StackError(
            f"{url}: the fetched file has the SHA-256 {digest}, not {sha256}",
            "it was removed; the server, or something on the way to it, gives another file than it should",
        )
    part.replace(target)


def _bring(url: str, part: Path, on_progress: OnProgress) -> None:
    give_up = time.monotonic() + DEADLINE
    left = ATTEMPTS
    while True:
        before = _size(part)
        try:
            _transfer(url, part, on_progress, give_up)
            return
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise StackError(f"{url}: the server says {error.code} {error.reason}", _OTHER) from None
            why = f"the server says {error.code} {error.reason}"
        except _FAULTS as error:
            why = str(getattr(error, "reason", "") or error or type(error).__name__)
        left = ATTEMPTS if _size(part) > before else left - 1
        if left == 0 or time.monotonic() > give_up:
            raise StackError(
                f"{url} cannot be fetched: {why}",
                f"run again: what has come ({_size(part) / 1e6:.1f} MB) is kept; {_OTHER}",
            )
        on_progress(f"{why}: trying again")
        time.sleep(PAUSE)


def _transfer(url: str, part: Path, on_progress: OnProgress, give_up: float) -> None:
    """One request, appended to `part`. Returns when the file is whole. Raises one of _FAULTS, StackError."""
    have = _size(part)
    headers = {"User-Agent": "tvmops", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  the scheme was checked
    try:
        answer: Any = urllib.request.urlopen(request, timeout=READ_DEADLINE)  # noqa: S310
    except urllib.error.HTTPError as error:
        if have and error.code == 416:
            if error.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
                return  # it was whole already
            part.unlink()
            raise http.client.IncompleteRead(b"") from None
        raise
    with answer:
        if answer.status != 206 or not str(answer.headers.get("Content-Range", "")).startswith(f"bytes {have}-"):
            have = 0  # a server that sends all of it again
        whole = have + int(answer.headers.get("Content-Length") or 0)
        name = urlsplit(url).path.rpartition("/")[2]
        of = f" of {whole / 1e6:.1f} MB" if whole > have else " MB"
        with part.open("ab" if have else "wb") as out:
            _copy(answer, out, lambda size: on_progress(f"fetching {name}: {size / 1e6:.1f}{of}"), give_up)
    if whole > have and _size(part) < whole:
        raise http.client.IncompleteRead(b"", whole - _size(part))


def _copy(answer: Any, out: IO[bytes], tell: Callable[[int], None], give_up: float) -> None:
    told = time.monotonic()
    while piece := answer.read1(_PIECE):
        out.write(piece)
        now = time.monotonic()
        if out.tell() > MAX_BYTES or now > give_up:
            limit = f"{MAX_BYTES >> 30} GiB" if out.tell() > MAX_BYTES else f"{DEADLINE:.0f} s"
            raise StackError(f"{answer.url}: more than {limit}", "no sources are as large, or as slow to get")
        if now - told > _REPORT:
            tell(out.tell())
            told = now


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
