"""Combinations of workload, stack, host and variant that cannot be: said when a sweep is expanded, not hours later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tvmops.bench import vta
from tvmops.bench.sweep_file import Sweep
from tvmops.bench.tuning_choice import GENERATION, TUNERS_OF
from tvmops.errors import ConfigError
from tvmops.inventory import FactsCache, Host

# Model sources that only one API generation imports.
SOURCE_GENERATION = {"gluon": "relay", "testing": "relay"}
VTA_RELEASES = ("0.18", "0.19")


def misfits(sweep: Sweep, host: Host, stack: Mapping[str, Any]) -> list[ConfigError]:
    """What cannot work on `host`. `stack` is the identity of its stack; {} when there is none: said elsewhere."""
    if stack.get("api") not in ("relay", "relax"):
        return []
    return [
        *_sources(sweep, host, stack),
        *_tuning(sweep, host, stack),
        *_vta(sweep, host, stack),
        *_cuda(sweep, host),
    ]


def _sources(sweep: Sweep, host: Host, stack: Mapping[str, Any]) -> Iterator[ConfigError]:
    for workload in sweep.workloads:
        kind = str((workload.document.get("source") or {}).get("kind"))
        needed = SOURCE_GENERATION.get(kind)
        if needed is not None and needed != stack["api"]:
            yield ConfigError(
                f"{workload.position}: workload '{workload.name}': source '{kind}' is imported by {needed} only, and "
                f"{host.name} has stack {stack['name']} ({stack['api']})",
                "give the host a stack with Relay (relay-0.19), or use the model as onnx or torch",
            )


def _tuning(sweep: Sweep, host: Host, stack: Mapping[str, Any]) -> Iterator[ConfigError]:
    for choice in sweep.tuning:
        needed = GENERATION.get(choice.method or choice.name)
        if needed is not None and needed != stack["api"]:
            fitting = [name for name, api in GENERATION.items() if api == stack["api"]]
            yield ConfigError(
                f"{sweep.path}: tuning '{choice.name}' is for stacks with {needed}, and {host.name} has stack "
                f"{stack['name']} ({stack['api']})",
                f"leave it out: --tuning none,{fitting[-1]}",
            )
        elif choice.searches and sweep.tune.tuner not in TUNERS_OF[str(choice.method)]:
            known = ", ".join(TUNERS_OF[str(choice.method)])
            yield ConfigError(
                f"{sweep.path}: tuning '{choice.name}' has no tuner '{sweep.tune.tuner}'", f"it has: {known}"
            )


def _vta(sweep: Sweep, host: Host, stack: Mapping[str, Any]) -> Iterator[ConfigError]:
    if not vta.wanted(sweep, host):
        return
    if stack["api"] != "relay" or not str(stack["version"]).startswith(VTA_RELEASES):
        yield ConfigError(
            f"{sweep.path}: VTA (mode 'sim', or a target of its device): stack {stack['name']} of {host.name} has none",
            f"VTA works with stacks of TVM {' and '.join(VTA_RELEASES)}: relay-0.18, relay-0.19",
        )
    else:
        yield from vta.misfits(sweep, host)


def _cuda(sweep: Sweep, host: Host) -> Iterator[ConfigError]:
    others = host.vars.get("tvm_targets")
    facts = FactsCache().get(host)
    if not isinstance(others, dict) or facts is None or facts.get("tvmops_cuda") or "tvmops_cuda" not in facts:
        return
    for name in sweep.targets:
        target = others.get(name)
        words = target if isinstance(target, str) else str((target or {}).get("kind"))
        if words == "cuda" or words.startswith("nvidia/"):
            yield ConfigError(
                f"{host.name}: its target '{name}' is for CUDA ({words}), but the board has no CUDA as its facts say",
                f"install CUDA there and run tvmops facts --host {host.name}, or narrow the sweep: --target default",
            )
