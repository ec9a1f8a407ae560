"""Where the RPC server of an FPGA board is: what the job says, else the variables that VTA's own scripts read."""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple

from ..failures import JobError

PORT = 9091


class Address(NamedTuple):
    """`tracked`: host and port are a tracker's, which is asked for a board with `key`."""

    host: str
    port: int
    key: str
    tracked: bool


def address_of(rpc: Dict[str, Any], model: str, environ: Mapping[str, str]) -> Address:
    """Job before environment, tracker before board. Raises JobError (BadInput) when nothing says where."""
    key = str(rpc.get("key") or "")
    if rpc.get("host"):
        return Address(str(rpc["host"]), _port(rpc.get("port") or PORT, "rpc.port"), key, False)
    tracker = rpc.get("tracker") or {}
    host = tracker.get("host") or environ.get("TVM_TRACKER_HOST")
    port = tracker.get("port") or environ.get("TVM_TRACKER_PORT")
    if host and port:
        return Address(str(host), _port(port, "TVM_TRACKER_PORT"), key or model, True)
    if environ.get("VTA_RPC_HOST"):
        return Address(environ["VTA_RPC_HOST"], _port(environ.get("VTA_RPC_PORT") or PORT, "VTA_RPC_PORT"), key, False)
    raise JobError(
        "BadInput",
        f"no address of a board with VTA ({model}): give the job 'rpc' with a host, or set TVM_TRACKER_HOST and "
        "TVM_TRACKER_PORT, or VTA_RPC_HOST",
    )


def _port(value: Any, name: str) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if not 0 < number < 65536:
        raise JobError("BadInput", f"{name} must be a port number, not {value!r}")
    return number
