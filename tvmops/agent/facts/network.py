"""Interfaces and addresses, from the kernel; nothing is sent."""

import fcntl
import os
import socket
import struct

SIOCGIFADDR, SIOCGIFNETMASK, SIOCGIFBRDADDR = 0x8915, 0x891B, 0x8919
TYPES = {"1": "ether", "772": "loopback", "65534": "tunnel", "512": "ppp"}


def collect(board):
    """ansible_interfaces, ansible_default_ipv4, ansible_all_ipv4_addresses, ansible_<interface>, ansible_dns."""
    facts = {
        "ansible_interfaces": [],
        "ansible_all_ipv4_addresses": [],
        "ansible_all_ipv6_addresses": [],
        "ansible_default_ipv4": {},
        "ansible_dns": _dns(board),
    }
    gateway, default = default_route(board.read("proc/net/route"))
    for name in board.listdir("sys/class/net"):
        if not os.path.isdir(board.path("sys/class/net/" + name)):
            continue  # bonding_masters is a file
        facts["ansible_interfaces"].append(name)
        link = _link(board, name)
        facts["ansible_" + name.replace("-", "_").replace(":", "_")] = link
        address = link.get("ipv4", {}).get("address", "")
        if address and not address.startswith("127."):
            facts["ansible_all_ipv4_addresses"].append(address)
        facts["ansible_all_ipv6_addresses"] += [
            one["address"] for one in link.get("ipv6", []) if one["scope"] != "host"
        ]
        if name == default and address:
            facts["ansible_default_ipv4"] = dict(
                link["ipv4"],
                interface=name,
                alias=name,
                gateway=gateway,
                macaddress=link.get("macaddress", ""),
                mtu=link["mtu"],
                type=link["type"],
            )
    return facts


def default_route(text):
    """(gateway, interface) of the default route with the lowest metric; ("", "") when there is none."""
    best = (None, "", "")
    for line in text.splitlines()[1:]:
        fields = line.split()
        try:
            if fields[1] != "00000000" or int(fields[3], 16) & 3 != 3:
                continue
            gateway = socket.inet_ntoa(struct.pack("=L", int(fields[2], 16)))
            metric = int(fields[6])
        except (IndexError, ValueError, struct.error):
            continue
        if best[0] is None or metric < best[0]:
            best = (metric, gateway, fields[0])
    return best[1], best[2]


def _link(board, name):
    folder = "sys/class/net/%s/" % name
    link = {
        "device": name,
        "active": board.line(folder + "operstate") in ("up", "unknown"),
        "mtu": board.number(folder + "mtu"),
        "type": TYPES.get(board.line(folder + "type"), "unknown"),
    }
    mac = board.line(folder + "address")
    if mac and link["type"] != "loopback":
        link["macaddress"] = mac
    if board.live:
        ipv4 = _ipv4(name)
        if ipv4:
            link["ipv4"] = ipv4
        ipv6 = [one for one in _ipv6(board.read("proc/net/if_inet6")) if one.pop("device") == name]
        if ipv6:
            link["ipv6"] = ipv6
    return link


def _ipv4(name):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        found = {}
        for key, request in (("address", SIOCGIFADDR), ("netmask", SIOCGIFNETMASK), ("broadcast", SIOCGIFBRDADDR)):
            try:
                answer = fcntl.ioctl(probe.fileno(), request, struct.pack("256s", name.encode()[:15]))
            except (IOError, OSError):
                continue
            found[key] = socket.inet_ntoa(answer[20:24])
    if "address" not in found or "netmask" not in found:
        return {}
    if found.get("broadcast") in ("0.0.0.0", found["address"]):
        found["broadcast"] = ""
    mask = struct.unpack("!L", socket.inet_aton(found["netmask"]))[0]
    address = struct.unpack("!L", socket.inet_aton(found["address"]))[0]
    found["network"] = socket.inet_ntoa(struct.pack("!L", address & mask))
    found["prefix"] = str(bin(mask).count("1"))
    return found


def _ipv6(text):
    scopes = {"00": "global", "10": "host", "20": "link", "40": "site"}
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) != 6 or len(fields[0]) != 32:
            continue
        try:
            address = socket.inet_ntop(socket.AF_INET6, bytes(bytearray.fromhex(fields[0])))
            prefix = str(int(fields[2], 16))
        except (ValueError, OSError):
            continue
        found.append(
            {"address": address, "prefix": prefix, "scope": scopes.get(fields[3], "unknown"), "device": fields[5]}
        )
    return found


def _dns(board):
    dns = {}
    for line in board.read("etc/resolv.conf").splitlines():
        words = line.split()
        if len(words) < 2 or line.startswith(("#", ";")):
            continue
        if words[0] == "nameserver":
            dns.setdefault("nameservers", []).append(words[1])
        elif words[0] == "domain":
            dns["domain"] = words[1]
        elif words[0] == "search":
            dns["search"] = words[1:]
    return dns
