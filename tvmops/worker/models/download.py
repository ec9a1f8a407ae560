"""Files by URL: fetched once into the cache, known by their sha256. Offline afterwards."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Dict, List
from urllib.parse import unquote, urlsplit

from ..failures import JobError
from ..job import file_sha256
from .locked import locked

SILENCE_SECONDS = 60.0
WHOLE_SECONDS = 3600.0
BLOCK = 1 << 18
SCHEMES = ("https", "http", "file")
PART_OK = 206


def placed_file(place: Any, cache_dir: Path, what: str) -> Path:
    """The file that `place` means: `path` (absolute) with or without sha256, or `url` with sha256 and maybe `mirror`.

    `what` names it in messages. Raises JobError: BadInput, Download.
    """
    if not isinstance(place, dict) or bool(place.get("path")) == bool(place.get("url")):
        raise JobError("BadInput", f"{what} needs either 'path' or 'url' (with 'sha256')")
    return _local(place, what) if place.get("path") else _fetched(place, cache_dir, what)


def _local(place: Dict[str, Any], what: str) -> Path:
    path = Path(place["path"]).expanduser()
    if not path.is_absolute():
        raise JobError("BadInput", f"{what}: path '{path}' must be absolute: a worker has no directory of its own")
    if not path.is_file():
        raise JobError("BadInput", f"{path}: no such file ({what})")
    wanted = place.get("sha256")
    if wanted:
        found = file_sha256(path)
        if found != wanted:
            raise JobError("BadInput", f"{path} has sha256 {found}, the workload says {wanted}")
    return path


def _fetched(place: Dict[str, Any], cache_dir: Path, what: str) -> Path:
    url, wanted = str(place["url"]), place.get("sha256")
    if not wanted:
        raise JobError("BadInput", f"{what}: a 'url' needs the file's 'sha256' beside it")
    name = Path(unquote(urlsplit(url).path)).name or "model"
    target = cache_dir / "models" / str(wanted) / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.parent / ".lock"):
        if target.is_file() and file_sha256(target) == wanted:
            return target
        problems: List[str] = []
        for address in _addresses(place, name):
            part = target.with_name(f".{name}.part")
            try:
                _download(address, part)
            except (OSError, http.client.HTTPException, ValueError) as error:
                problems.append(f"{address}: {_reason(error)}")
                continue
            found = file_sha256(part)
            if found == wanted:
                part.replace(target)
                return target
            size = part.stat().st_size
            part.unlink()
            problems.append(f"{address}: {size} bytes with sha256 {found}, the workload says {wanted}; not used")
    raise JobError("Download", f"{what} cannot be fetched: {'; '.join(problems)}. Give another 'mirror', or its 'path'")


def _addresses(place: Dict[str, Any], name: str) -> List[str]:
    """The mirror first: whoever names one has a reason. One that ends in / is the folder of the file."""
    found = [str(place["url"])]
    mirror = place.get("mirror")
    if mirror:
        found.insert(0, f"{mirror}{name}" if str(mirror).endswith("/") else str(mirror))
    for address in found:
        if urlsplit(address).scheme not in SCHEMES:
            raise JobError("BadInput", f"{address}: only {', '.join(SCHEMES)} addresses can be fetched")
    return found


def _download(address: str, part: Path) -> None:
    """Into `part`, from where an earlier attempt was cut off if the server can do that."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"User-Agent": "tvmops"})  # noqa: S310 the same
    if have and not address.startswith("file:"):
        request.add_header("Range", f"bytes={have}-")
    end = time.monotonic() + WHOLE_SECONDS
    try:
        answer = urllib.request.urlopen(request, timeout=SILENCE_SECONDS)  # noqa: S310 _addresses has checked it
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing is left to send: the hash decides
            return
        raise
    with answer, part.open("ab" if getattr(answer, "status", None) == PART_OK else "wb") as stream:
        length = answer.headers.get("Content-Length")
        got = 0
        while True:
            block = answer.read(BLOCK)
            if not block:
                break
            stream.write(block)
            got += len(block)
            if time.monotonic() > end:
                raise OSError(f"not complete within {WHOLE_SECONDS:.0f} s; run again, it goes on from there")
    if length is not None and got < int(length):
        raise OSError(f"the connection ended after {got} of {length} bytes; run again, it goes on from there")


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__
