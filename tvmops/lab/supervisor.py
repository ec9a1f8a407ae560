"""One board's supervisor: makes its namespaces, mounts its disk, configures its network and boots it.

Run as a program with one argument, the board's start file; needs only the standard library. It outlives the
controller, as a machine stays on when its user leaves. Mounts, loop device, network namespace and cable belong to this
process and its children, so that killing the board's control group frees all of them: there is nothing to unmount, also
after a crash.

It writes its process id to standard output once its namespaces exist, then waits for the cable.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
REBOOT = 133  # systemd-nspawn's exit status when the board rebooted itself
CABLE_DEADLINE = 20.0


def main() -> None:
    """Become the board that the start file describes."""
    config: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    join([*config["join"], config["launch"]])
    if os.fork():
        os._exit(0)
    os.setsid()
    enter_namespaces()
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    os.dup2(2, 1)
    os.chdir("/")
    root = mount_root(config)
    configure_network(config)
    if config["plain"]:
        boot_plain(root, config)
    while boot_systemd(root, config) == REBOOT:
        print("lab: the board rebooted itself", flush=True)


def join(files: list[str]) -> None:
    """Enter control groups."""
    for file in files:
        Path(file).write_text(str(os.getpid()))


def enter_namespaces() -> None:
    """Get mounts and a network that nobody else sees."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS | CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare: " + os.strerror(ctypes.get_errno()))
    if libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None) != 0:
        raise OSError(ctypes.get_errno(), "mount --make-rprivate: " + os.strerror(ctypes.get_errno()))


def mount_root(config: dict[str, Any]) -> str:
    """Mount the board's disk, if it has one, and on it the overlay that is the board's root file system."""
    home = Path(config["home"])
    disk, root = home / "disk", home / "root"
    if config["image"]:
        # The controller's page cache stands for the disk's surface: what a sync sends there survives every fault of the
        # lab, and a flush would only make boards wait for the controller's real disk.
        options = "loop,errors=remount-ro,commit=30,barrier=0"
        subprocess.run(["mount", "-o", options, config["image"], str(disk)], check=True)
    upper, work = disk / "upper", disk / "work"
    upper.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    if not (upper / "etc" / "machine-id").exists():
        seed(upper, config["seed"])
    lower = ":".join(config["lower"])
    layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", config["machine"], "-o", layers, str(root)], check=True)
    return str(root)


def seed(upper: Path, files: dict[str, Any]) -> None:
    """Give a new board its identity: name, host key, machine id (last, because it marks the seed as complete)."""
    for name, (text, mode) in files.items():
        file = upper / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
    # What a new machine was delivered with is on its disk, also when its power fails in the first minute.
    descriptor = os.open(upper, os.O_RDONLY)
    libc = ctypes.CDLL(None)
    libc.syncfs(descriptor)
    os.close(descriptor)


def configure_network(config: dict[str, Any]) -> None:
    """Wait for the cable, then give it the board's address."""
    limit = time.monotonic() + CABLE_DEADLINE
    while "eth0:" not in Path("/proc/self/net/dev").read_text():
        if time.monotonic() > limit:
            sys.exit("lab: nobody plugged in the cable")
        time.sleep(0.01)
    commands = ["link set lo up", f"addr add {config['address']}/24 dev eth0", "link set eth0 up"]
    if config["gateway"]:
        commands.append(f"route add default via {config['gateway']}")
    text = "\n".join(commands) + "\n"
    subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True)


def boot_plain(root: str, config: dict[str, Any]) -> None:
    """Become a board without an init system: sshd in namespaces of its own."""
    command = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"]
    command += ["chroot", root, "/bin/sh", "/usr/sbin/lab-init", config["name"]]
    os.execvp(command[0], command)  # noqa: S606


def boot_systemd(root: str, config: dict[str, Any]) -> int:
    """Boot systemd and wait until it leaves; the result is systemd-nspawn's exit status."""
    command = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--settings=no", "--boot"]
    command += [f"--directory={root}", f"--machine={config['machine']}", f"--hostname={config['name']}"]
    command += ["--network-namespace-path=/proc/self/ns/net", "--resolv-conf=off", "--timezone=off"]
    command += ["--link-journal=no", "--capability=CAP_NET_ADMIN"]
    environment = dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1", SYSTEMD_NSPAWN_LOCK="0")
    child = os.fork()
    if child == 0:
        join([config["box"]])
        os.execvpe(command[0], command, environment)  # noqa: S606
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main()
