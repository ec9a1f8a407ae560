"""What the board is: DMI on PCs, the device tree on Arm, L4T and JetPack on Jetsons."""

import re

DMI = {
    "ansible_product_name": "product_name",
    "ansible_product_version": "product_version",
    "ansible_system_vendor": "sys_vendor",
    "ansible_board_name": "board_name",
    "ansible_board_vendor": "board_vendor",
    "ansible_bios_vendor": "bios_vendor",
    "ansible_bios_version": "bios_version",
    "ansible_bios_date": "bios_date",
}
# NVIDIA's table "JetPack archive": the L4T that came with each JetPack.
JETPACKS = {
    "28.2.1": "3.3",
    "31.1.0": "4.1.1",
    "32.1.0": "4.2",
    "32.2.0": "4.2.1",
    "32.2.1": "4.2.2",
    "32.2.3": "4.2.3",
    "32.3.1": "4.3",
    "32.4.2": "4.4 DP",
    "32.4.3": "4.4",
    "32.4.4": "4.4.1",
    "32.5.0": "4.5",
    "32.5.1": "4.5.1",
    "32.5.2": "4.5.1",
    "32.6.1": "4.6",
    "32.7.1": "4.6.1",
    "32.7.2": "4.6.2",
    "32.7.3": "4.6.3",
    "32.7.4": "4.6.4",
    "32.7.5": "4.6.5",
    "32.7.6": "4.6.6",
    "34.1.0": "5.0 DP",
    "34.1.1": "5.0.1 DP",
    "35.1.0": "5.0.2",
    "35.2.1": "5.1",
    "35.3.1": "5.1.1",
    "35.4.1": "5.1.2",
    "35.5.0": "5.1.3",
    "35.6.0": "5.1.4",
    "35.6.1": "5.1.5",
    "36.2.0": "6.0 DP",
    "36.3.0": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
}


def collect(board):
    """ansible_product_name, ansible_system_vendor, ..., tvmops_device_tree_model, tvmops_l4t, tvmops_jetpack."""
    facts = {}
    for name, source in DMI.items():
        facts[name] = board.line("sys/devices/virtual/dmi/id/" + source) or "NA"
    facts["tvmops_device_tree_model"] = (
        board.line("proc/device-tree/model") or board.line("sys/firmware/devicetree/base/model") or None
    )
    facts["tvmops_l4t"] = l4t(board.read("etc/nv_tegra_release"))
    facts["tvmops_jetpack"] = JETPACKS.get(facts["tvmops_l4t"] or "")
    return facts


def l4t(text):
    """ "32.7.1" from `# R32 (release), REVISION: 7.1, GCID: ...`; None on other boards."""
    match = re.search(r"R(\d+)\s*\(release\),\s*REVISION:\s*(\d+(?:\.\d+)*)", text)
    if not match:
        return None
    numbers = [match.group(1)] + match.group(2).split(".")
    return ".".join((numbers + ["0", "0"])[:3])
