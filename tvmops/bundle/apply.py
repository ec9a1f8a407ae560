"""What a bundle gives to the hosts it was made for: variables that point their provisioning at its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tvmops.bundle.mxnet import mxnet_variables
from tvmops.bundle.tophub import logs_variables
from tvmops.errors import BundleError
from tvmops.source import did_you_mean

ON_BOARD = "/var/lib/tvmops/bundle"


def bundle_variables(
    bundle: str, folder: Path, lock: Mapping[str, Any], hosts: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """The variables of each host, from the `bundle` that is unpacked in `folder`.

    Raises BundleError for a host that it was not made for.
    """
    found = {}
    for name in hosts:
        if name not in lock["hosts"]:
            raise BundleError(
                f"{bundle}: it was not made for {name}",
                did_you_mean(name, lock["hosts"]) or f"it is for {', '.join(lock['hosts'])}",
            )
        found[name] = _of_host(folder, lock["hosts"][name])
    return found


def _of_host(folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    variables = {
        name: str(folder / value["file"]) if isinstance(value, Mapping) else value
        for name, value in about["variables"].items()
    }
    apt = about.get("apt")
    if apt:
        place = f"{ON_BOARD}/{apt['id']}"
        variables |= {"bundle_apt_archive": str(folder / apt["file"]), "bundle_apt_folder": place}
        variables["apt_deb_src"] = False  # sources of packages are in no bundle
        variables["apt_mirror"] = f"file:{place}/{apt['mirror']}"
        if "security_mirror" in apt:
            variables["apt_security_mirror"] = f"file:{place}/{apt['security_mirror']}"
    if about.get("tophub"):
        variables |= logs_variables(folder)
    if about.get("mxnet"):
        variables |= mxnet_variables(folder, about["mxnet"])
    return variables
