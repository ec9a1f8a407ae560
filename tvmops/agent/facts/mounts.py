"""File systems on disks and over the network, with their sizes in bytes."""

import os
import re

NETWORK = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "ceph", "glusterfs")


def collect(board):
    """ansible_mounts: what is mounted from a device, and the root whatever it is on."""
    uuids = _uuids(board)
    mounts = {}
    for line in board.read("proc/mounts").splitlines():
        fields = [_unescape(field) for field in line.split()]
        if len(fields) < 6:
            continue
        device, point, kind, options = fields[:4]
        if kind == "none" or not (device.startswith("/") or ":/" in device or point == "/"):
            continue
        mounts[point] = {
            "mount": point,
            "device": device,
            "fstype": kind,
            "options": options,
            "dump": int(fields[4]) if fields[4].isdigit() else 0,
            "passno": int(fields[5]) if fields[5].isdigit() else 0,
            "uuid": uuids.get(os.path.basename(os.path.realpath(device)), "N/A") if board.live else "N/A",
        }
        # A server that is gone would block statvfs for ever.
        if board.live and kind not in NETWORK:
            mounts[point].update(_sizes(point))
    return {"ansible_mounts": list(mounts.values())}


def _sizes(point):
    try:
        status = os.statvfs(point)
    except OSError:
        return {}
    return {
        "size_total": status.f_frsize * status.f_blocks,
        "size_available": status.f_frsize * status.f_bavail,
        "block_size": status.f_bsize,
        "block_total": status.f_blocks,
        "block_available": status.f_bavail,
        "block_used": status.f_blocks - status.f_bavail,
        "inode_total": status.f_files,
        "inode_available": status.f_favail,
        "inode_used": status.f_files - status.f_favail,
    }


def _uuids(board):
    folder = "/dev/disk/by-uuid"
    found = {}
    for name in board.listdir(folder):
        found[os.path.basename(os.path.realpath(board.path(os.path.join(folder, name))))] = name
    return found


def _unescape(text):
    return re.sub(r"\\(\d{3})", lambda match: chr(int(match.group(1), 8)), text)
