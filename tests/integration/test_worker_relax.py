"""The worker with real TVM: real models compiled, uploaded to a real RPC server, checked and timed."""

from __future__ import annotations

import json
import socket
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from relax_jobs import MEASURE, Jobs, rpc_server, stack_python, workload
from worker_process import WorkerProcess, make_job

from tvmops.paths import cache_dir

PHASES = {"fetch", "prepare", "reference", "import", "compile", "export"}


@pytest.fixture(scope="module")
def python() -> str:
    return stack_python()


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory, python: str) -> Iterator[Jobs]:
    with rpc_server(python) as port:
        found = Jobs(tmp_path_factory.mktemp("jobs"), python, port)
        yield found
        found.worker.close()


@pytest.mark.parametrize("name", ["magika", "ocr_cls", "ocr_rec"])
def test_workload_end_to_end(jobs: Jobs, name: str) -> None:
    document = workload(name)
    compiled = jobs.compile(name, document)
    assert compiled["ok"], compiled
    assert set(compiled["seconds"]) == PHASES
    assert compiled["model_sha256"] == document["source"]["sha256"]
    assert compiled["versions"]["tvm"].startswith("0.27")
    assert compiled["task_check"]["ok"]
    assert compiled["peak_rss_bytes"] > 50e6
    measured = jobs.measure(name, document)
    assert measured["ok"], measured
    assert measured["task_check"] == compiled["task_check"], "the board's own output solves the task"
    assert len(measured["samples"]) == MEASURE["repeat"]
    assert measured["runs_per_sample"] >= MEASURE["number"]
    assert min(measured["samples"]) > 0
    assert measured["first_run_seconds"] > 0
    assert max(found["max_abs"] for found in measured["differences"].values()) < 1e-3
    baseline = jobs.baseline(name)
    assert baseline["ok"], baseline
    assert baseline["input_sha256"] == measured["input_sha256"] == compiled["input_sha256"]
    assert len(baseline["samples"]) == MEASURE["repeat"]
    assert baseline["peak_rss_bytes"] > 10e6
    assert list(baseline["differences"]) == list(measured["differences"])


def test_log_has_no_noise_and_events_tell_the_phases(jobs: Jobs) -> None:
    directory = jobs.folder / "logged-compile"
    assert jobs.compile("logged", workload("magika"))["ok"]
    assert "Scope Saving" not in (directory / "log.txt").read_text(errors="replace")
    events = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    assert {event["phase"] for event in events} == PHASES


def test_session_is_free_again_after_a_failure(jobs: Jobs) -> None:
    document = workload("magika")
    assert jobs.compile("again", document)["ok"]
    # Nothing but equal bits would pass.
    strict = jobs.measure("strict", {**document, "tolerance": {"rtol": 0, "atol": 0}}, compiled="again")
    assert strict["error"]["kind"] == "WrongOutput"
    assert "beyond rtol 0 and atol 0" in strict["error"]["message"]
    assert "samples" not in strict
    assert jobs.measure("again", document)["ok"]


def test_the_board_must_solve_the_task(jobs: Jobs) -> None:
    document = workload("magika")
    assert jobs.compile("lost", document)["ok"]
    other = {**document, "task": {**document["task"], "expected": "rust"}}
    result = jobs.measure("lost", other)
    assert result["error"]["kind"] == "WrongOutput"
    assert 'the board\'s answer is "python", expected "rust"' in result["error"]["message"]


def test_a_reference_that_fails_its_task_compiles_nothing(jobs: Jobs) -> None:
    document = workload("magika")
    result = jobs.compile("hopeless", {**document, "task": {**document["task"], "expected": "rust"}})
    assert result["error"]["kind"] == "WrongOutput"
    assert "compile" not in result["seconds"]


def test_version_of_the_board_must_be_the_compilers(jobs: Jobs) -> None:
    document = workload("magika")
    assert jobs.compile("versions", document)["ok"]
    result = jobs.measure("versions", document, board={"tvm_version": "0.26.1"})
    assert result["error"]["kind"] == "VersionMismatch"
    assert "0.26.1" in result["error"]["message"]


def test_nothing_listens(jobs: Jobs) -> None:
    document = workload("magika")
    assert jobs.compile("silent", document)["ok"]
    result = jobs.measure("silent", document, rpc={"host": "127.0.0.1", "port": 1})
    assert result["error"]["kind"] == "Rpc"
    assert "nothing listens there" in result["error"]["message"]


def test_session_that_is_too_short(jobs: Jobs) -> None:
    document = workload("magika")
    assert jobs.compile("short", document)["ok"]
    rpc = {"host": "127.0.0.1", "port": jobs.port, "session_timeout": 2}
    result = jobs.measure("short", document, rpc=rpc, measure={**MEASURE, "min_repeat_ms": 20000})
    assert result["error"]["kind"] == "Rpc"
    assert "2 s" in result["error"]["message"]


def test_server_that_never_answers(jobs: Jobs, python: str) -> None:
    """The worker says so, ends with its stuck thread, and the next worker goes on."""
    document = workload("magika")
    assert jobs.compile("stuck", document)["ok"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        rpc = {"host": "127.0.0.1", "port": listener.getsockname()[1], "connect_timeout": 3}
        result = jobs.measure("stuck", document, rpc=rpc)
    assert result["error"]["kind"] == "Rpc"
    assert "gave no answer for 3 s" in result["error"]["message"]
    assert jobs.worker.event(10) is None
    jobs.worker.close()
    jobs.worker = WorkerProcess("relax", python)
    assert jobs.measure("stuck-again", document, compiled="stuck")["ok"]


def test_killed_in_the_middle_of_a_compile(jobs: Jobs, python: str) -> None:
    document = workload("ocr_cls")
    victim = Jobs(jobs.folder, python, jobs.port)
    directory = jobs.folder / "killed-compile"
    try:
        victim.worker.send(make_job(directory, cache_dir(), "compile", document, target={"kind": "llvm"}))
        deadline = time.monotonic() + 60
        while '"compile"' not in _text(directory / "events.jsonl"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        victim.worker.process.kill()
        assert victim.worker.event(10) is None
    finally:
        victim.worker.close()
    assert not (directory / "result.json").exists()
    assert not (directory / "model.so").exists()
    victim.worker = WorkerProcess("relax", python)
    try:
        assert victim.worker.run(directory, 240)["ok"], "the same job, run again"
    finally:
        victim.worker.close()


def test_bad_target(jobs: Jobs) -> None:
    result = jobs.compile("target", workload("magika"), target={"kind": "llvm", "num_cores": 2})
    assert result["error"]["kind"] == "Compile"
    assert "num_cores" in result["error"]["message"]


def test_cross_compiler_that_is_not_there(jobs: Jobs) -> None:
    result = jobs.compile("cross", workload("magika"), cross_compiler="m68k-linux-gnu-g++")
    assert result["error"]["kind"] == "Compile"
    assert "m68k-linux-gnu-g++" in result["error"]["message"]


def test_cross_compiled_for_arm(jobs: Jobs) -> None:
    target = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a53", "num-cores": 4}
    result = jobs.compile("arm", workload("magika"), target=target, cross_compiler="aarch64-linux-gnu-g++")
    assert result["ok"], result
    library = (jobs.folder / "arm-compile" / "model.so").read_bytes()
    assert library[:4] == b"\x7fELF"
    assert int.from_bytes(library[18:20], "little") == 183, "EM_AARCH64"


# -- models that are not what they should be -------------------------------------------------------------------

MODELS = """
    import sys
    from pathlib import Path
    import onnx
    from onnx import TensorProto, helper

    def save(name, nodes, inputs, outputs, initializers=(), domains=()):
        graph = helper.make_graph(nodes, name, inputs, outputs, list(initializers))
        opsets = [helper.make_opsetid("", 17)] + [helper.make_opsetid(domain, 1) for domain in domains]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        onnx.save(model, str(Path(sys.argv[1]) / (name + ".onnx")))

    def tensor(name, shape, kind=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, kind, shape)

    save("open", [helper.make_node("Relu", ["image"], ["y"])], [tensor("image", ["batch", 3])],
         [tensor("y", ["batch", 3])])
    save("own", [helper.make_node("Fft", ["x"], ["y"], domain="acme")], [tensor("x", [1])], [tensor("y", [1])],
         domains=["acme"])
    weights = [helper.make_tensor("w", TensorProto.FLOAT, [1, 16, 2], [0.1] * 32),
               helper.make_tensor("r", TensorProto.FLOAT, [1, 16, 4], [0.1] * 64)]
    save("lstm", [helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=4)], [tensor("x", [3, 1, 2])],
         [tensor("y", None)], weights)
    save("twice", [helper.make_node("Add", ["a", "b"], ["y"])], [tensor("a", [2]), tensor("b", [2])],
         [tensor("y", [2])])
    Path(sys.argv[1], "text.onnx").write_text("<html>404 Not Found</html>")
    Path(sys.argv[1], "empty.onnx").write_bytes(b"")
    Path(sys.argv[1], "half.onnx").write_bytes(Path(sys.argv[1], "lstm.onnx").read_bytes()[:200])
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, python: str) -> Path:
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([python, "-c", textwrap.dedent(MODELS), str(folder)], check=True)
    return folder


def spec(*shape: int, dtype: str = "float32") -> dict[str, Any]:
    return {"shape": list(shape), "dtype": dtype}


@pytest.mark.parametrize(
    "case",
    [
        ("text", {}, "NotOnnx", "text.onnx is not an ONNX model"),
        ("empty", {}, "NotOnnx", "empty.onnx is not an ONNX model"),
        ("half", {}, "NotOnnx", "half.onnx is not an ONNX model"),
        ("open", {}, "DynamicShape", "input 'image' has the open shape [batch, 3]"),
        ("lstm", {}, "UnsupportedOperator", "LSTM"),
        ("own", {}, "UnsupportedOperator", "Fft"),
        ("twice", {"c": spec(2)}, "BadInput", "no input 'c'; its inputs: 'a', 'b'"),
        ("twice", {"a": spec(3)}, "BadInput", "input 'a' has shape [2], the workload says [3]"),
        ("twice", {"a": spec(2, dtype="int8")}, "BadInput", "dtype float32, the workload says int8"),
        ("open", {"image": spec(1, 3, 1)}, "BadInput", "[batch, 3], the workload says [1, 3, 1]"),
    ],
)
def test_models_that_cannot_be_used(jobs: Jobs, models: Path, case: tuple[str, dict[str, Any], str, str]) -> None:
    file, inputs, kind, words = case
    source = {"kind": "file", "path": str(models / f"{file}.onnx")}
    number = len(list(jobs.folder.iterdir()))
    result = jobs.compile(f"bad-{number}", {"name": file, "source": source, "inputs": inputs})
    assert not result["ok"]
    assert (result["error"]["kind"], words in result["error"]["message"]) == (kind, True), result["error"]


@pytest.mark.parametrize(("file", "inputs"), [("open", {"image": spec(2, 3)}), ("twice", {})])
def test_models_without_a_question(jobs: Jobs, models: Path, file: str, inputs: dict[str, Any]) -> None:
    document = {"name": file, "source": {"kind": "file", "path": str(models / f"{file}.onnx")}, "inputs": inputs}
    compiled = jobs.compile(f"raw-{file}", document)
    assert compiled["ok"], compiled
    measured = jobs.measure(f"raw-{file}", document)
    assert measured["ok"], measured
    assert measured["task_check"]["answer"] == "finite numbers"


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
