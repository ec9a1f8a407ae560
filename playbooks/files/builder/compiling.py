"""Configuring with CMake and compiling with Ninja or make."""

import hashlib
import json
import os
import re
import shutil
import subprocess

import memory
from faults import BuildFault
from running import run, tell
from sources import names_digest

STAMP = ".tvmops-toolchain"
CONFIGURED = ".tvmops-configured"
# Variables that would change what comes out.
UNWANTED = ("CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "MAKEFLAGS", "MFLAGS", "NINJAFLAGS", "DESTDIR")
SECONDS = 60  # for a tool's answer


def configure(one):
    """Make the build folder ready: a fresh one when the tools have changed, CMake when its arguments have."""
    with one.step("configure"):
        tools = _tools(one)
        if _read(os.path.join(one.folder, STAMP)) != tools:
            if os.path.isdir(one.folder):
                one.note("other tools than last time: starting with an empty build folder")
            shutil.rmtree(one.folder, ignore_errors=True)
            os.makedirs(one.folder)
            _write(os.path.join(one.folder, STAMP), tools)
        if one.spec["config"]:
            text = _configuration(one)
            if text != _read(os.path.join(one.folder, "config.cmake")):
                _write(os.path.join(one.folder, "config.cmake"), text)
        if one.spec["toolchain_file"]:
            path = os.path.join(one.work, "toolchain.cmake")
            if _read(path) != placed(one, one.spec["toolchain_file"]):
                _write(path, placed(one, one.spec["toolchain_file"]))
        plan(one, factor=1)
        _cmake(one)


def _configuration(one):
    """The text of config.cmake. Raises BuildFault when it is another order's, put there while this one waited."""
    path = os.path.join(one.work, one.spec["config"])
    text = _read(path)
    if one.spec["config_sha256"] not in ("", hashlib.sha256(text.encode("utf-8")).hexdigest()):
        raise BuildFault("%s is not the configuration of this build" % path, "another build came between: run again")
    return text


def _tools(one):
    """What the build folder depends on: the asked-for identity, and what the tools here say of themselves."""
    chain = one.spec["toolchain"]
    versions = {}
    for name in ("cxx", "cmake", "ninja", "make"):
        if chain.get(name):
            argument = "-v" if name == "cxx" else "--version"
            versions[name] = _said([chain[name], argument])
    return json.dumps([chain.get("identity"), versions, bool(chain.get("ninja"))], sort_keys=True)


def plan(one, factor):
    """Decide on jobs by memory; where there is too little for one, add swap. `factor` divides the jobs of a retry."""
    sizes = one.spec["memory"]
    needed = max(sizes["compile"], sizes["link"])
    room = memory.available()
    if room < needed and one.spec["swap"] and not one.swap.size:
        if one.swap.need(needed - room):
            one.note("%d MB of memory are free: %d MB of swap added for this build" % (room >> 20, one.swap.size >> 20))
            room = memory.available()
        else:
            one.note(
                "%d MB of memory are free and one job may need %d MB; no swap was added: %s"
                % (room >> 20, needed >> 20, one.swap.refused)
            )
    most = one.spec["most_jobs"]
    compiling, linking = memory.jobs(room, memory.cores(), sizes["compile"], sizes["link"], most)
    compiling, linking = max(1, compiling // factor), max(1, linking // factor)
    linking = min(linking, compiling)
    one.result["jobs"] = {"compile": compiling, "link": linking, "memory": room, "cores": memory.cores()}
    one.result["swap"] = one.swap.size


def _cmake(one):
    argv = _cmake_command(one)
    files = [one.work + "/toolchain.cmake"] if one.spec["toolchain_file"] else []
    files += [os.path.join(one.folder, "config.cmake")] + cmake_files(one.source)
    state = hashlib.sha256(
        "\n".join(argv + [_read(path) for path in files] + [names_digest(one.source)]).encode("utf-8")
    ).hexdigest()
    made = os.path.join(one.folder, "build.ninja" if one.spec["toolchain"].get("ninja") else "Makefile")
    if _read(os.path.join(one.folder, CONFIGURED)) == state and os.path.exists(made):
        return
    tell("configuring")
    _remove(os.path.join(one.folder, CONFIGURED))
    # From nothing: what an earlier configuration left in the cache would decide, and equal inputs give other bytes.
    # Twice: TVM reads some options before it sets them (USE_FLASHINFER at 0.19), so the second run, and every later
    # one that the build tool starts by itself, differs from the first.
    _remove(os.path.join(one.folder, "CMakeCache.txt"))
    for _ in range(2):
        done = run(argv, one.folder, environment(one), one.log, deadline=one.deadline, keep_open=(one.lock,))
        if done.code != 0:
            one.result["error"] = done.error
            raise BuildFault(_ending("cmake", done), "")
    _check_llvm(one)
    _write(os.path.join(one.folder, CONFIGURED), state)


def cmake_files(source):
    """The files of a tree that CMake reads, sorted."""
    found = []
    for folder, _, names in os.walk(source):
        found += [os.path.join(folder, name) for name in names if name == "CMakeLists.txt" or name.endswith(".cmake")]
    return sorted(found)


def _cmake_command(one):
    chain, spec = one.spec["toolchain"], one.spec
    ninja = chain.get("ninja")
    arguments = {name: placed(one, value) for name, value in spec["arguments"].items()}
    # A run path would hold the build folder's name: two builds would differ.
    arguments.setdefault("CMAKE_SKIP_RPATH", "ON")
    arguments.setdefault("CMAKE_EXPORT_NO_PACKAGE_REGISTRY", "ON")
    # CMake 4 refuses trees that ask for a CMake before 3.5, as TVM up to 0.10 does.
    arguments.setdefault("CMAKE_POLICY_VERSION_MINIMUM", "3.5")
    arguments.setdefault("CMAKE_BUILD_TYPE", "Release")
    if spec["toolchain_file"]:
        arguments["CMAKE_TOOLCHAIN_FILE"] = os.path.join(one.work, "toolchain.cmake")
    for language, name in (("C", "c"), ("CXX", "cxx")):
        arguments["CMAKE_%s_COMPILER" % language] = chain[name]
        arguments["CMAKE_%s_FLAGS" % language] = " ".join(placed(one, flag) for flag in spec["flags"].get(name, []))
        # Not among the flags above: TVM looks for "-g" in them, which a folder's name may have, and builds otherwise.
        kind = "CMAKE_%s_FLAGS_%s" % (language, arguments["CMAKE_BUILD_TYPE"].upper())
        kind += "" if kind in arguments else "_INIT"  # what CMake puts before its own
        arguments[kind] = " ".join([arguments.get(kind, "")] + _mappings(one, name)).strip()
        if chain.get("ccache"):
            arguments["CMAKE_%s_COMPILER_LAUNCHER" % language] = chain["ccache"]
    link = " ".join(placed(one, flag) for flag in spec["flags"].get("link", []))
    for kind in ("EXE", "SHARED", "MODULE"):
        arguments["CMAKE_%s_LINKER_FLAGS" % kind] = link
    if ninja:
        arguments["CMAKE_MAKE_PROGRAM"] = ninja
        arguments["CMAKE_JOB_POOLS"] = "linking=%d" % one.result["jobs"]["link"]
        arguments["CMAKE_JOB_POOL_LINK"] = "linking"
    options = ["-D%s=%s" % (name, arguments[name]) for name in sorted(arguments)]
    generator = ["-G", "Ninja" if ninja else "Unix Makefiles", "--no-warn-unused-cli"]
    return [chain["cmake"]] + generator + options + [one.source]


def _mappings(one, name):
    """Flags that keep this folder's name out of what is compiled.

    What they put in its place is what ccache makes of the same paths: with and without it the bytes are the same.
    """
    for option in ("-ffile-prefix-map", "-fdebug-prefix-map"):  # the first is known from gcc 8 and clang 10 on
        # The last one that fits counts.
        mapping = ["%s=%s=.." % (option, one.work), "%s=%s/=" % (option, one.folder)]
        if _said([one.spec["toolchain"][name]] + mapping + ["-E", "-x", "c", "/dev/null"]) is not None:
            return mapping
    return []


def _check_llvm(one):
    """CMake may have found another LLVM than the one it was told (PATH, an old cache)."""
    wanted = one.spec["toolchain"].get("llvm")
    if not wanted:
        return
    found = re.findall(r"Found TVM_LLVM_VERSION=(\d+)", _read(one.log.path))
    if found and found[-1] != "".join(wanted.split(".")[:2]):
        raise BuildFault(
            "CMake took LLVM %s instead of %s" % (found[-1], wanted),
            "remove the other llvm-config from PATH, or choose that version",
        )


def make(one):
    """Run the build tool; after an end for want of memory once more with half the jobs."""
    _remove(os.path.join(one.work, "ccache.log"))
    with one.step("compile"), memory.Watch() as watch:
        try:
            done = _make(one)
            if done.code != 0 and done.out_of_memory and not done.late:
                before = one.result["jobs"]["compile"]
                plan(one, factor=2)
                one.result["jobs"]["compile"] = min(max(1, before // 2), one.result["jobs"]["compile"])
                jobs = one.result["jobs"]["compile"]
                one.note("memory ran out with %d jobs: once more with %d, from where it was" % (before, jobs))
                one.result["retried"] = True
                _cmake(one)
                done = _make(one)
        finally:
            one.result["peak_memory"] = watch.peak
            one.result["largest_process"] = watch.largest
        if done.code != 0:
            one.result["error"] = done.error
            raise BuildFault(_ending("the build", done), _advice(done))
        one.result["cache"] = cache_counts(os.path.join(one.work, "ccache.log"))


def _make(one):
    chain, jobs = one.spec["toolchain"], one.result["jobs"]
    tool = chain.get("ninja") or chain["make"]
    argv = [tool, "-j%d" % jobs["compile"]] + list(one.spec["targets"])
    if one.spec["nice"]:
        argv = ["nice", "-n", str(one.spec["nice"])] + argv
    done = run(argv, one.folder, environment(one), one.log, deadline=one.deadline, keep_open=(one.lock,))
    one.result["objects"] = one.result.get("objects", 0) + done.steps.objects
    one.result["steps"] = done.steps.total
    return done


def _ending(what, done):
    if done.late:
        return "%s was ended: its time was over" % what
    text = done.error["text"].strip() if done.error else "no message"
    if done.code < 0:
        return "%s was ended by signal %d: %s" % (what, -done.code, text)
    return "%s failed: %s" % (what, text)


def _advice(done):
    if done.out_of_memory:
        return "memory ran out, also with half the jobs: build on another host, or with more swap"
    if done.error and "No space left" in "\n".join(done.error["context"]):
        return "the disk is full: make room and build again; it goes on where it was"
    return ""


def environment(one):
    """The environment of CMake and the build tool: nothing of ours that changes what comes out."""
    values = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    cache = os.path.join(os.path.expanduser("~"), ".cache", "tvmops", "ccache")
    values.update(
        LC_ALL="C", NINJA_STATUS="[%f/%t] ", SOURCE_DATE_EPOCH="0", ZERO_AR_DATE="1", CLICOLOR_FORCE="0",
        # The work folder may lie in some checkout, whose commit is not this tree's.
        GIT_CEILING_DIRECTORIES=one.work,
        CCACHE_DIR=os.environ.get("CCACHE_DIR", cache), CCACHE_BASEDIR=one.work, CCACHE_NOHASHDIR="1",
        CCACHE_STATSLOG=os.path.join(one.work, "ccache.log"),
    )  # fmt: skip
    values.update({name: placed(one, value) for name, value in one.spec["environment"].items()})
    return values


def cache_counts(path):
    """{"hits", "misses"} of this folder's builds, None when ccache kept no record."""
    lines = _read(path).split()
    if not lines:
        return None
    hits = sum(line in ("direct_cache_hit", "preprocessed_cache_hit") for line in lines)
    return {"hits": hits, "misses": lines.count("cache_miss")}


def placed(one, text):
    """`text` with the work folder in its place."""
    return str(text).replace("@WORK@", one.work)


def _said(argv):
    try:
        done = subprocess.run(
            argv,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _read(path):
    try:
        with open(path, "rb") as stream:
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _write(path, text):
    with open(path + ".new", "wb") as stream:
        stream.write(text.encode("utf-8"))
    os.rename(path + ".new", path)


def _remove(path):
    try:
        os.unlink(path)
    except OSError:
        pass
