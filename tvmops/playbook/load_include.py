"""import_tasks, include_tasks, import_role and include_role."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvmops.paths import exists, user_path
from tvmops.playbook.arguments import INCLUDES, Call
from tvmops.playbook.engine import has_template
from tvmops.playbook.fields import Fields, kind_of
from tvmops.playbook.keywords import APPLY_KEYWORDS, HANDLER_KEYWORDS, IMPORT_KEYWORDS, INCLUDE_KEYWORDS
from tvmops.playbook.load_role import FROM, Use, expand_role
from tvmops.playbook.model import Include, Inherited, Task
from tvmops.playbook.passing_on import with_variables
from tvmops.playbook.values import Constant, Value, prepare
from tvmops.source import Map, did_you_mean

if TYPE_CHECKING:
    from tvmops.playbook.load import Loader


def load_include(loader: Loader, fields: Fields, call: Call, folder: Path, inherited: Inherited) -> tuple[Task, ...]:
    """The tasks of an import, or the include as a task."""
    dynamic = call.module.startswith("include")
    _check_keywords(fields, call, dynamic=dynamic)
    _check_arguments(fields, call)
    if inherited.handlers and call.module.endswith("_role"):
        hint = "notify the role's own handlers, or use import_tasks"
        fields.problems.add(call.position, f"{call.module} cannot be a handler", hint)
        return ()
    name = _name(fields, call)
    if dynamic:
        task = _dynamic(loader, fields, call, name, folder, inherited)
        return () if task is None else (task,)
    inner = with_variables(fields, inherited)
    if name is None:
        return ()
    if has_template(name):
        hint = f"what is imported is read before anything is known; use {call.module.replace('import', 'include')}"
        what = "file of import_tasks" if call.module == "import_tasks" else "role of import_role"
        fields.problems.add(call.position, f"the {what} cannot be a template", hint)
        return ()
    if call.module == "import_tasks":
        return loader.task_file(name, folder, replace(inner, within=within(name, inner)), call.position, static=True)
    return expand_role(loader, _use(fields, call, name, inherited), inner)


def within(name: str, inherited: Inherited) -> tuple[str, ...]:
    """Inherited.within for the tasks of a file that was named so."""
    return (os.path.dirname(name), *inherited.within)  # noqa: PTH120  "" where Path has "."


def _check_keywords(fields: Fields, call: Call, *, dynamic: bool) -> None:
    allowed = INCLUDE_KEYWORDS if dynamic else IMPORT_KEYWORDS
    data = fields.data
    for key in data:
        if key in allowed or key == call.written or key not in HANDLER_KEYWORDS or (dynamic and key == "listen"):
            continue
        hint = "put it on the tasks of the file" if call.module.endswith("_tasks") else "put it on the role's tasks"
        if dynamic and key in APPLY_KEYWORDS:
            hint = f"give it to the tasks with 'apply: {{{key}: ...}}'"
        if key in ("loop", "with_items", "loop_control"):
            hint = f"only {call.module.replace('import', 'include')} can be repeated"
        fields.problems.add(data.keys_at[key], f"'{key}' cannot go with {call.module}", hint)


def _check_arguments(fields: Fields, call: Call) -> None:
    known = INCLUDES[call.module]
    for key in call.args:
        if key not in known and not (key == "_raw_params" and "file" in known):
            message = f"{call.module} has no argument '{key}'"
            if key == "_raw_params":
                message = f"{call.module} takes arguments as 'name: value', not free text"
            hint = f"known: {', '.join(known)}" if len(known) == 1 else did_you_mean(str(key), known)
            fields.problems.add(call.args.keys_at[key], message, hint)


def _name(fields: Fields, call: Call) -> str | None:
    keys = ("file", "_raw_params") if call.module.endswith("_tasks") else ("name", "role")
    name = next((call.args[key] for key in keys if key in call.args), None)
    if isinstance(name, int) and not isinstance(name, bool) and keys[0] == "name":
        name = str(name)
    if not isinstance(name, str) or not name:
        what = "the name of a file" if keys[0] == "file" else "the name of a role"
        fields.problems.add(call.position, f"{call.module} needs {what}")
        return None
    return name


def _from_files(fields: Fields, call: Call) -> dict[str, str]:
    found = {}
    for kind in FROM:
        value = call.args.get(f"{kind}_from")
        if value is None:
            continue
        if isinstance(value, str) and value:
            found[kind] = value
        else:
            wanted = f"'{kind}_from' wants the name of a file, not {kind_of(value)}"
            fields.problems.add(call.args.at(f"{kind}_from"), wanted)
    return found


def _use(fields: Fields, call: Call, name: str, inherited: Inherited) -> Use:
    own = Fields(call.args, fields.problems)
    files = _from_files(fields, call)
    for kind, file in files.items():
        if has_template(file):
            at = call.args.at(f"{kind}_from")
            fields.problems.add(at, f"'{kind}_from' of import_role cannot be a template", "use include_role")
    own.fixed_flag("rolespec_validate", default=True)
    return Use(
        name=name,
        position=call.position,
        files={kind: file for kind, file in files.items() if not has_template(file)},
        use_vars=fields.variables(),
        parents=() if inherited.role is None else (*inherited.role.parents, inherited.role),
        public=own.fixed_flag("public", default=True),
        allow_duplicates=own.fixed_flag("allow_duplicates", default=True),
        from_include=True,
    )


def _dynamic(  # noqa: PLR0917
    loader: Loader, fields: Fields, call: Call, name: str | None, folder: Path, inherited: Inherited
) -> Task | None:
    from tvmops.playbook.load_task import own_keywords

    own = fields.variables()
    # Its tasks get nothing of the include's own keywords, only `apply` and, stronger than most, its variables.
    inner = replace(inherited, params=((own,) if own.values else ()) + inherited.params)
    inner = _applied(fields, call, inner)
    keywords = own_keywords(fields, inherited)
    if name is None:
        return None
    role = call.module == "include_role"
    include = _role_include(fields, call, name, inner) if role else _file_include(fields, call, name, inner)
    task = Task(
        id=loader.next_id(),
        module=call.module,
        position=fields.data.position,
        title=fields.template("name") or _title(fields, call, name),
        args=include.file,
        folder=folder,
        inherited=inherited,
        include=include,
        **keywords,
    )
    loader.foresee(task)
    return task


def _title(fields: Fields, call: Call, name: str) -> Value:
    if call.module == "include_tasks":
        return Constant(call.written)
    return prepare(f"{call.written} : {name}", call.position, fields.problems)


def _applied(fields: Fields, call: Call, inner: Inherited) -> Inherited:
    apply = call.args.get("apply")
    if apply is None or "apply" not in INCLUDES[call.module]:
        return inner
    if not isinstance(apply, Map):
        message = f"'apply' wants a mapping, not {kind_of(apply)}"
        fields.problems.add(call.args.at("apply"), message, "such as 'apply: {tags: [web]}'")
        return inner
    applied = Fields(apply, fields.problems)
    applied.refuse_unknown(APPLY_KEYWORDS, "mapping of 'apply'")
    return with_variables(applied, inner)


def _file_include(fields: Fields, call: Call, name: str, inner: Inherited) -> Include:
    return Include(prepare(name, call.position, fields.problems), inner)


def _role_include(fields: Fields, call: Call, name: str, inner: Inherited) -> Include:
    own = Fields(call.args, fields.problems)
    files = {
        kind: prepare(file, call.args.at(f"{kind}_from"), fields.problems)
        for kind, file in _from_files(fields, call).items()
    }
    own.fixed_flag("rolespec_validate", default=True)
    return Include(
        file=files.pop("tasks", Constant("")),
        inherited=inner,
        role=prepare(name, call.position, fields.problems),
        from_files=tuple(files.items()),
        public=own.fixed_flag("public", default=False),
        once=not own.fixed_flag("allow_duplicates", default=True),
        own_vars=fields.variables(),
    )


def task_file_path(name: str, folder: Path, inherited: Inherited, *, static: bool) -> Path:
    """Where the file of an import or include is: the first place of Ansible's that has it, else the likeliest."""
    given = user_path(name)
    if given.is_absolute():
        return given
    places = [place / given for place in _places(folder, inherited, static=static)]
    return next((place for place in places if exists(place)), places[-1] if inherited.role is None else places[0])


def _places(folder: Path, inherited: Inherited, *, static: bool) -> list[Path]:
    base, role = inherited.base, inherited.role
    if role is not None:
        kind = "handlers" if inherited.handlers else "tasks"
        near = [folder, role.folder / kind] if static else [role.folder / kind, folder]
        return [*near, role.folder, base / kind, base]
    places: list[Path] = []
    below = Path()
    for written in inherited.within:
        below = Path(written) / below
        places += [base / below, base]
    return [*places, folder, base]


def use_of_include(task: Task, given: Mapping[str, Any]) -> Use:
    """The use of a role that an include_role comes to; `given` is from included_values."""
    include = task.include
    assert include is not None
    around = include.inherited.role
    return Use(
        name=str(given["include"]),
        position=task.position,
        files=given.get("include_args") or {},
        use_vars=include.own_vars,
        parents=() if around is None else (*around.parents, around),
        public=include.public,
        allow_duplicates=not include.once,
        from_include=True,
        own=str(given.get("include_item", "")),
    )


def included_values(include: Include, scope: Any) -> dict[str, Any]:
    """What an include comes to in a scope: part of its result, and what Loader.included wants. Raises TemplateFault."""
    from tvmops.playbook.values import final

    if include.role is None:
        return {"include": str(final(include.file, scope))}
    files = {kind: str(final(value, scope)) for kind, value in (("tasks", include.file), *include.from_files)}
    values = {"include": str(final(include.role, scope)), "include_args": {k: v for k, v in files.items() if v}}
    # A role that is to run only once is another one for every item.
    loop_variable = scope.get("ansible_loop_var") if include.once else None
    return values if loop_variable is None else {**values, "include_item": repr(scope.get(loop_variable))}
