"""What a host is compiled for: its targets by name, cross compiler and threads. Faults are collected, not raised."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from typing import Any

from tvmops.bench.fields import plain
from tvmops.bench.sweep_file import Measure
from tvmops.errors import ConfigError
from tvmops.inventory import Host
from tvmops.source import did_you_mean

DEFAULT = "default"
# Debian's cross compilers: program -> package.
CROSS_COMPILER_PACKAGES = {
    "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
    "arm-linux-gnueabihf-g++": "g++-arm-linux-gnueabihf",
    "riscv64-linux-gnu-g++": "g++-riscv64-linux-gnu",
    "x86_64-linux-gnu-g++": "g++-x86-64-linux-gnu",
}
_CROSS_COMPILERS = {
    "aarch64": "aarch64-linux-gnu-g++",
    "arm": "arm-linux-gnueabihf-g++",
    "riscv64": "riscv64-linux-gnu-g++",
    "x86_64": "x86_64-linux-gnu-g++",
}


def target_of(host: Host, name: str, errors: list[ConfigError]) -> dict[str, Any]:
    """The host's target called `name`: `tvm_target` for "default", else one of `tvm_targets`; {} when there is none.

    A target of a device other than the CPU gets the default one as its host.
    """
    own = _checked(host, "tvm_target", host.vars.get("tvm_target"), errors)
    if name == DEFAULT:
        return own
    others = host.vars.get("tvm_targets")
    if not isinstance(others, dict) or name not in others:
        known = [DEFAULT, *others] if isinstance(others, dict) else [DEFAULT]
        errors.append(
            ConfigError(
                f"{host.name}: has no target '{name}' among its 'tvm_targets'",
                did_you_mean(name, known) or f"give it one, or narrow the sweep: --target {DEFAULT}",
            )
        )
        return {}
    given = {"tag": others[name]} if isinstance(others[name], str) else others[name]
    target = _checked(host, "tvm_targets", given, errors)
    if target and own and "host" not in target and target.get("kind") != "llvm":
        target["host"] = own
    return target


def _checked(host: Host, variable: str, target: object, errors: list[ConfigError]) -> dict[str, Any]:
    if target is None:
        hint = "give it one, e.g. tvm_target: {kind: llvm, mtriple: aarch64-linux-gnu, mcpu: cortex-a53, num-cores: 4}"
        errors.append(ConfigError(f"{host.name}: has no variable '{variable}'", hint))
        return {}
    if not isinstance(target, dict) or not (target.get("kind") or target.get("tag")):
        errors.append(
            ConfigError(
                f"{origin(host, variable)}: {host.name}: '{variable}' must be a mapping with 'kind' (or 'tag')",
                "TVM refuses target strings: write {kind: llvm, mcpu: cortex-a53} for 'llvm -mcpu=cortex-a53'",
            )
        )
        return {}
    return dict(plain(target))


def cross_compiler(host: Host, target: Mapping[str, Any], errors: list[ConfigError]) -> str | None:
    """The program that links for the host's processor; None where this machine is of the same family."""
    cpu = target.get("host") or target
    own, wanted = machine(platform.machine()), machine(str(cpu.get("mtriple", platform.machine())).split("-")[0])
    compiler = host.vars.get("tvm_cross_compiler")
    if compiler is None:
        if own == wanted:
            return None
        needed = _CROSS_COMPILERS.get(wanted, f"{wanted}-linux-gnu-g++")
        errors.append(
            ConfigError(
                f"{host.name}: is {wanted}, this machine is {own}, and no 'tvm_cross_compiler' is given",
                f"give the host tvm_cross_compiler: {needed}",
            )
        )
        return None
    if shutil.which(str(compiler)) is None:
        package = CROSS_COMPILER_PACKAGES.get(str(compiler))
        errors.append(
            ConfigError(
                f"{host.name}: cross compiler '{compiler}' is not installed on this machine",
                f"install it: sudo apt-get install {package}" if package else "install it or correct the variable",
            )
        )
    return str(compiler)


def threads(measure: Measure, host: Host, target: Mapping[str, Any], errors: list[ConfigError]) -> int:
    """How many threads a runtime gets: the sweep's, the host's, or the target's cores."""
    cpu = target.get("host") or target
    value = measure.threads or host.vars.get("tvm_threads") or cpu.get("num-cores") or 1
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        where = origin(host, "tvm_threads")
        errors.append(ConfigError(f"{where}: {host.name}: threads must be a whole number above 0, not {value!r}"))
        return 1
    return value


def machine(name: str) -> str:
    """One name per processor family, whatever a kernel, a triple or Debian calls it."""
    if name in ("x86_64", "amd64"):
        return "x86_64"
    if name in ("aarch64", "arm64"):
        return "aarch64"
    return "arm" if name.startswith("arm") else name


def origin(host: Host, variable: str) -> str:
    """Where a host's variable was given."""
    return host.origins.get(variable, host.name)
