"""Which Linux this is."""

import re

from .board import key_values

DEBIAN_LIKE = ("debian", "ubuntu", "raspbian")
FAMILIES = {
    "fedora": "RedHat",
    "rhel": "RedHat",
    "centos": "RedHat",
    "suse": "Suse",
    "alpine": "Alpine",
    "arch": "Archlinux",
}
NAMES = {"debian": "Debian", "raspbian": "Debian", "ubuntu": "Ubuntu"}
MANAGERS = (("usr/bin/apt-get", "apt"), ("usr/bin/dnf", "dnf"), ("sbin/apk", "apk"), ("usr/bin/pacman", "pacman"))


def collect(board):
    """ansible_distribution*, ansible_os_family, ansible_pkg_mgr, ansible_lsb."""
    release = key_values(board.read("etc/os-release") or board.read("usr/lib/os-release"))
    identity = release.get("ID", "").lower()
    likes = [identity] + release.get("ID_LIKE", "").lower().split()
    name = NAMES.get(identity) or release.get("NAME", "").split(",")[0].strip() or "Linux"
    version = release.get("VERSION_ID", "")
    debian_version = board.line("etc/debian_version")
    if name == "Debian" and re.match(r"\d+\.\d+", debian_version):
        version = debian_version
    codename = release.get("VERSION_CODENAME") or _codename(release)
    facts = {
        "ansible_distribution": name,
        "ansible_distribution_release": codename or "NA",
        "ansible_distribution_version": version or "NA",
        "ansible_distribution_major_version": (version or "NA").split(".")[0],
        "ansible_os_family": "Debian" if debian_version else _family(likes, name),
        "ansible_pkg_mgr": next((kind for path, kind in MANAGERS if board.exists(path)), "unknown"),
        "ansible_lsb": _lsb(board, release),
    }
    if "." in version:
        facts["ansible_distribution_minor_version"] = version.split(".")[1]
    return facts


def _family(likes, name):
    if any(word in DEBIAN_LIKE for word in likes):
        return "Debian"
    return next((FAMILIES[word] for word in likes if word in FAMILIES), name)


def _codename(release):
    match = re.search(r"\(([^)]+)\)", release.get("PRETTY_NAME", "") + " " + release.get("VERSION", ""))
    return match.group(1).split()[0].lower() if match else release.get("UBUNTU_CODENAME", "")


def _lsb(board, release):
    lsb = key_values(board.read("etc/lsb-release"))
    number = lsb.get("DISTRIB_RELEASE") or release.get("VERSION_ID", "")
    found = {
        "id": lsb.get("DISTRIB_ID") or release.get("NAME", "").split(" ")[0],
        "release": number,
        "codename": lsb.get("DISTRIB_CODENAME") or release.get("VERSION_CODENAME") or _codename(release),
        "description": lsb.get("DISTRIB_DESCRIPTION") or release.get("PRETTY_NAME", ""),
        "major_release": number.split(".")[0],
    }
    return {key: value for key, value in found.items() if value}
