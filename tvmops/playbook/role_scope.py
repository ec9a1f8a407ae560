"""What roles add to the variables that tasks see, and to the folders in which files are looked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tvmops.playbook.model import Play, Role, Task
from tvmops.playbook.variables import Known, Layer


def names_of_roles(roles: Sequence[Role]) -> dict[str, Any]:
    """The magic variables about all roles of a play."""
    direct = [role.name for role in roles]
    dependent = list(dict.fromkeys(one.name for role in roles for one in role.all_dependencies))
    return {
        "ansible_play_role_names": direct,
        "ansible_dependent_role_names": dependent,
        "ansible_role_names": list(dict.fromkeys([*dependent, *direct])),
        "role_names": direct,
    }


def about_role(task: Task) -> dict[str, Any]:
    """The magic variables about the role that a task belongs to."""
    role = task.role
    if role is None:
        return {}
    return {
        "role_name": role.name,
        "role_path": str(role.folder),
        "ansible_role_name": role.name,
        "ansible_collection_name": None,
    }


def params_of(task: Task) -> list[Layer]:
    """What includes and the uses of roles around a task give it, strongest first."""
    layers: list[Layer] = list(task.inherited.params)
    around = task.inherited.included_from
    if around:
        names = {
            "ansible_parent_role_names": [role.name for role in around],
            "ansible_parent_role_paths": [str(role.folder) for role in around],
        }
        layers.append(Known(names))
    return [*layers, *(task.role.param_layers if task.role else ())]


def exported_vars(roles: Iterable[Role]) -> list[Layer]:
    """Variables of public roles that all tasks of the play see, strongest first."""
    return [layer for role in reversed([*roles]) if role.public for layer in role.exported_vars]


def exported_defaults(roles: Iterable[Role]) -> list[Layer]:
    """Defaults of public roles that all tasks of the play see, strongest first."""
    return [layer for role in reversed([*roles]) if role.public for layer in role.exported_defaults if layer.values]


def search_folders(task: Task, play: Play) -> list[Path]:
    """Where files, templates and variables of a task are looked for: its role, roles around it, its file, the play."""
    folders = [] if task.role is None else [one.folder for one in (task.role, *reversed(task.role.parents))]
    return list(dict.fromkeys([*folders, task.folder, play.basedir]))
