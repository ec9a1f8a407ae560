"""power on reproduced trees of boards: what it sets, that it looks again, and that all comes back."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from board_program import BOARDS, hanging, jetson_programs, program
from board_program import run as run_program

power = program("power")
ALL = {"cpu": "performance", "gpu": "performance", "turbo": "off"}


def run(root: Path, *arguments: str, rc: int = 0) -> dict[str, Any]:
    status, printed = run_program(power, *arguments, "--root", str(root))
    assert status == rc, printed
    answer: dict[str, Any] = json.loads(printed)
    return answer


def set_up(root: Path, wanted: dict[str, Any], *options: str, rc: int = 0) -> dict[str, Any]:
    return run(root, "set", json.dumps(wanted), *options, rc=rc)


def content(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture
def tree(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of a board's tree, which may be written to."""
    return Path(shutil.copytree(BOARDS / request.param, tmp_path / "root"))


@pytest.mark.parametrize("tree", ["jetson-nano", "rk3288", "rpi3b", "nuc", "pynq-z1", "server"], indirect=True)
def test_set_again_and_restore(tree: Path) -> None:
    before = content(tree)
    foreseen = set_up(tree, ALL, "--check")
    assert content(tree) == before
    done = set_up(tree, ALL)
    assert done["changes"] == foreseen["changes"]
    again = set_up(tree, ALL)
    assert (again["changed"], again["changes"]) == (False, [])
    for path in tree.glob("sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"):
        assert path.read_text().strip() == "performance"
    assert run(tree, "restore", "--check")["changed"] == done["changed"]
    assert run(tree, "restore")["changed"] == done["changed"]
    assert content(tree) == before
    assert run(tree, "restore") == {
        "changed": False,
        "changes": [],
        "firmware": None,
        "notes": ["nothing to restore: no clock of this board was changed"],
    }


@pytest.mark.parametrize(
    ("tree", "path", "before", "after"),
    [
        ("jetson-nano", "/sys/class/devfreq/57000000.gpu/governor", "nvhost_podgov", "performance"),
        ("rk3288", "/sys/class/devfreq/ffa30000.gpu/governor", "simple_ondemand", "performance"),
        ("nuc", "/sys/devices/system/cpu/intel_pstate/no_turbo", "0", "1"),
        ("rpi3b", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand", "performance"),
    ],
    indirect=["tree"],
)
def test_what_is_set_on_which_board(tree: Path, path: str, before: str, after: str) -> None:
    assert {"what": path, "before": before, "after": after} in set_up(tree, ALL)["changes"]


@pytest.mark.parametrize("tree", ["nuc"], indirect=True)
def test_first_values_are_kept_when_settings_change_later(tree: Path) -> None:
    before = content(tree)
    card = tree / "sys/class/drm/card0"
    card.mkdir(parents=True)
    (card / "gt_min_freq_mhz").write_text("300\n")
    (card / "gt_max_freq_mhz").write_text("1100\n")
    set_up(tree, {"cpu": "performance", "turbo": "off"})
    done = set_up(tree, {"cpu": "powersave", "turbo": "on", "gpu": "performance"})
    assert {"what": "/sys/class/drm/card0/gt_min_freq_mhz", "before": "300", "after": "1100"} in done["changes"]
    run(tree, "restore")
    after = content(tree)
    assert {name: after[name] for name in before} == before
    assert (card / "gt_min_freq_mhz").read_text() == "300\n"


@pytest.mark.parametrize("tree", ["nuc"], indirect=True)
def test_turbo_is_switched_by_words_and_truth_values(tree: Path) -> None:
    switch = tree / "sys/devices/system/cpu/intel_pstate/no_turbo"
    for word, value in (("off", "1"), ("on", "0"), ("False", "1"), ("true", "0"), ("", "0"), ("no", "1")):
        set_up(tree, {"turbo": word})
        assert switch.read_text().strip() == value


@pytest.mark.parametrize("tree", ["rk3288"], indirect=True)
def test_a_users_own_clock_comes_back_after_its_governor(tree: Path) -> None:
    folder = tree / "sys/devices/system/cpu/cpu0/cpufreq"
    (folder / "scaling_governor").write_text("userspace\n")
    (folder / "scaling_setspeed").write_text("816000\n")
    set_up(tree, {"cpu": "performance"})
    (folder / "scaling_setspeed").write_text("<unsupported>\n")
    changes = [one["what"].rsplit("/", 1)[1] for one in run(tree, "restore")["changes"]]
    assert changes[-2:] == ["scaling_setspeed", "power.json"]
    assert (folder / "scaling_setspeed").read_text() == "816000\n"


@pytest.mark.parametrize("tree", ["jetson-nano"], indirect=True)
def test_a_jetsons_mode_and_clocks(tree: Path) -> None:
    jetson_programs(tree)
    wanted = {"nvpmodel": 0, "jetson_clocks": True}
    assert [one["what"] for one in set_up(tree, wanted, "--check")["changes"]] == ["nvpmodel", "jetson_clocks"]
    assert (tree / "min").read_text() == "102000\n"
    assert set_up(tree, wanted)["changes"] == [
        {"what": "nvpmodel", "before": "1", "after": "0"},
        {"what": "jetson_clocks", "before": "off", "after": "on"},
    ]
    assert (tree / "answer").read_text() == "NO\n"
    assert set_up(tree, wanted)["changed"] is False
    run(tree, "restore")
    assert ((tree / "mode").read_text(), (tree / "min").read_text()) == ("1\n", "102000\n")


@pytest.mark.parametrize("tree", ["jetson-nano"], indirect=True)
def test_a_mode_that_is_not_taken_is_a_problem(tree: Path) -> None:
    jetson_programs(tree)
    (tree / "stubborn").touch()
    assert set_up(tree, {"nvpmodel": "0"}, rc=1)["problem"] == (
        "nvpmodel -m 0 was not taken, the mode is still 1; it may need a reboot"
    )


@pytest.mark.parametrize("tree", ["rk3288"], indirect=True)
def test_a_governor_that_the_kernel_lacks_changes_nothing(tree: Path) -> None:
    folder = tree / "sys/devices/system/cpu/cpu3/cpufreq"
    (folder / "scaling_available_governors").write_text("powersave interactive\n")
    before = content(tree)
    problem = set_up(tree, ALL, rc=1)["problem"]
    assert problem.endswith("cpu3/cpufreq/scaling_governor cannot be 'performance'; it can be: powersave, interactive")
    assert content(tree) == before


@pytest.mark.parametrize("tree", ["pynq-z1"], indirect=True)
def test_a_driver_that_takes_a_value_and_keeps_its_own(tree: Path) -> None:
    governor = tree / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    governor.unlink()
    governor.symlink_to("/dev/null")
    assert set_up(tree, ALL, rc=1)["problem"].endswith("was set to 'performance' and is still ''")


@pytest.mark.parametrize("tree", ["pynq-z1"], indirect=True)
def test_a_damaged_record_is_named(tree: Path) -> None:
    record = tree / "var/lib/tvmops/power.json"
    record.parent.mkdir(parents=True)
    record.write_text("{")
    assert set_up(tree, ALL, rc=1)["problem"].startswith("/var/lib/tvmops/power.json is damaged")


def test_a_board_without_clocks_of_its_own_says_so(tmp_path: Path) -> None:
    assert set_up(tmp_path, ALL)["notes"] == [
        "this board has no cpufreq: its CPU clock cannot be set from here",
        "this board has no switch for turbo",
        "this board has no GPU whose clock the kernel scales",
    ]
    (tmp_path / "run/systemd").mkdir(parents=True)
    (tmp_path / "run/systemd/container").write_text("systemd-nspawn\n")
    (note,) = set_up(tmp_path, ALL)["notes"]
    assert note.startswith("this board is a container")


@pytest.mark.parametrize("tree", ["rpi3b"], indirect=True)
def test_the_firmwares_report_comes_from_its_own_program_first(tree: Path) -> None:
    (tree / "sys/devices/platform/soc/soc:firmware/get_throttled").write_text("0\n")
    assert set_up(tree, {})["firmware"] == {"raw": "0x0", "now": [], "since_boot": []}
    program = tree / "usr/bin/vcgencmd"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text("#!/bin/sh\necho throttled=0x50005\n")
    program.chmod(0o755)
    told = set_up(tree, {})
    assert told["firmware"]["now"] == ["under-voltage", "throttled"]
    assert "stronger supply" in told["notes"][0]


def test_a_program_that_hangs_is_left_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging(tmp_path / "usr/bin", "nvpmodel")
    monkeypatch.setattr(power.board_files, "PROGRAM_SECONDS", 0.2)
    begin = time.monotonic()
    assert "nvpmodel -q took longer than" in set_up(tmp_path, {"nvpmodel": "0"}, rc=1)["problem"]
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize("tree", ["jetson-nano"], indirect=True)
def test_a_governor_that_the_kernel_lacks_leaves_the_power_mode_alone_too(tree: Path) -> None:
    jetson_programs(tree)
    wanted = {"cpu": "turbo", "nvpmodel": "0", "jetson_clocks": True}
    for path in tree.glob("sys/devices/system/cpu/cpu*/cpufreq"):
        (path / "scaling_available_governors").write_text("powersave schedutil\n")
    before = content(tree)
    assert "cannot be 'turbo'; it can be: powersave, schedutil" in set_up(tree, wanted, rc=1)["problem"]
    assert content(tree) == before


@pytest.mark.parametrize("tree", ["rk3288"], indirect=True)
def test_faults_of_people_and_disks_are_told(tree: Path) -> None:
    wrong = set_up(tree, {"gpu": "performance", "gpu_names": "mali["}, rc=1)["problem"]
    assert wrong.startswith("power_gpu_names: 'mali[' is no regular expression: ")
    assert set_up(tree, {"turbo": "auto"}, rc=1)["problem"] == "power_turbo is on or off, not 'auto'"
    (tree / "var/lib").mkdir(parents=True, exist_ok=True)
    (tree / "var/lib/tvmops").write_text("a file where a folder should be")
    assert "var/lib/tvmops" in set_up(tree, ALL, rc=1)["problem"]
