"""VTA in a sweep: where its sources are, whether they are complete, and what of them decides a job's result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvmops.bench.fields import plain
from tvmops.bench.sweep_file import Sweep, Workload
from tvmops.digests import file_sha256
from tvmops.errors import ConfigError
from tvmops.inventory import Host
from tvmops.paths import user_path
from tvmops.worker.failures import JobError
from tvmops.worker.vta.hardware import SIMULATOR, configuration, is_vta
from tvmops.worker.vta.settings import settings_of
from tvmops.worker.vta.tree import bitstream_of, identity, sources_of

# What a host says about VTA, and the workload's option that it stands for.
VARIABLES = {"tree": "tvm_vta_tree", "hardware": "tvm_vta_hw", "bitstream": "tvm_vta_bitstream"}
# The target of mode `sim`.
SIMULATED = {"kind": "ext_dev", "device": "vta", "model": SIMULATOR}


def uses_vta(target: Mapping[str, Any]) -> bool:
    """Whether a cell runs on VTA: its simulator, or an FPGA."""
    return is_vta(dict(target))


def options_of(workload: Workload, host: Host) -> dict[str, Any]:
    """The workload's options with the host's paths, where the workload does not say."""
    options = dict(plain(workload.document.get("options") or {}))
    found = {name: host.vars.get(variable) for name, variable in VARIABLES.items()}
    paths = {name: str(user_path(str(path)).absolute()) for name, path in found.items() if path}
    given = options.get("vta") or {}
    return {**options, "vta": {**paths, **given} if isinstance(given, dict) else given}


def decisive(workload: Workload, host: Host, target: Mapping[str, Any]) -> dict[str, Any]:
    """Contents that decide what comes out, for job keys: sources, configuration, and an FPGA's bitstream.

    Raises JobError (BadInput) when something is missing.
    """
    settings = settings_of(options_of(workload, host))
    model = str(target.get("model", SIMULATOR))
    config = configuration(model, settings.config)
    found: dict[str, Any] = {"sources_sha256": identity(sources_of(settings)), "configuration": config}
    if model != SIMULATOR:
        found["bitstream_sha256"] = file_sha256(bitstream_of(settings, config))
    return found


def wanted(sweep: Sweep, host: Host) -> list[dict[str, Any]]:
    """The targets of VTA that a sweep has on a host."""
    named = [_target(host, name) for name in sweep.targets]
    return [target for mode in sweep.modes for target in ([SIMULATED] if mode == "sim" else named) if uses_vta(target)]


def misfits(sweep: Sweep, host: Host) -> list[ConfigError]:
    """What is missing for VTA on a host that the sweep runs it on: at most one, since each hides the next."""
    for workload in sweep.workloads:
        for target in wanted(sweep, host):
            try:
                decisive(workload, host, target)
            except JobError as error:
                return [ConfigError(f"{host.name}: workload '{workload.name}' on VTA: {error.message}")]
    return []


def _target(host: Host, name: str) -> dict[str, Any]:
    others = host.vars.get("tvm_targets")
    found = others.get(name) if isinstance(others, dict) and name != "default" else host.vars.get("tvm_target")
    return found if isinstance(found, dict) else {}
