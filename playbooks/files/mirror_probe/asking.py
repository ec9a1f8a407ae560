"""Candidates: all are asked at once, each has so long, the best is taken. And how one answer is fetched."""

import glob
import socket
import threading
import time
import urllib.error
import urllib.request

ANSWER_SECONDS = 8.0  # for each answer of a server
TOTAL_SECONDS = 25.0  # for a candidate; all are asked at once
SAMPLE_BYTES, SAMPLE_SECONDS = 2000000, 3.0  # what the speed is measured with
OURS = "# Written by tvmops"
AGENT = "Debian APT-HTTP/1.3 (tvmops)"


class Unusable(Exception):
    """Why a candidate cannot be taken."""


class Missing(Unusable):
    """There is a server, and it has no such file."""


def choose(reports, again=False):
    """The report to go by; None when none will do. One that is in use stays, unless asked to choose `again`."""
    usable = [one for one in reports if not one["problem"]]
    pool = [one for one in usable if not one["last"]] or usable
    kept = [one for one in pool if one["kept"] and not again]
    return kept[0] if kept else max(pool, key=lambda one: one["rate"]) if pool else None


def survey(candidates, again, ask):
    """`ask(candidate)` for the one in use and, unless that will do, for all others at once."""
    used = [] if again else [one for one in candidates if one["kept"]]
    together(used, ask)
    if not any(not one["problem"] for one in used):
        together([one for one in candidates if one not in used], ask)
        return candidates
    return used


def together(candidates, ask):
    """What has not answered in time is unusable."""
    threads = []
    for one in candidates:
        thread = threading.Thread(target=_ask, args=(one, ask))
        thread.daemon = True  # a name server that hangs must not hold the program
        thread.start()
        threads.append(thread)
    end = time.monotonic() + TOTAL_SECONDS
    for one, thread in zip(candidates, threads):
        thread.join(max(0.0, end - time.monotonic()))
        if thread.is_alive():
            one["problem"] = "no answer within %d s" % TOTAL_SECONDS


def _ask(candidate, ask):
    if candidate["problem"]:
        return
    try:
        ask(candidate)
    except Unusable as reason:
        candidate["problem"] = str(reason)
    except Exception as error:  # a server may break every rule of the protocol
        candidate["problem"] = "%s: %s" % (type(error).__name__, error)


def our_sources(patterns):
    """The words of package sources that tvmops has written."""
    words = set()
    for path in sorted(name for pattern in patterns for name in glob.glob(pattern)):
        try:
            with open(path, "rb") as stream:
                text = stream.read().decode("utf-8", "replace")
        except (IOError, OSError):
            continue
        if text.startswith(OURS):
            words.update(text.split())
    return words


def opener_through(proxies):
    """What fetches through these proxies; without any, through those of the environment."""
    handlers = [urllib.request.ProxyHandler(proxies)] if proxies else []
    opener = urllib.request.build_opener(*handlers)
    opener.addheaders = [("User-Agent", AGENT), ("Accept", "text/html, */*")]
    return opener


def fetch(opener, url, limit):
    """(the first bytes, seconds since it was asked for). Raises Unusable."""
    begin = time.monotonic()
    try:
        with opener.open(url, timeout=ANSWER_SECONDS) as answer:
            pieces, size = [], 0
            while size < limit and (not size or time.monotonic() - begin < SAMPLE_SECONDS):
                piece = answer.read(min(65536, limit - size))
                if not piece:
                    break
                pieces.append(piece)
                size += len(piece)
    except urllib.error.HTTPError as error:
        kind = Missing if error.code in (404, 410) else Unusable
        raise kind("%s: %d %s" % (url, error.code, error.reason))
    except (urllib.error.URLError, OSError, ValueError) as error:
        kind = Missing if isinstance(getattr(error, "reason", error), FileNotFoundError) else Unusable
        raise kind("%s: %s" % (url, reason_of(error)))
    return b"".join(pieces), time.monotonic() - begin


def reason_of(error):
    """In a few words."""
    inner = getattr(error, "reason", error)
    text = str(inner) or type(inner).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
        return "its certificate cannot be checked: a wrong clock (clock.yml), or no package ca-certificates here"
    if isinstance(inner, socket.timeout) or "timed out" in text:
        return "timed out after %d s" % ANSWER_SECONDS
    return "no such file" if isinstance(inner, FileNotFoundError) else text
