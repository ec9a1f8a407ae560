"""apt-get's and dpkg's complaints as one message that says what is wrong and what to do."""

import re

_FETCH = re.compile(r"^(?:W|E|Err)[:\d]*\s*Failed to fetch (\S+)\s*(.*)$", re.MULTILINE)
_ERR = re.compile(r"^Err:\d+ (\S+) (.*)$", re.MULTILINE)
_LOCKED = re.compile(r"Could not get lock|Unable to (?:acquire|lock)|is another process using it", re.IGNORECASE)
_INTERRUPTED = re.compile(r"dpkg was interrupted, you must manually run")
_DPKG_ERROR = re.compile(r"^dpkg: error processing [^\n]*\n\s*([^\n]+)", re.MULTILINE)
_CREDENTIALS = re.compile(r"(\w+://)[^/@\s]+@")
_MISSING = (
    re.compile(r"Unable to locate package (\S+)"),
    re.compile(r"Package '?([^'\s]+)'? has no installation candidate"),
    re.compile(r"Couldn't find any package by (?:regex|glob) '([^']+)'"),
)
_MISSING_VERSION = re.compile(r"(Version|Release) '([^']+)' for '([^']+)' was not found")
_VIRTUAL = re.compile(r"^Package (\S+) is a virtual package provided by:\n((?:  +\S[^\n]*\n)+)", re.MULTILINE)
_BROKEN = re.compile(r"Errors were encountered while processing:\s*\n((?:[ \t]+\S.*\n?)+)")


def hide_credentials(text):
    """URLs without the user and password that may stand in them."""
    return _CREDENTIALS.sub(r"\1***@", text)


def is_lock_fault(output):
    """True when apt-get gave up because another one was running."""
    return bool(_LOCKED.search(output))


def is_interrupted(output):
    """True when dpkg must first finish what an earlier run left half done."""
    return bool(_INTERRUPTED.search(output))


def missing_packages(output):
    """The names apt-get could not find, in order, without repeats."""
    names = []
    for pattern in _MISSING:
        for found in pattern.findall(output):
            name = found.strip("'\".,")
            if name and name not in names:
                names.append(name)
    return names


def failed_fetches(output):
    """[(url, reason), ...] of what could not be downloaded, without repeats."""
    found = []
    for url, words in _FETCH.findall(output):
        reason = " ".join(words.split())
        if not any(url == known for known, _ in found):
            found.append((hide_credentials(url), hide_credentials(reason)))
    return found


def fetch_message(output):
    """ "" or: which mirror failed, with what, and for how many files."""
    fetches = failed_fetches(output)
    if not fetches:
        return ""
    mirrors = {}
    for url, reason in fetches:
        host = re.sub(r"^(\w+://[^/]+).*", r"\1", url)
        mirrors.setdefault(host, (url, reason, []))[2].append(url)
    parts = []
    for host in sorted(mirrors):
        url, reason, urls = mirrors[host]
        more = " and %d more" % (len(urls) - 1) if len(urls) > 1 else ""
        parts.append("%s: %s (%s%s)" % (host, reason or "no answer", url, more))
    return "the package mirror did not deliver: " + "; ".join(parts)


def unanswered(sources, stdout):
    """The sources that an update has had nothing from; all of them when that cannot be told."""
    served = re.findall(r"^(?:Hit|Get):\d+ (\S+) (\S+)", stdout, re.MULTILINE)
    known = {"%s %s" % (url.rstrip("/"), suite) for url, suite in served}
    silent = [source for source in sources if source not in known]
    return "; ".join(silent or sources) or "no source is set up"


def explain(output, sources, lists_known):
    """The message for a failed apt-get.

    `sources` are the board's package sources, `lists_known` tells whether lists were ever fetched.
    """
    virtual = _VIRTUAL.search(output)
    if virtual and "has no installation candidate" in output:
        names = [line.split()[0] for line in virtual.group(2).splitlines()]
        return "%s is a name that several packages provide: choose one of %s" % (virtual.group(1), ", ".join(names))
    missing = missing_packages(output)
    where = "; ".join(sources) or "none"
    if missing:
        message = "no package %s in this board's package sources (%s)" % (" or ".join(missing), hide_credentials(where))
        if not lists_known:
            return message + "; the package lists were never fetched: set update_cache: true"
        return message + "; check the spelling, set update_cache: true, or add a source that has it"
    match = _MISSING_VERSION.search(output)
    if match:
        kind, value, name = match.groups()
        message = (
            "package %s has no %s %s in this board's package sources (%s); `apt-cache policy %s` lists what there is"
        )
        return message % (name, kind.lower(), value, hide_credentials(where), name)
    return (
        _disk_message(output)
        or fetch_message(output)
        or _package_message(output)
        or _option_message(output)
        or _last_errors(output)
    )


def _disk_message(output):
    if "No space left on device" in output or "don't have enough free space" in output:
        return "the board's disk is full: " + _last_errors(output)
    if "Read-only file system" in output:
        return "the board's file system is read-only (a failing SD card?): " + _last_errors(output)
    return ""


def _package_message(output):
    match = _BROKEN.search(output)
    if match:
        said = "; ".join(_dpkg_reason(output, one) for one in _DPKG_ERROR.finditer(output))
        return "dpkg could not set up %s: %s" % (", ".join(match.group(1).split()), said or _last_errors(output))
    if "unmet dependencies" in output:
        lines = [
            " ".join(line.split())
            for line in output.splitlines()
            if re.search(r"(Depends|Breaks|Conflicts|PreDepends): ", line)
        ]
        return "the packages cannot be installed together: " + "; ".join(lines[:5])
    return ""


def _dpkg_reason(output, match):
    """What dpkg says of one package, and what the package's script had said just before."""
    before = [line.strip() for line in output[: match.start()].splitlines() if line.strip()]
    return "%s (the last line before: %s)" % (match.group(1).strip(), before[-1] if before else "none")


def _option_message(output):
    if "--allow-downgrades" in output:
        return "this would install an older version than the board has: set allow_downgrade: true"
    if "--allow-change-held-packages" in output:
        return "this would change a package that is on hold: set allow_change_held_packages: true"
    if "unauthenticated" in output or "NO_PUBKEY" in output:
        return "the package source is not signed by a key the board trusts: " + _last_errors(output)
    return ""


def _last_errors(output):
    errors = [
        line.strip() for line in output.splitlines() if re.match(r"(E: |dpkg: error|W: .*(?:GPG|signature))", line)
    ]
    lines = errors or [line.strip() for line in output.splitlines() if line.strip()]
    text = "; ".join(re.sub(r"^[EW]: ", "", line) for line in lines[-3:])
    return hide_credentials(text) or "no reason given"
