"""MXNet, on the CPU: symbol and params."""

import os
from typing import Any, Dict, List


class Runner:
    """One bound executor."""

    def __init__(self, files: List[str], inputs: Dict[str, Any], threads: int) -> None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # read when mxnet is imported
        import mxnet

        self._version = mxnet.__version__
        symbol = mxnet.sym.load(files[0])
        stored = mxnet.nd.load(files[1])
        arguments = {name[4:]: value for name, value in stored.items() if name.startswith("arg:")}
        states = {name[4:]: value for name, value in stored.items() if name.startswith("aux:")}
        feeds = {name: mxnet.nd.array(array, dtype=array.dtype.name) for name, array in inputs.items()}
        arguments.update(feeds)
        self._executor = symbol.bind(mxnet.cpu(), arguments, aux_states=states, grad_req="null")

    def infer(self) -> List[Any]:
        """One run; MXNet works in the background, so it is over when the outputs are here."""
        return [value.asnumpy() for value in self._executor.forward(is_train=False)]

    def versions(self) -> Dict[str, str]:
        """Its own."""
        return {"mxnet": self._version}

    def details(self) -> Dict[str, Any]:
        """What ran it."""
        return {"providers": ["cpu"]}
