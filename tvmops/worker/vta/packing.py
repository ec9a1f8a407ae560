"""From a Relay module to a library for VTA: quantized, packed for the tensor core, compiled. Tutorial 002's steps."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import tvm
from tvm import autotvm, relay

from ..backends.relay_records import applied
from ..failures import JobError, failing_as
from . import environment
from .hardware import SIMULATOR, configuration
from .settings import Settings, settings_of
from .tree import check_log, sources_of

# Without these VTA's passes do not find the patterns that they rewrite.
DISABLED_PASSES = {"AlterOpLayout", "tir.CommonSubexprElimTIR"}
# Element-wise operations on VTA are asked for in tuning logs, too, but have nothing that could be tuned.
NOT_TUNABLE = ("add.vta", "multiply.vta")
# TVM's armv7 triple alone means software floats, which no library of a PYNQ's system can be linked with.
HARD_FLOAT = " -mfloat-abi=hard"


def build(
    module: Any, params: Dict[str, Any], target: Dict[str, Any], options: Dict[str, Any], tuning: Dict[str, Any]
) -> Tuple[Any, Dict[str, Optional[int]]]:
    """The library of a Relay module and its coverage. Raises JobError: BadInput, UnsupportedOperator, Compile."""
    settings = settings_of(options)
    sources = sources_of(settings)
    config = configuration(str(target.get("model", SIMULATOR)), settings.config)
    vta, env = environment.load(sources, config)
    check_log(tuning)
    tvm_target = _target(env, target)
    program = pack(module, params, settings, env)
    passes = vta.build_config(opt_level=settings.opt_level, disabled_pass=DISABLED_PASSES)
    with applied(tuning, tvm_target), VtaTasks() as tasks, passes:
        library = _compile(program, tvm_target, params)
    return library, tasks.coverage()


def _compile(program: Any, target: Any, params: Dict[str, Any]) -> Any:
    with failing_as("Compile", "TVM cannot compile the packed model for VTA"):
        return relay.build(program, target=target, params=params)


def pack(module: Any, params: Dict[str, Any], settings: Settings, env: Any) -> Any:
    """Quantized to 8 bits, and with the layouts that VTA's tensor core takes between the two named operators."""
    from vta.top import graph_pack

    _check_ends(module, settings)
    with failing_as("Compile", "TVM cannot quantize the model"), tvm.transform.PassContext(opt_level=3):
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


class VtaTasks(autotvm.task.DispatchContext):
    """Notes on their way through which of VTA's tasks are asked for, and for which of them there is no record."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: Dict[Any, bool] = {}

    def query(self, target: Any, workload: Any) -> Any:
        config = self._old_ctx.query(target, workload)
        if ".vta" in str(workload[0]) and workload[0] not in NOT_TUNABLE:
            self._asked[workload] = not config.is_fallback
        return config

    def update(self, target: Any, workload: Any, config: Any) -> None:
        self._old_ctx.update(target, workload, config)

    def _query_inside(self, target: Any, workload: Any) -> Any:
        return None

    def coverage(self) -> Dict[str, Optional[int]]:
        """How many tunable tasks the model has on VTA, and how many of them got a default schedule."""
        return {"tasks": len(self._asked), "untuned": sum(not found for found in self._asked.values())}
