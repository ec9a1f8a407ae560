"""What the user asked for and what dpkg has."""

import fnmatch
import re

QUERY_FORMAT = "${Package}\\t${Architecture}\\t${Version}\\t${db:Status-Abbrev}\\t${Provides}\\n"
NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*(:[a-z0-9-]+)?$")
BROKEN_STATES = "UFHR"  # unpacked, half-configured, half-installed, needs reinstallation


class Wanted:
    """One entry of the task's `name` list: name[:arch], and at most one of =version, >=version, /release."""

    def __init__(self, text):
        self.text = text
        self.operator = ""
        self.version = ""
        self.release = ""
        name = text
        match = re.match(r"([^=/>]+)(>=|=|/)(.+)$", text)
        if match:
            name = match.group(1).strip()
            self.operator = match.group(2)
            value = match.group(3).strip()
            if self.operator == "/":
                self.release = value
            else:
                self.version = value
        # A trailing "-" would make apt-get remove the package; wildcards and regular expressions could match anything.
        if not NAME.match(name) or name.endswith("-"):
            raise ValueError("%r is not a Debian package name" % text)
        self.qualified = name
        self.name, _, self.arch = name.partition(":")

    def argument(self):
        """What apt-get install is given."""
        if self.operator == "/":
            return "%s/%s" % (self.qualified, self.release)
        if self.operator == "=":
            return "%s=%s" % (self.qualified, self.version)
        return self.qualified


class Installed:
    """One package as dpkg knows it."""

    def __init__(self, name, arch, version, status, provides):
        self.name = name
        self.arch = arch
        self.version = version
        self.status = status
        self.provides = provides

    @property
    def usable(self):
        """True when unpacked and configured (waiting for triggers counts)."""
        return len(self.status) > 1 and self.status[1] in "iWt"

    @property
    def broken(self):
        """True when dpkg was interrupted in the middle of this package."""
        return (len(self.status) > 1 and self.status[1] in BROKEN_STATES) or self.status[2:3] == "R"

    @property
    def has_files(self):
        """True when something of it, if only its configuration, is on the disk."""
        return len(self.status) > 1 and self.status[1] != "n"


def parse_dpkg_query(text):
    """The packages in the output of `dpkg-query -W -f=QUERY_FORMAT`; lines of another form are left out."""
    packages = []
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) == 5 and fields[0]:
            packages.append(Installed(fields[0], fields[1], fields[2], fields[3], parse_provides(fields[4])))
    return packages


def parse_provides(text):
    """`a, b (= 1.2)` as {"a": "", "b": "1.2"}."""
    provides = {}
    for entry in text.split(","):
        match = re.match(r"\s*([^\s(:]+)(?::\S+)?\s*(?:\(=\s*([^)\s]+)\s*\))?", entry)
        if match:
            provides[match.group(1)] = match.group(2) or ""
    return provides


def find(wanted, packages, native):
    """The package dpkg knows under the wanted name, or None. `native`: the board's own architecture, "" if unknown."""
    for package in packages:
        if package.name != wanted.name:
            continue
        if wanted.arch in ("", "any"):
            if not native or package.arch in (native, "all"):
                return package
        elif package.arch in (wanted.arch, "all") or (wanted.arch == "native" and package.arch == native):
            return package
    return None


def provider(wanted, packages):
    """An installed package that provides the wanted (virtual) name, or None."""
    for package in packages:
        if package.usable and wanted.name in package.provides:
            return package
    return None


def version_matches(wanted, version, at_least):
    """True when an installed version is what was asked for; `at_least(a, b)` tells whether version a >= b."""
    if wanted.operator == "=":
        return fnmatch.fnmatchcase(version, wanted.version)
    if wanted.operator == ">=":
        return at_least(version, wanted.version)
    return True
