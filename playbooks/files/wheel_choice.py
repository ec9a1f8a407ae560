"""Which MXNet wheel does this board's Python take, and does it import once it is there?

    python3 wheel_choice.py choose JSON [--root DIR]
        JSON: {"wheels", "numpy", "others", "pip": those of vars/mxnet.yml, "cuda": "auto", "none" or a version,
        "folder": where a wheel that is brought lies on the board, "given": path or URL of such a wheel or "",
        "sha256": its hash or ""} -> {"wheel", "send": path or "", "requirements": text for pip,
        "first": the same for pip itself or "", "key", "python", "arch", "glibc": the board's}
    python3 wheel_choice.py smoke PYTHON FOLDER
        imports MXNet in a process of its own, which may crash, and lets it compute; then writes FOLDER/.complete

One line of JSON; with exit status 1 its "problem" says what does not fit. Run by the Python that the wheel is for.
Standard library only, Python 3.5 or newer.
"""

import hashlib
import json
import os
import re
import struct
import subprocess
import sys

SMOKE_SECONDS, LOOK_SECONDS = 300, 60
# Older names of manylinux and the glibc that they stand for.
MANYLINUX = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
SMOKE = (
    "import mxnet, numpy; x = mxnet.nd.ones((2, 3)); assert float((x * 2).sum().asscalar()) == 12.0;"
    "print(mxnet.__version__, numpy.__version__)"
)


class Problem(Exception):
    """What does not fit, for people."""


class Place:
    """What of a board decides: architecture, glibc, Python, CUDA, L4T."""

    def __init__(self, root="/"):
        self.root = root
        self.arch = machine(os.uname()[4], struct.calcsize("P") * 8)
        self.glibc = glibc()
        self.python = sys.version_info[:2]
        self.l4t = l4t(self.read("etc/nv_tegra_release"))
        self.cuda = cuda(self)

    def read(self, name):
        try:
            with open(os.path.join(self.root, name)) as stream:
                return stream.read(65536)
        except (IOError, OSError, UnicodeDecodeError):
            return ""


def machine(name, bits):
    """What programs are built for: a 64-bit kernel may carry a 32-bit system."""
    return {"x86_64": "i686", "aarch64": "armv7l"}.get(name, name) if bits == 32 else name


def glibc():
    """(2, 31); None with another C library."""
    try:
        words = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (ValueError, OSError):
        return None
    return tuple(int(part) for part in words[1].split(".")[:2]) if len(words) == 2 and words[0] == "glibc" else None


def l4t(text):
    match = re.search(r"R(\d+)\s*\(release\),\s*REVISION:\s*(\d+)", text)
    return "%s.%s" % match.groups() if match else ""


def cuda(place):
    """The toolkit's version, "10.2"; "" without one."""
    text = place.read("usr/local/cuda/version.json")
    match = re.search(r'"cuda"\s*:\s*\{[^}]*"version"\s*:\s*"(\d+\.\d+)', text)
    match = match or re.search(r"CUDA Version (\d+\.\d+)", place.read("usr/local/cuda/version.txt"))
    return match.group(1) if match else ""


def mismatch(name, place):
    """Why the wheel of this name cannot be installed here; "" when it can."""
    if not name.endswith(".whl") or name.count("-") < 4:
        return "%s is not the name of a wheel" % name
    pythons, abis, platforms = (part.split(".") for part in name[: -len(".whl")].rsplit("-", 3)[1:])
    if not any(_python_fits(one, abis, place.python) for one in pythons):
        return "it is for %s, this board has Python %d.%d" % ((", ".join(pythons),) + place.python)
    reasons = [_platform_mismatch(one, place) for one in platforms]
    return "" if "" in reasons else reasons[0]


def _python_fits(tag, abis, version):
    match = re.match(r"(py|cp)(\d)(\d*)$", tag)
    if not match or int(match.group(2)) != version[0]:
        return False
    own = "cp%d%d" % version
    if match.group(1) == "py":
        return not match.group(3) or int(match.group(3)) <= version[1]
    if "abi3" in abis:
        return int(match.group(3) or 0) <= version[1]
    return tag == own and any(abi == "none" or abi in (own, own + "m") for abi in abis)


def _platform_mismatch(tag, place):
    if tag == "any":
        return ""
    match = re.match(r"(linux|manylinux1|manylinux2010|manylinux2014|manylinux_(\d+)_(\d+))_(\w+)$", tag)
    if not match:
        return "it is for %s, this board is Linux with glibc" % tag
    if match.group(4) != place.arch:
        return "it is for %s, this board's programs are for %s" % (match.group(4), place.arch)
    kind = match.group(1)
    needed = (int(match.group(2)), int(match.group(3))) if match.group(2) else MANYLINUX.get(kind, (0, 0))
    if place.glibc is None or place.glibc < needed:
        return "it needs glibc %d.%d, this board has %s" % (needed + (_dotted(place.glibc),))
    return ""


def _dotted(version):
    return "another C library" if version is None else "%d.%d" % version


def choose(asked, place):
    """What to install. Raises Problem."""
    numpy = _for_python(asked["numpy"], place)
    if numpy is None:
        pythons = ", ".join(one for row in asked["numpy"] for one in row["pythons"])
        text = "MXNet needs NumPy below 1.24, which has wheels for Python %s; this board has %d.%d"
        raise Problem(text % ((pythons,) + place.python))
    lines = [_line(row["pin"], row["sha256"]) for row in [numpy] + asked["others"]]
    wheel, line, send = _given(asked, place) if asked.get("given") else _known(asked, place)
    lines.append(line)
    pip = _for_python([asked["pip"]], place)
    text = "".join(line + "\n" for line in lines)
    return {
        "wheel": wheel,
        "send": send,
        "requirements": text,
        "first": _line(pip["pin"], pip["sha256"]) + "\n" if pip else "",
        "key": hashlib.sha256(("%d.%d\n" % place.python + text).encode()).hexdigest()[:16],
        "python": "%d.%d" % place.python,
        "arch": place.arch,
        "glibc": _dotted(place.glibc),
    }


def _for_python(rows, place):
    return next((row for row in rows if "%d.%d" % place.python in row["pythons"]), None)


def _line(what, hashes):
    return " ".join([what] + ["--hash=sha256:%s" % one for one in hashes])


def _known(asked, place):
    """The wheel of the table."""
    wanted = asked.get("cuda") or "auto"
    reasons = []
    # A wheel for this board's CUDA first; the CPU's only where CUDA is not meant.
    for row in sorted(asked["wheels"], key=lambda one: one["cuda"] == ""):
        reason = mismatch(row["name"], place) or _cuda_mismatch(row, wanted, place)
        if reason:
            reasons.append("%s: %s" % (row["name"], reason))
        elif row.get("gone"):
            text = "%s fits, but can no longer be fetched (%s). Bring the file: mxnet_wheel and mxnet_wheel_sha256; "
            raise Problem((text + "or take the CPU's: mxnet_cuda: none") % (row["name"], row["gone"]))
        else:
            return row["name"], _line(row["pin"], [row["sha256"]]), ""
    raise Problem("no MXNet wheel fits: %s" % "; ".join(reasons))


def _cuda_mismatch(row, wanted, place):
    if not row["cuda"]:
        return "it is for the CPU, not for CUDA %s" % wanted if wanted not in ("auto", "none") else ""
    if wanted == "none":
        return "mxnet_cuda is none"
    if row["cuda"] != (place.cuda if wanted == "auto" else wanted):
        return "it is for CUDA %s, this board has %s" % (row["cuda"], place.cuda or "none")
    if row.get("l4t") and place.l4t not in row["l4t"]:
        return "it is for Jetsons with L4T %s, this board has %s" % (", ".join(row["l4t"]), place.l4t or "none")
    return ""


def _given(asked, place):
    """The wheel that the owner brings: a file or a URL. Its name is asked before it is sent."""
    given = asked["given"]
    name = os.path.basename(given.split("#")[0].split("?")[0])
    reason = mismatch(name, place)
    if reason:
        raise Problem("%s does not fit: %s" % (name, reason))
    row = next((row for row in asked["wheels"] if row["name"] == name), {})
    digest = asked.get("sha256") or row.get("sha256")
    if not digest:
        raise Problem("no SHA-256 is known for %s; give it in mxnet_wheel_sha256" % name)
    url = re.match(r"[a-z]+://", given)
    return name, _line(given if url else os.path.join(asked["folder"], name), [digest.lower()]), "" if url else given


def smoke(python, folder):
    """{"mxnet", "numpy"} versions, once it has computed. Raises Problem."""
    argv = [python, "-s", "-c", SMOKE]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/")
    try:
        output, errors = process.communicate(timeout=SMOKE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Problem("import mxnet takes longer than %d s" % SMOKE_SECONDS)
    if process.returncode < 0:
        text = "import mxnet crashed (signal %d): the wheel is built for another CUDA, JetPack or processor%s"
        raise Problem(text % (-process.returncode, missing_libraries(python)))
    if process.returncode != 0:
        lines = errors.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        raise Problem("import mxnet fails: %s%s" % (lines[-1], missing_libraries(python)))
    mxnet, numpy = output.decode().split()[-2:]
    with open(os.path.join(folder, ".complete"), "w") as stream:
        stream.write("MXNet %s, NumPy %s\n" % (mxnet, numpy))
        stream.flush()
        os.fsync(stream.fileno())
    return {"mxnet": mxnet, "numpy": numpy}


def missing_libraries(python):
    """What libmxnet.so needs and the board lacks, as the end of a sentence."""
    program = (
        "import glob, sysconfig; print('\\n'.join(glob.glob(sysconfig.get_path('purelib') + '/mxnet/libmxnet.so')))"
    )
    try:
        library = subprocess.check_output([python, "-c", program], timeout=LOOK_SECONDS).decode().strip()
        text = (
            subprocess.check_output(["ldd", library], timeout=LOOK_SECONDS).decode("utf-8", "replace")
            if library
            else ""
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    missing = re.findall(r"^\s*(\S+) => not found", text, re.MULTILINE)
    return "; libraries that are missing: %s" % ", ".join(missing) if missing else ""


def main(arguments):
    """Exit status 0 or 1, and one line of JSON."""
    answer = {}
    try:
        if arguments[0] == "smoke":
            answer = smoke(arguments[1], arguments[2])
        else:
            root = arguments[arguments.index("--root") + 1] if "--root" in arguments else "/"
            answer = choose(json.loads(arguments[1]), Place(root))
    except Problem as problem:
        answer["problem"] = str(problem)
    print(json.dumps(answer, sort_keys=True))
    return 1 if "problem" in answer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
