"""Where the controller itself gets Debian and Python packages from: the lab's images and caches use the same places."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

from tvmops.lab.tools import run

SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEBIAN = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"
PYPI = "https://pypi.org/simple/"


@dataclass(frozen=True)
class DebianMirror:
    """Base URLs of Debian's archives."""

    main: str
    security: str = SECURITY

    def source(self) -> str:
        """The apt source that images are made from.

        Without security updates: a board can then install from a mirror of the release alone, and from both.
        """
        return f"deb [signed-by={KEYRING}] {self.main} {SUITE} main"


def debian_mirror() -> DebianMirror:
    """The controller's own Debian mirror ($TVMOPS_LAB_MIRROR wins); the public one where it is not a Debian."""
    given = os.environ.get("TVMOPS_LAB_MIRROR")
    if given:
        return DebianMirror(given.rstrip("/"))
    targets = run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"], check=False
    )
    return parse_targets(targets.stdout)


def parse_targets(text: str) -> DebianMirror:
    """Pick the Debian archives out of `SITE RELEASE COMPONENT` lines, as apt prints them."""
    rows = [line.split() for line in text.splitlines() if len(line.split()) == 3]
    sites = {release: site.rstrip("/") for site, release, component in rows if component == "main" and _usable(site)}
    # A mirror of another release of Debian has this one, too.
    main = [sites[name] for name in (SUITE, *OTHER_SUITES) if name in sites]
    return DebianMirror(main[0] if main else DEBIAN, sites.get(f"{SUITE}-security", SECURITY))


OTHER_SUITES = ("bullseye", "trixie", "forky", "sid", "testing", "stable", "unstable")


def _usable(site: str) -> bool:
    return site.startswith(("http://", "https://"))


def apt_proxy() -> str | None:
    """The http proxy that the controller's apt uses, if any."""
    said = run(["apt-config", "dump", "Acquire::http::Proxy"], check=False).stdout
    value = said.partition('"')[2].partition('"')[0]
    return value if value.startswith("http") else None


@dataclass(frozen=True)
class PythonIndex:
    """The controller's Python package index, as its pip is configured."""

    url: str
    extra: list[str]
    ca_bundle: str | None

    def environment(self) -> dict[str, str]:
        """What the lab's PyPI cache needs in its environment to use this index."""
        values = {"PROXPI_INDEX_URL": self.url, "PROXPI_EXTRA_INDEX_URLS": ",".join(self.extra)}
        if self.ca_bundle:
            values["REQUESTS_CA_BUNDLE"] = self.ca_bundle
        for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
            if name in os.environ:
                values[name] = os.environ[name]
        return values


def python_index() -> PythonIndex:
    """Read pip's own configuration (files and environment) through pip."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, timeout=60, check=False
    )
    return parse_pip_config(said.stdout, os.environ.get("REQUESTS_CA_BUNDLE"))


def parse_pip_config(text: str, ca_bundle: str | None = None) -> PythonIndex:
    """Pick index, extra indexes and certificate bundle out of `pip config list`; later lines (the environment) win."""
    values: dict[str, str] = {}
    # pip prints the environment (":env:") first although it wins.
    for line in sorted(text.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        values[name.rpartition(".")[2]] = value.strip("'\"")
    extra = values.get("extra-index-url", "").replace("\\n", " ").split()
    return PythonIndex(
        url=values.get("index-url", PYPI),
        extra=[url for url in extra if url.startswith(("http://", "https://"))],
        ca_bundle=values.get("cert") or ca_bundle,
    )
