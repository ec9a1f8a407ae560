"""The OpenCL programs of playbooks/opencl.yml: the driver for a GPU, and what clinfo's output means."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from board_program import BOARDS, PROJECT, hanging, program, run

TABLE = yaml.safe_load((PROJECT / "playbooks/vars/opencl.yml").read_text())["opencl_table"]

POCL = """#PLATFORMS                                        1
  CL_PLATFORM_NAME                                Portable Computing Language
[POCL/*]    CL_PLATFORM_NAME                                Portable Computing Language
[POCL/0]    CL_DEVICE_NAME                                  pthread-Intel(R) Core(TM) i5-8259U
[POCL/0]    CL_DEVICE_VENDOR                                GenuineIntel
[POCL/0]    CL_DEVICE_VERSION                               OpenCL 3.0 PoCL
[POCL/0]    CL_DEVICE_TYPE                                  CL_DEVICE_TYPE_CPU
"""
NEO = """[INTEL/*]   CL_PLATFORM_NAME                                Intel(R) OpenCL HD Graphics
[INTEL/0]   CL_DEVICE_NAME                                  Intel(R) Iris(R) Plus Graphics 655 [0x3ea5]
[INTEL/0]   CL_DEVICE_TYPE                                  CL_DEVICE_TYPE_GPU
"""
# merrymercy/tvm-mali, issue 5
MISMATCH = """ERROR: The DDK is not compatible with any of the Mali GPUs on the system.
The DDK was built for 0x750 r0p0 status range [0..15], but none of the GPUs matched:
file /dev/mali0 is for 0x750 r1p0 status 0
"""


check, gpu = program("opencl_check"), program("opencl_gpu")


def look(root: Path, driver: str = "auto", debs: bool = False, rc: int = 0) -> dict[str, Any]:
    question = json.dumps({"driver": driver, "table": TABLE, "debs": debs})
    status, printed = run(gpu, question, "--root", str(root))
    assert status == rc, printed
    answer: dict[str, Any] = json.loads(printed)
    return answer


def problem(root: Path, driver: str = "auto") -> str:
    return str(look(root, driver, rc=1)["problem"])


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def pci(root: Path, vendor: str, device: str, kind: str = "0x030000") -> None:
    folder = root / "sys/bus/pci/devices/0000:00:02.0"
    for name, text in (("vendor", f"0x{vendor}"), ("device", f"0x{device}"), ("class", kind)):
        write(folder / name, text + "\n")


@pytest.fixture
def tree(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of a board's tree, which may be written to."""
    return Path(shutil.copytree(BOARDS / request.param, tmp_path / "root"))


@pytest.mark.parametrize("tree", ["nuc"], indirect=True)
def test_intels_gpu_takes_neo(tree: Path) -> None:
    pci(tree, "8086", "3ea5")
    answer = look(tree)
    assert (answer["driver"], answer["packages"], answer["type"]) == ("intel-neo", ["intel-opencl-icd"], "GPU")
    assert answer["conflicts"] == []
    write(tree / "var/lib/dpkg/status", "Package: beignet-opencl-icd\nStatus: install ok installed\nVersion: 1.3\n\n")
    assert look(tree)["conflicts"] == ["beignet-opencl-icd"]
    write(tree / "var/lib/dpkg/status", "Package: beignet-opencl-icd\nStatus: deinstall ok config-files\n\n")
    assert look(tree)["conflicts"] == []
    assert look(tree, debs=True)["packages"] == []


@pytest.mark.parametrize("device", ["0042", "0106", "0166", "0412", "0a16", "0d22", "0f31"])
def test_gpus_before_broadwell_are_refused(tmp_path: Path, device: str) -> None:
    pci(tmp_path, "8086", device)
    assert f"this one, 8086:{device}, is older; for the CPU say opencl_driver: pocl" in problem(tmp_path)


@pytest.mark.parametrize("device", ["1616", "1912", "0a84", "5a84", "3ea5", "46a6", "0bd5"])
def test_gpus_from_broadwell_on_are_taken(tmp_path: Path, device: str) -> None:
    pci(tmp_path, "8086", device)
    assert look(tmp_path)["driver"] == "intel-neo"


def test_an_intel_chip_that_is_no_gpu_is_none(tmp_path: Path) -> None:
    pci(tmp_path, "8086", "3ea5", kind="0x040300")
    assert problem(tmp_path).startswith("no GPU was found")
    assert problem(tmp_path, "intel-neo").startswith("there is no Intel GPU")


@pytest.mark.parametrize("tree", ["rk3288"], indirect=True)
@pytest.mark.parametrize(
    ("revision", "kernel", "package"),
    [
        ("r0p0", "r18p0-01rel0 (UK version 10.6)", "libmali-midgard-t76x-r18p0-r0p0-gbm"),
        ("r1p0", "r18p0-01rel0 (UK version 10.6)", "libmali-midgard-t76x-r18p0-r1p0-gbm"),
        ("r1p0", "r14p0-01rel0 (UK version 10.6)", "libmali-midgard-t76x-r14p0-r1p0-gbm"),
    ],
)
def test_libmali_by_the_gpus_revision(tree: Path, revision: str, kernel: str, package: str) -> None:
    write(tree / "sys/class/misc/mali0/device/gpuinfo", f"Mali-T76x 4 cores {revision} 0x0750\n")
    write(tree / "sys/module/midgard_kbase/version", kernel + "\n")
    answer = look(tree)
    assert (answer["driver"], answer["packages"]) == ("mali", [package])
    assert answer["device"] == f"Mali-T76x {revision}"


def test_a_mali_without_a_known_library(tmp_path: Path) -> None:
    write(tmp_path / "sys/class/misc/mali0/device/gpuinfo", "Mali-T76x MP4 r2p0 0x0750\n")
    assert problem(tmp_path).startswith("no libmali is known for Mali-T76x r2p0 (product 0x0750)")
    assert look(tmp_path, debs=True)["driver"] == "mali"
    assert "under Arm's own kernel driver" in problem(tmp_path / "nothing", "mali")


@pytest.mark.parametrize("tree", ["jetson-nano"], indirect=True)
@pytest.mark.parametrize("driver", ["auto", "mali", "intel-neo"])
def test_a_jetson_is_refused_with_the_reason(tree: Path, driver: str) -> None:
    assert problem(tree, driver).startswith("NVIDIA ships no OpenCL driver for Tegra")
    assert look(tree, "pocl")["type"] == "CPU"


def test_what_is_not_known_is_named(tmp_path: Path) -> None:
    pci(tmp_path, "10de", "1b80")
    assert "the GPU 10de:1b80" in problem(tmp_path)
    assert problem(tmp_path, "neo").startswith(
        "opencl_driver: there is no 'neo'; there are auto, intel-neo, mali, pocl"
    )


def test_clinfos_devices() -> None:
    both = check.judged("GPU", "", 0, POCL + NEO)
    assert [one["type"] for one in both] == ["CPU", "GPU"]
    assert both[1]["platform"] == "Intel(R) OpenCL HD Graphics"
    assert check.judged("CPU", "", 0, POCL)[0]["name"] == "pthread-Intel(R) Core(TM) i5-8259U"


@pytest.mark.parametrize(
    ("rc", "text", "told"),
    [
        (0, POCL, "OpenCL works, but has no GPU: it found pthread-Intel.* [(]CPU[)]. A measurement would run there"),
        (0, MISMATCH, "libmali is built for another revision of this GPU: .*0x750 r0p0 .* 0x750 r1p0"),
        (139, "", r"clinfo crashed [(]signal 11[)]"),
        (-11, "", r"clinfo crashed [(]signal 11[)]"),
        (0, "#PLATFORMS   0\n", "no OpenCL platform|no OpenCL device|does not load"),
    ],
)
def test_what_clinfo_says_against_it(rc: int, text: str, told: str) -> None:
    with pytest.raises(check.Problem, match=told):
        check.judged("GPU", "", rc, text)


def test_a_library_that_does_not_load() -> None:
    assert "libnosuch.so" in check.load_error("libnosuch.so.9")
    assert check.load_error("libc.so.6") == ""


def test_a_clinfo_that_hangs_is_left_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging(tmp_path, "clinfo")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(check, "CLINFO_SECONDS", 0.2)
    begin = time.monotonic()
    with pytest.raises(check.Problem, match="a driver hangs"):
        check.run_clinfo("")
    assert time.monotonic() - begin < 10


def test_a_group_without_a_name_is_a_reason() -> None:
    with pytest.raises(gpu.Problem, match="dev/mali0 belongs to group 987654, which has no name on this board"):
        gpu.group_name(987654, "dev/mali0")
    assert check.group_of(987654) == ("987654", [])
    assert gpu.group_name(0, "x") == check.group_of(0)[0] == "root"
