"""Package mirrors: whether each has every suite that would be written, for this architecture, and how fast."""

import email.utils
import re
import subprocess
import time

import asking

ANSWER_SECONDS = 8.0  # for apt-config
HEAD_BYTES = 16384  # of an InRelease: what it is stands in its first lines
STALE_DAYS = 10.0
PAUSES = (0.0, 1.0, 2.0)  # seconds before each time that an InRelease is asked for
INDEXES = ("Packages.xz", "Packages.gz", "Packages")


def survey(question, opener):
    """A report for each candidate mirror."""
    reports = [candidate(question, one) for one in question["candidates"]]
    written = asking.our_sources(question["files"])
    for one in reports:
        one["kept"] = bool(one["entries"]) and one["entries"][0]["uri"] in written
    reports = asking.survey(reports, question["again"], lambda report: ask(report, question, opener))
    mark_stale(reports)
    return reports


def candidate(question, wanted):
    """What a candidate (a name of the table, a URL, or a table of its own) has to offer: its sources' entries."""
    sites = question["sites"]
    site = sites.get(wanted) if isinstance(wanted, str) else wanted
    name = wanted.get("name", "a mirror without a name") if isinstance(wanted, dict) else str(wanted)
    report = {"name": name, "problem": "", "rate": 0.0, "kept": False, "last": False, "entries": [], "dates": {}}
    if not isinstance(wanted, (str, dict)):
        report["problem"] = "a candidate is a name, a URL or a mapping of archives to URLs"
        return report
    if site is None and "/" not in wanted:
        report["problem"] = "no such mirror is known; known are %s, and URLs" % ", ".join(sorted(sites))
        return report
    if site is None:
        site = {question["archive"]: wanted, question["archive"] + "-security": question["security_mirror"]}
    report["last"] = bool(site.get("archived"))
    base = (site.get(question["archive"]) or "").rstrip("/")
    if not base:
        report["problem"] = "it has no packages of %s" % question["archive"]
        return report
    extra = {"options": "check-valid-until=no" if site.get("archived") else "", "optional": bool(site.get("archived"))}
    report["entries"] = [dict(extra, uri=base, suites=list(question["suites"]))]
    security = question["security_suite"]
    if security:
        place = site.get(question["archive"] + "-security") or (base if question["security_beside"] else "")
        if place:
            report["entries"].append(dict(extra, uri=place.rstrip("/"), suites=[security]))
    return report


def ask(report, question, opener):
    """Every suite that will be written is there and is what it says it is; then how fast packages' lists come."""
    for number, entry in enumerate(report["entries"]):
        present = []
        for suite in entry["suites"]:
            must = not entry["optional"] or (number == 0 and not present)
            if check_suite(opener, entry["uri"], suite, must, report["dates"]):
                present.append(suite)
        entry["suites"] = present
    report["entries"] = [one for one in report["entries"] if one["suites"]]
    uri = "%s/dists/%s/%s/binary-%s" % (
        report["entries"][0]["uri"], question["release"], question["component"], question["architecture"],
    )  # fmt: skip
    report["rate"] = speed(opener, uri, question)


def release_of(opener, url):
    """What an InRelease file says of itself. A cache that just fetches it anew may send a part of it: asked again."""
    about = {}
    for pause in PAUSES:
        time.sleep(pause)
        text = asking.fetch(opener, url, HEAD_BYTES)[0].decode("utf-8", "replace")
        about = dict(re.findall(r"^(Codename|Suite|Date): *(.*?) *$", text, re.MULTILINE))
        if about:
            break
    return about


def check_suite(opener, uri, suite, must, dates):
    """Whether the suite is there. Raises Unusable when another one is in its place, or it must be there."""
    url = "%s/dists/%s/InRelease" % (uri, suite)
    try:
        about = release_of(opener, url)
    except asking.Missing:
        if must:
            raise
        return False
    named = [about.get("Codename"), about.get("Suite")]
    if named == [None, None]:
        raise asking.Unusable("%s is not an InRelease file" % url)
    # Security updates of old Debian releases are in RELEASE/updates and bear the release's own name.
    if suite not in named and not (suite.endswith("/updates") and suite.split("/")[0] in named):
        raise asking.Unusable("%s is of %s (%s), not of %s" % (url, named[0], named[1], suite))
    if "Date" in about:
        dates[suite] = about["Date"]
    return True


def speed(opener, uri, question):
    """Bytes a second of this architecture's package list. Raises Unusable when the mirror has none."""
    reason, limit = None, asking.SAMPLE_BYTES if question["measure"] else 1
    for name in INDEXES:
        try:
            data, seconds = asking.fetch(opener, "%s/%s" % (uri, name), limit)
            return round(len(data) / max(seconds, 1e-6))
        except asking.Missing as problem:
            reason = reason or problem
    raise asking.Unusable("nothing for %s there: %s" % (question["architecture"], reason))


def mark_stale(reports):
    """Mirrors that are far behind the others are not to be taken."""
    newest = {}
    for one in reports:
        for suite, date in one["dates"].items() if not one["problem"] else ():
            newest[suite] = max(newest.get(suite, 0.0), seconds_of(date))
    # One that has not answered in time may still be adding to its dates.
    for one in [one for one in reports if not one["problem"]]:
        for suite, date in one["dates"].items():
            behind = (newest.get(suite, 0.0) - seconds_of(date)) / 86400.0
            if behind > STALE_DAYS:
                one["problem"] = "its %s is %d days behind that of other mirrors" % (suite, behind)
                break


def seconds_of(date):
    parts = email.utils.parsedate_tz(date)
    return float(email.utils.mktime_tz(parts)) if parts else 0.0


def make_opener():
    """What fetches as apt would: through apt's own proxies where it has some."""
    proxies = {}
    for scheme in ("http", "https"):
        try:
            argv = ["apt-config", "dump", "Acquire::%s::Proxy" % scheme]
            said = subprocess.check_output(argv, timeout=ANSWER_SECONDS).decode("utf-8")
        except (OSError, subprocess.SubprocessError):
            continue
        value = said.partition('"')[2].partition('"')[0]
        if value.startswith("http"):
            proxies[scheme] = value
    return asking.opener_through(proxies)
