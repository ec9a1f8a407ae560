"""Modules for a machine's settings, as far as they can be tried on files of a scratch folder."""

from __future__ import annotations

import base64
import http.server
import os
import secrets
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from driver import Driver
from hypothesis import given, settings
from hypothesis import strategies as st

from tvmops.agent import authorized_keys, fstab
from tvmops.agent.modules import package_facts, service_facts, sysctl

ME = {"user": "root"} if os.geteuid() == 0 else {"user": os.environ.get("USER", "nobody")}


def key(comment: str = "me@here") -> str:
    """A new public key."""
    body = b"\0\0\0\x0bssh-ed25519\0\0\0 " + secrets.token_bytes(32)
    return f"ssh-ed25519 {base64.b64encode(body).decode()} {comment}".rstrip()


def converge(board: Driver, module: str, args: dict[str, Any], changes: bool = True) -> dict[str, Any]:
    """Check, apply, apply again -> the first result that changed something."""
    predicted = board.task(module, args, check=True, diff=True)
    applied = board.task(module, args, diff=True)
    assert not applied["failed"], applied
    assert (predicted["changed"], applied["changed"]) == (changes, changes), (predicted, applied)
    again = board.task(module, args)
    assert (again["changed"], again["failed"]) == (False, False), again
    return applied


class TestSysctl:
    def args(self, path: Path, **more: Any) -> dict[str, Any]:
        return {"name": "vm.swappiness", "value": 10, "sysctl_file": str(path), "reload": False, **more}

    def test_a_new_file_and_a_line_in_the_middle(self, board: Driver, tmp_path: Path) -> None:
        path = tmp_path / "60-board.conf"
        result = converge(board, "sysctl", self.args(path))
        assert path.read_text() == "vm.swappiness=10\n"
        assert "+vm.swappiness=10" in str(result["diff"]) or "vm.swappiness=10" in result["diff"][0]["after"]
        path.write_text("# mine\nkernel.panic = 3\nvm.swappiness = 60\n; end\nvm.swappiness=5\nnet.x=1")
        path.chmod(0o600)
        converge(board, "ansible.posix.sysctl", self.args(path))
        assert path.read_text() == "# mine\nkernel.panic = 3\nvm.swappiness=10\n; end\nnet.x=1"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        converge(board, "sysctl", self.args(path, name="net.y"))
        assert path.read_text().endswith("net.x=1\nnet.y=10\n")

    def test_spaces_around_the_equals_sign_are_no_difference(self, board: Driver, tmp_path: Path) -> None:
        path = tmp_path / "f"
        path.write_text("vm.swappiness =  10\n")
        converge(board, "sysctl", self.args(path), changes=False)

    @pytest.mark.parametrize(("value", "text"), [(True, "1"), ("no", "0"), (" 4 5 ", "4 5"), ("on", "1"), (3, "3")])
    def test_values(self, board: Driver, tmp_path: Path, value: object, text: str) -> None:
        converge(board, "sysctl", self.args(tmp_path / "f", value=value))
        assert (tmp_path / "f").read_text() == f"vm.swappiness={text}\n"

    def test_absent(self, board: Driver, tmp_path: Path) -> None:
        path = tmp_path / "f"
        args = self.args(path, value=None, state="absent")
        converge(board, "sysctl", args, changes=False)
        assert not path.exists()
        path.write_text("a=1\nvm.swappiness=1\n#vm.swappiness=2\n")
        converge(board, "sysctl", args)
        assert path.read_text() == "a=1\n#vm.swappiness=2\n"

    def test_the_kernel_counts_when_it_is_to_be_reloaded(self, board: Driver, tmp_path: Path) -> None:
        """What the kernel has already needs no change, so this works without root."""
        path = tmp_path / "f"
        value = Path("/proc/sys/kernel/ostype").read_text().strip()
        path.write_text(f"kernel.ostype={value}\n")
        args = {"name": "kernel.ostype", "value": value, "sysctl_file": str(path), "sysctl_set": True}
        converge(board, "sysctl", args, changes=False)
        other = board.task("sysctl", {**args, "value": "Minix"}, check=True, diff=True)
        assert other["changed"]
        assert f"kernel: {value}" in str(other["diff"])

    def test_what_is_refused(self, board: Driver, tmp_path: Path) -> None:
        assert "needs value" in board.task("sysctl", {"name": "a.b"})["msg"]
        assert "no kernel setting" in board.task("sysctl", self.args(tmp_path / "f", value="1\n2"))["msg"]
        assert "no kernel setting" in board.task("sysctl", self.args(tmp_path / "f", value=[1]))["msg"]
        assert board.task("sysctl", self.args(tmp_path / "none/f"))["failed"]

    def test_names_with_both_separators(self) -> None:
        paths = {
            "net.ipv4.conf.eth0/100.rp_filter": "net/ipv4/conf/eth0.100/rp_filter",
            "net/ipv4/conf/eth0.100/rp_filter": "net/ipv4/conf/eth0.100/rp_filter",
            "vm.swappiness": "vm/swappiness",
            "a/../../b": "a/b",
        }
        assert {name: sysctl.kernel_path(name) for name in paths} == {k: f"/proc/sys/{v}" for k, v in paths.items()}


class TestMountInFstab:
    def args(self, table: Path, **more: Any) -> dict[str, Any]:
        entry = {"path": "/mnt/my models", "src": "/dev/sda1", "fstype": "ext4", "state": "present"}
        return {**entry, "fstab": str(table), **more}

    def test_a_line_comes_changes_and_goes(self, board: Driver, tmp_path: Path) -> None:
        path = tmp_path / "fstab"
        result = converge(board, "mount", self.args(path))
        assert path.read_text() == "/dev/sda1 /mnt/my\\040models ext4 defaults 0 0\n"
        assert (result["name"], result["opts"], result["fstab"]) == ("/mnt/my models", "defaults", str(path))
        path.write_text(f"# static\nproc /proc proc defaults\n{path.read_text()}tmpfs /tmp tmpfs nodev 0 0")
        more = {"opts": "noatime", "passno": 2, "boot": False, "backup": True}
        result = converge(board, "ansible.posix.mount", self.args(path, **more))
        lines = path.read_text().split("\n")
        assert lines[:2] == ["# static", "proc /proc proc defaults"]
        assert lines[2:] == ["/dev/sda1 /mnt/my\\040models ext4 noatime,noauto 0 2", "tmpfs /tmp tmpfs nodev 0 0"]
        assert "defaults 0 0" in Path(result["backup_file"]).read_text()
        converge(board, "mount", self.args(path, state="absent_from_fstab"))
        assert path.read_text() == "# static\nproc /proc proc defaults\ntmpfs /tmp tmpfs nodev 0 0"

    def test_absent_removes_the_empty_folder_too(self, board: Driver, tmp_path: Path) -> None:
        path, point = tmp_path / "fstab", tmp_path / "point"
        point.mkdir()
        absent = {"path": str(point), "state": "absent", "fstab": str(path)}
        path.write_text("x /y ext4 defaults\n")
        converge(board, "mount", absent, changes=False)
        assert point.exists()
        path.write_text(f"x /y ext4 defaults\n/dev/sdz1 {point} ext4 defaults 0 0\n")
        converge(board, "mount", absent)
        assert (path.read_text(), point.exists()) == ("x /y ext4 defaults\n", False)
        point.mkdir()
        (point / "precious").write_text("")
        path.write_text(f"/dev/sdz1 {point} ext4 defaults 0 0\n")
        assert "not empty" in board.task("mount", absent)["msg"]
        assert (point / "precious").exists()

    def test_swap_is_known_by_its_source(self, board: Driver, tmp_path: Path) -> None:
        path = tmp_path / "fstab"
        for src in ("/swap1", "/swap2"):
            converge(board, "mount", self.args(path, path="none", fstype="swap", opts="sw", src=src))
        assert path.read_text() == "/swap1 none swap sw 0 0\n/swap2 none swap sw 0 0\n"
        converge(board, "mount", self.args(path, path="none", fstype="swap", src="/swap1", state="absent_from_fstab"))
        assert path.read_text() == "/swap2 none swap sw 0 0\n"

    def test_hidden_options_are_not_shown(self, board: Driver, tmp_path: Path) -> None:
        secret = "password=pa55word"
        args = self.args(tmp_path / "fstab", opts=secret, opts_no_log=True)
        seen = str(converge(board, "mount", args))
        assert secret in (tmp_path / "fstab").read_text()
        assert secret not in seen

    def test_what_is_refused(self, board: Driver, tmp_path: Path) -> None:
        path = tmp_path / "fstab"
        assert "needs src" in board.task("mount", {"path": "/x", "state": "mounted"})["msg"]
        nothing = {"path": str(tmp_path), "state": "remounted", "fstab": str(path)}
        assert "nothing is mounted" in board.task("mount", nothing)["msg"]
        swap = self.args(path, path="none", fstype="swap", state="mounted")
        assert "swapon" in board.task("mount", swap)["msg"]
        taken = self.args(path, path="/proc", src="/dev/sda1", state="ephemeral")
        assert "mounted at /proc already" in board.task("mount", taken)["msg"]
        assert not path.exists()

    @given(st.lists(st.text("ab \\#\t\u00e4,=", min_size=1, max_size=6), min_size=4, max_size=4))
    def test_any_entry_is_read_as_it_was_written(self, words: list[str]) -> None:
        entry = dict(zip(fstab.FIELDS, [*words, "0", "2"], strict=True))
        entry["src"] = "/" + entry["src"]
        text = fstab.edited("", entry, True)
        assert fstab.parse_line(text) == entry
        assert fstab.edited(text, entry, True) == text
        assert fstab.edited(text, entry, False) == ""


class TestAuthorizedKey:
    def args(self, path: Path, text: str, **more: Any) -> dict[str, Any]:
        return {**ME, "key": text, "path": str(path), **more}

    def test_folder_and_file_are_made_for_the_user_alone(self, board: Driver, tmp_path: Path) -> None:
        path = tmp_path / "home/.ssh/authorized_keys"
        path.parent.parent.mkdir()
        path.parent.parent.chmod(0o755)
        one = key()
        result = converge(board, "authorized_key", self.args(path, one))
        assert path.read_text() == one + "\n"
        modes = [stat.S_IMODE(one.stat().st_mode) for one in (path.parent.parent, path.parent, path)]
        assert modes == [0o755, 0o700, 0o600]
        assert result["keyfile"] == str(path)

    def test_others_and_comments_stay(self, board: Driver, tmp_path: Path) -> None:
        path = tmp_path / "keys"
        one, two = key("one"), key("two")
        path.write_text(f"# mine\n\n{one}")
        converge(board, "ansible.posix.authorized_key", self.args(path, two, manage_dir=False))
        assert path.read_text() == f"# mine\n\n{one}\n{two}\n"
        converge(board, "authorized_key", self.args(path, one, state="absent", manage_dir=False))
        assert path.read_text() == f"# mine\n\n{two}\n"

    def test_options_and_comment(self, board: Driver, tmp_path: Path) -> None:
        path = tmp_path / "keys"
        one = key("old comment")
        path.write_text(one + "\n")
        options = 'no-pty,command="echo \\"a, b\\"",from="10.0.0.*"'
        converge(board, "authorized_key", self.args(path, one, key_options=options))
        assert path.read_text() == f"{options} {one}\n"
        converge(board, "authorized_key", self.args(path, f"{options} {one}"), changes=False)
        reordered = 'from="10.0.0.*",no-pty,command="echo \\"a, b\\""'
        converge(board, "authorized_key", self.args(path, one, key_options=reordered), changes=False)
        converge(board, "authorized_key", self.args(path, one, comment="new"))
        assert path.read_text().endswith(" new\n")
        assert "no-pty" not in path.read_text()

    def test_exclusive(self, board: Driver, tmp_path: Path) -> None:
        path = tmp_path / "keys"
        one, two, three = key("one"), key("two"), key("three")
        path.write_text(f"# mine\n{one}\n{two}\n")
        text = f"# wanted\n{three}\n\n{two}\n"
        converge(board, "authorized_key", self.args(path, text, exclusive=True))
        assert path.read_text() == f"{two}\n{three}\n"

    def test_a_key_that_stands_twice_with_other_options_is_made_one(self, board: Driver, tmp_path: Path) -> None:
        path = tmp_path / "keys"
        one = key()
        path.write_text(f'command="sh" {one}\n{one}\n')
        converge(board, "authorized_key", self.args(path, one))
        assert path.read_text() == one + "\n"

    def test_a_link_is_replaced_or_followed(self, board: Driver, tmp_path: Path) -> None:
        real, link = tmp_path / "real", tmp_path / "link"
        real.write_text("")
        link.symlink_to("real")
        converge(board, "authorized_key", self.args(link, key(), follow=True))
        assert link.is_symlink()
        assert real.read_text()
        converge(board, "authorized_key", self.args(link, key()))
        assert not link.is_symlink()

    def test_keys_of_a_server(self, board: Driver, tmp_path: Path) -> None:
        (tmp_path / "www").mkdir()
        one, two = key("one"), key("two")
        (tmp_path / "www/me.keys").write_text(f"{one}\n{two}\n")

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args, directory=str(tmp_path / "www"))

            def log_message(self, *_: object) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            base = f"http://127.0.0.1:{server.server_port}"
            converge(board, "authorized_key", self.args(tmp_path / "keys", f"{base}/me.keys"))
            assert board.task("authorized_key", self.args(tmp_path / "keys", f"{base}/none"))["failed"]
            server.shutdown()
        assert (tmp_path / "keys").read_text() == f"{one}\n{two}\n"

    def test_what_is_refused(self, board: Driver, tmp_path: Path) -> None:
        path = tmp_path / "keys"
        for wrong in ("ssh-rsa", "hello world", "ssh-rsa !!! me", f"rsa {key()[4:]}"):
            assert "no public key" in board.task("authorized_key", self.args(path, wrong))["msg"], wrong
        nobody = self.args(path, key(), user="no-such-user-here")
        assert "no user" in board.task("authorized_key", nobody)["msg"]
        assert not path.exists()

    @settings(max_examples=50)
    @given(
        st.lists(st.sampled_from(["no-pty", 'command="a b, \\" c"', "restrict", 'environment="X= #"']), max_size=3),
        st.text("ab \"'#\u00e4", max_size=8).map(str.strip),
    )
    def test_any_line_is_read_as_it_was_written(self, options: list[str], comment: str) -> None:
        wanted = authorized_keys.parse(key())._replace(options=options, comment=comment)
        found = authorized_keys.parse(authorized_keys.text_of(wanted))
        assert found is not None
        assert authorized_keys.same(found, wanted)


class TestMake:
    MAKEFILE = "out: in\n\tcp in out\nbroken:\n\t@echo reason >&2; exit 1\nshow:\n\t@echo $(X)-$(MAKEFLAGS)\n"

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        (tmp_path / "Makefile").write_text(self.MAKEFILE)
        (tmp_path / "in").write_text("x")
        return tmp_path

    def test_a_target_is_made_once(self, board: Driver, source: Path) -> None:
        args = {"chdir": str(source), "target": "out"}
        assert board.task("make", args, check=True)["changed"]
        assert not (source / "out").exists()
        result = board.task("make", args)
        assert (result["changed"], (source / "out").read_text()) == (True, "x")
        assert result["command"].endswith("make out")
        assert not board.task("community.general.make", args)["changed"]
        assert not board.task("make", args, check=True)["changed"]

    def test_parameters_jobs_file(self, board: Driver, source: Path) -> None:
        (source / "Makefile").rename(source / "other.mk")
        args = {"chdir": str(source), "targets": ["show"], "params": {"X": "a b", "Y": None}, "jobs": 2}
        result = board.task("make", {**args, "file": "other.mk"})
        assert result["stdout"].startswith("a b-")
        assert "-j" in result["stdout"] and result["targets"] == ["show"]

    def test_failures(self, board: Driver, source: Path) -> None:
        result = board.task("make", {"chdir": str(source), "target": "broken"})
        assert (result["failed"], result["rc"], "reason" in result["stderr"]) == (True, 2, True)
        assert board.task("make", {"chdir": str(source), "target": "nosuch"})["failed"]
        assert "does not exist" in board.task("make", {"chdir": str(source / "none")})["msg"]
        assert "no program" in board.task("make", {"chdir": str(source), "make": "/none/make"})["msg"]
        assert board.task("make", {"chdir": str(source), "target": "a", "targets": ["b"]})["failed"]

    def test_check_mode_knows_a_folder_of_an_earlier_task(self, board: Driver, tmp_path: Path) -> None:
        folder = str(tmp_path / "later")
        tasks = [
            {"module": "file", "args": {"path": folder, "state": "directory"}},
            {"module": "make", "args": {"chdir": folder}},
        ]
        assert [one["changed"] for one in board.batch(tasks, check=True)] == [True, True]


class TestHostname:
    def test_the_name_that_it_has(self, board: Driver) -> None:
        name = os.uname().nodename
        result = board.task("hostname", {"name": name}, check=True)
        assert (result["name"], result["failed"]) == (name, False)
        facts = result["ansible_facts"]
        assert (facts["ansible_nodename"], facts["ansible_hostname"]) == (name, name.split(".")[0])

    def test_another_is_predicted_with_its_facts(self, board: Driver) -> None:
        result = board.task("hostname", {"name": "other.example"}, check=True, diff=True)
        assert result["changed"]
        assert "hostname: other.example" in result["diff"][0]["after"]
        assert result["ansible_facts"]["ansible_hostname"] == "other"

    @pytest.mark.parametrize("name", ["", "-a", "a.", "a b", "a" * 65, "\u00e4", "a\n"])
    def test_no_names(self, board: Driver, name: str) -> None:
        assert "no host name" in board.task("hostname", {"name": name}, check=True)["msg"]


class TestFacts:
    POLICY = (
        "Package files:\n 100 /var/lib/dpkg/status\n     release a=now\n"
        " 500 http://deb.example/debian bookworm/main amd64 Packages\n"
        "     release v=12.15,o=Debian,a=stable,n=bookworm,l=Debian,c=main,b=amd64\n     origin deb.example\n"
        "Pinned packages:\n"
    )
    TABLE = (
        "bash:\n  Installed: 5.2\n  Candidate: 5.3\n  Version table:\n     5.3 500\n"
        "        500 http://other.example x/main amd64 Packages\n *** 5.2 500\n"
        "        500 http://deb.example/debian bookworm/main amd64 Packages\n        100 /var/lib/dpkg/status\n"
        "mine:\n  Installed: 1\n  Candidate: 1\n  Version table:\n *** 1 100\n        100 /var/lib/dpkg/status\n"
        "libc6:i386:\n  Installed: 1\n  Version table:\n *** 1 500\n"
        "        500 http://deb.example/debian bookworm/main amd64 Packages\n"
    )

    def test_where_packages_came_from(self) -> None:
        labels = package_facts.source_origins(self.POLICY)
        found = package_facts.package_origins(self.TABLE, labels)
        assert found == {"bash": "Debian", "mine": "", "libc6:i386": "Debian"}

    def test_packages(self, board: Driver) -> None:
        packages = board.task("package_facts", {})["ansible_facts"]["packages"]
        (bash,) = packages["bash"]
        assert set(bash) == {"name", "version", "arch", "category", "origin", "source"}
        assert (bash["name"], bash["source"], bash["category"]) == ("bash", "apt", "shells")
        assert "none of the package managers" in board.task("package_facts", {"manager": ["rpm"]})["msg"]
        assert "unknown" in board.task("package_facts", {"manager": ["brew"]})["msg"]

    def test_services_of_systemd(self) -> None:
        units = (
            "ssh.service loaded active running OpenBSD Secure Shell server\n"
            "apt-daily.service loaded inactive dead Daily apt download failed activities\n"
            "bad.service loaded failed failed A bad one\n"
            "gone.service not-found inactive dead gone.service\n"
        )
        found = service_facts.from_units(units)
        shown = {name: (one["state"], one["status"]) for name, one in found.items()}
        assert shown == {
            "ssh.service": ("running", "active"),
            "apt-daily.service": ("stopped", "inactive"),
            "bad.service": ("stopped", "failed"),
            "gone.service": ("stopped", "not-found"),
        }
        rows = "ssh.service enabled enabled\ngetty@.service enabled\n\n3 unit files listed.\n"
        assert service_facts.unit_files(rows) == {"ssh.service": "enabled", "getty@.service": "enabled"}

    def test_services_of_sysv_init(self) -> None:
        found = service_facts.from_service(" [ + ]  ssh\n [ - ]  sudo\n [ ? ]  networking\n")
        assert {name: one["state"] for name, one in found.items()} == {"ssh": "running", "sudo": "stopped"}
