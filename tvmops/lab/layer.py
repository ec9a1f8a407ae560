"""The layer of files between a base image and a board's own disk: what makes a bare Debian a lab board."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tvmops.lab.images import emulated

MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "dpkg-db-backup.timer",
    "systemd-networkd-wait-online.service",
    "console-getty.service",
    "getty.target",
    "systemd-resolved.service",
    "systemd-pstore.service",
    "systemd-firstboot.service",
)

SSHD = """PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
MaxStartups 200
HostKey /etc/ssh/ssh_host_ed25519_key
"""

APT = 'Acquire::Languages "none";\nAPT::Sandbox::User "root";\n'

# The first process of a plain board: no init system, just sshd, started again when it dies.
PLAIN_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs -o ro sysfs /sys 2>/dev/null
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755,nosuid tmpfs /dev
mknod -m 666 /dev/null c 1 3
mknod -m 666 /dev/zero c 1 5
mknod -m 666 /dev/full c 1 7
mknod -m 666 /dev/random c 1 8
mknod -m 666 /dev/urandom c 1 9
mknod -m 666 /dev/tty c 5 0
mkdir -p /dev/pts /dev/shm /run/sshd /run/lock
ln -s /proc/self/fd /dev/fd
ln -s pts/ptmx /dev/ptmx
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
[ -f /etc/tvmops-lab/cpuinfo ] && mount --bind /etc/tvmops-lab/cpuinfo /proc/cpuinfo
hostname "$1"
trap 'exit 0' TERM
while :; do /usr/sbin/sshd -D -e & wait $!; sleep 1; done
"""

# qemu-user does not translate the mount calls behind LoadCredential=: these units would fail.
CREDENTIAL_UNITS = (
    "systemd-sysusers",
    "systemd-tmpfiles-setup",
    "systemd-tmpfiles-setup-dev",
    "systemd-tmpfiles-clean",
    "systemd-sysctl",
)

# Under qemu-user /proc/cpuinfo shows the controller's processor: an emulated board covers it.
ARM_CPUINFO = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: half thumb fastmult vfp edsp neon vfpv3 vfpv4 fp asimd crc32
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

Model\t\t: Virtual board (emulated Cortex-A72)
"""

CPUINFO_UNIT = """[Unit]
Description=Show the emulated processor
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/mount --bind /etc/tvmops-lab/cpuinfo /proc/cpuinfo
"""

ADMIN_ID = 1000


def ensure_key(key: Path) -> str:
    """The public half of the lab's login key, made now if it is not there."""
    public = key.with_suffix(".pub")
    if not public.exists():
        key.unlink(missing_ok=True)
        _keygen(key, "tvmops-lab")
    return public.read_text()


def make_host_key(key: Path, comment: str) -> str:
    """Make a board's host key; the result is its public half."""
    key.unlink(missing_ok=True)
    _keygen(key, comment)
    return key.with_suffix(".pub").read_text()


def _keygen(key: Path, comment: str) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(key)]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=30)


def ensure_layer(folder: Path, arch: str, public_key: str) -> Path:
    """Write the layer for `arch` under `folder` unless it is there: it never changes under running boards."""
    layer = folder / arch
    if layer.is_dir():
        return layer
    partial = folder / f"{arch}.new"
    shutil.rmtree(partial, ignore_errors=True)
    _write(partial, "etc/ssh/sshd_config.d/00-lab.conf", SSHD)
    _write(partial, "etc/apt/apt.conf.d/90lab", APT)
    _write(partial, "usr/sbin/lab-init", PLAIN_INIT, 0o755)
    _write(partial, "etc/resolv.conf", "")
    for unit in MASKED:
        _link(partial, f"etc/systemd/system/{unit}", "/dev/null")
    for home, owner in (("root", 0), ("home/admin", ADMIN_ID)):
        _write_authorized_keys(partial / home, owner, public_key)
    if emulated(arch):
        _write_emulation(partial, arch)
    partial.rename(layer)
    return layer


def _write_authorized_keys(home: Path, owner: int, public_key: str) -> None:
    folder = home / ".ssh"
    folder.mkdir(parents=True)
    file = folder / "authorized_keys"
    file.write_text(public_key)
    for path, mode in ((home, 0o700), (folder, 0o700), (file, 0o600)):
        path.chmod(mode)
        os.chown(path, owner, owner)


def _write_emulation(layer: Path, arch: str) -> None:
    for unit in CREDENTIAL_UNITS:
        name = f"etc/systemd/system/{unit}.service.d/emulated.conf"
        _write(layer, name, "[Service]\nLoadCredential=\nSetCredential=\n")
    if arch in ("arm64", "armhf"):
        _write(layer, "etc/tvmops-lab/cpuinfo", ARM_CPUINFO)
        _write(layer, "etc/systemd/system/lab-cpuinfo.service", CPUINFO_UNIT)
        _link(layer, "etc/systemd/system/sysinit.target.wants/lab-cpuinfo.service", "../lab-cpuinfo.service")


def _write(root: Path, name: str, text: str, mode: int = 0o644) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)


def _link(root: Path, name: str, target: str) -> None:
    link = root / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
