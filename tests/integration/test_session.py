"""The agent session: starting, installing and feeding the real agent, over ssh and locally."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import processes
import pytest
from ssh_servers import Sshd

from tvmops.connection import Connection, connect
from tvmops.connection.payload import agent_zipapp
from tvmops.connection.session import AgentSession
from tvmops.errors import AgentError, HostUnreachable, TvmopsError
from tvmops.inventory.model import Host

PYTHON = {"ansible_python_interpreter": sys.executable}


@pytest.fixture(params=["ssh", "local"])
def connection(
    request: pytest.FixtureRequest, make_sshd: Callable[..., Sshd], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Connection]:
    """An open connection whose login user has an empty home."""
    home = tmp_path / "home"
    home.mkdir()
    if request.param == "local":
        monkeypatch.setenv("HOME", str(home))
        host = Host("here", {"ansible_connection": "local", **PYTHON})
    else:
        host = make_sshd(SetEnv=f"HOME={home}").host(**PYTHON)
    opened = connect(host)
    yield opened
    opened.close()


def cache(tmp_path: Path) -> Path:
    """Where the agent of the `connection` fixture's user lives."""
    return tmp_path / "home" / ".cache" / "tvmops"


def batch(*tasks: dict[str, Any], number: int = 1) -> dict[str, Any]:
    """A batch with these tasks, numbered from 1."""
    blank = {"loop": None, "become_user": None, "environment": {}, "check": False, "diff": False, "no_log": False}
    more = {"ignore_errors": False, "changed_when": None, "failed_when": None}
    numbered = [{"id": index, **blank, **more, **task} for index, task in enumerate(tasks, 1)]
    return {"op": "batch", "id": number, "check": False, "diff": False, "tasks": numbered, "blobs": {}}


def shell(command: str) -> dict[str, Any]:
    """A shell task."""
    return {"module": "shell", "args": {"_raw_params": command}}


def no_blobs(digest: str) -> bytes:
    raise KeyError(f"no blob {digest} here")


def run(session: AgentSession, *tasks: dict[str, Any], blobs: Callable[[str], bytes] = no_blobs) -> list[Any]:
    """All events of a batch."""
    events: list[Any] = []
    session.run_batch(batch(*tasks), blobs, events.append)
    return events


def results(events: list[Any]) -> list[Any]:
    """The results of its tasks."""
    return [event["result"] for event in events if event["ev"] == "done"]


def test_first_start_installs_the_agent_and_later_ones_do_not(connection: Connection, tmp_path: Path) -> None:
    notes: list[str] = []
    for _ in range(2):
        with AgentSession(connection, notify=notes.append) as session:
            assert session.info["user"] == "root" if os.geteuid() == 0 else True
            assert results(run(session, shell("echo $HOME")))[0]["stdout"] == str(tmp_path / "home")
    assert notes == ["sending the agent"]
    folder = cache(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / f"agent-{agent_zipapp()[1]}" / "__main__.py").exists()
    assert [path.name for path in folder.iterdir() if path.name.startswith(".new")] == []


def test_old_agents_are_removed_when_a_new_one_comes_unless_they_run(connection: Connection, tmp_path: Path) -> None:
    cache(tmp_path).mkdir(parents=True)
    for name in ("agent-old", "agent-running", "agent-new", ".new-old", "blobs"):
        (cache(tmp_path) / name).mkdir()
        if name != "agent-new":
            os.utime(cache(tmp_path) / name, (1e9, 1e9))
    argv = [sys.executable, "-c", "input()", str(cache(tmp_path) / "agent-running")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as running:
        AgentSession(connection).close()
        running.communicate()
    left = {path.name for path in cache(tmp_path).iterdir()}
    assert left == {"agent-running", "agent-new", "blobs", f"agent-{agent_zipapp()[1]}"}


def test_several_batches_in_one_session(connection: Connection) -> None:
    with AgentSession(connection) as session:
        for number in range(5):
            assert results(run(session, shell(f"echo {number}")))[0]["stdout"] == str(number)
        assert [event["ev"] for event in run(session)] == ["batch_end"]


def test_two_first_starts_at_a_time(connection: Connection, tmp_path: Path) -> None:
    sessions: list[AgentSession] = []
    threads = [threading.Thread(target=lambda: sessions.append(AgentSession(connection))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(sessions) == 4
    for session in sessions:
        session.close()
    assert [path.name for path in cache(tmp_path).iterdir() if path.name.startswith(".new")] == []


def test_a_folder_that_others_could_have_changed_is_not_run(connection: Connection, tmp_path: Path) -> None:
    AgentSession(connection).close()
    trap = cache(tmp_path) / f"agent-{agent_zipapp()[1]}"
    (trap / "__main__.py").write_text("import os; os.write(1, b'trapped')")
    os.chown(trap / "__main__.py", 12345, 12345)
    with pytest.raises((AgentError, HostUnreachable)) as info:
        AgentSession(connection).close()
    assert "trapped" not in str(info.value)


def test_blobs_of_every_size(connection: Connection, tmp_path: Path) -> None:
    contents = [b"", b"x", os.urandom(256 * 1024), os.urandom(256 * 1024 + 1), os.urandom(3_000_000)]
    blobs = {hashlib.sha256(data).hexdigest(): data for data in contents}
    tasks = [
        {
            "module": "copy",
            "args": {
                "src": "data",
                "dest": str(tmp_path / f"{len(data)}"),
                "_blob": {"sha256": digest, "size": len(data)},
            },
        }
        for digest, data in blobs.items()
    ]
    with AgentSession(connection) as session:
        done = results(run(session, *tasks, blobs=lambda digest: blobs[digest]))
    assert [result["changed"] for result in done] == [True] * len(contents), done
    for data in contents:
        assert (tmp_path / f"{len(data)}").read_bytes() == data


def test_a_blob_that_cannot_be_read_fails_its_task_and_names_the_reason(connection: Connection, tmp_path: Path) -> None:
    def gone(digest: str) -> bytes:
        raise FileNotFoundError(2, "No such file or directory", "files/motd")

    digest = hashlib.sha256(b"motd").hexdigest()
    task = {
        "module": "copy",
        "args": {"src": "motd", "dest": str(tmp_path / "motd"), "_blob": {"sha256": digest, "size": 4}},
    }
    with AgentSession(connection) as session:
        events = run(session, task, shell("true"), blobs=gone)
        assert results(events)[0]["failed"]
        assert "files/motd" in results(events)[0]["msg"]
        assert events[-1]["stopped_at"] == 1
        assert results(run(session, shell("echo still here")))[0]["stdout"] == "still here"


def test_large_batches_and_large_results(connection: Connection) -> None:
    tasks = [shell(f"echo {'x' * 2000}{number}") for number in range(400)]
    with AgentSession(connection) as session:
        done = results(run(session, *tasks, shell("head -c 3000000 /dev/zero | tr '\\0' y")))
    assert [result["stdout"][2000:] for result in done[:-1]] == [str(number) for number in range(400)]
    assert len(done[-1]["stdout"]) == 3_000_000


def test_heartbeats_keep_a_quiet_task_alive(connection: Connection) -> None:
    with AgentSession(connection, heartbeat_deadline=6.5) as session:
        events = run(session, shell("sleep 8"))
    assert not results(events)[0]["failed"]
    assert "heartbeat" not in {event["ev"] for event in events}


def test_an_agent_that_goes_silent(connection: Connection) -> None:
    session = AgentSession(connection, heartbeat_deadline=1.0)
    os.kill(session.info["pid"], signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(HostUnreachable, match="went silent"):
        run(session, shell("true"))
    session.close()
    assert time.monotonic() - began < 15
    with pytest.raises(AgentError, match="broken off"):
        run(session)


def test_an_agent_that_never_says_ready(connection: Connection, tmp_path: Path) -> None:
    slow = tmp_path / "python3"
    slow.write_text("#!/bin/sh\nexec sleep 600\n")
    slow.chmod(0o755)
    connection.host.vars["ansible_python_interpreter"] = str(slow)
    began = time.monotonic()
    with pytest.raises(HostUnreachable, match="went silent: nothing arrived for 1 s"):
        AgentSession(connection, ready_timeout=1.0)
    assert time.monotonic() - began < 15


def test_an_agent_that_dies_says_so(connection: Connection) -> None:
    session = AgentSession(connection)
    threading.Timer(0.5, lambda: os.kill(session.info["pid"], signal.SIGKILL)).start()
    with pytest.raises(AgentError, match="the agent ended in the middle of a batch"):
        run(session, shell("sleep 600"))
    session.close()


def test_breaking_off_ends_the_running_task_quickly(connection: Connection, tmp_path: Path) -> None:
    session = AgentSession(connection)
    started = tmp_path / "pid"

    def interrupt(event: dict[str, Any]) -> None:
        if event["ev"] == "start":
            end = time.monotonic() + 10
            while time.monotonic() < end and not (started.exists() and started.read_text()):
                time.sleep(0.02)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.run_batch(batch(shell(f"echo $$ > {started}; exec sleep 600")), no_blobs, interrupt)
    began = time.monotonic()
    session.close()
    assert time.monotonic() - began < 15
    assert processes.gone(int(started.read_text()))


def test_close_from_another_thread_frees_the_one_that_waits(connection: Connection) -> None:
    session = AgentSession(connection)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            run(session, shell("sleep 600"))
        except TvmopsError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.5)
    session.close()
    thread.join(5)
    assert not thread.is_alive()
    assert errors


def test_interpreter_that_is_not_there(connection: Connection) -> None:
    connection.host.vars["ansible_python_interpreter"] = "/opt/none/python3"
    with pytest.raises(
        AgentError, match="ansible_python_interpreter: /opt/none/python3: there is no such program"
    ) as info:
        AgentSession(connection)
    assert "remove it" in info.value.hint


def test_interpreter_that_is_something_else(connection: Connection) -> None:
    connection.host.vars["ansible_python_interpreter"] = "/bin/false"
    with pytest.raises(AgentError, match="did not start"):
        AgentSession(connection)


def test_interpreter_without_json_is_named_as_incomplete(connection: Connection, tmp_path: Path) -> None:
    python = python_without("json", tmp_path / "minimal")
    connection.host.vars["ansible_python_interpreter"] = str(python)
    with pytest.raises(AgentError, match=r"minimal/bin/python3: its library is incomplete: No module named 'json'"):
        AgentSession(connection)


def test_no_python_and_no_apt(make_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    for tool in ("id", "sudo"):
        found = shutil.which(tool)
        assert found
        (tmp_path / tool).symlink_to(found)
    connection = connect(
        make_sshd(SetEnv=f"PATH={tmp_path} HOME={tmp_path}").host(ansible_python_interpreter="python3")
    )
    with pytest.raises(AgentError, match=r"board: python3 is missing, and there is no apt-get to install it with"):
        AgentSession(connection)
    connection.close()


def test_a_login_shell_that_is_none(make_sshd: Callable[..., Sshd]) -> None:
    connection = connect(make_sshd(ForceCommand="/bin/false").host())
    with pytest.raises(AgentError, match="the login user's shell did not run /bin/sh"):
        AgentSession(connection)
    connection.close()


def test_noise_of_login_shells_is_not_taken_for_the_agent(make_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    noise = 'echo Welcome; echo \\{; echo warning >&2; eval "$SSH_ORIGINAL_COMMAND"'
    (tmp_path / "noisy").write_text(f"#!/bin/sh\n{noise}\n")
    (tmp_path / "noisy").chmod(0o755)
    connection = connect(make_sshd(ForceCommand=str(tmp_path / "noisy")).host(**PYTHON))
    with AgentSession(connection) as session:
        assert results(run(session, shell("echo in")))[0]["stdout"] == "in"
    connection.close()


def test_python_is_found_without_being_told(connection: Connection) -> None:
    connection.host.vars["ansible_python_interpreter"] = "auto_silent"
    with AgentSession(connection) as session:
        assert session.info["python"].startswith("3.")


def test_home_that_cannot_be_written_to(connection: Connection, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "home")
    (tmp_path / "home").write_text("a file, where a folder should be")
    fallback = Path(f"/var/tmp/tvmops-{os.geteuid()}")
    with AgentSession(connection) as session:
        assert results(run(session, shell("echo in")))[0]["stdout"] == "in"
    assert fallback.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(fallback)


def python_without(module: str, prefix: Path) -> Path:
    """This machine's Python without one package of its library, as python3-minimal lacks json."""
    library = Path(sysconfig.get_path("stdlib"))
    target = prefix / "lib" / library.name
    target.mkdir(parents=True)
    for entry in library.iterdir():
        if entry.name not in (module, f"{module}.py", "site-packages"):
            (target / entry.name).symlink_to(entry)
    (prefix / "bin").mkdir()
    python = prefix / "bin" / "python3"
    shutil.copy(Path(sys.executable).resolve(), python)
    return python
