"""Making a bundle: what each host's provisioning needs, fetched and locked in one file."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tvmops.bundle import mxnet
from tvmops.bundle.apt_mirror import AptMirror, BoardSystem, Source, part_of
from tvmops.bundle.archive import Part, write_bundle
from tvmops.bundle.needs import LOGS_ASKED, Needs, needs_of
from tvmops.bundle.tophub import VARIABLES as TOPHUB
from tvmops.bundle.tophub import Logs
from tvmops.connection import connect
from tvmops.connection.base import Connection
from tvmops.digests import file_sha256
from tvmops.errors import BundleError
from tvmops.fleet.run import PlaybookRun
from tvmops.inventory.model import Host
from tvmops.paths import find_project_file
from tvmops.playbook.engine import plain
from tvmops.playbook.variables import Known, Scope, Written
from tvmops.source import load_yaml

NAMES = "playbooks/vars/names.yml"
MIRRORS = "playbooks/vars/mirrors.yml"  # which suites and archives a board has
STATUS = "/var/lib/dpkg/status"
KEYRINGS = "/usr/share/keyrings/*.gpg /usr/share/keyrings/*.asc /etc/apt/trusted.gpg.d/* /etc/apt/keyrings/*"
# Variables of a host whose value is a file of this machine: it travels in the bundle.
FILE_ENDING = ("_archive", "_file")
Tell = Callable[[str], None]


class Collector:
    """Gathers what a planned run needs on each of its hosts. `files`: name in the bundle -> local path.

    `facts` and `variables` (what provisioning adds) are by host name.
    """

    def __init__(
        self,
        run: PlaybookRun,
        facts: Mapping[str, Mapping[str, Any]],
        variables: Mapping[str, Mapping[str, Any]],
        tell: Tell,
    ) -> None:
        self.run = run
        self.facts = facts
        self.variables = variables
        self.tell = tell
        self.files: dict[str, Path] = {}
        self._logs = Logs()
        self._wheels: dict[str, dict[str, Path]] = {}  # of MXNet, by the key of the choice
        self._done: dict[Any, dict[str, Any]] = {}  # for boards that lack the same

    def create(self, output: Path, extra_files: Sequence[Path] = (), parts: Sequence[Part] = ()) -> dict[str, Any]:
        """Write the bundle `output`, with `parts`; gives its lock. Raises BundleError, HostUnreachable."""
        hosts: dict[str, dict[str, Any]] = {}
        elsewhere: list[str] = []
        with tempfile.TemporaryDirectory(prefix="tvmops-bundle-") as folder:
            for name, host in self.run.hosts.items():
                needs = needs_of(self.run.plans[name])
                elsewhere += [f"{name}: {line}" for line in needs.elsewhere]
                hosts[name] = {"variables": self._with_files(self.variables.get(name, {}))}
                if needs.packages:
                    hosts[name] |= self._packages(host, needs, Path(folder) / name)
                if needs.tophub:
                    hosts[name]["tophub"] = self._logs.add(name, self.tophub_question(host))
                if needs.mxnet:
                    hosts[name]["mxnet"] = self._mxnet(host, Path(folder))
            self.files |= self._logs.files
            self._add_extra(extra_files)
            self.tell(f"writing {output}")
            about: dict[str, Any] = {"playbook": self.run.what, "hosts": hosts, "not_in_it": elsewhere}
            for part in parts:
                self.files |= part.files
                about |= part.about
                elsewhere += part.not_in_it
            return write_bundle(output, about, self.files)

    def _add_extra(self, files: Sequence[Path]) -> None:
        for file in files:
            inside = f"extra/{file.name}"
            if self.files.setdefault(inside, file) != file:
                raise BundleError(f"{self.files[inside]} and {file} would both be {inside}", "give one another name")

    def _with_files(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The host's variables; those that name files here name files of the bundle instead."""
        found = dict(variables)
        for name, value in variables.items():
            path = Path(str(value))
            if name.endswith(FILE_ENDING) and path.is_file():
                inside = f"artifacts/{path.name}"
                self.files[inside] = path
                found[name] = {"file": inside}
        return found

    def mirror_question(self, host: Host) -> dict[str, Any]:
        """What provisioning would ask about the host's mirror; `mirror`: the one that it names, or ""."""
        scope = self._scope(host, MIRRORS)
        found: dict[str, Any] = plain(scope["mirror_question"])
        return {**found, "mirror": str(plain(scope["mirror_given"])), "components": plain(scope["mirror_components"])}

    def tophub_question(self, host: Host) -> dict[str, Any]:
        """What provisioning would ask tophub_fetch.py for the host."""
        found: dict[str, Any] = plain(self._scope(host, TOPHUB)[LOGS_ASKED])
        return found

    def _scope(self, host: Host, variables: str) -> Scope:
        """What templates of the host see in a play with this file of variables."""
        known = self.run.shared
        rules = [Written(load_yaml(find_project_file(file))) for file in (variables, NAMES)]
        given = known.state(host).inventory_vars
        return Scope([known.extra, *rules, Known(dict(self.facts[host.name])), given])

    def _mxnet(self, host: Host, folder: Path) -> dict[str, Any]:
        """The wheels that the host takes; what the lock says of them."""
        scope = self._scope(host, mxnet.VARIABLES)
        question: dict[str, Any] = plain(scope["mxnet_question"])
        connection = connect(host)
        try:
            choice = mxnet.choose(connection, str(plain(scope["board_python"])), question)
        finally:
            connection.close()
        if choice["key"] not in self._wheels:
            self.tell(f"{host.name}: fetching the wheels of {choice['wheel']}")
            work = folder / f"wheels-{choice['key']}"
            self._wheels[choice["key"]] = mxnet.fetch(choice, question["given"], work)
            self.files |= self._wheels[choice["key"]]
        return mxnet.about(choice, self._wheels[choice["key"]])

    def _packages(self, host: Host, needs: Needs, folder: Path) -> dict[str, Any]:
        question = self.mirror_question(host)
        sources = sources_of(host.name, question)
        connection = connect(host)
        try:
            system = _system(connection)
        finally:
            connection.close()
        alike = (tuple(sources), system.architecture, system.status, tuple(needs.packages))
        if alike in self._done:
            self.tell(f"{host.name}: the same as a host before")
            return self._done[alike]
        mirror = AptMirror(folder / "mirror", folder / "apt", sources, system)
        debs = mirror.collect(needs.packages, lambda text: self.tell(f"{host.name}: {text}"))
        packed = folder / "apt.tar"
        _pack(folder / "mirror", packed)
        identity = file_sha256(packed)[:16]
        inside = f"apt/{identity}.tar"
        self.files.setdefault(inside, packed)
        apt = {"id": identity, "file": inside, "mirror": part_of(sources[0].uri)}
        security = [source for source in sources if source.suite == question["security_suite"]]
        if security:
            apt["security_mirror"] = part_of(security[0].uri)
        self._done[alike] = {"apt": apt, "packages": sorted(debs)}
        return self._done[alike]


def sources_of(host: str, question: Mapping[str, Any]) -> list[Source]:
    """The package sources that provisioning writes on a host, from Collector.mirror_question.

    Raises BundleError when its apt_mirror is neither a URL nor in the table, or it has none.
    """
    mirror = question["mirror"]
    site = question["sites"].get(mirror)
    if site is None and "/" in mirror:
        site = {question["archive"]: mirror, f"{question['archive']}-security": question["security_mirror"]}
    base = str((site or {}).get(question["archive"]) or "").rstrip("/")
    if site is None or not base:
        problem = f"apt_mirror {mirror} has no packages of {question['archive']}" if mirror else "no apt_mirror"
        raise BundleError(
            f"{host}: {problem}, so nobody knows where its packages come from",
            "give its inventory group an apt_mirror that can be reached from here",
        )
    components = tuple(str(question["components"]).split())
    found = [Source(base, suite, components) for suite in question["suites"]]
    security = site.get(f"{question['archive']}-security") or (base if question["security_beside"] else "")
    if security and question["security_suite"]:
        found.append(Source(str(security).rstrip("/"), question["security_suite"], components))
    return found


def _system(connection: Connection) -> BoardSystem:
    """What apt has to know of the board."""
    told = connection.run("dpkg --print-architecture", timeout=30.0)
    if told.rc != 0:
        raise BundleError(f"{connection.host.name}: it has no dpkg: bundles are for Debian and its derivatives")
    listed = connection.run(f"ls -1 {KEYRINGS} 2>/dev/null", timeout=30.0)
    keys = {Path(path).name: connection.get(path) for path in listed.stdout.split() if not path.endswith("removed.gpg")}
    return BoardSystem(told.stdout.strip(), connection.get(STATUS), keys)


def _pack(folder: Path, path: Path) -> None:
    """A tar of the folder's files: the same bytes for the same content."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for file in sorted(folder.rglob("*")):
            member = tar.gettarinfo(str(file), arcname=str(file.relative_to(folder)))
            member.mtime = member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() else 0o644
            if member.isdir():
                tar.addfile(member)
            else:
                with file.open("rb") as content:
                    tar.addfile(member, content)


def describe(lock: Mapping[str, Any], digest: str) -> list[str]:
    """Lines about a bundle, for people."""
    size = sum(entry["size"] for entry in lock["files"].values())
    lines = [f"{len(lock['files'])} files, {size / 1e6:.1f} MB, sha256 {digest}"]
    for name, about in lock["hosts"].items():
        key = about["variables"].get("tvmops_release_key", "no release")
        logs = f", {len(about['tophub'])} tuning logs" if about.get("tophub") else ""
        wheels = f", {len(about['mxnet']['files'])} wheels of MXNet" if about.get("mxnet") else ""
        lines.append(f"  {name}: {len(about.get('packages', ()))} packages, release {key}{logs}{wheels}")
    lines += [
        f"  sources of {name}: identity {about['identity'][:16]}" for name, about in lock.get("sources", {}).items()
    ]
    sweeps = lock.get("sweeps", {}).items()
    lines += [f"  sweep {name}: {len(about['models'])} files of models" for name, about in sweeps]
    lines += [f"  not in it: {line}" for line in lock["not_in_it"]]
    return lines
