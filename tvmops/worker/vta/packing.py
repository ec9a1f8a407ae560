"""From a Relay module to a library for VTA: quantized, packed for the tensor core, compiled. Tutorial 002's steps."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import tvm
from tvm import autotvm, relay

from ..failures import JobError, failing_as
from . import environment, simulator
from .hardware import SIMULATOR, configuration
from .settings import Settings, settings_of
from .tree import sources_of

TOPHUB_LOG = "vta_v0.10.log"
# Without these VTA's passes do not find the patterns that they rewrite.
DISABLED_PASSES = {"AlterOpLayout", "tir.CommonSubexprElimTIR"}
# Element-wise operations on VTA are asked for in tuning logs, too, but have nothing that could be tuned.
NOT_TUNABLE = ("add.vta", "multiply.vta")
# TVM's armv7 triple alone means software floats, which no library of a PYNQ's system can be linked with.
HARD_FLOAT = " -mfloat-abi=hard"


def is_vta(target: Dict[str, Any]) -> bool:
    """Is this TVM target VTA?"""
    return target.get("kind") == "ext_dev" and target.get("device") == "vta"


def build(
    module: Any, params: Dict[str, Any], target: Dict[str, Any], options: Dict[str, Any], tuning: Dict[str, Any]
) -> Tuple[Any, Dict[str, Optional[int]]]:
    """The library of a Relay module and its coverage. Raises JobError: BadInput, UnsupportedOperator, Compile."""
    settings = settings_of(options)
    sources = sources_of(settings)
    config = configuration(str(target.get("model", SIMULATOR)), settings.config)
    vta, env = environment.load(sources, config)
    if config["TARGET"] == SIMULATOR:
        # VTA's passes ask TVM for ext_dev's memories and intrinsics, which the library registers, too.
        simulator.load(sources, config, Path(tvm.__file__).parent, settings.cache_dir)
    with _tuned(tuning) as log:
        program = pack(module, params, settings, env)
        with failing_as("Compile", "TVM cannot compile the packed model for VTA"):
            with vta.build_config(opt_level=settings.opt_level, disabled_pass=DISABLED_PASSES):
                library = relay.build(program, target=_target(env, target), params=params)
    return library, log.coverage()


def pack(module: Any, params: Dict[str, Any], settings: Settings, env: Any) -> Any:
    """Quantized to 8 bits, and with the layouts that VTA's tensor core takes between the two named operators."""
    from vta.top import graph_pack

    _check_ends(module, settings)
    with failing_as("Compile", "TVM cannot quantize the model"):
        with tvm.transform.PassContext(opt_level=3):
            layers = settings.skip_conv_layers
            with relay.quantize.qconfig(global_scale=settings.global_scale, skip_conv_layers=layers):
                quantized = relay.quantize.quantize(module, params=params)
    try:
        packed = graph_pack(
            quantized["main"],
            env.BATCH,
            env.BLOCK_OUT,
            env.WGT_WIDTH,
            start_name=settings.start_name,
            stop_name=settings.stop_name,
        )
    except Exception as error:
        words = str(error).strip().split("\n")[-1] or type(error).__name__
        raise JobError(
            "UnsupportedOperator",
            f"the model cannot be packed for VTA between {settings.start_name} and {settings.stop_name}: {words}; "
            "every layer between them must be one that VTA has, with channels in whole blocks",
        ) from error
    return packed if isinstance(packed, tvm.IRModule) else tvm.IRModule.from_expr(packed)


def _check_ends(module: Any, settings: Settings) -> None:
    """Both ends must be in the model, in this order: graph_pack itself only fails an assertion."""
    names: List[str] = []

    def note(node: Any) -> None:
        if isinstance(node, relay.Call) and isinstance(node.op, tvm.ir.Op):
            names.append(node.op.name)

    relay.analysis.post_order_visit(module["main"], note)
    for option in ("start_name", "stop_name"):
        wanted = getattr(settings, option)
        if wanted not in names:
            known = ", ".join(sorted(set(names)))
            raise JobError("UnsupportedOperator", f"vta.{option}: the model has no {wanted}; it has: {known}")
    if names.index(settings.start_name) > names.index(settings.stop_name):
        raise JobError(
            "BadInput", f"vta: {settings.stop_name} comes before {settings.start_name} in the model; swap them"
        )


def _target(env: Any, target: Dict[str, Any]) -> Any:
    host = target.get("host")
    if host is None:
        host = env.target_host + (HARD_FLOAT if "armv7" in env.target_host else "")
    return tvm.target.Target(env.target, host=tvm.target.Target(host))


class CountingLog(autotvm.task.ApplyHistoryBest):
    """A tuning log that notes which of VTA's tasks it has no record of."""

    def __init__(self, records: Any) -> None:
        super().__init__(records)
        self._asked: Dict[Any, bool] = {}

    def _query_inside(self, target: Any, workload: Any) -> Any:
        found = super()._query_inside(target, workload)
        if ".vta" in str(workload[0]) and workload[0] not in NOT_TUNABLE:
            self._asked[workload] = found is not None
        return found

    def coverage(self) -> Dict[str, Optional[int]]:
        """How many of VTA's tasks the model has, and how many of them are compiled with a default schedule."""
        return {"tasks": len(self._asked), "untuned": sum(not found for found in self._asked.values())}


@contextlib.contextmanager
def _tuned(tuning: Dict[str, Any]) -> Iterator[CountingLog]:
    path = log_of(tuning)
    with failing_as("BadInput", f"{path}: no usable AutoTVM log"):
        log = CountingLog(str(path) if path else [])
    with log:
        yield log


def log_of(tuning: Dict[str, Any]) -> Optional[Path]:
    """The tuning log that is to be applied. Raises JobError (BadInput) when it is not there or of another tuner."""
    kind = tuning.get("kind", "none")
    if kind == "none":
        return None
    if kind == "log" and tuning.get("method", "autotvm") != "autotvm":
        raise JobError("BadInput", f"VTA is tuned by AutoTVM only, not by {tuning['method']}")
    path = Path(str(tuning["path"])) if kind == "log" else Path(str(tuning.get("folder") or "")) / TOPHUB_LOG
    if not path.is_file():
        cure = "bring it with playbooks/tophub.yml, or sweep with tuning: none" if kind == "tophub" else "tune first"
        raise JobError("BadInput", f"{path}: no such tuning log for VTA; {cure}")
    return path
