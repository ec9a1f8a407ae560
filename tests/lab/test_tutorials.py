"""The tutorials' sweeps, made short by the options their pages name: real models, real TVM, a virtual board."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_helpers import Commands

from tvmops.lab import Lab

pytestmark = pytest.mark.timeout(1500)

BOARD = "tu1"
# As on a NUC, with PoCL for the graphics: the server reaches OpenCL, and the runtime can drive it.
VARIABLES = json.dumps(
    {
        "tvm_stack": "relay-0.19",
        "tvm_build_options": {"USE_OPENCL": "ON"},
        "tvmops_opencl": True,
        "opencl_driver": "pocl",
        "tvm_rpc_devices": True,
    }
)


@pytest.fixture(scope="module")
def commands(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """A board that carries TVM 0.19 with OpenCL."""
    lab.up([BOARD])
    commands = Commands(lab, tmp_path_factory.mktemp("state"))
    commands.on("build", "--host", BOARD, "-e", VARIABLES, "--no-ship")
    commands.on("provision", "--host", BOARD, "-e", VARIABLES)
    yield commands


def swept(commands: Commands, name: str, *options: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Run a sweep; its measurements by workload and variant. Every one has a number and the right answer."""
    commands.on("sweep", name, "--host", BOARD, "-e", "tvm_stack=relay-0.19", "--repeat", "3", *options)
    found = json.loads(commands("results", "--json"))["measurements"]
    for row in found:
        assert row["ok"] and row["answer_ok"], row
        assert len(row["tvm"]["samples_s"]) == 3
    return {(row["workload"], row["variant"]): row for row in found}


def test_jetson_over_rpc_and_on_the_board_itself_tuned_and_untuned(commands: Commands) -> None:
    """ResNet-18 of MXNet sees what MXNet sees; a baseline that the board lacks is absent."""
    options = ("--workload", "resnet18_v1", "--target", "default", "--trials", "2", "--tasks", "1")
    found = swept(commands, "jetson-resnet", *options)
    variants = ("", "autotvm", "local", "local, autotvm")
    assert set(found) == {("resnet18_v1", variant) for variant in variants}
    plain, tuned = found["resnet18_v1", ""], found["resnet18_v1", "autotvm"]
    assert plain["tuning"] == "untuned"
    assert tuned["tuning"].startswith("tuned but for ")
    assert {name: one["error_kind"] for name, one in plain["baselines"].items()} == {
        "onnxruntime": "Absent",
        "mxnet": "Absent",
        "trtexec-fp16": "Absent",
    }
    again = commands.on(
        "sweep", "jetson-resnet", "--host", BOARD, "-e", "tvm_stack=relay-0.19", "--repeat", "3", *options
    )
    assert "3 baseline; 7 of 10 jobs are stored" in again, "only what was absent is asked for again"


def test_rasp_networks_of_tvm_itself(commands: Commands) -> None:
    """SqueezeNet, whose reference is TVM's own export run by onnxruntime."""
    found = swept(commands, "rasp-imagenet", "--workload", "squeezenet_v1.1")
    assert set(found) == {("squeezenet_v1.1", "")}


def test_yolo_finds_the_boxes_that_the_reference_finds(commands: Commands) -> None:
    """On weights from a seed; the picture with the boxes is kept."""
    found = swept(commands, "yolov3-darknet", "--workload", "yolov3_tiny_generated")
    ((_, row),) = found.items()
    drawn = list((Path(commands.environment["TVMOPS_STATE"]) / "jobs").glob("*/detections.png"))
    assert drawn and all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
    assert row["answer"]


def test_nuc_by_opencl(commands: Commands) -> None:
    """torch's ResNet-18 on PoCL sees what torch sees."""
    found = swept(commands, "nuc-opencl", "--workload", "resnet18", "--target", "gpu", "--tuning", "none")
    assert set(found) == {("resnet18", "gpu")}
