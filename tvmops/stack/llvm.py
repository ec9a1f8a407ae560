"""Which LLVM a release of TVM is built with: the right version, static, from where it can be had."""

from __future__ import annotations

from collections.abc import Sequence

from tvmops.stack.probing import Llvm, Probe
from tvmops.stack.spec import version_tuple
from tvmops.stack.versions import Release

# Where tools that tvmops itself installs go, never over /usr: <prefix>/<name>-<version>.
TOOLCHAIN_PREFIX = "/opt/tvmops/toolchain"


def llvm_range(release: Release) -> str:
    """For people: "10 to 17, not 12.0.0"."""
    blocked = f", not {', '.join(release.llvm_blocked)}" if release.llvm_blocked else ""
    return f"{release.llvm_min} to {release.llvm_max}{blocked}"


def choose_llvm(probe: Probe, release: Release) -> Llvm | None:
    """The newest installed LLVM in the release's range with static libraries, None when there is none."""
    return next((one for one in probe.llvm if one.static and not release.llvm_problem(one.version)), None)


def llvm_packages(known: Sequence[str], release: Release) -> list[str]:
    """Of the LLVM packages that a builder's apt knows, those in the release's range, newest first.

    Their full versions are not known here: what is installed is checked again.
    """
    low, high = version_tuple(release.llvm_min)[0], version_tuple(release.llvm_max)[0]
    numbers = {name: name.removeprefix("llvm-").removesuffix("-dev") for name in known}
    fitting = {name: version_tuple(number) for name, number in numbers.items() if number[:1].isdigit()}
    names = [name for name, number in fitting.items() if low <= number[0] <= high]
    return sorted(names, key=lambda name: fitting[name], reverse=True)


def llvm_ways(release: Release, known: Sequence[str]) -> str:
    """How to come by a fitting LLVM, in the order to be tried; `known`: packages that the builder's apt knows."""
    beside = (
        f"with playbooks/toolchain.yml a prebuilt archive, or LLVM's sources at a release tag, into {TOOLCHAIN_PREFIX}"
    )
    packages = llvm_packages(known, release)
    return f"the package {packages[0]}; or {beside}" if packages else beside
