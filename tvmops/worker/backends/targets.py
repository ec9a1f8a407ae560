"""What a host's `tvm_target` says, in the words that TVM takes."""

from __future__ import annotations

from typing import Any, Callable, Dict, Tuple

from ..failures import JobError

NUM_CORES_SINCE = (0, 9)
Expand = Callable[[str], Dict[str, Any]]


def target_settings(target: Dict[str, Any], expand: Expand) -> Dict[str, Any]:
    """The target without a tag: what `expand` makes of its tag, and the target's other keys over it.

    Raises JobError (BadInput) for an empty one.
    """
    settings = dict(target)
    if not settings:
        raise JobError("BadInput", "job.json of a compile job needs a 'target'")
    tag = settings.pop("tag", None)
    if tag is None:
        return settings
    base = {key: value for key, value in expand(str(tag)).items() if key != "tag"}
    return {**base, **settings}


def relay_target(target: Dict[str, Any], expand: Expand, version: str) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """(device, host) as TVM `version` (0.8 to 0.19) takes them. Raises JobError (BadInput)."""
    settings = target_settings(target, expand)
    if not settings.get("kind"):
        raise JobError("BadInput", f"the target {target} names neither a 'kind' (llvm, cuda, opencl ...) nor a 'tag'")
    host = settings.pop("host", None)
    if host is None:
        host = {key: value for key, value in settings.items() if key != "device"} if _is_cpu(settings) else {}
    elif isinstance(host, str):
        host = {"kind": host}
    host = {"kind": "llvm", **host}
    return _spelt(settings, version), _spelt(host, version)


def _is_cpu(settings: Dict[str, Any]) -> bool:
    return settings["kind"] in ("llvm", "c")


def _spelt(settings: Dict[str, Any], version: str) -> Dict[str, Any]:
    spelt = dict(settings)
    for key in ("mattr", "keys", "libs"):
        if isinstance(spelt.get(key), str):
            spelt[key] = [word for word in spelt[key].split(",") if word]
    # Without it LLVM makes soft-float code, which no armhf linker takes ("uses VFP register arguments").
    if str(spelt.get("mtriple", "")).endswith("hf"):
        spelt.setdefault("mfloat-abi", "hard")
    if version_tuple(version) < NUM_CORES_SINCE:
        spelt.pop("num-cores", None)
    return spelt


def version_tuple(version: str) -> Tuple[int, int]:
    """ "0.19.0" -> (0, 19)."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)
