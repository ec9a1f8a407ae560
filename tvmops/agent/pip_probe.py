"""Runs inside the Python whose packages are asked about: which requirements does it meet?

Reads {"requirements": [..], "constraints": [..]} from stdin and prints {"installed": {name: version}, "met": [..]}:
true, false, or null when only pip itself can tell.
"""

import json
import re
import sys


def normal(name):
    """PEP 503: names differ in nothing but case and punctuation."""
    return re.sub(r"[-_.]+", "-", name).lower()


def distributions():
    """{normal name: (version, requirements, direct url)} of what is installed."""
    found = {}
    try:
        from importlib import metadata  # novm: older Pythons take the other branch
    except ImportError:
        import pkg_resources

        for one in pkg_resources.working_set:
            found.setdefault(normal(one.project_name), (one.version, lambda: [], lambda: None))
        return found
    for one in metadata.distributions():
        name = one.metadata["Name"]
        if name:
            found.setdefault(normal(name), (one.version, _requires(one), _direct_url(one)))
    return found


def _requires(one):
    return lambda: one.requires or []


def _direct_url(one):
    return lambda: json.loads(one.read_text("direct_url.json") or "{}").get("url")


def parser():
    """The Requirement class of the `packaging` library: its own, pip's or setuptools' copy."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        try:
            from pip._vendor.packaging.requirements import Requirement
        except ImportError:
            from pkg_resources.extern.packaging.requirements import Requirement
    return Requirement


def met(text, installed, extra=None):
    """True, False, or None when it cannot be told from what is installed."""
    simple = re.match(r"([A-Za-z0-9][\w.-]*)\s*(?:==\s*([A-Za-z0-9.]+))?$", text)
    if simple:
        have = installed.get(normal(simple.group(1)))
        wanted = simple.group(2)
        if have is None:
            return False
        if wanted is None or have[0] == wanted:
            return True
    wheel = re.match(r"(?:.*/)?([A-Za-z0-9_.]+)-([^-/]+)-[^/]*\.whl$", text)
    if wheel and " @ " not in text:
        have = installed.get(normal(wheel.group(1)))
        return have is not None and have[0] == wheel.group(2)
    try:
        requirement = parser()(text)
    except Exception:
        return None  # a path, an URL: pip knows
    if requirement.marker and not requirement.marker.evaluate({"extra": extra or ""}):
        return True
    have = installed.get(normal(requirement.name))
    if have is None:
        return False
    if requirement.url:
        return have[2]() == requirement.url or None
    if not requirement.specifier.contains(have[0], prereleases=True):
        return False
    return all(_extra_met(have, name, installed) for name in requirement.extras)


def _extra_met(have, name, installed):
    for text in have[1]():
        if "extra" in text.partition(";")[2] and met(text, installed, name) is False:
            return False
    return True


def constrained(text, installed):
    """True when a constraint does not contradict what is installed; what is not installed, it does not ask for."""
    match = re.match(r"([A-Za-z0-9][\w.-]*)", text)
    if not match or normal(match.group(1)) not in installed:
        return True
    return met(text, installed)


def main():
    """Answer the question on stdin."""
    question = json.loads(sys.stdin.read())
    installed = distributions()
    answer = {
        "installed": {name: have[0] for name, have in installed.items()},
        "met": [met(text, installed) for text in question["requirements"]],
        "constrained": all(constrained(text, installed) for text in question["constraints"]),
        "python": "%d.%d" % sys.version_info[:2],
    }
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
