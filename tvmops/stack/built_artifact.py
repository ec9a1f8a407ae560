"""Artifacts of builds: what came out of a builder, checked, described by a manifest, packed, named by its content."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import platform
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tvmops.errors import StackError
from tvmops.paths import project_root
from tvmops.stack.abi import architecture
from tvmops.stack.artifact import Artifact, manifest_key, read_archive, version_file, write_zst
from tvmops.stack.build_order import (
    COMMANDS,
    COMPILER_LIBRARY,
    CPP_SERVER,
    HEADERS,
    LIBRARY,
    BuildOrder,
    added_files,
)
from tvmops.stack.cpu_features import features_used
from tvmops.stack.elf import Elf, defined_symbols, is_elf, newest_needs, read_elf
from tvmops.stack.evidence import disagreements, facts_of
from tvmops.stack.store import local_folder

FORMAT = 1  # of the manifest of what was built
SMOKE_DEADLINE = 120.0  # seconds
# What programs ask of the runtime: TVM's C API from 0.8 to 0.19.
ENTRY_POINTS = frozenset(("TVMFuncCall", "TVMFuncGetGlobal", "TVMModLoadFromFile", "TVMGetLastError"))


def pack_result(result: Path, order: BuildOrder, folder: Path | None = None) -> Artifact:
    """The artifact of what the builder made (its out.tar.gz), in `folder` (default: the local store's).

    The same result gives the same bytes. Raises StackError when it is not what was asked for: another machine, options
    that are missing, no entry points, or a library that does not load although it could run here.
    """
    contents, modes = _read(result)
    options, third_parties = facts_of(contents.pop(COMMANDS, b""), order.target)
    modes.pop(COMMANDS, None)
    wrong = disagreements(order.config.options, options)
    if wrong:
        raise StackError(
            f"what was built is not what was asked for: {'; '.join(wrong)}",
            "the builder lacks what the option needs, or CMake decided otherwise: see the build's log",
        )
    elves = _elves(contents, order)
    licences = _licences(contents, modes, order, third_parties)
    for name in [one for one in contents if one.startswith("evidence/")]:
        del contents[name]
    for name, path in added_files(order).items():
        contents[name], modes[name] = path.read_bytes(), 0o644
    manifest = _manifest(order, contents, modes, elves=elves, options=options, licences=licences)
    key = manifest_key(manifest)
    contents["manifest.json"] = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
    contents["VERSION"] = version_file(manifest, key)
    _prove(contents, modes, order)
    return _write(folder or local_folder() / "packed", key, contents, modes, manifest)


def _read(result: Path) -> tuple[dict[str, bytes], dict[str, int]]:
    contents: dict[str, bytes] = {}
    modes: dict[str, int] = {}
    try:
        for name, mode, data in read_archive(result):
            contents[name], modes[name] = data, 0o755 if mode & 0o100 else 0o644
    except FileNotFoundError as error:
        raise StackError(f"the build left no {result}", "see its log") from error
    return contents, modes


def _elves(contents: Mapping[str, bytes], order: BuildOrder) -> dict[str, Elf]:
    """Every ELF file, each for the machine that was asked for. Raises StackError."""
    wanted = [LIBRARY, *([COMPILER_LIBRARY] if order.target == "full" else [])]
    wanted += [CPP_SERVER] if order.has_cpp_server or (order.target, order.server) == ("runtime", "cpp") else []
    missing = [name for name in wanted if not is_elf(contents.get(name, b""))]
    if missing:
        raise StackError(f"the build made no {', '.join(missing)}", "see its log")
    elves = {name: read_elf(data, name) for name, data in contents.items() if is_elf(data)}
    for name, elf in elves.items():
        if (elf.arch, elf.float_abi) != (architecture(order.toolchain.arch), order.float_abi):
            made = f"{elf.arch} {elf.float_abi}".strip()
            raise StackError(f"{name} is for {made}, not for {order.machine}", "the builder's compiler is another one")
    lacking = ENTRY_POINTS - defined_symbols(contents[LIBRARY])
    if lacking:
        raise StackError(f"{LIBRARY} does not export {', '.join(sorted(lacking))}", "it would load but not answer")
    return elves


def _licences(
    contents: dict[str, bytes], modes: dict[str, int], order: BuildOrder, third_parties: list[str]
) -> list[dict[str, Any]]:
    """What the result is made of and the licence files that go with it; those of what was not used are left out."""
    used = {"tvm": "Apache-2.0", **dict.fromkeys(third_parties, "")}
    files: dict[str, list[str]] = {name: [] for name in used}
    for name in [one for one in contents if one.startswith("licences/")]:
        owner = _owner(name, used)
        if owner is None:
            del contents[name]
            modes.pop(name, None)
        else:
            files.setdefault(owner, []).append(name)
    if not files["tvm"]:
        # A source that carries no licence file; TVM's is Apache-2.0, as this project's.
        contents["licences/tvm/LICENSE"] = (project_root() / "LICENSE").read_bytes()
        modes["licences/tvm/LICENSE"] = 0o644
        files["tvm"].append("licences/tvm/LICENSE")
    for name in used:
        notice = b"" if files[name] else _header_notice(contents, name)
        if notice:
            contents[f"licences/3rdparty/{name}/NOTICE"] = notice
            files[name].append(f"licences/3rdparty/{name}/NOTICE")
    listed = [{"of": name, "files": sorted(found)} for name, found in sorted(files.items())]
    if order.toolchain.static_libstdcxx:
        listed.append({"of": "libstdc++ (GPL-3.0-or-later WITH GCC-exception-3.1), linked statically", "files": []})
    return listed


def _header_notice(contents: Mapping[str, bytes], party: str) -> bytes:
    """The comment that a third party's header begins with, b"" when it says nothing of a licence."""
    for name in sorted(one for one in contents if one.startswith(f"{HEADERS}/{party}/")):
        match = re.match(rb"\s*(/\*.*?\*/|(?://[^\n]*\n\s*)+)", contents[name], re.DOTALL)
        if match and re.search(rb"licen[sc]e|permission|copyright", match[1], re.IGNORECASE):
            return match[1].strip() + b"\n"
    return b""


def _owner(name: str, used: Mapping[str, str]) -> str | None:
    """Which part of the result the licence file `name` belongs to; None when it is of something else."""
    parts = name.split("/")
    if parts[1] == "llvm":
        return "llvm"
    if parts[1] == "3rdparty":
        return parts[2] if parts[2] in used else None
    if parts[2] == "licenses":
        # LICENSE.rang.txt; builtin_fp16 is of compiler-rt.
        subject = parts[-1].removeprefix("LICENSE.").removesuffix(".txt")
        subject = "compiler-rt" if subject == "builtin_fp16" else subject
        return subject if subject in used else None
    return "tvm"


def _manifest(
    order: BuildOrder,
    contents: Mapping[str, bytes],
    modes: Mapping[str, int],
    *,
    elves: Mapping[str, Elf],
    options: Mapping[str, str],
    licences: list[dict[str, Any]],
) -> dict[str, Any]:
    needs = newest_needs(elves)
    cpu = {one for elf in elves.values() for one in elf.cpu} | features_used(order.toolchain.flags)
    own = {name for name in contents if fnmatch.fnmatchcase(name, "lib/*.so*")}
    libraries = {one for elf in elves.values() for one in elf.libraries} - {Path(name).name for name in own}
    return {
        "format": FORMAT,
        "part": order.target,
        "stack": order.stack.name,
        "api": order.stack.api,
        "tvm": order.stack.version,
        "arch": architecture(order.toolchain.arch),
        "float_abi": order.float_abi,
        "python": "",
        "server": order.server if order.target == "runtime" else "",
        "glibc": needs["GLIBC"][0].version if "GLIBC" in needs else "",
        "needs": {family: needed.version for family, (needed, _) in sorted(needs.items())},
        "needed_by": {
            family: {"file": name, "symbol": needed.symbol} for family, (needed, name) in sorted(needs.items())
        },
        "libraries": sorted(libraries),
        "cpu": sorted(cpu),
        "options": dict(sorted(order.config.options.items())),
        "built_with": dict(sorted(options.items())),
        # Neither paths nor URLs: the same sources from elsewhere give the same artifact.
        "source": dict(order.inputs.source),
        "toolchain": dict(order.inputs.toolchain),
        "build_type": order.build_type,
        "build": order.key,
        "licences": licences,
        "packages": [],
        "files": {name: _described(data, modes.get(name, 0o644)) for name, data in sorted(contents.items())},
    }


def _described(data: bytes, mode: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return entry if mode == 0o644 else {**entry, "mode": f"{mode:04o}"}


def _prove(contents: Mapping[str, bytes], modes: Mapping[str, int], order: BuildOrder) -> None:
    """A runtime for this very machine is loaded and asked for its options, as boards do. Raises StackError."""
    same = architecture(order.toolchain.arch) == platform.machine() and sys.maxsize > 2**32
    if order.target != "runtime" or not same or order.stack.api != "relay":
        return
    with tempfile.TemporaryDirectory(prefix="tvmops-prove-") as made:
        release = Path(made) / "release"
        for name, data in contents.items():
            path = release / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(modes.get(name, 0o644))
        smoke = project_root() / "playbooks" / "files" / "lean" / "smoke.py"
        try:
            done = subprocess.run(
                [sys.executable, "-I", str(smoke), str(release), str(Path(made) / "smoke.json")],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SMOKE_DEADLINE,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise StackError(f"the built runtime was tried here and hung for {SMOKE_DEADLINE:.0f} s") from error
    if done.returncode != 0 and not _too_new(done.stdout):
        raise StackError(
            f"the built runtime was tried here: {done.stdout.strip() or done.stderr.strip()[-500:]}",
            "see the build's log; boards would refuse it, too",
        )


def _too_new(said: str) -> bool:
    """Whether it only failed because this machine's libraries are older than the builder's."""
    return "version `GLIBC" in said or "version `CXXABI" in said


def _write(
    folder: Path, key: str, contents: Mapping[str, bytes], modes: Mapping[str, int], manifest: dict[str, Any]
) -> Artifact:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key}.tar.zst"
    fresh = folder / f"{key}.{secrets.token_hex(4)}.new"
    try:
        with fresh.open("wb") as out:
            write_zst(out, contents, modes)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return Artifact(key, path, path.stat().st_size, manifest)


def discard(artifact: Artifact) -> None:
    """Remove a packed artifact that is in a store by now. Its folder stays: another one may be packed there."""
    artifact.path.unlink(missing_ok=True)
