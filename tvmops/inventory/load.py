"""Inventory sources and the group_vars/ and host_vars/ beside them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tvmops.errors import ConfigError
from tvmops.inventory import ini_source, program_source, yaml_source
from tvmops.inventory.builder import Builder
from tvmops.inventory.model import Inventory, Variables
from tvmops.source import Map, load_yaml

_VARIABLE_FILES = ("", ".yml", ".yaml", ".json")
_NOT_SOURCES = (".orig", ".ini", ".cfg", ".retry", ".pyc", ".pyo", ".md", ".txt", ".rst", ".j2", "~")


def load_inventory(sources: Sequence[Path], playbook_dir: Path | None = None) -> Inventory:
    """Read files, folders or executables, later ones winning, with variables merged as Ansible documents it.

    Raises ConfigError naming file:line:column.
    """
    builder = Builder()
    folders: list[Path] = []
    for source in sources:
        folder = source if source.is_dir() else source.parent
        for path in _files_of(source):
            _read_source(path, builder)
        folders.append(folder)
    if playbook_dir is not None and playbook_dir.resolve() not in [folder.resolve() for folder in folders]:
        folders.append(playbook_dir)
    builder.folders = folders
    read_files(builder)
    inventory = builder.build(list(sources))
    inventory.playbook_dir = playbook_dir
    return inventory


def read_files(builder: Builder) -> None:
    """Read group_vars and host_vars of all groups and hosts for which that has not been done. Raises ConfigError."""
    groups = [name for name in builder.groups if name not in builder.group_files]
    hosts = [name for name in builder.hosts if name not in builder.host_files]
    for store, names in ((builder.group_files, groups), (builder.host_files, hosts)):
        store.update({name: [] for name in names})
    for folder in builder.folders:
        _add_files(folder / "group_vars", groups, builder.group_files)
        _add_files(folder / "host_vars", hosts, builder.host_files)


def _read_source(path: Path, builder: Builder) -> None:
    if _is_program(path):
        program_source.read(path, builder)
    elif ini_source.is_ini(path):
        ini_source.read(path, builder)
    else:
        yaml_source.read(path, builder)


def _files_of(source: Path) -> list[Path]:
    if not source.exists():
        raise ConfigError(f"{source}: no such inventory file or folder", "name one with --inventory")
    if not source.is_dir():
        return [source]
    files = [
        path
        for path in sorted(source.iterdir())
        if path.is_file() and not path.name.startswith(".") and not path.name.endswith(_NOT_SOURCES)
    ]
    if not files:
        raise ConfigError(f"{source}: the folder holds no inventory file", "add a hosts.yml")
    return files


def _is_program(path: Path) -> bool:
    if not os.access(path, os.X_OK):
        return False
    with path.open("rb") as file:
        return file.read(2) == b"#!" or path.suffix == ""


def _add_files(folder: Path, names: Sequence[str], store: dict[str, list[Variables]]) -> None:
    if not folder.is_dir():
        return
    for name in names:
        for suffix in _VARIABLE_FILES:
            path = folder / f"{name}{suffix}"
            if path.is_dir() and suffix == "":
                found = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix in (".yml", ".yaml", ".json"))
            else:
                found = [path] if path.is_file() else []
            for file in found:
                store.setdefault(name, []).append(_read_variables(file))


def _read_variables(path: Path) -> Variables:
    with path.open("rb") as file:
        if file.read(14) == b"$ANSIBLE_VAULT":
            raise ConfigError(
                f"{path}:1:1: encrypted with ansible-vault, which tvmops does not read", "decrypt it first"
            )
    document = load_yaml(path)
    variables = Variables()
    if document is None:
        return variables
    if not isinstance(document, Map):
        raise ConfigError(f"{path}:1:1: a variables file is a mapping", "write 'name: value' lines")
    for key in document:
        variables.set(str(key), document[key], f"{path}:{document.keys_at[key].line}")
    return variables
