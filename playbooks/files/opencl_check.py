"""Does OpenCL work on this board, and on which devices?

    python3 opencl_check.py JSON     JSON: {"type": "GPU" or "CPU", "user": "tvm" or ""}

Runs clinfo as that user. One line of JSON: {"devices": [{"platform", "name", "vendor", "type", "version"}]}; with exit
status 1 its "problem" says what hinders: no driver, one that does not load, a CPU where a GPU is wanted.

Standard library only, Python 3.5 or newer.
"""

import glob
import grp
import json
import os
import pwd
import re
import signal
import subprocess
import sys

CLINFO_SECONDS = 120  # PoCL's first start compiles
DEVICE_FILES = ("/dev/dri/renderD*", "/dev/mali0", "/dev/kfd")


class Problem(Exception):
    """What hinders, for people."""


def prove(wanted, user):
    """The devices that clinfo finds, one of the wanted type ("GPU", "CPU") among them. Raises Problem."""
    return {"devices": judged(wanted, user, *run_clinfo(user))}


def judged(wanted, user, rc, text):
    """The devices in clinfo's output. Raises Problem when there is none of the wanted type."""
    mismatch = re.search(r"DDK is not compatible[^\n]*(?:\n[^\n]*){0,3}", text)
    if mismatch:
        told = " ".join(mismatch.group(0).split())
        raise Problem("libmali is built for another revision of this GPU: %s. Install the one for this revision" % told)
    if rc < 0 or rc > 128:
        signal = -rc if rc < 0 else rc - 128
        raise Problem("clinfo crashed (signal %d): a driver is broken, or two claim one GPU: %s" % (signal, icds()))
    devices = parse(text)
    if not devices:
        raise Problem(nothing_found(text, user))
    if not any(wanted in one["type"] for one in devices):
        names = "; ".join("%s (%s)" % (one["name"], one["type"]) for one in devices)
        text = "OpenCL works, but has no %s: it found %s. A measurement would run there and be taken for the %s's%s"
        raise Problem(text % (wanted, names, wanted, "; " + closed_to(user) if closed_to(user) else ""))
    return devices


def parse(text):
    """The devices of `clinfo --raw`: [{"platform", "name", "vendor", "type", "version"}]."""
    platforms, devices, order = {}, {}, []
    for line in text.splitlines():
        match = re.match(r"\[([^\]/]+)/(\d+|\*)\]\s+(CL_\w+)\s*(.*)$", line)
        if not match:
            continue
        platform, number, name, value = match.groups()
        if number == "*":
            if name == "CL_PLATFORM_NAME":
                platforms[platform] = value.strip()
            continue
        if (platform, number) not in devices:
            devices[platform, number] = {}
            order.append((platform, number))
        devices[platform, number].setdefault(name, value.strip())
    return [
        {
            "platform": platforms.get(platform, platform),
            "name": devices[platform, number].get("CL_DEVICE_NAME", ""),
            "vendor": devices[platform, number].get("CL_DEVICE_VENDOR", ""),
            "version": devices[platform, number].get("CL_DEVICE_VERSION", ""),
            "type": devices[platform, number].get("CL_DEVICE_TYPE", "").replace("CL_DEVICE_TYPE_", ""),
        }
        for platform, number in order
    ]


def nothing_found(text, user):
    """Why there is no device, as far as the board can tell."""
    known = icds()
    if not known:
        return "no OpenCL platform: there is no driver in /etc/OpenCL/vendors"
    for name, library in sorted(known.items()):
        reason = load_error(library)
        if reason:
            return "the driver of /etc/OpenCL/vendors/%s.icd does not load: %s" % (name, reason)
    home = pwd.getpwnam(user).pw_dir if user else "/"
    if not os.path.isdir(home):
        return "user %s has no home (%s), and drivers such as PoCL keep what they compile there" % (user, home)
    return closed_to(user) or "no OpenCL device: %s. clinfo says: %s" % (known, " ".join(text.split())[-300:])


def icds():
    """{name of the .icd file: library it names}."""
    found = {}
    for path in sorted(glob.glob("/etc/OpenCL/vendors/*.icd")):
        with open(path) as stream:
            found[os.path.basename(path)[: -len(".icd")]] = stream.readline().strip()
    return found


def load_error(library):
    """What the dynamic loader says against a library; "" when it loads. In a process of its own: it may crash."""
    program = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
    argv = [sys.executable, "-c", program, library]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        lines = process.communicate(timeout=30)[1].decode("utf-8", "replace").strip().splitlines()
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "loading %s takes longer than 30 s" % library
    if process.returncode == 0:
        return ""
    return lines[-1] if lines else "loading %s ends with status %d" % (library, process.returncode)


def run_clinfo(user):
    """(exit status, output of `clinfo --raw`), as `user` where root runs this."""
    argv, environment = ["clinfo", "--raw"], dict(os.environ, LC_ALL="C")
    if user and os.getuid() == 0:
        environment["HOME"] = pwd.getpwnam(user).pw_dir
        argv = ["runuser", "-u", user, "--"] + argv
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise Problem("%s cannot be started: %s" % (argv[0], error.strerror))
    try:
        output = process.communicate(timeout=CLINFO_SECONDS)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # clinfo is runuser's child, and holds the pipe
        process.communicate()
        raise Problem("clinfo gave no answer within %d s: a driver hangs" % CLINFO_SECONDS)
    return process.returncode, output.decode("utf-8", "replace")


def closed_to(user):
    """Which of the GPU's device files `user` may not open; "" when there is none."""
    for name in [name for pattern in DEVICE_FILES for name in sorted(glob.glob(pattern))]:
        about = os.stat(name)
        group, members = group_of(about.st_gid)
        if user and about.st_mode & 0o006 != 0o006 and user not in members:
            return "user %s may not open %s: it is not in the group %s" % (user, name, group)
    return ""


def group_of(gid):
    """(name, members) of a group; its number where it has no name."""
    members = [one.pw_name for one in pwd.getpwall() if one.pw_gid == gid]
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return str(gid), members
    return group.gr_name, group.gr_mem + members


def main(arguments):
    """Exit status 0 or 1, and one line of JSON."""
    answer = {}
    try:
        asked = json.loads(arguments[0])
        answer = prove(asked["type"], asked.get("user") or "")
    except Problem as problem:
        answer["problem"] = str(problem)
    print(json.dumps(answer, sort_keys=True))
    return 1 if "problem" in answer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
