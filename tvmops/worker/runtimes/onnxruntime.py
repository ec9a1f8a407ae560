"""onnxruntime, on the CPU, with all its optimisations and as many threads as TVM gets."""

from typing import Any, Dict, List


class Refused(Exception):
    """onnxruntime does not take the model."""

    kind = "NotOnnx"


class Runner:
    """One session."""

    def __init__(self, files: List[str], inputs: Dict[str, Any], threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(files[0], options, providers=["CPUExecutionProvider"])
        except Exception as error:
            words = str(error).strip().splitlines()[0][:400]
            raise Refused("onnxruntime refuses the model: {}".format(words)) from error
        # By order: an exported model may have given its inputs other names.
        self._feeds = {value.name: array for value, array in zip(self._session.get_inputs(), inputs.values())}
        self._version = onnxruntime.__version__

    def infer(self) -> List[Any]:
        """One run."""
        return list(self._session.run(None, self._feeds))

    def versions(self) -> Dict[str, str]:
        """Its own."""
        return {"onnxruntime": self._version}

    def details(self) -> Dict[str, Any]:
        """What ran it."""
        return {"providers": self._session.get_providers()}
