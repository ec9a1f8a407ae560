"""Indexes of Python packages: whether each answers, and whether what it delivers can be trusted."""

import ipaddress
import socket
import urllib.parse

import asking


def survey(question, opener):
    """A report for each candidate index."""
    ours = asking.our_sources(question["files"])
    reports = []
    for wanted in question["candidates"]:
        url = question["sites"].get(str(wanted), str(wanted))
        report = {"name": str(wanted), "problem": "", "rate": 0.0, "kept": url in ours,
                  "last": False, "url": url, "trusted_host": "", "warning": ""}  # fmt: skip
        if "/" not in url:
            report["problem"] = "no such index is known; known are %s, and URLs" % ", ".join(sorted(question["sites"]))
        reports.append(report)
    return asking.survey(reports, question["again"], lambda report: ask(report, opener, question["must"]))


def ask(report, opener, must):
    """It has a page about pip (if it `must`); without https it must be in the LAN, in any case."""
    parts = urllib.parse.urlsplit(report["url"])
    if parts.scheme == "http":
        if not in_lan(parts.hostname or ""):
            raise asking.Unusable(
                "%s is neither https nor in the LAN, so nobody vouches for what it delivers" % report["url"]
            )
        report["trusted_host"] = parts.hostname
    elif parts.scheme != "https":
        raise asking.Unusable("%s is neither an https nor an http URL" % report["url"])
    page = report["url"].rstrip("/") + "/pip/"
    try:
        data, seconds = asking.fetch(opener, page, asking.SAMPLE_BYTES)
        if b"pip-" not in data:
            raise asking.Unusable("%s lists no files of pip" % page)
    except asking.Unusable as problem:
        if must:
            raise
        report["warning"] = str(problem)
    else:
        report["rate"] = round(len(data) / max(seconds, 1e-6))


def in_lan(host, resolve=None):
    """Whether all addresses of a host are private ones."""
    try:
        found = [item[4][0] for item in (resolve or socket.getaddrinfo)(host, None)]
    except (OSError, UnicodeError):
        raise asking.Unusable("the name %s is not known here" % host)
    return all(ipaddress.ip_address(address.split("%")[0]).is_private for address in found)
