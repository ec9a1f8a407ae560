"""Make a tool of the toolchain out of what toolchain_fetch.py has brought: compile it if need be, prove it, finish it.

    TVMOPS_TOOL=JSON python3 toolchain_make.py

JSON: {"name", "prefix", "work", "prove": [argv], "options": [for this machine], "check": false}. WORK/origin.json says
what was brought: its "tree", "file" and "sha256", and for sources "recipe" (python, gcc, llvm or cmake) and "options".
The prefix is complete, with PREFIX/.complete, when all of it has been proven to run. A build that was cut off goes on
where it was; all that the tools say is in WORK/log.txt. Exit status 0: it was there; 3: it was made (check: it would
be); 1: one line why not.
Standard library only, Python 3.5 or newer.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time

STEP_SECONDS = 86400.0
COMPILE_MB, LINK_MB = 1500, 4000
C_MB = 500  # C takes less than C++
RIGHT, WRONG, MADE = 0, 1, 3
ERROR_LINE = re.compile(r"(: |^)(fatal )?(internal compiler )?error:|^make.*\*\*\*|CMake Error|configure: error|Killed")


class Failed(Exception):
    """Why it cannot be made."""


def main():
    """Exit status as above, and one line at the end."""
    asked = json.loads(os.environ["TVMOPS_TOOL"])
    try:
        status, text = work(asked)
    except Failed as reason:
        status, text = WRONG, "%s: %s" % (asked["name"], reason)
    print(text)
    return status


def work(asked):
    """(exit status, line)."""
    prefix = asked["prefix"]
    if os.path.exists(os.path.join(prefix, ".complete")):
        return RIGHT, "%s is in %s" % (asked["name"], prefix)
    if asked["check"]:
        return MADE, "%s would be made in %s" % (asked["name"], prefix)
    with open(os.path.join(asked["work"], "origin.json")) as stream:
        origin = json.load(stream)
    begin = time.time()
    finish(asked, origin, compiled(asked, origin) if origin.get("recipe") else origin["tree"])
    shutil.rmtree(asked["work"], ignore_errors=True)
    return MADE, "%s is in %s, made from %s in %d s" % (asked["name"], prefix, origin["file"], time.time() - begin)


def compiled(asked, origin):
    """The folder that is to become the prefix, out of the sources."""
    build, stage = os.path.join(asked["work"], "build"), os.path.join(asked["work"], "stage")
    if not os.path.isdir(build):
        os.makedirs(build)
    shutil.rmtree(stage, ignore_errors=True)
    with open(os.path.join(asked["work"], "log.txt"), "ab") as log:
        for name, argv in steps(asked, origin, origin["tree"], build, stage):
            stamp = os.path.join(build, ".done-" + name)
            if name == "configure" and os.path.exists(stamp):
                continue
            print("%s: %s" % (asked["name"], name))
            sys.stdout.flush()
            run(argv, build, log)
            open(stamp, "w").close()
    return stage + asked["prefix"]


def steps(asked, origin, tree, build, stage):
    """(name, argv) of configuring, compiling, installing into a folder of our own."""
    prefix, options = asked["prefix"], asked["options"] + list(origin.get("options", []))
    jobs = parallel(C_MB if origin["recipe"] == "python" else COMPILE_MB)
    if origin["recipe"] == "llvm":
        ninja = ["-G", "Ninja"] if shutil.which("ninja") else []
        links = "-DLLVM_PARALLEL_LINK_JOBS=%d" % parallel(LINK_MB)
        configure = ["cmake", "-S", tree, "-B", build, "-DCMAKE_INSTALL_PREFIX=" + prefix] + ninja
        configure += ([links] if ninja else []) + options
        make = ["cmake", "--build", build, "--", "-j%d" % jobs]
        install = ["env", "DESTDIR=" + stage, "cmake", "--build", build, "--target", "install"]
    else:
        program = os.path.join(tree, "bootstrap" if origin["recipe"] == "cmake" else "configure")
        configure = [program, "--prefix=" + prefix]
        if origin["recipe"] == "cmake":
            configure += ["--parallel=%d" % jobs]
        configure += options
        make = ["make", "-j%d" % jobs]
        install = ["make", "install", "DESTDIR=" + stage]
    return [("configure", configure), ("compile", make), ("install", install)]


def parallel(megabytes):
    """As many processes as there are processors and memory for."""
    with open("/proc/meminfo") as stream:
        rows = dict(line.split(":")[:2] for line in stream if ":" in line)
    free = sum(int(rows[name].split()[0]) for name in ("MemAvailable", "SwapFree") if name in rows) >> 10
    return max(1, min(os.cpu_count() or 1, free // megabytes))


def run(argv, folder, log):
    """Run to the end, all of its output into the log."""
    log.write(("\n$ %s\n" % " ".join(argv)).encode("utf-8"))
    log.flush()
    begin = log.tell()
    environment = dict(os.environ, LC_ALL="C", PATH=os.environ.get("PATH", "/usr/bin:/bin"))
    environment.pop("TVMOPS_TOOL", None)
    try:
        code = subprocess.call(argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                               timeout=STEP_SECONDS)  # fmt: skip
    except OSError as error:
        raise Failed("%s cannot be run: %s" % (argv[0], error.strerror))
    except subprocess.TimeoutExpired:
        raise Failed("%s took longer than a day" % argv[0])
    if code:
        raise Failed("%s ended with %s: %s (all of it: %s)" % (argv[0], code, first_error(log.name, begin), log.name))


def first_error(path, begin):
    """The first line that says what is wrong, or the last one."""
    with open(path, "rb") as stream:
        stream.seek(begin)
        lines = [line.strip() for line in stream.read().decode("utf-8", "replace").splitlines() if line.strip()]
    found = [line for line in lines if ERROR_LINE.search(line)]
    text = (found or lines[-1:] or ["no output"])[0]
    return text + (" (out of memory: swap.yml)" if "Killed" in text or "internal compiler error" in text else "")


def finish(asked, origin, made):
    """It runs where it will be; then it is complete. A prefix that does not run is taken away again."""
    prefix = asked["prefix"]
    shutil.rmtree(prefix, ignore_errors=True)
    if not os.path.isdir(os.path.dirname(prefix)):
        os.makedirs(os.path.dirname(prefix), 0o755)
    shutil.move(made, prefix)
    os.chmod(prefix, 0o755)
    for argv in asked["prove"]:
        command = [os.path.join(prefix, argv[0])] + argv[1:]
        try:
            subprocess.check_output(command, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=300)
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "output", None) or str(error).encode("utf-8")
            shutil.rmtree(prefix, ignore_errors=True)
            raise Failed("%s does not run: %s" % (" ".join(argv), said.decode("utf-8", "replace").strip()[-500:]))
    partial = os.path.join(prefix, ".complete.new")
    with open(partial, "w") as stream:
        json.dump({"name": asked["name"], "file": origin["file"], "sha256": origin["sha256"]}, stream, sort_keys=True)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(partial, os.path.join(prefix, ".complete"))


if __name__ == "__main__":
    sys.exit(main())
