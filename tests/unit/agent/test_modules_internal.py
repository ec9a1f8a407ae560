"""What the controller asks the board for on behalf of fetch, script and reboot; and ping."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest
from driver import Driver

from tvmops.agent.modules import INTERNAL, MODULES

MIB = 1024 * 1024


def decoded(result: dict[str, Any]) -> bytes:
    assert not result["failed"], result
    return base64.b64decode(result["content"])


class TestReadPiece:
    @pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 250])
    def test_pieces_put_together_are_the_file(self, board: Driver, tmp_path: Path, size: int) -> None:
        path = tmp_path / "f"
        path.write_bytes(os.urandom(size))
        path.chmod(0o640)
        found, last, rounds = b"", False, 0
        while not last:
            args = {"path": str(path), "offset": len(found), "size": 100, "sha256": not found}
            result = board.task("_read_piece", args)
            if not found:
                assert result["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
                assert (result["state"], result["size"], result["mode"]) == ("file", size, "0640")
            found, last, rounds = found + decoded(result), result["last"], rounds + 1
        assert found == path.read_bytes()
        assert rounds == max(1, (size + 99) // 100)

    def test_a_mebibyte_is_one_piece(self, board: Driver, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(bytes(MIB + 1))
        result = board.task("_read_piece", {"path": str(tmp_path / "f")})
        assert (len(decoded(result)), result["last"], result["changed"]) == (MIB, False, False)

    def test_a_file_of_proc_whose_size_is_unknown(self, board: Driver) -> None:
        result = board.task("_read_piece", {"path": "/proc/self/status"})
        assert result["size"] == 0
        assert decoded(result).startswith(b"Name:")
        assert result["last"]

    def test_what_is_no_file(self, board: Driver, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "file").write_text("")
        (tmp_path / "link").symlink_to("file")
        expected = {"": "directory", "pipe": "other", "none": "absent", "file/x": "absent", "link": "file"}
        states = {name: board.task("_read_piece", {"path": f"{tmp_path}/{name}"})["state"] for name in expected}
        assert states == expected

    def test_bad_numbers_are_refused(self, board: Driver, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("x")
        for wrong in ({"offset": -1}, {"size": 0}):
            assert board.task("_read_piece", {"path": str(tmp_path / "f"), **wrong})["failed"]


class TestScript:
    def run(self, board: Driver, source: str, check: bool = False, **args: Any) -> dict[str, Any]:
        return board.task("_script", {"_blob": board.blob(source.encode()), **args}, check=check)

    def test_output_and_exit_code(self, board: Driver) -> None:
        source = '#!/bin/sh\necho "$(basename "$0"):$1:$2"; echo oops >&2; exit 3\n'
        result = self.run(board, source, name="my script.sh", arguments="'a b' $((1 + 1))")
        assert (result["rc"], result["stdout"], result["stderr"]) == (3, "my script.sh:a b:2\n", "oops\n")
        assert (result["failed"], result["changed"], result["msg"]) == (True, True, "non-zero return code")
        assert result["stdout_lines"] == ["my script.sh:a b:2"]

    def test_nothing_is_left_and_nobody_else_could_look(self, board: Driver) -> None:
        source = '#!/bin/sh\nstat -c %a "$0" "$(dirname "$0")"; echo "$0"\n'
        mode, folder_mode, path = self.run(board, source)["stdout_lines"]
        assert (mode, folder_mode) == ("700", "700")
        assert not Path(path).parent.exists()

    def test_a_text_without_interpreter_is_a_shell_script(self, board: Driver) -> None:
        assert self.run(board, "echo plain\n")["stdout"] == "plain\n"

    def test_executable_and_chdir(self, board: Driver, tmp_path: Path) -> None:
        result = self.run(
            board,
            "import os, sys\nprint(os.getcwd(), sys.argv[1])\n",
            chdir=str(tmp_path),
            executable="/usr/bin/env python3",
            arguments="x",
        )
        assert result["stdout"] == f"{tmp_path} x\n"
        assert "absolute" in self.run(board, "true", chdir="relative")["msg"]
        assert self.run(board, "true", chdir=str(tmp_path / "none"))["failed"]

    def test_environment(self, board: Driver) -> None:
        task = {"module": "_script", "args": {"_blob": board.blob(b"echo $ONE")}, "environment": {"ONE": "two words"}}
        assert board.batch([task])[0]["stdout"] == "two words\n"

    def test_creates_and_removes_decide_before_anything_is_sent(self, board: Driver, tmp_path: Path) -> None:
        mark = tmp_path / "mark"
        source = f"touch {mark}  # {time.monotonic_ns()}"
        predicted = self.run(board, source, check=True, creates=str(mark))
        assert (predicted["changed"], predicted.get("skipped"), mark.exists()) == (True, None, False)
        assert self.run(board, source, creates=str(mark))["changed"]
        again = self.run(board, source, creates=str(mark))
        assert (again["changed"], again["skipped"]) == (False, True)
        assert "exists, matching creates option" in again["msg"]
        gone = self.run(board, source, removes=str(tmp_path / "none"))
        assert "does not exist, matching removes option" in gone["msg"]
        unknown = {"_blob": {"sha256": "0" * 64, "size": 1}, "creates": str(mark)}
        assert board.task("_script", unknown)["skipped"]

    def test_a_run_notes_that_it_cannot_be_undone(self, cache: Path, tmp_path: Path) -> None:
        state = {**os.environ, "HOME": str(tmp_path)}
        with Driver(cache, env=state) as agent:
            task = {"module": "_script", "args": {"_blob": agent.blob(b"echo done")}}
            (result,) = agent.batch([task], run="r1", owner="me@here", what="site.yml", host="b1")
            assert result["stdout"] == "done\n"
        notes = "".join(path.read_text() for path in tmp_path.rglob("journal/*") if path.is_file())
        assert '"other": "script"' in notes

    def test_check_mode_alone_skips(self, board: Driver, tmp_path: Path) -> None:
        result = self.run(board, f"touch {tmp_path}/mark", check=True)
        assert (result["skipped"], result["changed"], list(tmp_path.iterdir())) == (True, False, [])


class TestBoot:
    def test_look(self, board: Driver) -> None:
        first = board.task("_boot", {})
        second = board.task("_boot", {"test_command": "echo out; exit 4"})
        assert first["boot"] == second["boot"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        assert 0 < first["uptime"] <= second["uptime"]
        assert second["test"] == {"rc": 4, "stdout": "out\n", "stderr": ""}
        assert board.task("_boot", {"boot_time_command": "echo once"})["boot"] == "once"
        assert "bad" in board.task("_boot", {"boot_time_command": "echo bad >&2; false"})["msg"]

    def test_the_reboot_command_outlives_the_agent(self, cache: Path, tmp_path: Path) -> None:
        tool = tmp_path / "bin" / "restart"
        tool.parent.mkdir()
        gate, mark = tmp_path / "gate", tmp_path / "mark"
        os.mkfifo(gate)
        tool.write_text(f'#!/bin/sh\nread line < {gate}\necho "$1" > {mark}.new; mv {mark}.new {mark}\n')
        tool.chmod(0o755)
        args = {"action": "reboot", "reboot_command": "restart 'two words'", "search_paths": [str(tool.parent)]}
        with Driver(cache) as agent:
            result = agent.task("_boot", args)
            assert (result["changed"], result["failed"]) == (True, False)
            assert result["command"] == f"{tool} 'two words'"
            assert agent.close() == 0
        gate.write_text("go\n")
        end = time.monotonic() + 60
        while not mark.exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert mark.read_text() == "two words\n"

    def test_a_command_that_fails_or_is_not_there(self, board: Driver, tmp_path: Path) -> None:
        refused = board.task("_boot", {"action": "reboot", "reboot_command": "/bin/sh -c 'echo not allowed; exit 1'"})
        assert (refused["failed"], refused["rc"]) == (True, 1)
        assert "not allowed" in refused["msg"]
        args = {"action": "reboot", "search_paths": [str(tmp_path)]}
        assert "no command 'reboot'" in board.task("_boot", args)["msg"]

    def test_check_mode_restarts_nothing(self, board: Driver, tmp_path: Path) -> None:
        args = {"action": "reboot", "reboot_command": f"/bin/sh -c 'touch {tmp_path}/mark'"}
        assert board.task("_boot", args, check=True)["skipped"]
        assert list(tmp_path.iterdir()) == []


def test_ping(board: Driver) -> None:
    for check in (False, True):
        result = board.task("ping", {}, check=check)
        assert (result["ping"], result["changed"], result["failed"]) == ("pong", False, False)
    assert board.task("ping", {"data": "hello"})["ping"] == "hello"
    assert board.task("ping", {"data": "crash"})["failed"]


def test_playbooks_cannot_name_internal_modules() -> None:
    assert not set(INTERNAL) & set(MODULES)
