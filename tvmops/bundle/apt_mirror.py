"""A partial mirror of a package archive: the signed lists, and the packages that boards with these systems lack.

apt itself decides which packages those are, from the board's own package database, and checks every signature with the
board's own keys. The lists stay as the archive signed them, so that the board can check them again.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from tvmops.errors import BundleError, MissingTool

APT_DEADLINE = 900.0  # seconds for one run of apt-get
HELPER = "/usr/lib/apt/apt-helper"  # of the package apt
_URI = re.compile(r"^'(?P<uri>[^']+)' (?P<name>\S+) (?P<size>\d+) (?P<sum>\S*)$")
_PROXY = re.compile(r"^Acquire::[\w:.-]*Proxy[\w:.-]* .*;$")


@dataclass(frozen=True)
class Source:
    """One line of a package source: `deb <uri> <suite> <components>`."""

    uri: str
    suite: str
    components: tuple[str, ...]

    def line(self) -> str:
        """As sources.list has it."""
        return f"deb {self.uri} {self.suite} {' '.join(self.components)}"


@dataclass(frozen=True)
class BoardSystem:
    """What apt has to know of a board. `status`: its dpkg database. `keys`: file name -> content of its keyrings."""

    architecture: str
    status: bytes
    keys: Mapping[str, bytes] = field(default_factory=dict)


class AptMirror:
    """Fills `folder` with `dists/` and `pool/` of the sources' archives. `work` takes apt's own files."""

    def __init__(self, folder: Path, work: Path, sources: Sequence[Source], system: BoardSystem) -> None:
        self.folder = folder
        self.work = work
        self.sources = list(sources)
        self.system = system
        if shutil.which("apt-get") is None:
            raise MissingTool("collecting packages needs apt-get", "run bundle.create on Debian or Ubuntu")

    def collect(self, packages: Sequence[str], tell: Callable[[str], None]) -> list[str]:
        """Fetch lists and packages; the names of the package files. Raises BundleError."""
        self._prepare()
        tell(f"reading the lists of {', '.join(source.uri for source in self.sources)}")
        self._apt("update", "-o", "APT::Update::Error-Mode=any")
        wanted = self._wanted(packages)
        tell(f"fetching {len(wanted)} packages, {sum(size for _, _, size in wanted) / 1e6:.1f} MB")
        self._apt("install", "--download-only", "--yes", "--no-install-recommends", *packages)
        for uri, name, _ in wanted:
            self._keep(self.work / "cache" / "archives" / name, self._inside(uri))
        self._keep_lists()
        return [name for _, name, _ in wanted]

    def _prepare(self) -> None:
        for part in ("state/lists/partial", "cache/archives/partial", "etc/trusted.gpg.d", "etc/apt.conf.d"):
            (self.work / part).mkdir(parents=True, exist_ok=True)
        (self.work / "status").write_bytes(self.system.status)
        for name, content in self.system.keys.items():
            (self.work / "etc" / "trusted.gpg.d" / Path(name).name).write_bytes(content)
        (self.work / "etc" / "sources.list").write_text("".join(f"{source.line()}\n" for source in self.sources))
        (self.work / "apt.conf").write_text(self._configuration())

    def _configuration(self) -> str:
        here, architecture = self.work, self.system.architecture
        lines = [
            f'Dir "{here}/";',
            f'Dir::State "{here}/state";',
            f'Dir::State::status "{here}/status";',
            f'Dir::Cache "{here}/cache";',
            f'Dir::Etc "{here}/etc";',
            f'APT::Architecture "{architecture}";',
            f'APT::Architectures {{ "{architecture}"; }};',
            'APT::Sandbox::User "";',
            'Acquire::Languages "none";',
            'Acquire::Retries "3";',
            'Acquire::http::Timeout "30";',
            'Acquire::https::Timeout "30";',
            'Debug::NoLocking "true";',
            *self._proxies(),
        ]
        return "\n".join(lines) + "\n"

    def _proxies(self) -> list[str]:
        """This machine's own way to the archives."""
        said = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, timeout=30.0, check=False)
        return [line for line in said.stdout.splitlines() if _PROXY.match(line)]

    def _apt(self, *arguments: str) -> str:
        return self._run(["apt-get", "-q", *arguments])

    def _run(self, argv: list[str]) -> str:
        environment = {**os.environ, "APT_CONFIG": str(self.work / "apt.conf"), "LC_ALL": "C.UTF-8"}
        try:
            done = subprocess.run(
                argv,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=APT_DEADLINE,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BundleError(f"{' '.join(argv[:3])} took longer than {APT_DEADLINE:.0f} s", "try again") from error
        if done.returncode != 0:
            lines = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith(("E:", "W:"))]
            raise BundleError(
                f"{' '.join(argv[:3])} failed: {' '.join(lines[-3:]) or done.stderr.strip()[-300:]}",
                "the board's apt_mirror must be reachable from here, too",
            )
        return done.stdout

    def _wanted(self, packages: Sequence[str]) -> list[tuple[str, str, int]]:
        """(URI, file name, bytes) of every package file that the board lacks."""
        said = self._apt("install", "--print-uris", "--yes", "--no-install-recommends", *packages)
        found = (_URI.match(line) for line in said.splitlines())
        return [(one["uri"], one["name"], int(one["size"])) for one in found if one]

    def _inside(self, uri: str) -> Path:
        """Where a file of the archive belongs in the mirror."""
        for source in self.sources:
            base = source.uri.rstrip("/") + "/"
            if uri.startswith(base):
                return self.folder / part_of(source.uri) / unquote(uri[len(base) :])
        raise BundleError(f"apt wants {uri}, which is in none of the board's sources")

    def _keep(self, file: Path, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)

    def _keep_lists(self) -> None:
        """The lists as the archive signed them: apt keeps them otherwise packed."""
        for source in self.sources:
            start = list_name(source.uri) + "_dists_" + source.suite.replace("/", "_") + "_"
            dists = self.folder / part_of(source.uri) / "dists" / source.suite
            signed = self.work / "state" / "lists" / f"{start}InRelease"
            if not signed.exists():
                raise BundleError(f"{source.uri} has no InRelease for {source.suite}", "name another apt_mirror")
            self._keep(signed, dists / "InRelease")
            sums = release_sums(signed.read_text(encoding="utf-8", errors="replace"))
            for component in source.components:
                name = f"{component}/binary-{self.system.architecture}/Packages"
                packed = next((name + ending for ending in (".xz", ".gz", "") if name + ending in sums), None)
                if packed is None:
                    raise BundleError(f"{source.uri}: {source.suite} has no {name}", "name another apt_mirror")
                self._fetch(f"{source.uri}/dists/{source.suite}/{packed}", dists / packed, sums[packed])

    def _fetch(self, uri: str, place: Path, digest: str) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        self._run([HELPER, "download-file", uri, str(place), f"SHA256:{digest}"])


def part_of(uri: str) -> str:
    """The folder of a bundle's mirror that stands for this archive: its path's last part, "debian-security"."""
    return uri.rstrip("/").rpartition("/")[2] or "archive"


def list_name(uri: str) -> str:
    """How apt names the lists of an archive: without its scheme, slashes as underscores."""
    bare = re.sub(r"^\w+://", "", uri.rstrip("/"))
    return bare.replace("_", "%5f").replace("/", "_")


def release_sums(text: str) -> dict[str, str]:
    """File -> SHA-256 from a Release or InRelease file."""
    sums: dict[str, str] = {}
    inside = False
    for line in text.splitlines():
        if not line.startswith(" "):
            inside = line.startswith("SHA256:")
        elif inside:
            digest, _, name = line.split()
            sums[name] = digest
    return sums
