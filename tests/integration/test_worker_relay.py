"""The Relay backend with real TVM 0.19: models of every framework, run and checked on the lean RPC server."""

from __future__ import annotations

import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from relax_jobs import MEASURE, Jobs
from relay_jobs import EXTRAS, relay_jobs, relay_python

from tvmops.digests import file_sha256

PHASES = {"fetch", "prepare", "reference", "import", "compile", "export"}
HERE = Path(__file__).parent
ARMHF = {"kind": "llvm", "device": "arm_cpu", "mtriple": "armv7l-linux-gnueabihf", "mattr": ["+neon"], "num-cores": 4}

MODELS = """
    import sys
    from pathlib import Path
    import numpy, onnx, torch
    from onnx import TensorProto, helper

    folder = Path(sys.argv[1])

    def tensor(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    def save(name, nodes, inputs, outputs, domains=()):
        opsets = [helper.make_opsetid("", 17)] + [helper.make_opsetid(domain, 1) for domain in domains]
        model = helper.make_model(helper.make_graph(nodes, name, inputs, outputs), opset_imports=opsets, ir_version=8)
        onnx.save(model, str(folder / (name + ".onnx")))

    nodes = [helper.make_node("Mul", ["left/0:1", "right 2"], ["p"]), helper.make_node("Sub", ["p", "right 2"], ["y"])]
    save("sum", nodes, [tensor("left/0:1", [2, 3]), tensor("right 2", [2, 3])], [tensor("y", [2, 3])])
    save("det", [helper.make_node("Det", ["x"], ["y"])], [tensor("x", [1, 2, 2])], [tensor("y", [1])])

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3)
            self.norm = torch.nn.BatchNorm2d(4)
            self.last = torch.nn.Linear(4, 5)

        def forward(self, image, scale):
            seen = torch.relu(self.norm(self.conv(image))).mean((2, 3))
            return self.last(seen), seen * scale

    torch.manual_seed(1)
    net = Net().eval()
    inputs = (torch.rand(1, 3, 8, 8), torch.rand(1, 4))
    torch.jit.trace(net, inputs).save(str(folder / "net.pt"))
    torch.save(net.state_dict(), str(folder / "weights.pt"))
    class Odd(torch.nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)
    torch.jit.trace(Odd(), torch.rand(2)).save(str(folder / "odd.pt"))
"""


@pytest.fixture(scope="module")
def python() -> str:
    return relay_python(*EXTRAS)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, python: str) -> Path:
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([python, "-c", textwrap.dedent(MODELS), str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory, python: str) -> Iterator[Jobs]:
    with relay_jobs(tmp_path_factory.mktemp("relay"), python) as found:
        yield found


def spec(*shape: int) -> dict[str, Any]:
    return {"shape": list(shape), "dtype": "float32"}


def mlp(**source: Any) -> dict[str, Any]:
    """TVM's smallest testing network. Its softmax has ten outputs, so differences are far below atol's default."""
    document = {"kind": "testing", "model": "mlp", "classes": 10, "seed": 3, **source}
    return {"name": "mlp", "source": document, "tolerance": {"rtol": 1e-4, "atol": 1e-6}}


def check(jobs: Jobs, name: str, document: dict[str, Any], **settings: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compile and measure: (compiled, measured), both good."""
    compiled = jobs.compile(name, document, **settings)
    assert compiled["ok"], compiled
    assert set(compiled["seconds"]) == PHASES
    assert compiled["versions"]["tvm"].startswith("0.19")
    measured = jobs.measure(name, document, profile=True)
    assert measured["ok"], measured
    assert len(measured["samples"]) == MEASURE["repeat"]
    assert min(measured["samples"]) > 0
    return compiled, measured


def test_gluon_network_of_the_model_zoo(jobs: Jobs) -> None:
    source = {"kind": "gluon", "model": "resnet18_v1", "pretrained": False, "softmax": True}
    document = {"name": "resnet18", "source": source, "tolerance": {"rtol": 1e-3, "atol": 1e-7}}
    compiled, measured = check(jobs, "gluon", document)
    assert compiled["inputs"] == {"data": spec(1, 3, 224, 224)}
    assert compiled["coverage"] == {"tasks": 12, "untuned": 12}
    assert compiled["versions"]["mxnet"] == "1.9.1"
    operators = measured["profile"]
    assert sum("conv2d" in one["operator"] for one in operators) >= 20
    assert sum(one["seconds"] for one in operators) > 0.2 * min(measured["samples"])
    assert {one["device"] for one in operators} == {"cpu0"}
    for runtime in ("onnxruntime", "mxnet"):
        baseline = jobs.baseline("gluon", runtime)
        assert baseline["ok"], baseline
        assert baseline["input_sha256"] == measured["input_sha256"]
        assert len(baseline["samples"]) == MEASURE["repeat"]


def test_records_are_applied_and_counted(jobs: Jobs, python: str, tmp_path: Path) -> None:
    compiled, measured = check(jobs, "untuned", mlp())
    assert compiled["coverage"] == {"tasks": 3, "untuned": 3}
    assert compiled["baseline_model"] == "model.onnx"
    assert not any(one["operator"] == "__nop" for one in measured["profile"])
    folder, log = jobs.folder / "untuned-compile", tmp_path / "llvm_v0.04.log"
    write = [python, str(HERE / "relay_records.py"), str(folder), "autotvm", str(log)]
    subprocess.run(write, check=True)
    shutil.copy(log, other := tmp_path / "best.log")
    tuned, _ = check(jobs, "log", mlp(), tuning={"kind": "log", "method": "autotvm", "path": str(other)})
    assert tuned["coverage"] == {"tasks": 3, "untuned": 0}
    by_folder, _ = check(jobs, "tophub", mlp(), tuning={"kind": "tophub", "folder": str(tmp_path)})
    assert by_folder["coverage"] == {"tasks": 3, "untuned": 0}
    subprocess.run([*write, "2"], check=True)
    half, _ = check(jobs, "half", mlp(), tuning={"kind": "log", "method": "autotvm", "path": str(log)})
    assert half["coverage"] == {"tasks": 3, "untuned": 2}
    again = jobs.compile("none-again", mlp())
    assert again["coverage"] == {"tasks": 3, "untuned": 3}, "no record of an earlier job is left"
    (tmp_path / "empty").mkdir()
    nothing = jobs.compile("no-tophub", mlp(), tuning={"kind": "tophub", "folder": str(tmp_path / "empty")})
    assert nothing["coverage"] == {"tasks": 3, "untuned": 3}
    missing = jobs.compile("missing", mlp(), tuning={"kind": "tophub", "folder": str(tmp_path / "nowhere")})
    assert missing["error"]["kind"] == "BadInput"
    assert "no such folder" in missing["error"]["message"]
    log.write_text("this is no record\n")
    broken = jobs.compile("broken", mlp(), tuning={"kind": "log", "method": "autotvm", "path": str(log)})
    assert broken["error"]["kind"] == "BadInput"
    assert "no log of autotvm" in broken["error"]["message"]


def test_records_of_auto_scheduler(jobs: Jobs, python: str, tmp_path: Path) -> None:
    assert jobs.compile("plain", mlp())["ok"]
    log = tmp_path / "ansor.log"
    write = [python, str(HERE / "relay_records.py"), str(jobs.folder / "plain-compile"), "ansor", str(log)]
    subprocess.run(write, check=True)
    tuned, _ = check(jobs, "ansor", mlp(), tuning={"kind": "log", "method": "ansor", "path": str(log)})
    assert tuned["coverage"] == {"tasks": 4, "untuned": 3}


def test_onnx_by_url_with_awkward_names(jobs: Jobs, models: Path) -> None:
    url = {"url": (models / "sum.onnx").as_uri(), "sha256": file_sha256(models / "sum.onnx")}
    document = {"name": "sum", "source": {"kind": "onnx", **url}}
    compiled, measured = check(jobs, "url", document)
    assert list(compiled["inputs"]) == ["left/0:1", "right 2"]
    assert measured["differences"]["y"]["max_abs"] < 1e-6
    assert compiled["coverage"] == {"tasks": 0, "untuned": 0}


def test_torch_networks(jobs: Jobs, models: Path) -> None:
    source = {"kind": "torch", "path": str(models / "net.pt")}
    inputs = {"image": spec(1, 3, 8, 8), "scale": spec(1, 4)}
    compiled, measured = check(jobs, "script", {"name": "net", "source": source, "inputs": inputs})
    assert list(compiled["outputs"].values()) == [spec(1, 5), spec(1, 4)]
    assert compiled["versions"]["torch"]
    assert max(found["max_abs"] for found in measured["differences"].values()) < 1e-5
    for runtime in ("torch", "onnxruntime"):
        baseline = jobs.baseline("script", runtime)
        assert baseline["ok"], baseline
    made = {"kind": "torch", "call": "torch.nn:Conv2d", "args": [3, 4, 3], "seed": 5}
    called = jobs.compile("call", {"name": "conv", "source": made, "inputs": {"x": spec(1, 3, 6, 6)}})
    assert called["ok"], called


def test_code_for_armhf_is_hard_float(jobs: Jobs) -> None:
    settings = {"target": ARMHF, "cross_compiler": "arm-linux-gnueabihf-g++"}
    compiled = jobs.compile("armhf", mlp(), **settings)
    assert compiled["ok"], compiled
    library = (jobs.folder / "armhf-compile" / "model.so").read_bytes()
    assert library[:4] == b"\x7fELF"
    assert int.from_bytes(library[18:20], "little") == 40, "EM_ARM"
    assert int.from_bytes(library[36:40], "little") & 0x400, "EF_ARM_ABI_FLOAT_HARD"


def gluon(**source: Any) -> dict[str, Any]:
    return {"name": "g", "source": {"kind": "gluon", **source}}


@pytest.mark.parametrize(
    ("document", "kind", "words"),
    [
        (gluon(model="resnet18_v1", pretrained=True), "Download", "their server is gone"),
        (gluon(), "BadInput", "'model' (a name of MXNet's model zoo) or 'symbol' and 'params'"),
        (
            {**gluon(model="squeezenet1.1", classes=10), "inputs": {"image": spec(1, 3, 224, 224)}},
            "BadInput",
            "no input 'image'; its inputs: 'data'",
        ),
        (
            {**gluon(model="squeezenet1.1", classes=10), "inputs": {"data": spec(1, 3, 9, 9)}},
            "BadInput",
            "does not take {'data': (1, 3, 9, 9)}",
        ),
        (mlp(model="alexnet"), "BadInput", "no testing network 'alexnet'; it has: mlp, resnet-18"),
        ({**mlp(), "inputs": {"data": spec(1, 3, 28, 28)}}, "BadInput", "float32[1, 1, 28, 28], the workload says"),
        ({**mlp(), "inputs": {"image": spec(1, 1, 28, 28)}}, "BadInput", "no input 'image'; its inputs: 'data'"),
    ],
)
def test_sources_that_cannot_be_used(jobs: Jobs, document: dict[str, Any], kind: str, words: str) -> None:
    refused(jobs, document, kind, words)


@pytest.mark.parametrize(
    ("file", "inputs", "error"),
    [
        ("det.onnx", {}, ("UnsupportedOperator", "Det")),
        ("odd.pt", {"x": spec(2)}, ("UnsupportedOperator", "bessel_j0")),
        ("net.pt", {"image": spec(1, 1, 8, 8), "scale": spec(1, 4)}, ("BadInput", "image [1, 1, 8, 8]")),
        ("weights.pt", {"x": spec(2)}, ("BadInput", "only weights or a pickled module")),
        ("sum.onnx", {"left/0:1": spec(2, 4)}, ("BadInput", "has shape [2, 3], the workload says [2, 4]")),
    ],
)
def test_files_that_cannot_be_used(
    jobs: Jobs, models: Path, file: str, inputs: dict[str, Any], error: tuple[str, str]
) -> None:
    source = {"kind": "torch" if file.endswith(".pt") else "onnx", "path": str(models / file)}
    document = {"name": "bad", "source": source, "inputs": inputs}
    refused(jobs, document, *error)


def refused(jobs: Jobs, document: dict[str, Any], kind: str, words: str) -> None:
    result = jobs.compile(f"bad-{len(list(jobs.folder.iterdir()))}", document)
    assert not result["ok"]
    assert (result["error"]["kind"], words in result["error"]["message"]) == (kind, True), result["error"]


def test_bad_targets(jobs: Jobs) -> None:
    typo = jobs.compile("typo", mlp(), target={"kind": "llvm", "num_cores": 2})
    assert typo["error"]["kind"] == "Compile"
    assert "num_cores" in typo["error"]["message"]
    tag = jobs.compile("tag", mlp(), target={"tag": "nvidia/jetson-none"})
    assert tag["error"]["kind"] == "BadInput"
    assert "no target tag 'nvidia/jetson-none'" in tag["error"]["message"]


def test_nothing_listens(jobs: Jobs) -> None:
    assert jobs.compile("silent", mlp())["ok"]
    result = jobs.measure("silent", mlp(), rpc={"host": "127.0.0.1", "port": 1})
    assert result["error"]["kind"] == "Rpc"
    assert "nothing listens there" in result["error"]["message"]


def test_session_that_is_too_short(jobs: Jobs) -> None:
    assert jobs.compile("short", mlp())["ok"]
    rpc = {"host": "127.0.0.1", "port": jobs.port, "session_timeout": 2}
    result = jobs.measure("short", mlp(), rpc=rpc, measure={**MEASURE, "min_repeat_ms": 20000})
    assert result["error"]["kind"] == "Rpc"
    assert "2 s" in result["error"]["message"]
    assert jobs.measure("after", mlp(), compiled="short")["ok"]
