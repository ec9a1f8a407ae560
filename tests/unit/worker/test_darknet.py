"""darknet's cfg and weights: every fault named with its line, every float in its place."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvmops.paths import find_project_file
from tvmops.worker.darknet import cfg, layers, weights
from tvmops.worker.darknet.generate import generate
from tvmops.worker.failures import JobError
from tvmops.worker.models import darknet

NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"
CONV = "[convolutional]\nbatch_normalize=1\nfilters=4\nsize=3\nstride=1\npad=1\nactivation=leaky\n"


def network(text: str, width: int = 0, height: int = 0) -> layers.Network:
    return layers.network(cfg.parse(text, "own.cfg"), width, height)


LINES = st.one_of(
    st.text(max_size=30),
    st.sampled_from([f"[{kind}]" for kind in ("net", *layers.KINDS)]),
    st.builds(
        "{}={}".format,
        st.sampled_from(["width", "height", "filters", "size", "stride", "pad", "layers", "from", "anchors", "num"]),
        st.one_of(st.integers(-9, 99), st.floats(), st.text(max_size=6), st.just("1,2")),
    ),
)


@given(st.lists(LINES, max_size=30))
def test_whatever_stands_there_either_is_a_network_or_is_refused_with_its_line(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        found = network(text)
    except JobError as error:
        assert error.kind in ("BadInput", "UnsupportedOperator")
        if not error.message.startswith("own.cfg: no darknet cfg"):
            line = int(error.message.split(":")[1])
            assert 1 <= line <= len(text.splitlines())
    else:
        assert all(min(layer.shape) >= 1 for layer in found.layers)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "own.cfg: no darknet cfg: it has no [section]"),
        ("width=3\n", "own.cfg:1: 'width=3' stands before the first [section]"),
        ("[convolutional]\n", "own.cfg:1: the first section must be [net], not [convolutional]"),
        (NET, "own.cfg:1: the network has no layers"),
        ("[net]\nwidth=32\n" + CONV, "own.cfg:1: [net] needs 'height'"),
        (NET + "[conv\n", "own.cfg:5: '[conv' is no [section]"),
        (NET + "[convolutional]\nfilters\n", "own.cfg:6: 'filters' is neither key=value nor [section]"),
        (NET + "[convolutional]\nfilters=two\n", "own.cfg:6: 'filters' of [convolutional] must be a whole number"),
        (NET + "[convolutional]\nfilters=0\n", "own.cfg:6: 'filters' of [convolutional] must be at least 1, not 0"),
        (NET + "[convolutional]\nsize=1\nsize=3\n", "own.cfg:7: 'size' is given twice (first at line 6)"),
        (NET + "[convolutional]\nactivation=relie\n", "own.cfg:6: activation 'relie' is not supported; supported: lin"),
        (NET + "[convolutional]\ndilation=2\n", "own.cfg:6: option 'dilation' of [convolutional] is not supported"),
        (NET + "[convolutional]\nxnor=1\n", "own.cfg:6: 'xnor' of [convolutional] is not supported"),
        (NET + "[convolutional]\nsize=99\n", "own.cfg:5: the output of [convolutional] would have the shape"),
        (NET + "[convolutional]\ngroups=2\n", "own.cfg:6: 3 channels and 1 filters do not divide into 2 groups"),
        (NET + "[gru]\n", "own.cfg:5: layers of kind [gru] are not supported; supported: avgpool"),
        (NET + CONV + "[route]\nlayers=-1,7\n", "own.cfg:13: 'layers' of [route] names layer 7; there are 1 before it"),
        (NET + CONV + "[shortcut]\nfrom=-2\n", "own.cfg:13: 'from' of [shortcut] names layer -2"),
        (
            NET + CONV + "[reorg]\nstride=2\n[route]\nlayers=0,1\n",
            "own.cfg:15: [route] joins tensors of different sizes",
        ),
        (NET + CONV + "[reorg]\nstride=3\n", "own.cfg:12: a tensor of 4x32x32 cannot be reorganised by stride 3"),
        (
            NET + CONV + "[yolo]\nnum=1\nanchors=1,2\nclasses=2\n",
            "own.cfg:12: [yolo] with 1 anchors and 2 classes needs 7",
        ),
        (NET + CONV + "[yolo]\nnum=2\nanchors=1,2\n", "own.cfg:14: [yolo] with num=2 needs 4 'anchors', not 2"),
        (
            NET + CONV + "[yolo]\nnum=1\nmask=1\nanchors=1,2\n",
            "own.cfg:14: 'mask' of [yolo] names anchors beyond the 1",
        ),
    ],
)
def test_a_fault_is_named_with_its_line(text: str, words: str) -> None:
    with pytest.raises(JobError) as caught:
        network(text)
    assert caught.value.message.startswith(words)


def test_what_training_says_twice_is_read_once() -> None:
    found = network("[net]\nbatch=1\nbatch=64 # training\nwidth=32\nheight=64 ; \n".replace(" ; ", "") + CONV)
    assert found.picture == (3, 64, 32)


@pytest.mark.parametrize(
    ("size", "stride", "shape", "margins"),
    [
        (2, 2, (16, 16), (0, (0, 0))),
        (2, 1, (32, 32), (0, (1, 1))),
        (3, 2, (16, 16), (1, (0, 0))),
        (5, 1, (32, 32), (2, (2, 2))),
    ],
)
def test_pooling_pads_as_darknet_does(
    size: int, stride: int, shape: tuple[int, int], margins: tuple[int, tuple[int, int]]
) -> None:
    (layer,) = network(NET + f"[maxpool]\nsize={size}\nstride={stride}\n").layers
    assert layer.shape[1:] == shape
    assert (layer.settings["before"], layer.settings["after"]) == margins


@pytest.mark.parametrize(
    ("name", "count", "floats", "heads"),
    [
        # The published weights have 35434956, 248007048 and 203934260 bytes; their headers 20, 20 and 16.
        ("yolov3-tiny", 24, (35434956 - 20) // 4, [(255, 13, 13), (255, 26, 26)]),
        ("yolov3", 107, (248007048 - 20) // 4, [(255, 13, 13), (255, 26, 26), (255, 52, 52)]),
        ("yolov2", 32, (203934260 - 16) // 4, [(425, 13, 13)]),
    ],
)
def test_shipped_networks_fit_the_published_weights(
    name: str, count: int, floats: int, heads: list[tuple[int, int, int]]
) -> None:
    text = find_project_file(f"sweeps/darknet/{name}.cfg").read_text()
    found = network(text)
    assert len(found.layers) == count
    assert weights.wanted_floats(found) == floats
    assert [layer.shape for layer in found.outputs()] == heads


# -- weights ---------------------------------------------------------------------------------------------------

SMALL = NET + CONV + "[maxpool]\nsize=4\nstride=4\n[connected]\noutput=5\nbatch_normalize=1\nactivation=relu\n"


@given(st.integers(0, 2**32 - 1), st.sampled_from([(0, 1, 0), (0, 2, 0), (0, 2, 5), (1, 0, 0)]))
def test_weights_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, seed: int, version: tuple[int, int, int]
) -> None:
    found = network(SMALL)
    draw = np.random.RandomState(seed)
    blobs = {
        layer.index: {name: draw.standard_normal(shape).astype(np.float32) for name, shape in weights.layout(layer)}
        for layer in found.layers
        if weights.layout(layer)
    }
    path = tmp_path_factory.mktemp("weights") / "own.weights"
    weights.save(path, found, blobs, version)
    header = 20 if version >= (0, 2, 0) else 16
    assert path.stat().st_size == header + 4 * weights.wanted_floats(found)
    read = weights.load(path, found)
    assert read.keys() == blobs.keys() == {0, 2}
    for index, arrays in blobs.items():
        for name, array in arrays.items():
            assert np.array_equal(read[index][name], array)


def test_very_old_files_keep_connected_weights_turned(tmp_path: Path) -> None:
    found = network(NET.replace("32", "1") + "[connected]\noutput=2\nactivation=linear\n")
    path = tmp_path / "old.weights"
    values = np.arange(8, dtype="<f4")  # two biases, then 3 x 2
    path.write_bytes(struct.pack("<4i", 0, 1001, 0, 0) + values.tobytes())
    assert weights.load(path, found)[0]["weights"].tolist() == [[2, 4, 6], [3, 5, 7]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:-4], "has 1423 floats, own.cfg wants 1424 floats; the file is cut off, or belongs"),
        (lambda data: data[:-2], "has 1423 floats and 2 bytes, own.cfg wants 1424 floats"),
        (lambda data: data + bytes(8), "has 1426 floats, own.cfg wants 1424 floats; it belongs to another cfg"),
        (lambda data: data[:7], "is no darknet weights file: it has only 7 bytes"),
        (lambda data: b"<html>404 Not Found" + data, "is no darknet weights file: its version would be"),
        (lambda data: data[:-4] + struct.pack("<f", float("nan")), "has NaN or infinite weights"),
    ],
)
def test_weights_of_another_size_are_refused(tmp_path: Path, change: object, words: str) -> None:
    found = network(SMALL)
    path = tmp_path / "own.weights"
    generate(path, found, 1)
    assert weights.wanted_floats(found) == 1424
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(JobError) as caught:
        weights.load(path, found)
    assert caught.value.kind == "BadInput"
    assert caught.value.message.startswith(f"own.weights {words}")


def test_generated_weights_are_the_same_every_time(tmp_path: Path) -> None:
    found = network(SMALL)
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        generate(tmp_path / name, found, seed)
    one, two, other = ((tmp_path / name).read_bytes() for name in ("one", "two", "other"))
    assert one == two != other
    assert len(list(tmp_path.iterdir())) == 3


# -- the source ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({}, "source of kind 'darknet' needs 'cfg'"),
        ({"cfg": "own.cfg", "weights": {"generated": 1}}, "the darknet 'cfg' needs either 'path' or 'url'"),
        (
            {"cfg": {"path": "/no/own.cfg"}, "weights": {"generated": 1}},
            "/no/own.cfg: no such file (the dark",
        ),
        ({"weights": {"generated": -1}}, "weights: {generated: SEED} needs a whole number from 0 on, not -1"),
        ({"weights": {"url": "http://x/y"}}, "the darknet 'weights': a 'url' needs the file's 'sha256'"),
        ({"weights": {"generated": 1}, "width": "wide"}, "'width' must be a whole number above 0, not 'wide'"),
    ],
)
def test_a_source_that_cannot_be(tmp_path: Path, source: dict[str, object], words: str) -> None:
    (tmp_path / "own.cfg").write_text(SMALL)
    document = {"kind": "darknet", **source}
    if source and "cfg" not in source:
        document["cfg"] = {"path": str(tmp_path / "own.cfg")}
    with pytest.raises(JobError) as caught:
        darknet.fetch(document, tmp_path)
    assert words in caught.value.message
