"""darknet networks through the real worker: what onnxruntime and TVM answer is what OpenCV answers, boxes included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from darknet_nets import V2, V3, opencv_boxes, opencv_rows, our_rows
from PIL import Image
from relax_jobs import Jobs, rpc_server, stack_python

from tvmops.paths import find_project_file
from tvmops.worker import reference
from tvmops.worker.darknet import cfg, layers, weights
from tvmops.worker.darknet.generate import generate
from tvmops.worker.tasks import yolo

TINY = find_project_file("sweeps/darknet/yolov3-tiny.cfg").read_text().replace("416", "96")
NETS = {"v3": V3, "v2": V2, "tiny": TINY}
THRESHOLD, OVERLAP = 0.25, 0.4  # above OpenCV's own 0.2; the overlap that it suppresses a [region] by


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    python = stack_python()
    with rpc_server(python) as port:
        found = Jobs(tmp_path_factory.mktemp("jobs"), python, port)
        picture = np.random.RandomState(5).randint(0, 256, (9, 12, 3)).astype(np.uint8)
        Image.fromarray(picture).resize((150, 110), Image.Resampling.BICUBIC).save(found.folder / "blots.png")
        yield found
        found.worker.close()


def document(jobs: Jobs, name: str, text: str, **task: Any) -> dict[str, Any]:
    """A workload with its cfg and weights as files, which OpenCV reads as well."""
    path = jobs.folder / f"{name}.cfg"
    path.write_text(text)
    network = layers.network(cfg.parse(text, path.name))
    generate(path.with_suffix(".weights"), network, 0)
    if name != "tiny":
        _make_bold(path.with_suffix(".weights"), network)
    return {
        "name": name,
        "source": {
            "kind": "darknet",
            "cfg": {"path": str(path)},
            "weights": {"path": str(path.with_suffix(".weights"))},
        },
        "task": {
            "kind": "detection",
            "image": {"path": str(jobs.folder / "blots.png")},
            "expected": "reference",
            "threshold": THRESHOLD,
            "nms": OVERLAP,
            **task,
        },
    }


def _make_bold(path: Path, network: layers.Network) -> None:
    """Small networks are shy: without this their heads find no box."""
    blobs = weights.load(path, network)
    for head in network.outputs():
        if head.kind in layers.HEADS:
            table = blobs[head.index - 1]["biases"].reshape(-1, 5 + head.settings["classes"])
            table[:, 4:] += 3
    weights.save(path, network, blobs)


@pytest.mark.parametrize("name", list(NETS))
def test_every_engine_finds_what_opencv_finds(jobs: Jobs, name: str) -> None:
    workload = document(jobs, name, NETS[name])
    compiled = jobs.compile(name, workload)
    assert compiled["ok"], compiled
    measured = jobs.measure(name, workload)
    assert measured["ok"], measured
    assert measured["task_check"]["ok"]
    assert max(found["max_abs"] for found in measured["differences"].values()) < 1e-4

    for job in ("compile", "measure"):
        drawn = np.asarray(Image.open(jobs.folder / f"{name}-{job}" / compiled["picture"]))
        before = np.asarray(Image.open(jobs.folder / "blots.png"))
        assert 0.001 < (drawn != before).any(axis=2).mean() < 0.9, "boxes, and a picture behind them"

    known = reference.load(jobs.folder / f"{name}-compile" / "reference.npz")
    description = known.knowledge["darknet"]
    path = jobs.folder / f"{name}.cfg"
    rows = opencv_rows(path, path.with_suffix(".weights"), known.inputs["data"], list(known.outputs))
    assert len(rows) == len(description["heads"]) > 0
    for head in description["heads"]:
        one = {**description, "heads": [head]}
        ours, theirs = our_rows(head, yolo.decode(one, [known.outputs[head["output"]]])), rows[head["output"]]
        assert ours.shape == theirs.shape
        assert np.allclose(ours[:, :5], theirs[:, :5], rtol=1e-3, atol=1e-4)
        shown = theirs[:, 5:] > 0
        assert shown.any()
        assert np.allclose(ours[:, 5:][shown], theirs[:, 5:][shown], rtol=1e-3, atol=1e-4)
        if head["kind"] == "yolo":  # a [region] comes with its boxes suppressed already
            assert ours[:, 5:][~shown].max() < 0.21

    boxes = yolo.suppress(yolo.decode(description, list(known.outputs.values())), THRESHOLD, OVERLAP)
    others = opencv_boxes(rows, THRESHOLD, OVERLAP)
    assert len(boxes) == len(others) > 0
    for label, score, place in others:
        (same,) = [box for box in boxes if box.label == label and np.allclose(box[2:], place, rtol=0.01, atol=1e-3)]
        assert same.score == pytest.approx(score, abs=1e-3)


def test_weights_of_another_network_compile_nothing(jobs: Jobs) -> None:
    workload = document(jobs, "mixed", V3)
    workload["source"]["weights"] = document(jobs, "other", V2)["source"]["weights"]
    result = jobs.compile("mixed", workload)
    assert result["error"]["kind"] == "BadInput"
    wanted = layers.network(cfg.parse(V3, "mixed.cfg"))
    assert "other.weights has " in result["error"]["message"]
    assert f"mixed.cfg wants {weights.wanted_floats(wanted)} floats" in result["error"]["message"]


def test_a_reference_without_a_box_compiles_nothing(jobs: Jobs) -> None:
    result = jobs.compile("blind", document(jobs, "blind", V3, threshold=0.999))
    assert result["error"]["kind"] == "WrongOutput"
    assert "at least one box above 0.999: lower 'threshold'" in result["error"]["message"]


def test_detection_of_a_model_that_detects_nothing(jobs: Jobs) -> None:
    text = V3.split("[yolo]")[0]
    result = jobs.compile("plain", document(jobs, "plain", text))
    assert result["error"]["message"] == "this network has no [yolo] and no [region]: it detects nothing"


def test_classifiers_of_darknet_work_too(jobs: Jobs) -> None:
    """Connected layers, pooling over all, softmax; the same weights from a seed as files would have."""
    text = V3.split("[shortcut]")[0] + "[avgpool]\n[dropout]\nprobability=.5\n[connected]\noutput=9\n[softmax]\n"
    workload = document(jobs, "classes", text)
    workload["source"]["weights"] = {"generated": 3}
    workload["task"] = {"kind": "classification", "image": workload["task"]["image"], "expected": "reference"}
    compiled = jobs.compile("classes", workload)
    assert compiled["ok"], compiled
    assert compiled["outputs"] == {"softmax_8": {"shape": [1, 9, 1, 1], "dtype": "float32"}}
    measured = jobs.measure("classes", workload)
    assert measured["ok"], measured
    assert measured["task_check"]["answer"] == compiled["task_check"]["answer"]
