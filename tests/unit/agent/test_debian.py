"""What the apt module reads: dpkg's database, apt-get's simulation, complaints and status lines, sources, locks."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvmops.agent.debian import cache, database, faults, locks, marks, packages, program, recovery, simulate, sources

SIMULATED = """Reading package lists...
The following packages will be REMOVED:
  nullmailer
Inst libgpm2 (1.20.7-10+b1 Debian:12.11/stable [amd64])
Inst openssl [3.0.15-1~deb12u1] (3.0.17-1~deb12u2 Debian-Security:12/stable-security [amd64])
Inst slow (1.0  [all])
Remv nullmailer [1:2.2-4]
Purg rsyslog [8.2302.0-1]
Conf libgpm2 (1.20.7-10+b1 Debian:12.11/stable [amd64])
"""
VIRTUAL = """Reading package lists...
Package mail-transport-agent is a virtual package provided by:
  postfix 3.7.11-0+deb12u1
  exim4-daemon-light 4.96-15+deb12u7

E: Package 'mail-transport-agent' has no installation candidate
"""
FAILED = """Err:1 http://user:secret@mirror.lan:3142/debian bookworm InRelease
  Connection timed out
W: Failed to fetch http://user:secret@mirror.lan:3142/debian/dists/bookworm/InRelease  Connection timed out
W: Failed to fetch http://user:secret@mirror.lan:3142/debian/dists/bookworm-updates/InRelease  Connection timed out
W: Some index files failed to download. They have been ignored, or old ones used instead.
"""
SCRIPT = """Setting up bad (1.0) ...
my postinst says no
dpkg: error processing package bad (--configure):
 installed bad package post-installation script subprocess returned error exit status 3
Errors were encountered while processing:
 bad
E: Sub-process /usr/bin/dpkg returned an error code (1)
"""


@pytest.mark.parametrize(
    ("text", "argument"),
    [
        ("g++", "g++"),
        ("libc6:armhf", "libc6:armhf"),
        ("hello=2.10-3", "hello=2.10-3"),
        ("hello=2.10*", "hello=2.10*"),
        ("hello>=2.0", "hello"),
        ("hello/bookworm-backports", "hello/bookworm-backports"),
        ("libstdc++6:armhf=12.2.0-14", "libstdc++6:armhf=12.2.0-14"),
    ],
)
def test_what_may_be_asked_for(text: str, argument: str) -> None:
    assert packages.Wanted(text).argument() == argument


@pytest.mark.parametrize("text", ["", "hel*", "foo-", "-y", "Foo", "a b", "x;rm", "--purge", "^lib.*$", "/etc"])
def test_what_apt_get_would_misunderstand_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a Debian package name"):
        packages.Wanted(text)


def test_states_of_packages() -> None:
    output = (
        "bash\tamd64\t5.2\tii \t\nmawk\tamd64\t1.3\tii \tawk\nold\tall\t1\trc \t\n"
        "half\tall\t1\tiF \t\nheld\tall\t1\thi \t\n"
        "bad\tall\t1\tiiR\t\nlibc6\tarmhf\t2.36\tii \tlibc-x (= 1.0)\n"
    )
    found = {package.name: package for package in packages.parse_dpkg_query(output)}
    assert [found[name].usable for name in ("bash", "old", "half", "held")] == [True, False, False, True]
    assert found["half"].broken
    assert found["bad"].broken
    assert not found["bash"].broken
    everything = list(found.values())
    assert packages.provider(packages.Wanted("awk"), everything) is found["mawk"]
    assert packages.find(packages.Wanted("libc6"), everything, "amd64") is None
    assert packages.find(packages.Wanted("libc6:armhf"), everything, "amd64") is found["libc6"]
    assert found["libc6"].provides == {"libc-x": "1.0"}


def test_dpkg_itself_speaks_that_format() -> None:
    argv = ["dpkg-query", "-W", "-f=" + packages.QUERY_FORMAT, "bash", "mawk"]
    output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    found = {package.name: package for package in packages.parse_dpkg_query(output)}
    assert found["bash"].usable
    assert "awk" in found["mawk"].provides


def test_simulation() -> None:
    found = simulate.parse(SIMULATED)
    assert found.installed == {
        "libgpm2": ("", "1.20.7-10+b1"),
        "openssl": ("3.0.15-1~deb12u1", "3.0.17-1~deb12u2"),
        "slow": ("", "1.0"),
    }
    assert found.removed == {"nullmailer": "1:2.2-4", "rsyslog": "8.2302.0-1"}
    assert found.changes
    assert found.after()["nullmailer"] == ""
    assert not simulate.parse("0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n").changes


def test_apt_get_itself_speaks_that_format() -> None:
    argv = ["apt-get", "-s", "-o", "Debug::NoLocking=1", "remove", "git"]
    output = subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}).stdout
    assert "git" in simulate.parse(output).removed


def test_messages_name_what_is_wrong() -> None:
    where = ["http://mirror.lan/debian bookworm"]
    missing = faults.explain("E: Unable to locate package nosuch\n", where, True)
    assert "nosuch" in missing
    assert "http://mirror.lan/debian bookworm" in missing
    assert "never fetched" in faults.explain("E: Unable to locate package nosuch\n", where, False)
    assert "no version 9" in faults.explain("E: Version '9' for 'hello' was not found\n", where, True)
    assert "postfix, exim4-daemon-light" in faults.explain(VIRTUAL, where, True)
    assert "disk is full" in faults.explain("E: Write error - write (28: No space left on device)", where, True)
    assert "allow_downgrade" in faults.explain("E: ... used without --allow-downgrades.", where, True)
    script = faults.explain(SCRIPT, where, True)
    assert "bad" in script
    assert "exit status 3" in script
    assert "my postinst says no" in script


def test_a_failed_mirror_is_named_without_its_password() -> None:
    message = faults.explain(FAILED, [], True)
    assert "mirror.lan:3142" in message
    assert "Connection timed out" in message
    assert "and 1 more" in message
    assert "secret" not in message


def test_which_sources_were_silent() -> None:
    stdout = "Hit:1 http://a/debian bookworm InRelease\nIgn:2 http://b/debian bookworm InRelease\n"
    assert (
        faults.unanswered(["http://a/debian bookworm", "http://b/debian bookworm"], stdout)
        == "http://b/debian bookworm"
    )


def test_both_forms_of_sources(tmp_path: Path) -> None:
    folder = tmp_path / "etc/apt/sources.list.d"
    folder.mkdir(parents=True)
    (tmp_path / "etc/apt/sources.list").write_text(
        "# deb http://off/debian x main\ndeb [arch=armhf signed-by=/k] http://one/debian/ bookworm main\n"
        "deb-src http://s/debian x main\n"
    )
    (folder / "two.sources").write_text(
        "Types: deb deb-src\n# a comment\nURIs: http://two/debian\nSuites: trixie\n trixie-updates\n"
        "Components: main\n\n"
        "Enabled: no\nTypes: deb\nURIs: http://off/debian\nSuites: sid\n"
    )
    assert sources.read(str(tmp_path)) == [
        "http://one/debian bookworm",
        "http://two/debian trixie",
        "http://two/debian trixie-updates",
    ]


def test_status_lines() -> None:
    assert program.status_text("pmstatus:libfoo:40.0:Unpacking libfoo (amd64)") == "40 % Unpacking libfoo (amd64)"
    assert program.status_text("dlstatus:1:20,9:Retrieving file 1 of 4") == "20 % Retrieving file 1 of 4"
    assert program.status_text("pmerror:x:1:bad") == ""


def test_a_program_is_stopped_at_its_deadline() -> None:
    started = time.monotonic()
    done = program.run(["sh", "-c", "echo early; sleep 60 & sleep 60"], dict(os.environ), print, 0.5, status=False)
    assert (done.rc, done.stopped, done.stdout) == (-1, "deadline", "early\n")
    assert time.monotonic() - started < 20


def test_a_daemon_left_behind_does_not_hold_the_task_up() -> None:
    started = time.monotonic()
    done = program.run(["sh", "-c", "sleep 30 & echo done"], dict(os.environ), print, status=False)
    assert (done.rc, done.stdout) == (0, "done\n")
    assert time.monotonic() - started < 10


def test_a_download_that_stands_still_is_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(program, "STALL", 1)
    script = tmp_path / "apt-get"
    script.write_text(
        f"#!{sys.executable}\nimport os, sys, time\n"
        "print('Ign:1 http://b/debian x InRelease', flush=True)\n"
        "while True:\n    os.write(int(sys.argv[2].split('=')[1]), b'dlstatus:1:0.0000:Retrieving\\n')\n"
        "    time.sleep(0.1)\n"
    )
    script.chmod(0o755)
    seen: list[str] = []
    done = program.run([str(script), "update"], dict(os.environ), seen.append, 30)
    assert done.stopped == "stall"
    assert seen == ["0 % Retrieving"]


def test_a_lock_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("")
    assert locks.wait(time.time(), print, [str(path)]) == ""
    code = (
        "import fcntl, sys, time; stream = open(sys.argv[1], 'r+'); fcntl.lockf(stream, fcntl.LOCK_EX); "
        "print(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            seen: list[str] = []
            problem = locks.wait(time.time() + 2, seen.append, [str(path)])
            assert f"pid {holder.pid}" in problem
            assert str(path) in problem
            assert seen
        finally:
            holder.kill()
    assert locks.wait(time.time(), print, [str(path)]) == ""


def test_our_own_look_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("")
    assert not locks.is_locked(str(path))
    with path.open("r+") as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_an_image_with_an_empty_list_folder_was_never_updated(tmp_path: Path) -> None:
    lists = tmp_path / cache.LISTS
    (lists / "partial").mkdir(parents=True)
    (lists / "lock").touch()
    assert cache.update_time(str(tmp_path)) == 0
    (lists / "mirror_dists_bookworm_InRelease").write_text("x")
    before = cache.signature(str(tmp_path))
    assert time.time() - cache.update_time(str(tmp_path)) < 60
    (lists / "mirror_dists_bookworm_InRelease").write_text("xy")
    assert cache.signature(str(tmp_path)) != before


def test_dpkg_cut_off_in_the_middle_is_noticed(tmp_path: Path) -> None:
    updates = tmp_path / "updates"
    assert not recovery.is_interrupted(str(tmp_path))
    updates.mkdir()
    (updates / "tmp.i").touch()
    assert not recovery.is_interrupted(str(tmp_path))
    (updates / "0001").touch()
    assert recovery.is_interrupted(str(tmp_path))


def test_broken_packages_are_read_from_the_database_and_the_journal(tmp_path: Path) -> None:
    def entry(name: str, state: str) -> str:
        return f"Package: {name}\nStatus: {state}\nPriority: optional\nDescription: x\n Status: install ok unpacked\n\n"

    states = {
        "fine": "install ok installed",
        "waiting": "install ok triggers-pending",
        "gone": "deinstall ok config-files",
        "half": "install ok half-configured",
        "again": "install reinstreq half-installed",
        "lost": "install reinstreq installed",
        "healed": "install ok unpacked",
    }
    (tmp_path / "status").write_text("".join(entry(name, state) for name, state in states.items()))
    assert recovery.broken_packages(str(tmp_path)) == ["again", "half", "healed", "lost"]
    (tmp_path / "updates").mkdir()
    (tmp_path / "updates/0000").write_text(entry("healed", "install ok installed"))
    (tmp_path / "updates/0001").write_text(entry("fine", "install ok unpacked"))
    assert recovery.broken_packages(str(tmp_path)) == ["again", "fine", "half", "lost"]


def test_what_an_earlier_task_would_do_is_left_out() -> None:
    simulation = simulate.parse("Inst a (1 x [all])\nInst b [1] (2 x [all])\nRemv c [3]\nInst d (4 x [all])\n")
    assert simulation.as_text() == "a 1 installed, b 1 -> 2, d 4 installed, c 3 removed"
    simulation.forget({"a": "1", "b": "1", "c": "", "d": "unknown"})
    assert (simulation.installed, simulation.removed) == ({"b": ("1", "2")}, {})


@given(st.text())
def test_no_output_crashes_a_parser(text: str) -> None:
    for package in packages.parse_dpkg_query(text):
        assert package.name
    simulate.parse(text)
    faults.explain(text, [text], True)
    faults.missing_packages(text)
    faults.fetch_message(text)
    sources.parse_list(text)
    sources.parse_deb822(text)
    program.status_text(text)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20))
def test_an_accepted_name_is_never_an_option_or_a_removal(text: str) -> None:
    try:
        argument = packages.Wanted(text).argument()
    except ValueError:
        return
    name = argument.split("=")[0].split("/")[0]
    assert not argument.startswith("-")
    assert not name.endswith("-")
    assert "*" not in name


def test_packages_that_apt_has_noted_as_automatic(tmp_path: Path) -> None:
    notes = tmp_path / "extended_states"
    assert marks.automatic(["a"], str(notes)) == []
    notes.write_text(
        "Package: a\nArchitecture: amd64\nAuto-Installed: 1\n\n"
        "Package: b\nArchitecture: amd64\nAuto-Installed: 0\n\nPackage: c\nAuto-Installed: 1\n"
    )
    assert marks.automatic(["c", "b", "a", "d"], str(notes)) == ["c", "a"]


def as_row(package: packages.Installed) -> tuple[object, ...]:
    return package.name, package.arch, package.version, package.status, package.provides


def test_the_database_is_read_as_dpkg_query_reads_it() -> None:
    argv = ["dpkg-query", "-W", "-f=" + packages.QUERY_FORMAT]
    told = packages.parse_dpkg_query(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
    names = sorted({one.name for one in told})
    read = database.look_up(names)
    assert read is not None
    assert sorted(map(as_row, read), key=str) == sorted(map(as_row, told), key=str)


def test_packages_in_every_state(tmp_path: Path) -> None:
    (tmp_path / "updates").mkdir()
    (tmp_path / "status").write_text(
        "Package: a\nStatus: install ok installed\nArchitecture: amd64\nProvides: x (= 1), y\nVersion: 1:2-3\n"
        "Description: text\n Package: b\n\n"
        "Package: a\nStatus: deinstall reinstreq half-installed\nArchitecture: i386\nVersion: 1\n\n"
        "Package: b\nStatus: hold ok triggers-awaited\nArchitecture: all\nVersion: 3"
    )
    read = database.look_up(["b", "a", "c"], str(tmp_path))
    assert read is not None
    assert list(map(as_row, read)) == [
        ("b", "all", "3", "hW ", {}),
        ("a", "amd64", "1:2-3", "ii ", {"x": "1", "y": ""}),
        ("a", "i386", "1", "rHR", {}),
    ]


def test_what_only_dpkg_query_can_tell(tmp_path: Path) -> None:
    assert database.look_up(["a"], str(tmp_path)) is None
    (tmp_path / "status").write_text("Package: a\nStatus: install ok odd\nVersion: 1\n")
    assert database.look_up(["a"], str(tmp_path)) is None
    assert database.look_up(["b"], str(tmp_path)) == []
    (tmp_path / "updates").mkdir()
    (tmp_path / "updates" / "0001").write_text("")
    assert database.look_up(["b"], str(tmp_path)) is None


def test_lists_that_a_power_cut_tore_are_removed(tmp_path: Path) -> None:
    lists = tmp_path / cache.LISTS
    lists.mkdir(parents=True)
    contents = {
        "a_Packages": "",
        "b_Packages": "Package: b\n",
        "c_InRelease": "Origin: x\nSui",
        "lock": "",
        "d.lz4": "",
    }
    for name, content in contents.items():
        (lists / name).write_text(content)
    assert cache.remove_torn(str(tmp_path)) == ["a_Packages", "c_InRelease"]
    assert sorted(path.name for path in lists.iterdir()) == ["b_Packages", "d.lz4", "lock"]
    assert cache.remove_torn(str(tmp_path / "nowhere")) == []
