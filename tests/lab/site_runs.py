"""A playbook in versions, for tests that break its runs: what each version leaves on a board is known exactly."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import secrets
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from tvmops.lab import Board, Lab
from tvmops.paths import project_root

BIG = 1024 * 1024  # bytes of each larger file
ROUNDS = int(os.environ.get("TVMOPS_SOAK", "0"))  # rounds of tests that try random moments; 0: a few
SEED = int(os.environ.get("TVMOPS_SEED", "0")) or int.from_bytes(os.urandom(3), "big")
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)
OK, FAILED, UNREACHABLE, INTERRUPTED = 0, 2, 4, 130  # exit codes

PLAYBOOK = """
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - {name: folder, file: {path: /opt/site, state: directory, mode: "0755"}}
    - name: large files
      copy: {src: "big-{{ version }}-{{ item }}", dest: "/opt/site/big-{{ item }}", mode: "{{ mode }}"}
      loop: [1, 2, 3]
    - {name: a template, template: {src: conf.j2, dest: /etc/site.conf, mode: "{{ mode }}"}}
    - name: a line
      lineinfile: {path: /opt/site/lines, regexp: "^version=", line: "version={{ version }}", create: true}
    - name: a block
      blockinfile: {path: /opt/site/lines, block: "block {{ version }}\\nend {{ version }}"}
    - {name: an archive, unarchive: {src: "tree-{{ version }}.tar.gz", dest: /opt/site}}
    - {name: a link, file: {path: /opt/site/current, src: "v{{ version }}", state: link, force: true}}
    - {name: a user, user: {name: site, comment: "version {{ version }}"}}
    - name: a package
      apt: {name: hello, state: "{{ 'present' if version is divisibleby(2) else 'absent' }}", purge: true}
      when: packages_too
    - name: many small files
      copy: {content: "{{ item }} of {{ version }}\\n", dest: "/opt/site/small-{{ item }}", mode: "{{ mode }}"}
      loop: "{{ range(20) | list }}"
    - name: a gate
      shell: "timeout 300 sh -c 'until [ -e {{ gate }} ]; do sleep 0.1; done'"
      changed_when: false
      when: gate != ""
    - {name: done, copy: {content: "version {{ version }}\\n", dest: /opt/site/done, mode: "{{ mode }}"}}
"""
CONF = "# version {{ version }}\n{% for n in range(500) %}\nsetting_{{ n }} = {{ version }}\n{% endfor %}\n"
TREE = 12  # files in the archive
SHOW = """
cd /opt/site 2>/dev/null || exit 0
for path in big-* small-* lines done tree/* /etc/site.conf; do
    [ -f "$path" ] && echo "$path $(sha256sum < "$path" | cut -d' ' -f1) $(stat -c %a "$path")"
done
[ -L current ] && echo "current $(readlink current) -"
true
"""


class Site:
    """The playbook in a folder, and runs of it on the boards of one lab."""

    def __init__(self, lab: Lab, folder: Path, *, packages: bool = False) -> None:
        self.lab, self.folder, self.packages = lab, folder, packages
        self._gate = ""
        (folder / "site.yml").write_text(PLAYBOOK)
        (folder / "conf.j2").write_text(CONF)

    def start(self, board: str, version: int, *arguments: str, gated: bool = False) -> subprocess.Popen[str]:
        """Begin to bring a board (or boards: `g1,g2`) to a version. A gated run waits before its last task."""
        self._make(version)
        self._gate = f"/tmp/gate-{secrets.token_hex(4)}" if gated else ""
        values = {"packages_too": self.packages, "gate": self._gate, "version": version, "mode": self.mode(version)}
        words = [word for name, value in values.items() for word in ("-e", f'{{"{name}": {_json(value)}}}')]
        return begin(
            self.lab, self.folder, "playbook", str(self.folder / "site.yml"), "--host", board, *words, *arguments
        )

    def wait_at_gate(self, *boards: str) -> None:
        """Wait until a gated run has come to its gate on all the boards. No link is needed for this, or to open it."""
        limit = time.monotonic() + 120
        for board in boards:
            while not self._waiting(board):
                assert time.monotonic() < limit, f"{board}: the run did not come to its gate"
                time.sleep(0.1)

    def open_gate(self, *boards: str) -> None:
        """Let the run go on; a frozen board does when it thaws."""
        for board in boards:
            for pid in self._waiting(board):
                with contextlib.suppress(OSError):
                    Path(f"/proc/{pid}/root{self._gate}").touch()

    def _waiting(self, board: str) -> list[int]:
        found = []
        for pid in self.lab.machine(board).cgroup.processes():
            with contextlib.suppress(OSError):
                if f"-e {self._gate} ".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def run(self, board: str, version: int, *codes: int, within: float = 120.0) -> str:
        """Bring a board to a version."""
        return finish(self.start(board, version, "--wait", "120"), *(codes or (OK,)), within=within)

    def converge(self, board: str, version: int) -> None:
        """After a fault: one run brings the board to the version, the next changes nothing, nothing else is left."""
        first = self.run(board, version)
        assert self.state(board) == self.expected(version), first
        again = self.run(board, version)
        assert changed(again) == {board: 0}, again
        assert self.state(board) == self.expected(version)
        # Halves of files that a fault cut off are not left beside the whole ones.
        left = self.lab.exec(board, ["find", "/opt/site", "/etc", "-name", ".tvmops-*"]).stdout
        assert left == "", left

    def state(self, board: Board | str) -> dict[str, tuple[str, str]]:
        """path -> (sha256 or link target, mode) of everything that the playbook makes of files."""
        result = self.lab.exec(board, ["sh", "-c", SHOW])
        assert result.rc == 0, result
        rows = [line.split(" ") for line in result.stdout.splitlines()]
        return {path: (content, mode) for path, content, mode in rows}

    def expected(self, version: int) -> dict[str, tuple[str, str]]:
        """What `state` gives when all of a version is there."""
        files = {f"big-{item}": self._big(version, item) for item in (1, 2, 3)}
        files |= {f"small-{item}": f"{item} of {version}\n".encode() for item in range(20)}
        conf = f"# version {version}\n" + "".join(f"setting_{number} = {version}\n" for number in range(500))
        files |= {"/etc/site.conf": conf.encode(), "done": f"version {version}\n".encode()}
        shown = {path: (hashlib.sha256(data).hexdigest(), self.mode(version)[1:]) for path, data in files.items()}
        mark = "# {} ANSIBLE MANAGED BLOCK\n"
        lines = f"version={version}\n{mark.format('BEGIN')}block {version}\nend {version}\n{mark.format('END')}"
        shown["lines"] = (hashlib.sha256(lines.encode()).hexdigest(), "644")
        for name, data in self._tree(version).items():
            shown[name] = (hashlib.sha256(data).hexdigest(), "644")
        shown["current"] = (f"v{version}", "-")
        return shown

    def check_whole(self, board: str, *versions: int) -> None:
        """Every file is as one of the versions has it, content and mode: none is torn, none is gone."""
        found = self.state(board)
        known = [self.expected(version) for version in versions]
        between = self._lines_between(*versions) if len(versions) == 2 else set()
        for path in known[0]:
            allowed = [one[path] for one in known]
            if path == "lines":
                allowed += [(content, "644") for content in between]
            assert found.get(path) in allowed, f"{path}: {found.get(path)}, versions {versions}: {allowed}"

    @staticmethod
    def mode(version: int) -> str:
        """The mode of a version's files."""
        return "0644" if version % 2 else "0640"

    def _lines_between(self, old: int, new: int) -> set[str]:
        """The file that two tasks edit, after the first of them."""
        mark = "# {} ANSIBLE MANAGED BLOCK\n"
        text = f"version={new}\n{mark.format('BEGIN')}block {old}\nend {old}\n{mark.format('END')}"
        return {hashlib.sha256(text.encode()).hexdigest()}

    def _make(self, version: int) -> None:
        for item in (1, 2, 3):
            (self.folder / f"big-{version}-{item}").write_bytes(self._big(version, item))
        with tarfile.open(self.folder / f"tree-{version}.tar.gz", "w:gz") as archive:
            for name, data in self._tree(version).items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode, entry.mtime = len(data), 0o644, 1_700_000_000 + version
                archive.addfile(entry, io.BytesIO(data))

    @staticmethod
    def _big(version: int, item: int) -> bytes:
        line = f"file {item} of version {version}\n".encode()
        return (line * (BIG // len(line) + 1))[:BIG]

    @staticmethod
    def _tree(version: int) -> dict[str, bytes]:
        return {f"tree/{number}": f"{number} {version}\n".encode() * 5000 for number in range(TREE)}


def begin(lab: Lab, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a tvmops command with the lab as inventory and its state in the folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "tvmops", *arguments, "-i", f"lab:{lab.id}"],
        env={**os.environ, "TVMOPS_STATE": str(folder / "state"), "NO_COLOR": "1"},
        cwd=project_root(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], *codes: int, within: float = 120.0) -> str:
    """What a command said, which must end within so many seconds, with one of the exit codes and no traceback."""
    with process:
        try:
            output, _ = process.communicate(timeout=within)
        except subprocess.TimeoutExpired as error:
            process.kill()
            said = process.communicate()[0]
            raise AssertionError(f"no end within {within:g} s; it said:\n{said}") from error
    assert process.returncode in codes, f"exit code {process.returncode}, not one of {codes}:\n{output}"
    assert "Traceback" not in output, output
    return output


def changed(output: str) -> dict[str, int]:
    """board -> number of changed tasks, from a recap."""
    return {match[0]: int(match[2]) for match in RECAP.findall(output)}


def _json(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)
