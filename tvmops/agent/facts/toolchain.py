"""What a TVM built elsewhere must fit: C library, C++ runtime, float ABI, CUDA, OpenCL, Pythons."""

import json
import os
import re
import sys

from .platform import userspace

TRIPLES = {
    "x86_64": "x86_64-linux-gnu",
    "i386": "i386-linux-gnu",
    "aarch64": "aarch64-linux-gnu",
    "riscv64": "riscv64-linux-gnu",
    "ppc64le": "powerpc64le-linux-gnu",
}
FOLDERS = ("usr/lib/%s", "lib/%s", "usr/lib64", "lib64", "usr/lib", "lib")
PYTHONS = ("usr/bin/python3*", "usr/local/bin/python3*", "opt/*/bin/python3*", "usr/local/python3*/bin/python3*")
PYTHON_DEADLINE = 1.0  # seconds for one `python3 -V`


def collect(board):
    """tvmops_glibc, tvmops_libstdcxx, tvmops_float_abi, tvmops_abi, tvmops_cuda, tvmops_opencl_icds, tvmops_pythons."""
    float_abi = _float_abi(board)
    triple = _triple(board, float_abi)
    glibc = _glibc(board, triple)
    return {
        "tvmops_glibc": glibc,
        "tvmops_float_abi": float_abi,
        "tvmops_abi": "%s-glibc%s" % (triple, glibc) if glibc else triple,
        "tvmops_libstdcxx": _libstdcxx(board, triple),
        "tvmops_cuda": _cuda(board),
        "tvmops_opencl_icds": _icds(board),
        "tvmops_pythons": _pythons(board),
    }


def _float_abi(board):
    """ "hard" or "soft" on 32-bit Arm, by the dynamic loader that is there; None elsewhere."""
    if not userspace(board.machine, board.bits).startswith("arm"):
        return None
    hard = board.exists("lib/ld-linux-armhf.so.3") or board.exists("lib/arm-linux-gnueabihf/ld-linux-armhf.so.3")
    return "hard" if hard else "soft"


def _triple(board, float_abi):
    machine = userspace(board.machine, board.bits)
    if float_abi:
        return "arm-linux-gnueabihf" if float_abi == "hard" else "arm-linux-gnueabi"
    if re.match(r"i[3-6]86$", machine):
        machine = "i386"
    return TRIPLES.get(machine, machine + "-linux")


def _library(board, triple, name):
    for folder in FOLDERS:
        path = os.path.join(folder % triple if "%s" in folder else folder, name)
        if board.exists(path):
            return "/" + path
    return ""


def _glibc(board, triple):
    if board.live:
        try:
            words = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        except (ValueError, OSError):
            words = []
        return words[1] if len(words) == 2 and words[0] == "glibc" else None
    path = _library(board, triple, "libc.so.6")
    match = re.search(rb"GNU C Library [^\n]*version (\d+\.\d+)", _bytes(board, path))
    return match.group(1).decode() if match else None


def _bytes(board, path):
    try:
        with open(board.path(path), "rb") as stream:
            return stream.read(16 << 20)
    except (IOError, OSError):
        return b""


def _libstdcxx(board, triple):
    """{"path", "glibcxx", "cxxabi"}: the newest symbol versions that the C++ runtime has; None when it is not there."""
    path = _library(board, triple, "libstdc++.so.6")
    if not path:
        return None
    content = _bytes(board, path)
    return {"path": path, "glibcxx": newest(content, b"GLIBCXX_"), "cxxabi": newest(content, b"CXXABI_")}


def newest(content, prefix):
    """The highest dotted number that follows `prefix` anywhere in the bytes, as text; None when there is none."""
    versions = {
        tuple(int(number) for number in match.split(b"."))
        for match in re.findall(re.escape(prefix) + rb"(\d{1,9}(?:\.\d{1,9}){1,3})", content)
    }
    return ".".join(str(number) for number in max(versions)) if versions else None


def _cuda(board):
    """The CUDA toolkit's version, None without one."""
    for folder in ["/usr/local/cuda"] + board.glob("usr/local/cuda-*")[::-1]:
        try:
            return str(json.loads(board.read(folder + "/version.json"))["cuda"]["version"])
        except (ValueError, KeyError, TypeError):
            pass
        match = re.search(r"CUDA Version (\d+(?:\.\d+)*)", board.read(folder + "/version.txt"))
        if match:
            return match.group(1)
        if board.exists(folder + "/bin/nvcc"):
            match = re.search(r"V(\d+(?:\.\d+)+)", board.output([folder + "/bin/nvcc", "--version"]))
            if match:
                return match.group(1)
    return None


def _icds(board):
    """{name of the .icd file: library it names}."""
    return {os.path.basename(path)[: -len(".icd")]: board.line(path) for path in board.glob("etc/OpenCL/vendors/*.icd")}


def _pythons(board):
    """{path: version}; each binary is asked once however many names it has."""
    found, asked = {}, {}
    for pattern in PYTHONS:
        for path in board.glob(pattern):
            if not re.match(r"python3(\.\d+)?$", os.path.basename(path)):
                continue
            real = os.path.realpath(board.path(path))
            if real not in asked:
                asked[real] = _python_version(board, real)
            if asked[real]:
                found[path] = asked[real]
    return found


def _python_version(board, real):
    if board.live and real == os.path.realpath(sys.executable):
        return "%d.%d.%d" % sys.version_info[:3]
    words = board.output([real, "-V"], timeout=PYTHON_DEADLINE).split()
    return words[1] if len(words) == 2 and words[0] == "Python" else ""
