"""Whether this is a real board, a virtual machine or a container."""

import re

PRODUCTS = {
    "KVM": "kvm",
    "KVM Server": "kvm",
    "Bochs": "kvm",
    "AHV": "kvm",
    "OpenStack Compute": "openstack",
    "OpenStack Nova": "openstack",
}
VENDORS = {
    "QEMU": "kvm",
    "Amazon EC2": "kvm",
    "DigitalOcean": "kvm",
    "Google": "kvm",
    "Scaleway": "kvm",
    "Nutanix": "kvm",
    "OpenStack Foundation": "openstack",
    "Microsoft Corporation": "VirtualPC",
    "Parallels Software International Inc.": "parallels",
}
BIOSES = {
    "Xen": "xen",
    "innotek GmbH": "virtualbox",
    "Amazon EC2": "kvm",
    "DigitalOcean": "kvm",
    "Hetzner": "kvm",
    "Linode": "kvm",
}
CGROUPS = (
    (r"/docker(/|-[0-9a-f]+\.scope)", "docker"),
    (r"/lxc/|/machine.slice/machine-lxc", "lxc"),
    (r"/system.slice/containerd.service", "containerd"),
)


def collect(board):
    """ansible_virtualization_type and _role; "NA" for both on a real board that hosts nothing."""
    kind = _container(board) or _machine(board)
    if kind:
        return {"ansible_virtualization_type": kind, "ansible_virtualization_role": "guest"}
    modules = [line.split(" ")[0] for line in board.read("proc/modules").splitlines()]
    for module, name in (("kvm", "kvm"), ("vboxdrv", "virtualbox")):
        if module in modules:
            return {"ansible_virtualization_type": name, "ansible_virtualization_role": "host"}
    return {"ansible_virtualization_type": "NA", "ansible_virtualization_role": "NA"}


def _container(board):
    cgroup = board.read("proc/1/cgroup")
    for pattern, name in CGROUPS:
        if re.search(pattern, cgroup):
            return name
    try:
        with open(board.path("proc/1/environ"), "rb") as stream:
            variables = stream.read(65536).decode("utf-8", "replace").split("\0")
    except (IOError, OSError):
        variables = []
    for variable in variables:
        match = re.match(r"container=(.+)", variable)
        if match:
            return match.group(1) if match.group(1) in ("lxc", "podman") else "container"
    if board.line("run/systemd/container"):
        return board.line("run/systemd/container")
    if board.exists(".dockerenv") or board.exists(".dockerinit"):
        return "docker"
    return ""


def _machine(board):
    folder = "sys/devices/virtual/dmi/id/"
    product = board.line(folder + "product_name")
    if product in PRODUCTS:
        return PRODUCTS[product]
    if product.startswith("VMware"):
        return "VMware"
    bios = board.line(folder + "bios_vendor")
    vendor = board.line(folder + "sys_vendor")
    if BIOSES.get(bios) or VENDORS.get(vendor):
        return BIOSES.get(bios) or VENDORS.get(vendor)
    return "kvm" if re.search(r"^model name.*QEMU Virtual CPU", board.read("proc/cpuinfo"), re.MULTILINE) else ""
