"""Source kind `gluon`: a network of MXNet's model zoo with weights from a seed, or any symbol and params files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Tuple

from ..failures import JobError
from ..job import file_sha256
from ..mxnet_run import run_mxnet
from .base import Model, needs_package
from .download import placed_file

DEFAULTS = {"seed": 0, "classes": 1000, "image": 224}
GONE = (
    "MXNet's trained weights cannot be downloaded any more: their server is gone. Give the files instead, where "
    "somebody still has them (symbol: {path or url, sha256}, params: {path or url, sha256}), or `pretrained: false` "
    "for weights from a seed, which are good for times but see nothing in a picture"
)


def fetch(source: Dict[str, Any], cache_dir: Path) -> Model:
    """`model` (the zoo's name) with seed, classes, image; or `symbol` and `params`.

    Raises JobError: BadInput, Download.
    """
    needs_package("mxnet", "mxnet")
    if source.get("model"):
        symbol, params = _from_zoo(source, cache_dir)
    elif source.get("symbol") and source.get("params"):
        symbol = placed_file(source["symbol"], cache_dir, "the network's symbol")
        params = placed_file(source["params"], cache_dir, "the network's params")
    else:
        raise JobError(
            "BadInput", "a gluon source needs 'model' (a name of MXNet's model zoo) or 'symbol' and 'params'"
        )
    found = {**source, "symbol_file": str(symbol), "params_file": str(params)}
    return Model(params, "mxnet", file_sha256(params), None, found)


def _from_zoo(source: Dict[str, Any], cache_dir: Path) -> Tuple[Path, Path]:
    if source.get("pretrained"):
        raise JobError("Download", GONE)
    name = str(source["model"])
    settings = {key: int(source.get(key, default)) for key, default in DEFAULTS.items()}
    stem = "-".join([name, *(str(value) for value in settings.values())])
    folder = cache_dir / "models" / "gluon"
    symbol, params = folder / f"{stem}-symbol.json", folder / f"{stem}.params"
    if not (symbol.is_file() and params.is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        request = {"do": "generate", "model": name, "save_symbol": str(symbol), "save_params": str(params), **settings}
        run_mxnet(request, folder)
    return symbol, params
