"""The smoke test of a runtime, as far as it needs none."""

from __future__ import annotations

from pathlib import Path

import pytest
import smoke


@pytest.mark.parametrize(
    ("value", "wanted", "equal"),
    [
        ("ON", "ON", True),
        ("ON", "on", True),
        ("OFF", "ON", False),
        ("/usr/bin/llvm-config-14 --link-static", "ON", True),
        ("NOT-FOUND", "OFF", True),
        ("0", "FALSE", True),
        ("", "OFF", True),
        ("ON", "/opt/rocm", True),
    ],
)
def test_values_of_cmakes_options(value: str, wanted: str, equal: bool) -> None:
    assert smoke.same(value, wanted) is equal


def test_options_that_the_library_does_not_tell_are_not_compared() -> None:
    assert smoke.options_problem({"USE_RPC": "ON"}, {"USE_RPC": "ON", "USE_LIBBACKTRACE": "OFF"}) is None
    assert smoke.options_problem({"USE_RPC": "OFF", "USE_SORT": "OFF"}, {"USE_RPC": "ON", "USE_SORT": "ON"}) == (
        "the runtime is not what its manifest says: USE_RPC is OFF, not ON; USE_SORT is OFF, not ON"
    )


def test_a_board_without_room_for_the_result_does_not_speak_against_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Well:
        """A runtime that loads."""

        def __init__(self, path: str) -> None:
            assert path.startswith(str(tmp_path))

        def library_info(self) -> dict[str, str]:
            return {}

    monkeypatch.setattr(smoke.capi, "Runtime", Well)
    monkeypatch.setattr(smoke, "sorting_problem", lambda runtime: None)
    monkeypatch.setattr(smoke, "exists", lambda runtime, device: True)
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "VERSION").write_text("tvm=0.19.0\n")
    assert smoke.look(str(tmp_path), str(tmp_path / "smoke.json")) == 0
    assert smoke.look(str(tmp_path), str(tmp_path / "gone" / "smoke.json")) == smoke.UNTOLD
    assert "cannot be written down" in capsys.readouterr().out.splitlines()[-1]
