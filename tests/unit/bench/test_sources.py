"""Files that workloads name: found beside the sweep file, known by their content."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tvmops.bench.sweep_file import load_sweep
from tvmops.errors import ConfigError

TEXT = """
workloads:
  - name: net
    source: {kind: darknet, cfg: nets/net.cfg, weights: {path: net.weights}}
    task: {kind: detection, image: {url: "https://x/dog.jpg", sha256: "0"}, labels: nets/names}
"""


def written(folder: Path, text: str) -> str:
    (folder / "nets").mkdir(exist_ok=True)
    for name in ("nets/net.cfg", "net.weights", "nets/names"):
        (folder / name).write_text(name)
    (folder / "own.yml").write_text(text)
    return str(folder / "own.yml")


def test_files_are_found_beside_the_sweep_file(tmp_path: Path) -> None:
    (workload,) = load_sweep(written(tmp_path, TEXT)).workloads
    expected = {
        name: {"path": str(tmp_path / name), "sha256": hashlib.sha256(name.encode()).hexdigest()}
        for name in ("nets/net.cfg", "net.weights", "nets/names")
    }
    source, task = workload.document["source"], workload.document["task"]
    assert source == {"kind": "darknet", "cfg": expected["nets/net.cfg"], "weights": expected["net.weights"]}
    assert task["labels"] == expected["nets/names"]
    assert task["image"] == {"url": "https://x/dog.jpg", "sha256": "0"}


def test_labels_in_the_file_and_weights_from_a_seed_stay_as_they_are(tmp_path: Path) -> None:
    text = TEXT.replace("{path: net.weights}", "{generated: 7}").replace("nets/names", "{0: cat}")
    (workload,) = load_sweep(written(tmp_path, text)).workloads
    assert workload.document["source"]["weights"] == {"generated": 7}
    assert workload.document["task"]["labels"] == {"0": "cat"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("nets/net.cfg", "nets/no.cfg", "own.yml:4:34: no such file: {folder}/nets/no.cfg"),
        ("net.weights", "no.weights", "own.yml:4:64: no such file: {folder}/no.weights"),
        ("nets/names", "nets", "no such file: {folder}/nets"),
        ("{path: net.weights}", "{path: 3}", "own.yml:4:64: 'path' must be text, not a number"),
        (', sha256: "0"', "", "own.yml:5:36: 'image' with a 'url' needs the file's 'sha256'"),
    ],
)
def test_a_file_that_is_not_there_is_named_with_its_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_sweep(written(tmp_path, TEXT.replace(old, new)))
    assert words.format(folder=tmp_path) in str(caught.value)


def test_the_shipped_sweep_names_no_file_that_is_missing() -> None:
    names = [workload.name for workload in load_sweep("yolov3-darknet").workloads]
    assert names[:3] == ["yolov3", "yolov3_tiny", "yolov2"]
    assert [name for name in names if name.endswith("_generated")] == [f"{name}_generated" for name in names[:3]]
