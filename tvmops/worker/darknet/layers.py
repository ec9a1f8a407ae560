"""From sections to layers: which tensors each takes, its output's shape, and all that weights and ONNX need of it."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

from .cfg import Section

Shape = Tuple[int, int, int]  # channels, height, width

PICTURE = -1  # what stands for the network's input among a layer's inputs
LARGEST = 1 << 31  # values in one tensor; beyond it a cfg is a mistake
ACTIVATIONS = ("linear", "leaky", "relu", "logistic", "tanh", "mish", "swish")

# Options that only training, or darknet's own drawing of results, reads.
TRAINING = """
    jitter random absolute resize max probability noloss learning_rate stopbackward dontload rescore bias_match classfix
    log sqrt ignore_thresh truth_thresh iou_thresh thresh object_scale noobject_scale class_scale coord_scale mask_scale
    label_smooth_eps iou_loss iou_normalizer cls_normalizer obj_normalizer max_delta nms_kind beta_nms
"""


class Layer(NamedTuple):
    """One layer. `inputs` are earlier layers' numbers or PICTURE; `settings` are its kind's own."""

    index: int
    kind: str
    section: Section
    inputs: Tuple[int, ...]
    source: Shape
    shape: Shape
    settings: Dict[str, Any]


class Network(NamedTuple):
    """All layers, and the shape of the picture they see."""

    file: str
    picture: Shape
    layers: List[Layer]

    def outputs(self) -> List[Layer]:
        """The detection heads, or the last layer of a network that has none."""
        return [layer for layer in self.layers if layer.kind in HEADS] or self.layers[-1:]


def network(sections: Sequence[Section], width: int = 0, height: int = 0) -> Network:
    """The layers with their shapes; `width` and `height` replace those of [net].

    Raises JobError: BadInput (with file and line), UnsupportedOperator (a kind of layer that is not known here).
    """
    net = sections[0]
    own = net.number("channels", 3, 1), net.number("height", None, 1), net.number("width", None, 1)
    picture = (own[0], height or own[1], width or own[2])
    layers: List[Layer] = []
    for section in sections[1:]:
        if section.kind not in KINDS:
            known = ", ".join(sorted(KINDS))
            raise section.fault(f"layers of kind [{section.kind}] are not supported; supported: {known}", "", UNKNOWN)
        used, build = KINDS[section.kind]
        _refuse_unknown(section, used)
        layer = build(section, layers, layers[-1].shape if layers else picture)
        if min(layer.shape) < 1 or layer.shape[0] * layer.shape[1] * layer.shape[2] > LARGEST:
            raise section.fault(f"the output of [{section.kind}] would have the shape {layer.shape}")
        layers.append(layer)
    return Network(net.file, picture, layers)


UNKNOWN = "UnsupportedOperator"


def _refuse_unknown(section: Section, used: str) -> None:
    for key in section.options:
        if key not in TRAINING.split() and key not in used.split():
            raise section.fault(f"option '{key}' of [{section.kind}] is not supported", key, UNKNOWN)


def _layer(section: Section, layers: List[Layer], source: Shape, shape: Shape, **settings: Any) -> Layer:
    index = len(layers)
    inputs = settings.pop("inputs", (index - 1,))
    return Layer(index, section.kind, section, inputs, source, shape, settings)


def _activation(section: Section, default: str) -> str:
    name = section.text("activation", default)
    if name not in ACTIVATIONS:
        raise section.fault(
            f"activation '{name}' is not supported; supported: {', '.join(ACTIVATIONS)}", "activation", UNKNOWN
        )
    return name


def _refuse(section: Section, *flags: str) -> None:
    for flag in flags:
        if section.text(flag, "0") not in ("0", "0."):
            raise section.fault(f"'{flag}' of [{section.kind}] is not supported", flag, UNKNOWN)


def _convolutional(section: Section, layers: List[Layer], source: Shape) -> Layer:
    _refuse(section, "binary", "xnor", "flipped")
    filters, size = section.number("filters", 1, 1), section.number("size", 1, 1)
    stride, groups = section.number("stride", 1, 1), section.number("groups", 1, 1)
    padding = size // 2 if section.flag("pad") else section.number("padding", 0)
    if source[0] % groups or filters % groups:
        raise section.fault(f"{source[0]} channels and {filters} filters do not divide into {groups} groups", "groups")
    shape = (filters, (source[1] + 2 * padding - size) // stride + 1, (source[2] + 2 * padding - size) // stride + 1)
    return _layer(
        section,
        layers,
        source,
        shape,
        size=size,
        stride=stride,
        padding=padding,
        groups=groups,
        normalized=section.flag("batch_normalize"),
        activation=_activation(section, "logistic"),
    )


def _connected(section: Section, layers: List[Layer], source: Shape) -> Layer:
    return _layer(
        section,
        layers,
        source,
        (section.number("output", 1, 1), 1, 1),
        normalized=section.flag("batch_normalize"),
        activation=_activation(section, "logistic"),
    )


def _maxpool(section: Section, layers: List[Layer], source: Shape) -> Layer:
    """darknet pads by size - 1 altogether, the smaller half before; what lies outside never wins."""
    stride = section.number("stride", 1, 1)
    size = section.number("size", stride, 1)
    padding = section.number("padding", size - 1)
    shape = (source[0], (source[1] + padding - size) // stride + 1, (source[2] + padding - size) // stride + 1)
    before = padding // 2
    after = tuple(max(0, (shape[i] - 1) * stride + size - source[i] - before) for i in (1, 2))
    return _layer(section, layers, source, shape, size=size, stride=stride, before=before, after=after)


def _avgpool(section: Section, layers: List[Layer], source: Shape) -> Layer:
    return _layer(section, layers, source, (source[0], 1, 1))


def _same(section: Section, layers: List[Layer], source: Shape) -> Layer:
    """Layers that inference passes by."""
    return _layer(section, layers, source, source)


def _softmax(section: Section, layers: List[Layer], source: Shape) -> Layer:
    _refuse(section, "spatial", "tree")
    if section.number("groups", 1, 1) != 1:
        raise section.fault("a [softmax] of several groups is not supported", "groups", UNKNOWN)
    return _layer(section, layers, source, source, temperature=section.decimal("temperature", 1.0))


def _upsample(section: Section, layers: List[Layer], source: Shape) -> Layer:
    stride = section.number("stride", 2, 1)
    shape = (source[0], source[1] * stride, source[2] * stride)
    return _layer(section, layers, source, shape, stride=stride, scale=section.decimal("scale", 1.0))


def _reorg(section: Section, layers: List[Layer], source: Shape) -> Layer:
    _refuse(section, "reverse", "flatten", "extra")
    stride = section.number("stride", 1, 1)
    channels, height, width = source
    if height % stride or width % stride or channels % (stride * stride):
        raise section.fault(f"a tensor of {channels}x{height}x{width} cannot be reorganised by stride {stride}")
    shape = (channels * stride * stride, height // stride, width // stride)
    return _layer(section, layers, source, shape, stride=stride)


def _route(section: Section, layers: List[Layer], source: Shape) -> Layer:
    inputs = tuple(_earlier(section, layers, "layers", number) for number in section.numbers("layers"))
    if not inputs:
        raise section.fault("[route] needs 'layers'")
    shapes = [layers[number].shape for number in inputs]
    if any(shape[1:] != shapes[0][1:] for shape in shapes):
        sizes = ", ".join(f"layer {number} {shape[2]}x{shape[1]}" for number, shape in zip(inputs, shapes))
        raise section.fault(f"[route] joins tensors of different sizes: {sizes}", "layers")
    groups, group = section.number("groups", 1, 1), section.number("group_id", 0)
    if group >= groups or any(shape[0] % groups for shape in shapes):
        raise section.fault(f"[route] cannot take group {group} of {groups}", "groups")
    channels = sum(shape[0] // groups for shape in shapes)
    shape = (channels, shapes[0][1], shapes[0][2])
    return _layer(section, layers, source, shape, inputs=inputs, groups=groups, group=group)


def _shortcut(section: Section, layers: List[Layer], source: Shape) -> Layer:
    numbers = section.numbers("from")
    if len(numbers) != 1 or not layers:
        raise section.fault("[shortcut] needs one layer in 'from'", "from")
    other = _earlier(section, layers, "from", numbers[0])
    if layers[other].shape != source:
        raise section.fault(
            f"[shortcut] adds tensors of different shapes, {source} and {layers[other].shape}; that is not supported",
            "from",
            UNKNOWN,
        )
    if section.decimal("alpha", 1.0) != 1.0 or section.decimal("beta", 1.0) != 1.0:
        raise section.fault("a [shortcut] with 'alpha' or 'beta' is not supported", "", UNKNOWN)
    inputs = (len(layers) - 1, other)
    return _layer(section, layers, source, source, inputs=inputs, activation=_activation(section, "linear"))


def _yolo(section: Section, layers: List[Layer], source: Shape) -> Layer:
    _refuse(section, "map", "new_coords")
    total = section.number("num", 1, 1)
    mask = section.numbers("mask") or list(range(total))
    pairs = _anchors(section, total)
    if any(not 0 <= number < total for number in mask):
        raise section.fault(f"'mask' of [yolo] names anchors beyond the {total} that 'num' says", "mask")
    scale = section.decimal("scale_x_y", 1.0)
    return _head(section, layers, source, [pairs[number] for number in mask], scale_x_y=scale)


def _region(section: Section, layers: List[Layer], source: Shape) -> Layer:
    _refuse(section, "background", "tree", "map")
    if section.number("coords", 4) != 4:
        raise section.fault("a [region] with other than 4 'coords' is not supported", "coords", UNKNOWN)
    pairs = _anchors(section, section.number("num", 1, 1))
    return _head(section, layers, source, pairs, softmax=section.flag("softmax"))


def _head(section: Section, layers: List[Layer], source: Shape, anchors: List[List[float]], **settings: Any) -> Layer:
    classes = section.number("classes", 20, 1)
    wanted = len(anchors) * (5 + classes)
    if source[0] != wanted:
        raise section.fault(
            f"[{section.kind}] with {len(anchors)} anchors and {classes} classes needs {wanted} channels, "
            f"the layer before it has {source[0]}"
        )
    return _layer(section, layers, source, source, anchors=anchors, classes=classes, **settings)


def _anchors(section: Section, total: int) -> List[List[float]]:
    flat = section.decimals("anchors")
    if len(flat) != 2 * total:
        raise section.fault(
            f"[{section.kind}] with num={total} needs {2 * total} 'anchors', not {len(flat)}", "anchors"
        )
    return [flat[2 * i : 2 * i + 2] for i in range(total)]


def _earlier(section: Section, layers: List[Layer], key: str, number: int) -> int:
    """A layer's own number; negative ones count back from here."""
    absolute = len(layers) + number if number < 0 else number
    if not 0 <= absolute < len(layers):
        raise section.fault(f"'{key}' of [{section.kind}] names layer {number}; there are {len(layers)} before it", key)
    return absolute


HEADS = ("yolo", "region")

# Per kind: the options that are read (`TRAINING` may stand anywhere), and what makes the layer.
KINDS: Dict[str, Tuple[str, Callable[[Section, List[Layer], Shape], Layer]]] = {
    "convolutional": (
        "batch_normalize filters size stride pad padding groups activation binary xnor flipped",
        _convolutional,
    ),
    "connected": ("output batch_normalize activation", _connected),
    "maxpool": ("size stride padding", _maxpool),
    "avgpool": ("", _avgpool),
    "dropout": ("", _same),
    "cost": ("type scale ratio", _same),
    "softmax": ("groups temperature spatial tree", _softmax),
    "upsample": ("stride scale", _upsample),
    "reorg": ("stride reverse flatten extra", _reorg),
    "route": ("layers groups group_id", _route),
    "shortcut": ("from activation alpha beta", _shortcut),
    "yolo": ("mask anchors classes num map new_coords scale_x_y", _yolo),
    "region": ("anchors classes num coords softmax background tree map", _region),
}
