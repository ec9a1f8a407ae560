"""Which GPU has this board, and which OpenCL driver does it take?

    python3 opencl_gpu.py JSON [--root DIR]

JSON: {"driver": "auto" or a name, "table": the one of vars/opencl.yml, "debs": whether packages are brought}. It prints
one line of JSON: {"driver", "type", "device", "packages", "conflicts": those that are installed, "groups": who may open
the device files, "user": "tvm" when there is one}; with exit status 1 its "problem" says why there is no driver.

Standard library only, Python 3.5 or newer.
"""

import glob
import grp
import json
import os
import re
import sys

DRIVERS_OF_MALI = ("mali_kbase", "midgard_kbase", "bifrost_kbase", "mali")
DEVICE_FILES = ("dev/dri/renderD*", "dev/mali0", "dev/kfd")
USE_CPU = "for the CPU say opencl_driver: pocl"


class Problem(Exception):
    """What hinders, for people."""


class Board:
    """The board's files below a root folder."""

    def __init__(self, root="/"):
        self.root = root

    def path(self, name):
        return os.path.join(self.root, name.lstrip("/"))

    def read(self, name):
        """A file's text, "" when it cannot be read."""
        try:
            with open(self.path(name), "rb") as stream:
                return stream.read(65536).decode("utf-8", "replace").replace("\0", " ").strip()
        except (IOError, OSError):
            return ""

    def glob(self, pattern):
        prefix = len(self.root.rstrip("/")) + 1
        return sorted(name[prefix:] for name in glob.glob(self.path(pattern)))

    def installed(self, package):
        """Whether dpkg has the package installed."""
        pattern = r"^Package: %s\nStatus: \S+ \S+ installed$" % re.escape(package)
        try:
            with open(self.path("var/lib/dpkg/status"), "rb") as stream:
                return re.search(pattern, stream.read().decode("utf-8", "replace"), re.MULTILINE) is not None
        except (IOError, OSError):
            return False


def look(board, asked):
    """What to install and why. Raises Problem."""
    table, debs = asked["table"], bool(asked.get("debs"))
    name, device, package = choose(board, asked.get("driver") or "auto", table, debs)
    driver = table["drivers"][name]
    return {
        "driver": name,
        "type": driver["type"],
        "device": device,
        "packages": [] if debs else driver["packages"] + ([package] if package else []),
        "conflicts": [one for one in driver["conflicts"] if board.installed(one)],
        "groups": device_groups(board) if driver["type"] == "GPU" else [],
        "user": "tvm" if _user(board, "tvm") else "",
    }


def choose(board, wanted, table, debs):
    """(driver, device, package beside the driver's own). Raises Problem."""
    if wanted not in table["drivers"] and wanted != "auto":
        names = ["auto"] + sorted(table["drivers"])
        raise Problem("opencl_driver: there is no '%s'; there are %s" % (wanted, ", ".join(names)))
    if wanted == "pocl":
        return "pocl", cpu_name(board), ""
    if is_tegra(board):
        raise Problem(" ".join(table["refused"]["tegra"].split()))
    mali, intel = mali_gpu(board), pci_gpus(board, "8086")
    if wanted == "mali" or (wanted == "auto" and mali):
        return mali_driver(board, mali, table, debs)
    if wanted == "intel-neo" or intel:
        return intel_driver(intel, table)
    others = ", ".join("%s:%s" % one for one in pci_gpus(board))
    if others:
        raise Problem("no OpenCL driver is known here for the GPU %s; install its maker's, or %s" % (others, USE_CPU))
    raise Problem("no GPU was found that OpenCL could use; %s" % USE_CPU)


def is_tegra(board):
    compatible = board.read("proc/device-tree/compatible") or board.read("sys/firmware/devicetree/base/compatible")
    return bool(board.read("etc/nv_tegra_release")) or "nvidia,tegra" in compatible


def mali_gpu(board):
    """{"name", "revision", "product"} as Arm's kernel driver tells; None without it."""
    for path in board.glob("sys/class/misc/mali*/device/gpuinfo"):
        match = re.match(r"(.+?) (?:MP\d+|\d+ cores?) (r\d+p\d+) (0x[0-9A-Fa-f]+)$", board.read(path))
        if match:
            return {"name": match.group(1), "revision": match.group(2), "product": match.group(3).lower()}
    return None


def mali_driver(board, gpu, table, debs):
    """libmali for exactly this revision of the GPU and this release of the kernel's driver."""
    if gpu is None:
        compatible = board.read("proc/device-tree/compatible")
        text = "there is no Mali GPU under Arm's own kernel driver here (/sys/class/misc/mali0/device/gpuinfo)"
        raise Problem(text + ("; libmali does not work with panfrost or lima" if "rockchip" in compatible else ""))
    device = "%s %s" % (gpu["name"], gpu["revision"])
    if debs:
        return "mali", device, ""
    for row in table["mali"]:
        if row["product"] == gpu["product"] and row["revision"] in ("", gpu["revision"]):
            ddk = mali_ddk(board)
            return "mali", device, row["package"].format(ddk=ddk if ddk in row["ddks"] else row["ddks"][-1])
    text = "no libmali is known for %s (product %s); bring its package by the variable opencl_debs"
    raise Problem(text % (device, gpu["product"]))


def mali_ddk(board):
    """The release of the kernel's Mali driver, as r18p0; "" when it does not say."""
    texts = [board.read("sys/module/%s/version" % name) for name in DRIVERS_OF_MALI]
    match = re.match(r"([rg]\d+p\d+)", next((text for text in texts if text), ""))
    return match.group(1) if match else ""


def pci_gpus(board, vendor=None):
    """[(vendor, device)], hexadecimal, of the display controllers on the PCI bus."""
    found = []
    for folder in board.glob("sys/bus/pci/devices/*"):
        if board.read(folder + "/class").startswith("0x03"):
            ids = tuple(board.read("%s/%s" % (folder, name)).lower()[2:] for name in ("vendor", "device"))
            if vendor in (None, ids[0]):
                found.append(ids)
    return found


def intel_driver(gpus, table):
    """NEO, unless the GPU is older than it."""
    if not gpus:
        raise Problem("there is no Intel GPU on the PCI bus; %s" % USE_CPU)
    vendor, device = gpus[0]
    if any(re.match(pattern + "$", device) for pattern in table["intel_too_old"]):
        text = "Intel's OpenCL driver (NEO) knows GPUs from Broadwell on; this one, %s:%s, is older; %s"
        raise Problem(text % (vendor, device, USE_CPU))
    return "intel-neo", "Intel GPU %s:%s" % (vendor, device), ""


def cpu_name(board):
    match = re.search(r"^(?:model name|Processor|Hardware)\s*:\s*(.+)$", board.read("proc/cpuinfo"), re.MULTILINE)
    return match.group(1) if match else "the CPU"


def device_groups(board):
    """The groups whose members may open the GPU's device files; root's own files need no group."""
    groups = set()
    for pattern in DEVICE_FILES:
        for name in board.glob(pattern):
            gid = os.stat(board.path(name)).st_gid
            if gid:
                groups.add(group_name(gid, name))
    return sorted(groups)


def group_name(gid, file_name):
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        raise Problem("/%s belongs to group %d, which has no name on this board" % (file_name, gid))


def _user(board, name):
    return re.search(r"^%s:" % re.escape(name), board.read("etc/passwd"), re.MULTILINE) is not None


def main(arguments):
    """Exit status 0 or 1, and one line of JSON."""
    root = arguments[arguments.index("--root") + 1] if "--root" in arguments else "/"
    answer = {}
    try:
        answer = look(Board(root), json.loads(arguments[0]))
    except Problem as problem:
        answer["problem"] = str(problem)
    print(json.dumps(answer, sort_keys=True))
    return 1 if "problem" in answer else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
