"""Boards of three kinds with a runtime that was built for them: amd64, and emulated arm64 and armhf."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from built_runtimes import ARCHITECTURES, BUILD_SECONDS, built_runtimes
from lab_helpers import Commands, shell
from rpc_clients import relay_client
from site_runs import changed
from variants import stored, variant

from tvmops.connection import connect
from tvmops.inventory import load_inventory
from tvmops.lab import Lab
from tvmops.stack import ensure_environment, load_stack

STACK = "relay-0.19"
BOARDS = {"kx": "x86_64", "ka": "aarch64", "kh": "armv7l"}
TRACKER_PORT = 9190
SERVER, MUTE = "libexec/rpc_server.py", b"import time\n\ntime.sleep(1000000)\n"


@pytest.mark.timeout(BUILD_SECONDS + 1200)
def test_a_board_of_each_kind_gets_its_runtime_and_serves_a_client(lab: Lab, tmp_path: Path) -> None:
    """And again after a release whose server is mute was taken back; then one does so through a tracker, over ssh."""
    artifacts = built_runtimes(*ARCHITECTURES)
    python = ensure_environment(load_stack(STACK))
    keys = {arch: artifact.key for arch, artifact in artifacts.items()}
    lab.up(["kx"])
    lab.up(["ka"], arch="arm64")
    lab.up(["kh"], arch="armhf")
    hosts = load_inventory([lab.inventory_path]).hosts
    # Mirrors are another test's: some lack the security updates of architectures that few ask for.
    source = f"deb {hosts['kh'].vars['apt_mirror']} bookworm main"
    shell(lab, "kh", f"echo '{source}' > /etc/apt/sources.list")
    commands = Commands(lab, tmp_path / "state")
    provision = ["provision", "-e", f"tvm_stack={STACK}", "--skip-tags", "mirrors,baseline", "--host"]
    for name in ("kx", "ka"):
        shell(lab, name, f"echo '{source}' > /etc/apt/sources.list")
    first = changed(commands.on(*provision, ",".join(BOARDS)))
    assert set(first) == set(BOARDS)
    assert all(first.values())
    assert changed(commands.on(*provision, ",".join(BOARDS))) == dict.fromkeys(BOARDS, 0)

    def serves(name: str) -> None:
        with connect(hosts[name]).forward(9090) as tunnel:
            found = relay_client(python, "everything", port=tunnel.port, arch=BOARDS[name])
        assert found["difference"] < 1e-4, name
        assert found["largest"] > 1, name
        assert found["same bytes"], name
        assert len(found["samples"]) == 3, name
        state = json.loads(shell(lab, name, f"cat /var/lib/tvm/smoke-{keys[BOARDS[name]]}.json"))
        assert state["devices"] == ["cpu"], name
        assert state["library_info"]["USE_RPC"] == "ON", name
        assert shell(lab, name, "find / -xdev -name 'numpy' -path '*python*'") == "", name
        assert (
            shell(lab, name, "ls -d /tmp/systemd-private-*tvm-rpc-server*/tmp/tvm-session-* 2>/dev/null || true") == ""
        )

    def refuses_a_broken_one(name: str) -> None:
        broken = variant(artifacts[BOARDS[name]], tmp_path, {SERVER: MUTE})
        options = ["--key", stored(broken, tmp_path / "store"), "--store", str(tmp_path / "store")]
        said = commands.on("release.ship", "--host", name, *options, "-e", "tvm_rpc_start_seconds=20", rc=2)
        assert f"release {keys[BOARDS[name]]}, which worked before, is current again and answers" in said

    for prove in (serves, refuses_a_broken_one, serves):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(prove, BOARDS))
    _through_a_tracker(lab, commands, python)


def _through_a_tracker(lab: Lab, commands: Commands, python: Path) -> None:
    host = load_inventory([lab.inventory_path]).hosts["kx"]
    tracker = ["playbook", "playbooks/rpc-tracker.yml", "--host", "kx"]
    assert changed(commands.on(*tracker))["kx"] > 0
    assert changed(commands.on(*tracker)) == {"kx": 0}
    exposure = shell(lab, "kx", "systemd-analyze security tvm-rpc-tracker tvm-rpc-server | grep Overall")
    assert all(float(level) < 2 for level in re.findall(r": ([\d.]+)", exposure)), exposure
    connection = connect(host)
    with connection.forward(9090) as to_server, connection.forward(TRACKER_PORT) as to_tracker:
        server = ["playbook", "playbooks/rpc-server.yml", "--host", "kx", "-e", "tvm_rpc_key=shelf"]
        server += ["-e", f"tvm_rpc_tracker=127.0.0.1:{TRACKER_PORT}"]
        server += ["-e", f"tvm_rpc_custom_addr=127.0.0.1:{to_server.port}"]
        unit = "sha256sum /etc/systemd/system/tvm-rpc-server.service"
        before = shell(lab, "kx", unit)
        assert "--key=shelf" in commands.on(*server, "--check", "--diff")
        assert shell(lab, "kx", unit) == before
        assert changed(commands.on(*server))["kx"] > 0
        assert changed(commands.on(*server)) == {"kx": 0}
        found = relay_client(python, "tracked", tracker=to_tracker.port, key="shelf", port=to_server.port)
    connection.close()
    (entry,) = found["summary"]["server_info"]
    assert entry == {"key": "server:shelf", "addr": ["127.0.0.1", to_server.port]}
    assert found["said"] == "hello"
    assert "cannot find server that matches key" in found["without the tracker"]
