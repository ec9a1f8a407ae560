"""One build: what is compiled, for whom, with what; its key, and what the build program is told."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tvmops.digests import file_sha256
from tvmops.errors import StackError
from tvmops.paths import project_root
from tvmops.stack.abi import glibc_in
from tvmops.stack.build_key import BuildInputs
from tvmops.stack.build_spec import build_spec, recipe
from tvmops.stack.cmake import is_on
from tvmops.stack.config import Config
from tvmops.stack.sources import SourceTree
from tvmops.stack.spec import Stack, Target
from tvmops.stack.toolchain import Toolchain

# Where things are in what the build program collects, and in the artifact.
LIBRARY = "lib/libtvm_runtime.so"
COMPILER_LIBRARY = "lib/libtvm.so"
CPP_SERVER = "bin/tvm_rpc"
# VTA's drivers, libraries of their own: option -> CMake's target. TVM 0.8 to 0.18.
VTA_DRIVERS = {"USE_VTA_FSIM": "vta_fsim", "USE_VTA_TSIM": "vta_tsim", "USE_VTA_FPGA": "vta"}
COMMANDS = "evidence/compile_commands.json"  # which definitions and folders the compiler was really given
HEADERS = "evidence/headers"
# Third parties whose licence may stand in their headers only.
IN_HEADERS = ("compiler-rt/*.h", "libcrc/include/*.h", "picojson/*.h")
LICENCE_NAMES = ("LICENSE*", "LICENCE*", "NOTICE*", "COPYING*", "COPYRIGHT*")


@dataclass(frozen=True)
class BuildOrder:
    """Everything that is known before building. `server` is the RPC server that the artifact carries."""

    stack: Stack
    target: Target
    build_type: str
    source: SourceTree
    config: Config
    toolchain: Toolchain
    settings: Mapping[str, Any] = field(default_factory=dict)  # jobs and niceness: they change no byte

    @property
    def server(self) -> str:
        """python, lean or cpp."""
        return self.stack.server

    @property
    def float_abi(self) -> str:
        """ "hard" for 32-bit Arm (Debian's armhf), else ""."""
        return "hard" if self.toolchain.arch == "armv7l" else ""

    @cached_property
    def linked_glibc(self) -> str:
        """The C library that the result is linked with: the sysroot's where there is one; "" when it cannot be told."""
        chain = self.toolchain
        return glibc_in(Path(chain.sysroot)) if chain.sysroot else chain.compiler.glibc

    @property
    def machine(self) -> str:
        """As Abi.machine."""
        return f"{self.toolchain.arch}-{self.float_abi}" if self.float_abi else self.toolchain.arch

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The variable build_spec of playbooks/build.yml. Raises StackError when the source's archive is gone."""
        settings = {name: value for name, value in self.settings.items() if value is not None}
        return build_spec(
            self.toolchain,
            self.target,
            install=install_rules(self),
            targets=self._targets(),
            archive_sha256=file_sha256(self.source.archive),
            config_sha256=hashlib.sha256(self.config.text.encode()).hexdigest(),
            # What was compiled how is read from it: definitions, licences.
            arguments={"CMAKE_EXPORT_COMPILE_COMMANDS": "ON"},
            build_type=self.build_type,
            **settings,
        )

    def _targets(self) -> tuple[str, ...]:
        wanted = ("tvm_runtime",) if self.target == "runtime" else ("tvm", "tvm_runtime")
        return (*wanted, *self.vta_drivers, *(("tvm_rpc",) if self.has_cpp_server else ()))

    @property
    def vta_drivers(self) -> tuple[str, ...]:
        """CMake's targets of the drivers of VTA that are asked for."""
        options = self.config.options
        return tuple(name for option, name in VTA_DRIVERS.items() if is_on(options.get(option, "OFF")))

    @property
    def has_cpp_server(self) -> bool:
        """Whether TVM's C++ server is built: as the option says."""
        return self.target == "runtime" and is_on(self.config.options.get("USE_CPP_RPC", "OFF"))

    @cached_property
    def inputs(self) -> BuildInputs:
        """All that the result depends on."""
        return BuildInputs(
            stack=self.stack.name,
            source={
                "identity": self.source.identity,
                "commit": self.source.commit,
                "submodules": dict(self.source.submodules),
            },
            config=self.config.text,
            toolchain=self.toolchain.identity(),
            machine=self.machine,
            target=self.target,
            build_type=self.build_type,
            libraries={"glibc": self.linked_glibc, "glibcxx": self.toolchain.compiler.glibcxx},
            recipe={**recipe(self.spec), "server": self.server, "added": added_identity(self)},
        )

    @cached_property
    def key(self) -> str:
        """The build key."""
        return self.inputs.key()


def check_server(stack: Stack, target: Target, options: Mapping[str, str]) -> None:
    """Raise StackError for a runtime whose boards would run TVM's C++ server, which is not built."""
    if target == "runtime" and stack.server == "cpp" and not is_on(options.get("USE_CPP_RPC", "OFF")):
        raise StackError(
            f"boards of stack {stack.name} run TVM's C++ server, but USE_CPP_RPC is not ON",
            f"write USE_CPP_RPC: ON into the options of {stack.path or stack.name}, or choose another server there",
        )


def install_rules(order: BuildOrder) -> list[dict[str, Any]]:
    """What the build program collects: programs, Python files, licences, and the evidence of how it was compiled."""
    rules: list[dict[str, Any]] = [{"file": "build/libtvm_runtime.so", "to": LIBRARY, "strip": True, "mode": "0755"}]
    if order.target == "full":
        rules.append({"file": "build/libtvm.so", "to": COMPILER_LIBRARY, "strip": True, "mode": "0755"})
    if order.has_cpp_server:
        rules.append({"file": "build/tvm_rpc", "to": CPP_SERVER, "strip": True, "mode": "0755"})
    for name in order.vta_drivers:
        rules.append({"file": f"build/lib{name}.so", "to": f"lib/lib{name}.so", "strip": True, "mode": "0755"})
    if order.vta_drivers:
        rules += [
            {"tree": "src/vta/python/vta", "to": "python/vta", "include": ["*.py"]},
            {"tree": "src/3rdparty/vta-hw/config", "to": "vta-hw/config"},  # VTA_HW_PATH
        ]
    if order.target == "full" or order.server == "python":
        rules += python_rules(order.source.folder)
    rules += [
        {"tree": "src", "to": "licences/tvm", "include": [*LICENCE_NAMES], "exclude": ["*/*"], "optional": True},
        {"tree": "src/licenses", "to": "licences/tvm/licenses", "optional": True},
        {
            "tree": "src/3rdparty",
            "to": "licences/3rdparty",
            "include": [f"*/{name}" for name in LICENCE_NAMES],
            "exclude": ["*.py", "*.cc", "*.h", "*.js*"],
            "optional": True,
        },
        {"tree": "src/3rdparty", "to": HEADERS, "include": [*IN_HEADERS], "optional": True},
        {"file": "build/compile_commands.json", "to": COMMANDS},
    ]
    llvm = order.toolchain.llvm
    if order.target == "full" and llvm is not None:
        major = llvm.version.partition(".")[0]
        for place in (f"/usr/share/doc/llvm-{major}-dev/copyright", f"{llvm.prefix}/LICENSE.TXT"):
            rules.append({"file": place, "to": f"licences/llvm/{Path(place).name}", "optional": True})
    return rules


def python_rules(tree: Path) -> list[dict[str, Any]]:
    """TVM's Python package: in python/tvm of a checkout; a wheel's tree is the package itself."""
    if (tree / "python" / "tvm" / "__init__.py").is_file():
        return [{"tree": "src/python/tvm", "to": "python/tvm", "include": ["*.py"]}]
    return [{"tree": "src", "to": "python/tvm", "include": ["*.py"], "exclude": ["3rdparty/*", "tests/*", "apps/*"]}]


def added_files(order: BuildOrder) -> dict[str, Path]:
    """What the artifact gets beside what was built: name in it -> file of this project."""
    if order.target != "runtime":
        return {}
    folder = project_root() / "playbooks" / "files" / "lean"
    return {f"libexec/{path.name}": path for path in sorted(folder.glob("*.py"))}


def added_identity(order: BuildOrder) -> str:
    """A hash of the added files, "" without any: a changed server makes another artifact."""
    added = added_files(order)
    if not added:
        return ""
    digest = hashlib.sha256()
    for name, path in added.items():
        digest.update(f"{name}\0{file_sha256(path)}\0".encode())
    return digest.hexdigest()
