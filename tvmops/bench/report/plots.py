"""Plots as inline SVG: text stays text, ink follows the page's colour, so one picture suits light, dark and paper."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvmops.bench.report.picture import Picture
from tvmops.bench.report.rows import Timing
from tvmops.errors import MissingTool

# Stand-ins that matplotlib draws with; the page's own colours take their places. Those are Okabe and Ito's, told
# apart with every common kind of colour blindness; the shape of the dots says it once more.
TVM_COLOUR, OTHERS_COLOUR = "#0a0b01", "#0a0b02"
PAGE_COLOURS = {"#0a0b01": "var(--tvm)", "#0a0b02": "var(--ort)", "#010203": "currentColor", "#040506": "var(--faint)"}
TVM_MARKER, OTHERS_MARKER = "o", "D"

_INK, _FAINT = "#010203", "#040506"
_WIDTH_INCHES = 8.6
_LANE_INCHES = 0.3


@dataclass(frozen=True)
class Lane:
    """One row of a distribution plot. `samples` in seconds."""

    label: str
    runtime: str
    samples: Sequence[float]
    median: float
    low: float
    high: float


def distributions(picture: Picture, workload: str) -> str:
    """All samples of a workload, a lane for each host and runtime, as an <svg> element; "" when there are none."""
    lanes: list[Lane] = []
    shown: set[tuple[str, str]] = set()
    for row in picture.rows:
        if row.workload != workload:
            continue
        if row.tvm is not None and row.tvm.summary is not None:
            lanes.append(_lane(f"{row.host} {row.variant}".strip(), "TVM", row.tvm))
        for runtime, timing in row.others.items():
            if timing.summary is not None and (row.host, runtime) not in shown:
                shown.add((row.host, runtime))
                lanes.append(_lane(row.host, runtime, timing))
    return _draw(lanes, workload) if lanes else ""


def _lane(host: str, runtime: str, timing: Timing) -> Lane:
    assert timing.summary is not None
    return Lane(host, runtime, timing.samples, timing.summary.median, timing.summary.low, timing.summary.high)


def _draw(lanes: Sequence[Lane], name: str) -> str:
    pyplot_figure, ticker = _matplotlib(name)
    figure = pyplot_figure(figsize=(_WIDTH_INCHES, 0.62 + _LANE_INCHES * len(lanes)))
    axes = figure.add_subplot()
    values = [sample * 1000 for lane in lanes for sample in lane.samples]
    logarithmic = max(values) > 4 * min(values)
    for index, lane in enumerate(lanes):
        _draw_lane(axes, index, lane)
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_yticks(range(len(lanes)), [f"{lane.label}  {lane.runtime}" for lane in lanes])
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    axes.set_xlabel("ms per inference" + (", logarithmic" if logarithmic else ""), color=_INK)
    _style(axes)
    figure.subplots_adjust(left=0.235, right=0.985, top=0.97, bottom=0.48 / (0.62 + _LANE_INCHES * len(lanes)))
    output = io.BytesIO()
    figure.savefig(output, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(output.getvalue().decode("utf-8"), name)


def _draw_lane(axes: Any, index: int, lane: Lane) -> None:
    tvm = lane.runtime == "TVM"
    colour, marker = (TVM_COLOUR, TVM_MARKER) if tvm else (OTHERS_COLOUR, OTHERS_MARKER)
    scatter = random.Random(f"{lane.label} {lane.runtime}")  # noqa: S311 (only spreads the dots)
    heights = [index + scatter.uniform(-0.24, 0.24) for _ in lane.samples]
    samples = [sample * 1000 for sample in lane.samples]
    axes.scatter(samples, heights, s=15, marker=marker, color=colour, alpha=0.6, linewidths=0)
    axes.plot([lane.low * 1000, lane.high * 1000], [index, index], color=_INK, linewidth=1.2, zorder=3)
    axes.plot([lane.median * 1000] * 2, [index - 0.34, index + 0.34], color=_INK, linewidth=1.6, zorder=3)


def _style(axes: Any) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    axes.tick_params(axis="x", colors=_INK, length=3)
    axes.tick_params(axis="y", colors=_INK, length=0)
    axes.grid(axis="x", color=_FAINT, linewidth=0.6, alpha=0.5)
    axes.set_axisbelow(True)


def _matplotlib(salt: str) -> tuple[Any, Any]:
    try:
        import matplotlib
        from matplotlib import ticker
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingTool(
            f"the report's plots need matplotlib: {error}", "install it: pip install 'tvmops[report]'"
        ) from error
    # Text as text, and names of clip paths that differ between the plots of one page.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 9})
    return Figure, ticker


def _inline(document: str, name: str) -> str:
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="Samples of {name}" ', 1)
    svg = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", svg)
    for stand_in, colour in PAGE_COLOURS.items():
        svg = svg.replace(stand_in, colour)
    return svg.strip()
