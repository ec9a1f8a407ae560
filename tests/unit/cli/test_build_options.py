"""What the options of `tvmops build` mean, and that --quiet holds for shipping, too."""

from __future__ import annotations

from typing import Any

import pytest

from tvmops.cli import build, console
from tvmops.errors import ConfigError
from tvmops.fleet import building, shipping
from tvmops.fleet.building_plan import BuildPlan

GIVEN: dict[str, Any] = {
    "stack": "", "builder": "", "target": "runtime", "set_": [], "source": "", "sha256": "", "build_type": "Release",
    "jobs": 0,
}  # fmt: skip


def test_settings_are_options_with_values() -> None:
    asked = build.asked_for({**GIVEN, "set_": ["USE_A=ON", "USE_B=/a=b", "USE_A=OFF"], "jobs": 3})
    assert (asked.overrides, asked.jobs, asked.builder) == ({"USE_A": "OFF", "USE_B": "/a=b"}, 3, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"set_": ["USE_A"]}, "no option with a value"),
        ({"set_": ["USE A=ON"]}, "no option with a value"),
        ({"set_": ["USE_A=ON\nset(X Y)"]}, "no option with a value"),
        ({"jobs": -1}, "--jobs -1: wants a number of jobs"),
        ({"build_type": "release"}, "did you mean 'Release'"),
    ],
)
def test_what_cannot_be_asked_for(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build.asked_for({**GIVEN, **given})


def test_quiet_holds_for_shipping(monkeypatch: pytest.MonkeyPatch) -> None:
    views: list[tuple[Any, ...]] = []
    monkeypatch.setattr(building, "artifacts_by_board", lambda *_: {"pi": object()})
    monkeypatch.setattr(console, "choose_view", lambda *given: views.append(given))
    monkeypatch.setattr(shipping, "ship", lambda *_, **__: None)
    made, inventory = BuildPlan([], []), object()
    build._ship_or_say(made, inventory, None, ship=True, json_=False, quiet=True)
    assert views == [(False, True)]


def test_a_download_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for text in (
        "fetching https://lan/a.tar.gz",
        "fetching a.tar.gz: 1.0 of 9.3 MB",
        "facts of 8 boards",
        "Collecting x",
    ):
        build._main_steps(text)
    assert capsys.readouterr().err.splitlines() == ["fetching https://lan/a.tar.gz", "facts of 8 boards"]
