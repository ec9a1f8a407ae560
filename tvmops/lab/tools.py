"""The programs that the lab needs, and running them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from tvmops.errors import LabError, MissingTool

# Program -> Debian package. A name with a slash is a file.
PACKAGES = {
    "/usr/lib/apt-cacher-ng": "apt-cacher-ng",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
    "apt-cacher-ng": "apt-cacher-ng",
    "e2fsck": "e2fsprogs",
    "ip": "iproute2",
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "mount": "mount",
    "nft": "nftables",
    "nsenter": "util-linux",
    "qemu-aarch64-static": "qemu-user-static",
    "qemu-arm-static": "qemu-user-static",
    "qemu-x86_64-static": "qemu-user-static",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "tar": "tar",
    "unshare": "util-linux",
    "update-binfmts": "binfmt-support",
    "zstd": "zstd",
}

# Programs of the system live here even when an unprivileged PATH leaves these folders out.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def require(programs: Iterable[str]) -> None:
    """Check that `programs` (keys of PACKAGES) are installed. Raises MissingTool naming every package at once."""
    missing = [name for name in programs if not _present(name)]
    if not missing:
        return
    packages = sorted({PACKAGES[name] for name in missing})
    raise MissingTool(
        f"the lab needs programs that are not installed: {', '.join(sorted(missing))}",
        f"install them: apt-get install {' '.join(packages)}",
    )


def _present(name: str) -> bool:
    if "/" in name:
        return Path(name).exists()
    return shutil.which(name, path=SEARCH_PATH) is not None


def run(
    argv: Sequence[str | Path], *, stdin: str = "", timeout: float = 60.0, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a program of the system for at most `timeout` seconds. With `check`, raises LabError when it fails."""
    command = [str(word) for word in argv]
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            env=clean_environment(),
        )
    except FileNotFoundError as error:
        package = PACKAGES.get(command[0], command[0])
        raise MissingTool(f"{command[0]} is not installed", f"install it: apt-get install {package}") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(command)}: no answer within {timeout:.0f} s") from error
    if check and done.returncode != 0:
        said = done.stderr.strip() or done.stdout.strip() or "no message"
        raise LabError(f"{' '.join(command)} ended with {done.returncode}: {said}")
    return done


def clean_environment() -> dict[str, str]:
    """The environment of the lab's own processes: nothing of the user's shell reaches a board."""
    return {"PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8", "HOME": "/root"}
