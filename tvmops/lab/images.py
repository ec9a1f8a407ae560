"""Base images: a bare Debian per architecture, made once with mmdebstrap and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tvmops.errors import LabError
from tvmops.lab import mirrors
from tvmops.lab.emulation import register
from tvmops.lab.locking import locked
from tvmops.lab.tools import clean_environment, require, run
from tvmops.paths import cache_dir

PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "python3-minimal",
    "sudo",
    "ca-certificates",
    "iproute2",
    "libfaketime",
)

# What a fresh Debian has. Boards cannot reach it: provisioning has to switch mirrors first.
BOARD_SOURCES = f"""deb http://deb.debian.org/debian {mirrors.SUITE} main
deb http://deb.debian.org/debian {mirrors.SUITE}-updates main
deb http://deb.debian.org/debian-security {mirrors.SUITE}-security main
"""

# libfaketime serves the `clock` fault only: the file stays and dpkg forgets it, so the board's package list is honest.
CUSTOMIZE = (
    'chroot "$1" useradd --create-home --uid 1000 --shell /bin/bash admin',
    'echo \'admin ALL=(ALL) NOPASSWD:ALL\' > "$1/etc/sudoers.d/90-admin" && chmod 440 "$1/etc/sudoers.d/90-admin"',
    'mkdir -p "$1/usr/lib/tvmops-lab" && cp "$1"/usr/lib/*/faketime/libfaketime.so.1 "$1/usr/lib/tvmops-lab/"'
    ' && chroot "$1" dpkg --purge libfaketime',
    'rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/machine-id" "$1/etc/resolv.conf" "$1/etc/hostname"'
    ' "$1/etc/apt/sources.list.d/0000dpkg.list"',
    f"printf '{BOARD_SOURCES}' > \"$1/etc/apt/sources.list\"".replace("\n", "\\n"),
)

EXCLUDES = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")

BUILD_DEADLINE = 3600.0  # emulated, on a busy machine
PROGRESS_SECONDS = 10.0


@dataclass(frozen=True)
class Architecture:
    """A Debian architecture that boards can have."""

    name: str
    machine: str
    qemu: str
    prefix: str


ARCHITECTURES = {
    "amd64": Architecture("amd64", "x86_64", "qemu-x86_64", "b"),
    "arm64": Architecture("arm64", "aarch64", "qemu-aarch64", "a"),
    "armhf": Architecture("armhf", "armv7l", "qemu-arm", "h"),
}


def architecture(name: str) -> Architecture:
    """Look up an architecture. Raises LabError naming those that exist."""
    if name not in ARCHITECTURES:
        raise LabError(f"no virtual boards of architecture '{name}'", f"choose one of: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def emulated(arch: str) -> bool:
    """Whether boards of `arch` run under qemu on this controller."""
    return architecture(arch).machine != platform.machine()


def silent(_text: str) -> None:
    """Progress that nobody wants to see."""


def recipe_hash(arch: str) -> str:
    """Identity of what goes into an image; a changed recipe is another image."""
    recipe = {
        "arch": arch,
        "suite": mirrors.SUITE,
        "archives": ["release"],
        "packages": PACKAGES,
        "hooks": CUSTOMIZE,
        "excludes": EXCLUDES,
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]


def image_dir() -> Path:
    """Where images are kept."""
    return cache_dir() / "lab" / "base"


def ensure_image(arch: str, on_progress: Callable[[str], None] = silent) -> Path:
    """The unpacked base image of `arch`, made now if it is not cached. `on_progress` gets lines for people.

    Raises LabError with the end of mmdebstrap's output when the image cannot be made.
    """
    architecture(arch)
    name = f"{arch}-{recipe_hash(arch)}"
    folder, packed = image_dir() / name, image_dir() / f"{name}.tar.zst"
    if emulated(arch):
        register(architecture(arch).qemu)
    if folder.is_dir():
        return folder
    what = f"the base image of {arch}"
    with locked(image_dir() / f"{arch}.lock", what, deadline=BUILD_DEADLINE, on_wait=on_progress):
        if folder.is_dir():
            return folder
        if not packed.exists():
            _build(arch, packed, on_progress)
        _unpack(packed, folder, on_progress)
    if emulated(arch):
        register(architecture(arch).qemu)  # a lab that went down during these minutes has taken it away
    return folder


def _build(arch: str, packed: Path, on_progress: Callable[[str], None]) -> None:
    require(["mmdebstrap", "zstd", mirrors.KEYRING])
    mirror = mirrors.debian_mirror()
    on_progress(f"making the base image of {arch} (once; minutes) from {mirror.main}")
    for leftover in image_dir().glob(f"building-{arch}-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"building-{arch}-", dir=image_dir()) as scratch:
        target = Path(scratch) / "image.tar.zst"
        log = image_dir() / f"{arch}-build.log"
        command = ["nice", "-n", "10", "mmdebstrap", "--mode=root", f"--arch={arch}", "--variant=minbase"]
        # The emulator is registered already; mmdebstrap's own check would need one more package.
        command.append("--skip=check/qemu")
        command += [f"--include={','.join(PACKAGES)}", '--aptopt=Acquire::Languages "none"']
        command += [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDES]
        command += [f"--customize-hook={hook}" for hook in CUSTOMIZE]
        command += [mirrors.SUITE, str(target), mirror.source()]
        started = time.monotonic()
        _run_build(arch, command, log, scratch, on_progress)
        target.rename(packed)
    on_progress(f"base image of {arch} made in {time.monotonic() - started:.0f} s")


def _run_build(arch: str, command: list[str], log: Path, scratch: str, on_progress: Callable[[str], None]) -> None:
    # In namespaces of its own, and dying with us: a killed build leaves no process and no mount behind.
    contained = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation=private", "--pid", "--fork"]
    contained += ["--kill-child", "--mount-proc", *command]
    environment = clean_environment() | {"TMPDIR": scratch}
    with log.open("wb") as output:
        process = subprocess.Popen(
            contained, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
        )
        try:
            code = _wait_for_build(process, log, on_progress)
        except BaseException:
            process.kill()
            process.wait()
            raise
    if code != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise LabError(
            f"the base image of {arch} cannot be made; mmdebstrap ended with {code}:\n{tail}",
            f"the whole output: {log}. A mirror of your own: TVMOPS_LAB_MIRROR=http://...",
        )


def _wait_for_build(process: subprocess.Popen[bytes], log: Path, on_progress: Callable[[str], None]) -> int:
    started = time.monotonic()
    while True:
        try:
            return process.wait(PROGRESS_SECONDS)
        except subprocess.TimeoutExpired:
            elapsed = time.monotonic() - started
            lines = log.read_text(errors="replace").split("\n")
            steps = [line.removeprefix("I: ") for line in lines if line.startswith("I: ")]
            on_progress(f"{elapsed:.0f} s: {steps[-1] if steps else 'starting'}")
            if elapsed > BUILD_DEADLINE:
                raise LabError(f"mmdebstrap has not ended after {elapsed:.0f} s", f"its output: {log}") from None


def _unpack(packed: Path, folder: Path, on_progress: Callable[[str], None]) -> None:
    on_progress(f"unpacking {packed.name}")
    partial = folder.with_suffix(".new")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    options = ["--zstd", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf"]
    try:
        run(["tar", *options, packed, "-C", partial, "--exclude=./dev/*"], timeout=600)
    except LabError as error:
        packed.unlink(missing_ok=True)
        raise LabError(f"{packed} is damaged and was removed: {error.message}", "run the command again") from error
    partial.rename(folder)
