"""The bar of a long task's own [n/m]."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from tvmops.fleet.live import LiveView
from tvmops.fleet.steps import StepBar, duration
from tvmops.playbook.events import RunEvent


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_steps_become_a_bar_with_the_time_that_is_left() -> None:
    clock = Clock()
    bar = StepBar(clock)
    assert bar.shown("[ 10/100] Building a.o") == "━┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ 10/100  Building a.o"
    clock.now += 60
    assert bar.shown("[20/100] b.o") == "━━━┄┄┄┄┄┄┄┄┄┄┄┄┄ 20/100  8 min left  b.o"
    clock.now += 60
    assert bar.shown("[100/100] c.so") == "━━━━━━━━━━━━━━━━ 100/100  c.so"
    # Another phase counts anew.
    assert bar.shown("[1/4]") == "━━━━┄┄┄┄┄┄┄┄┄┄┄┄ 1/4"
    clock.now += 4
    assert bar.shown("[2/4] x") == "━━━━━━━━┄┄┄┄┄┄┄┄ 2/4  8 s left  x"
    assert bar.shown("[1/4] y") == "━━━━┄┄┄┄┄┄┄┄┄┄┄┄ 1/4  y"


@pytest.mark.parametrize("text", ["configuring", "[x/y] a", "[5/3] more than all", "[0/0] a", "12/13", "a [1/2]"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert StepBar().shown(text) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "1 s"), (89, "89 s"), (90, "2 min"), (6600, "1 h 50 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_live_view_shows_it() -> None:
    output = io.StringIO()
    view = LiveView(Console(file=output, force_terminal=True, width=140, color_system=None))
    view.begin(["b1"], {"b1": 3})
    view.event(RunEvent("start", "b1", task="Compile"))
    view.event(RunEvent("progress", "b1", task="Compile", text="[5/10] Building [x].o"))
    view._progress.stop()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue())
    assert "Compile  ━━━━━━━━┄┄┄┄┄┄┄┄ 5/10  Building [x].o" in shown
