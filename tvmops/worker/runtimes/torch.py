"""PyTorch, TorchScript on the CPU, frozen and optimised for inference."""

import contextlib
from typing import Any, Dict, List


class Runner:
    """One network."""

    def __init__(self, files: List[str], inputs: Dict[str, Any], threads: int) -> None:
        import torch

        self._torch = torch
        torch.set_num_threads(threads)
        network = torch.jit.load(files[0], map_location="cpu").eval()
        # Old releases have neither, some networks cannot be frozen.
        with contextlib.suppress(AttributeError, RuntimeError):
            network = torch.jit.optimize_for_inference(torch.jit.freeze(network))
        self._network = network
        self._inputs = [torch.from_numpy(array) for array in inputs.values()]

    def infer(self) -> List[Any]:
        """One run."""
        with self._torch.no_grad():
            outputs = self._network(*self._inputs)
        if isinstance(outputs, dict):
            outputs = list(outputs.values())
        outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
        return [value.numpy() for value in outputs]

    def versions(self) -> Dict[str, str]:
        """Its own."""
        return {"torch": self._torch.__version__}

    def details(self) -> Dict[str, Any]:
        """What ran it."""
        return {"providers": ["cpu"]}
