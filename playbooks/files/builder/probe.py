"""What this machine can build with: compilers, tools, LLVM, memory, disk. Prints JSON.

Complete in itself, so that it can be sent to a Python's stdin:  python3 -I - < probe.py
Standard library only, Python 3.5 or newer.
"""

import glob
import json
import os
import platform
import re
import subprocess
import sys
import time

SECONDS = 20  # for one program's answer: an emulated compiler is slow
PREFIXES = ("/opt/tvmops/toolchain", "~/.cache/tvmops/toolchain")
GLIBCXX = rb"GLIBCXX_(\d+\.\d+(?:\.\d+)?)\0"
# Triples of Debian's compilers, beside the machine's own.
TRIPLES = ("aarch64-linux-gnu", "arm-linux-gnueabihf", "x86_64-linux-gnu", "i686-linux-gnu", "riscv64-linux-gnu")


def main():
    """Print what was found."""
    print(json.dumps(probe(), sort_keys=True))


def probe():
    """Everything, as one dict. What is not there is missing or None; nothing raises."""
    return {
        "machine": userspace_machine(),
        "kernel_machine": platform.machine(),
        "python": platform.python_version(),
        "uid": os.getuid(),
        "home": os.path.expanduser("~"),
        "cores": len(os.sched_getaffinity(0)),
        "memory": meminfo(),
        "swaps": swaps(),
        "disk": {path: free_bytes(path) for path in (os.path.expanduser("~"), "/opt", "/tmp", "/var/tmp")},
        "glibc": platform.libc_ver()[1] or (said(["ldd", "--version"]) or "").split("\n")[0].split(" ")[-1],
        "glibcxx": newest_glibcxx(),
        "compilers": compilers(),
        "tools": tools(),
        "llvm": llvms(),
        "llvm_packages": llvm_packages(),
        "time": int(time.time()),
    }


def said(argv):
    """The output of a program, both streams; None when it does not run or fails."""
    environment = dict(os.environ, LC_ALL="C")
    try:
        done = subprocess.run(
            argv, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            timeout=SECONDS, env=environment,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None


def folders():
    """Where programs are looked for: what tvmops put into its own prefixes first."""
    own = []
    for prefix in PREFIXES:
        for name in sorted(glob.glob(os.path.join(os.path.expanduser(prefix), "*")), key=natural, reverse=True):
            own.append(os.path.join(name, "bin"))
    path = os.environ.get("PATH", "").split(os.pathsep) + ["/usr/local/bin", "/usr/bin", "/bin"]
    return [folder for folder in own if os.path.isdir(folder)], unique(folder for folder in path if folder)


def unique(items):
    """The items without repetitions, in their order."""
    seen = []
    for item in items:
        if item not in seen:
            seen.append(item)
    return seen


def natural(text):
    """A key that sorts g++-9 before g++-10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def programs(pattern):
    """Paths of all programs whose whole name the pattern matches; a name found twice counts once per real file."""
    own, path = folders()
    found, real = [], set()
    for folder in own + path:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in sorted(names, key=natural):
            full = os.path.join(folder, name)
            if not re.match(pattern + r"\Z", name) or not os.access(full, os.X_OK):
                continue
            target = os.path.realpath(full)
            # /usr/lib/ccache/g++ is ccache, which hides the compiler behind it.
            if target not in real and (name == "ccache" or os.path.basename(target) != "ccache"):
                real.add(target)
                found.append(full)
    return found


def compilers():
    """C++ compilers: path, the C compiler beside it, kind, full version, target, where its system root is."""
    triples = "|".join(re.escape(triple) for triple in TRIPLES)
    found = []
    for path in programs(r"(?:(?:%s)-)?g\+\+(?:-\d+(?:\.\d+)?)?|clang\+\+(?:-\d+)?" % triples):
        one = compiler(path)
        if one is not None:
            found.append(one)
    return found


def compiler(path):
    """What a C++ compiler says about itself; None when it does not answer."""
    machine = said([path, "-dumpmachine"])
    banner = said([path, "--version"])
    if machine is None or banner is None:
        return None
    clang = "clang" in banner.split("\n")[0]
    if clang:
        version = (re.findall(r"version (\d+(?:\.\d+)+)", banner) or [""])[0]
    else:
        # gcc 4.8 to 6 know only -dumpversion, and from 7 on that may be the major number alone.
        version = said([path, "-dumpfullversion"]) or said([path, "-dumpversion"]) or ""
    beside = path.replace("clang++", "clang") if "clang++" in path else re.sub(r"g\+\+", "gcc", path)
    return {
        "cxx": path,
        "c": beside if os.access(beside, os.X_OK) else "",
        "kind": "clang" if clang else "gcc",
        "version": version,
        "target": machine,
        "package": banner.split("\n")[0],
        "strip": stripper(path, machine),
        "glibc": linked_version(path, "libc.so.6", rb"GNU C Library [^\n]{0,80}version (\d+\.\d+)"),
        "glibcxx": linked_version(path, "libstdc++.so", GLIBCXX),
    }


def linked_version(compiler_path, library, pattern):
    """The newest version that a library names in itself, of those the compiler links with; "" when unknown."""
    path = said([compiler_path, "-print-file-name=" + library]) or ""
    return newest(path, pattern) if os.path.isabs(path) else ""


def stripper(compiler_path, machine):
    """The strip program of the compiler's binutils, "" when there is none."""
    name = said([compiler_path, "-print-prog-name=strip"]) or ""
    if os.path.isabs(name) and os.access(name, os.X_OK):
        return name
    names = [machine + "-strip"] + (["strip"] if machine.split("-")[0] == userspace_machine() else [])
    for one in names:
        paths = programs(re.escape(one))
        if paths:
            return paths[0]
    return ""


def userspace_machine():
    """What programs here are built for: a 64-bit kernel may carry a 32-bit system."""
    machine = platform.machine()
    if sys.maxsize <= 2**32:
        return {"aarch64": "armv7l", "armv8l": "armv7l", "x86_64": "i686"}.get(machine, machine)
    return machine


def tools():
    """cmake, ninja, make, ccache: name -> {path, version} of the newest."""
    found = {}
    for name in ("cmake", "ninja", "make", "ccache"):
        for path in programs(re.escape(name)):
            version = (re.findall(r"\d+(?:\.\d+)+", said([path, "--version"]) or "") or [""])[0]
            if version and (name not in found or natural(version) > natural(found[name]["version"])):
                found[name] = {"path": path, "version": version}
    return found


def llvms():
    """Every llvm-config: path, full version, whether static libraries are there, targets, where it is installed."""
    found = []
    extra = [path for path in glob.glob("/usr/lib/llvm-*/bin/llvm-config") if os.access(path, os.X_OK)]
    real = set()
    for path in programs(r"llvm-config(?:-\d+(?:\.\d+)?)?") + extra:
        if os.path.realpath(path) in real:
            continue
        real.add(os.path.realpath(path))
        version = said([path, "--version"])
        if version is None:
            continue
        static = said([path, "--link-static", "--libs", "core"])
        prefix = said([path, "--prefix"])
        found.append(
            {
                "path": usual_name(path, version),
                "version": version,
                "static": static is not None and "missing" not in static,
                "prefix": prefix or "",
                "targets": (said([path, "--targets-built"]) or "").split(),
            }
        )
    return found


def llvm_packages():
    """LLVM's development packages that this machine's apt knows."""
    names = (said(["apt-cache", "pkgnames", "llvm-"]) or "").split()
    return sorted(name for name in names if re.match(r"llvm-\d[\d.]*-dev\Z", name))


def usual_name(path, version):
    """/usr/bin/llvm-config-14 rather than /usr/bin/llvm-config where both are the same program."""
    numbered = "%s-%s" % (path, version.split(".")[0])
    same = os.path.exists(numbered) and os.path.realpath(numbered) == os.path.realpath(path)
    return numbered if same else path


def meminfo():
    """total, available, swap_total, swap_free in bytes."""
    values = {}
    for line in read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        values[name] = int(rest.split()[0]) * 1024 if rest.split() else 0
    available = values.get("MemAvailable")
    if available is None:  # kernels before 3.14
        available = values.get("MemFree", 0) + values.get("Buffers", 0) + values.get("Cached", 0)
    return {
        "total": values.get("MemTotal", 0),
        "available": available,
        "swap_total": values.get("SwapTotal", 0),
        "swap_free": values.get("SwapFree", 0),
    }


def swaps():
    """The active swap areas: path, kind (zram, file, partition), size and used in bytes."""
    found = []
    for line in read("/proc/swaps").splitlines()[1:]:
        words = line.split()
        kind = "zram" if "zram" in words[0] else words[1]
        found.append({"path": words[0], "kind": kind, "size": int(words[2]) * 1024, "used": int(words[3]) * 1024})
    return found


def newest_glibcxx():
    """The newest GLIBCXX symbol version of this machine's libstdc++, "" when it cannot be told."""
    listing = said(["ldconfig", "-p"]) or said(["/sbin/ldconfig", "-p"]) or ""
    paths = [line.split("=>")[-1].strip() for line in listing.splitlines() if "libstdc++.so.6 " in line]
    for path in paths + glob.glob("/usr/lib/*/libstdc++.so.6") + glob.glob("/usr/lib/libstdc++.so.6"):
        version = newest(path, GLIBCXX)
        if version:
            return version
    return ""


def newest(path, pattern):
    """The newest version that the pattern finds in a file, "" when there is none."""
    try:
        with open(path, "rb") as stream:
            versions = re.findall(pattern, stream.read())
    except OSError:
        return ""
    return max((one.decode() for one in versions), key=natural) if versions else ""


def free_bytes(path):
    """Free bytes of the file system that `path` is, or will be, on."""
    while path and not os.path.exists(path):
        path = os.path.dirname(path)
    try:
        space = os.statvfs(path or "/")
    except OSError:
        return 0
    return space.f_bavail * space.f_frsize


def read(path):
    """A small text file's content, "" when there is none."""
    try:
        with open(path, "rb") as stream:
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""


if __name__ == "__main__":
    main()
