"""include_vars: variables from a file, or from all files of a folder, while the play runs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tvmops.errors import ConfigError
from tvmops.paths import user_path
from tvmops.playbook.fields import kind_of, merged
from tvmops.playbook.files import need_file
from tvmops.playbook.filters_data import combine
from tvmops.playbook.model import Task
from tvmops.playbook.variables import Scope
from tvmops.source import Map, Position, load_yaml

ONLY_FOLDERS = ("depth", "extensions", "files_matching", "ignore_files", "ignore_unknown_extensions")


def include_vars(task: Task, given: Mapping[str, Any], args: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    """The result, with the variables (templates as they stand) in "ansible_facts".

    `given` are the arguments as written, `args` with types and defaults. Raises ConfigError.
    """
    if args["dir"] is None:
        mixed = [name for name in ONLY_FOLDERS if name in given]
        if mixed:
            raise ConfigError(f"include_vars: '{mixed[0]}' goes with 'dir', not with a file", "leave it out")
        name = str(args["file"] or args["_raw_params"]).rstrip("\n")
        paths = [need_file(name, "vars", scope.get("ansible_search_path") or [])]
    else:
        folder = _folder(task, str(args["dir"]))
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "does not exist"
            raise ConfigError(f"include_vars: '{folder}' {what}", "correct 'dir'")
        paths = list(_files(folder, args))
    variables: Mapping[str, Any] = merged(*(_read(path) for path in paths))
    if args["name"]:
        variables = {args["name"]: variables}
    if args["hash_behaviour"] == "merge":
        variables = {
            name: combine(scope[name], value, recursive=True)
            if isinstance(value, Mapping) and isinstance(scope.get(name), Mapping)
            else value
            for name, value in variables.items()
        }
    return {"changed": False, "ansible_facts": variables, "ansible_included_var_files": [str(path) for path in paths]}


def _read(path: Path) -> Map:
    data = load_yaml(path)
    if data is None:
        return Map(Position(str(path), 1))
    if not isinstance(data, Map):
        raise ConfigError(f"{path}:1:1: a file of variables is a mapping, not {kind_of(data)}")
    return data


def _folder(task: Task, name: str) -> Path:
    given = user_path(name)
    if task.role is None:
        return task.folder / given
    if given.parts[:1] == ("vars",) and (task.role.folder / given).exists():
        return task.role.folder / given
    return task.role.folder / "vars" / given


def _files(folder: Path, args: Mapping[str, Any]) -> Iterator[Path]:
    wanted = _pattern(args["files_matching"], "files_matching") if args["files_matching"] else None
    ignored = [_pattern(f"{pattern}$", "ignore_files") for pattern in args["ignore_files"] or []]
    for root, _, names in sorted(os.walk(folder, followlinks=True)):
        if args["depth"] and len(Path(root).relative_to(folder).parts) >= args["depth"]:
            continue
        for name in sorted(names):
            if (wanted and not wanted.search(name)) or any(pattern.search(name) for pattern in ignored):
                continue
            if _has_suffix(name, args["extensions"]):
                yield Path(root) / name
            elif not args["ignore_unknown_extensions"]:
                known = ", ".join(args["extensions"])
                raise ConfigError(
                    f"include_vars: '{Path(root) / name}' does not end in one of {known}",
                    "set ignore_unknown_extensions, or name it in ignore_files",
                )


def _pattern(text: str, argument: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigError(
            f"include_vars: '{argument}' is not a regular expression: {error}", f"it is {text!r}"
        ) from None


def _has_suffix(name: str, extensions: Sequence[str]) -> bool:
    return os.path.splitext(name)[1][1:] in extensions  # noqa: PTH122  ".yml" has no suffix, as in Ansible
