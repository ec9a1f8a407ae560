"""Source kind `torch`: a saved network (TorchScript, or an ExportedProgram as .pt2), or one that a function makes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Dict

from ..failures import JobError
from ..job import file_sha256, write_atomically
from .base import Model, needs_package
from .download import placed_file
from .wheel_store import wheel_path


def fetch(source: Dict[str, Any], cache_dir: Path) -> Model:
    """`path` or `url` of the saved network; or `call` ("module:function") with args, kwargs, code, weights or seed.

    Raises JobError: BadInput, Download.
    """
    needs_package("torch", "torch")
    if not source.get("call"):
        path = placed_file(source, cache_dir, "the torch network")
        return Model(path, "torch", file_sha256(path), None, {**source, "load": {"file": str(path)}})
    load = {key: source[key] for key in ("call", "args", "kwargs") if key in source}
    if ":" not in str(load["call"]):
        raise JobError("BadInput", f"'call' must read module:function, not '{load['call']}'")
    if source.get("weights"):
        load["weights"] = str(placed_file(source["weights"], cache_dir, "the network's weights"))
        weights_sha256 = file_sha256(Path(load["weights"]))
    else:
        load["seed"] = int(source.get("seed", 0))
        weights_sha256 = ""
    if source.get("code"):
        load["code_wheel"] = str(wheel_path(source["code"], cache_dir))
    # What identifies a network that is made: what makes it.
    identity = {**{key: load[key] for key in load if key not in ("weights", "code_wheel")}, "weights": weights_sha256}
    text = json.dumps({**identity, "code": source.get("code")}, sort_keys=True).encode("utf-8")
    folder = cache_dir / "models" / "torch"
    folder.mkdir(parents=True, exist_ok=True)
    path = (
        folder / f"{str(load['call']).replace(':', '-').replace('/', '-')}-{hashlib.sha256(text).hexdigest()[:16]}.json"
    )
    write_atomically(path, text)
    return Model(path, "torch", file_sha256(path), None, {**source, "load": load})
