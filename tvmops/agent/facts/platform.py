"""Kernel, machine, names."""

import os


def collect(board):
    """ansible_architecture, ansible_kernel, ansible_hostname, ... from uname(2) and /etc/hosts."""
    system, nodename, release, version, _ = os.uname()
    if not board.live:
        nodename = board.line("etc/hostname") or "localhost"
        release = board.line("proc/sys/kernel/osrelease")
        version = board.line("proc/sys/kernel/version")
    fqdn = canonical_name(nodename, board.read("etc/hosts"))
    machine = board.machine
    return {
        "ansible_system": system,
        "ansible_kernel": release,
        "ansible_kernel_version": version,
        "ansible_machine": machine,
        "ansible_architecture": "i386" if machine in ("i386", "i486", "i586", "i686") else machine,
        "ansible_userspace_bits": str(board.bits),
        "ansible_userspace_architecture": userspace(machine, board.bits),
        "ansible_nodename": nodename,
        "ansible_hostname": nodename.split(".")[0],
        "ansible_fqdn": fqdn,
        "ansible_domain": fqdn.partition(".")[2],
        "ansible_machine_id": board.line("etc/machine-id") or board.line("var/lib/dbus/machine-id"),
    }


def userspace(machine, bits):
    """What programs are built for: a 64-bit kernel may carry a 32-bit userland, as on the Raspberry Pi."""
    if bits == 32:
        return {"x86_64": "i386", "aarch64": "armv7l"}.get(machine, machine)
    return machine


def canonical_name(nodename, hosts):
    """The canonical name /etc/hosts gives the board. DNS is not asked: the wait could be long."""
    for line in hosts.splitlines():
        names = line.split("#")[0].split()[1:]
        if nodename in names:
            dotted = [name for name in names if "." in name]
            return dotted[0] if dotted else names[0]
    return nodename
