"""Files from the web, by their hash. Downloaded once, whole or not at all; offline afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, List, Union

from ..failures import JobError, first_words
from ..job import file_sha256
from .locked import locked

SILENT_SECONDS = 60.0
DOWNLOAD_SECONDS = 3600.0
SCHEMES = ("http", "https", "ftp", "file")
# Which hash a pin is, by its number of digits. Some publishers give a sha512 only.
ALGORITHMS = {64: "sha256", 128: "sha512"}


def download(urls: Union[str, List[str]], pin: str, cache_dir: Path) -> Path:
    """The file that one of `urls` gives; `pin` is its sha256 or sha512. Raises JobError: BadInput, Download."""
    if len(str(pin)) not in ALGORITHMS or set(str(pin)) - set("0123456789abcdef"):
        raise JobError("BadInput", f"'{pin}' is no sha256 and no sha512: 64 or 128 hexadecimal digits")
    wanted = [urls] if isinstance(urls, str) else list(urls)
    name = Path(urllib.parse.urlsplit(wanted[0]).path).name or "file"
    folder = cache_dir / "files" / pin[:64]
    target = folder / name
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        if not target.is_file():
            _first_that_works(wanted, pin, target)
    return target


def _first_that_works(urls: List[str], pin: str, target: Path) -> None:
    failures = []
    for url in urls:
        try:
            _get(url, pin, target)
            return
        except JobError as error:
            print(error.message)
            failures.append(error.message)
    raise JobError("Download", "; ".join(failures))


def _get(url: str, pin: str, target: Path) -> None:
    if urllib.parse.urlsplit(url).scheme not in SCHEMES:
        raise JobError("BadInput", f"{url} is no URL that can be fetched; known: {', '.join(SCHEMES)}")
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        # S310: the schemes are checked above.
        with urllib.request.urlopen(url, timeout=SILENT_SECONDS) as answer, part.open("wb") as stream:  # noqa: S310
            found = _copy(answer, stream, url, ALGORITHMS[len(pin)])
        if found != pin:
            name = ALGORITHMS[len(pin)]
            raise JobError("Download", f"{url} has {name} {found}, the workload says {pin}; not used")
        part.replace(target)
    except (OSError, ValueError) as error:
        raise JobError("Download", f"{url} cannot be downloaded: {first_words(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _copy(answer: Any, stream: Any, url: str, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    end = time.monotonic() + DOWNLOAD_SECONDS
    for block in iter(lambda: answer.read(1 << 18), b""):
        if time.monotonic() > end:
            raise JobError("Download", f"{url} was not there whole after {DOWNLOAD_SECONDS:.0f} s")
        digest.update(block)
        stream.write(block)
    return digest.hexdigest()


def check_sha256(path: Path, sha256: Any) -> Path:
    """The path, if its content is the one named. Raises JobError (BadInput)."""
    found = file_sha256(path)
    if sha256 and sha256 != found:
        raise JobError("BadInput", f"{path} has sha256 {found}, the workload says {sha256}")
    return path
