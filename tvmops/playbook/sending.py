"""Modules that bring a file from the controller: its bytes become a blob that the board may ask for."""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError
from tvmops.playbook.files import BlobStore, need_file, render_file
from tvmops.playbook.filters_data import to_bool
from tvmops.playbook.variables import Scope

Sender = Callable[[dict[str, Any], Scope, BlobStore, list[str | Path], Callable[[], None]], dict[str, Any]]

TEMPLATE_OPTIONS = ("trim_blocks", "lstrip_blocks", "newline_sequence")


def _preserved(args: dict[str, Any], path: Path) -> dict[str, Any]:
    if args.get("mode") == "preserve":
        return {**args, "mode": f"{stat.S_IMODE(path.stat().st_mode):04o}"}
    return args


def send_copy(
    args: dict[str, Any], scope: Scope, blobs: BlobStore, search: list[str | Path], reading: Callable[[], None]
) -> dict[str, Any]:
    """copy: a local `src` becomes `_blob`; `content` is an argument like any other."""
    del scope
    if args.get("content") is not None or to_bool(args.get("remote_src", False)) or args.get("src") is None:
        return args
    reading()
    path = need_file(str(args["src"]), "files", search)
    if path.is_dir():
        from tvmops.playbook.folders import add_folder

        follow = to_bool(args.get("local_follow", True))
        return {**args, "_blob": add_folder(str(args["src"]), path, blobs, follow)}
    return {**_preserved(args, path), "_blob": blobs.add_file(path)}


def send_template(
    args: dict[str, Any], scope: Scope, blobs: BlobStore, search: list[str | Path], reading: Callable[[], None]
) -> dict[str, Any]:
    """template: the file's text for this host becomes `_blob`."""
    reading()
    path = need_file(str(args["src"]), "templates", search)
    if path.is_dir():
        raise ConfigError(f"'{path}' is a folder", "name one template")
    options = {key: args[key] for key in TEMPLATE_OPTIONS if args.get(key) is not None}
    for key in ("trim_blocks", "lstrip_blocks"):
        if key in options:
            options[key] = to_bool(options[key])
    if "newline_sequence" in options:
        options["newline_sequence"] = _newline(str(options["newline_sequence"]))
    text = render_file(path, scope, options)
    rest = {key: value for key, value in args.items() if key not in TEMPLATE_OPTIONS}
    return {**_preserved(rest, path), "_blob": blobs.add_bytes(text.encode("utf-8"))}


def _newline(text: str) -> str:
    sequence = text.replace("\\r", "\r").replace("\\n", "\n")
    if sequence not in ("\n", "\r", "\r\n"):
        raise ConfigError(f"newline_sequence is none of \\n, \\r and \\r\\n: {text!r}")
    return sequence


def send_unarchive(
    args: dict[str, Any], scope: Scope, blobs: BlobStore, search: list[str | Path], reading: Callable[[], None]
) -> dict[str, Any]:
    """unarchive: a local archive becomes `_blob`."""
    del scope
    if to_bool(args.get("remote_src", False)):
        return args
    reading()
    path = need_file(str(args["src"]), "files", search)
    return {**args, "_blob": blobs.add_file(path)}


def send_uri(
    args: dict[str, Any], scope: Scope, blobs: BlobStore, search: list[str | Path], reading: Callable[[], None]
) -> dict[str, Any]:
    """uri: a local file to be submitted becomes `_blob`."""
    del scope
    if args.get("src") is None or to_bool(args.get("remote_src", False)):
        return args
    reading()
    return {**args, "_blob": blobs.add_file(need_file(str(args["src"]), "files", search))}


SENDERS: Mapping[str, Sender] = {
    "copy": send_copy,
    "template": send_template,
    "unarchive": send_unarchive,
    "uri": send_uri,
}
