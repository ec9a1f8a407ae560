"""Writes docs/language.md, the page of the playbook language, from the code itself.

python tools/language_page.py
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tvmops.agent.modules import MODULES, load
from tvmops.inventory import load_inventory
from tvmops.playbook import filters, jinja_tests, keywords, lookups
from tvmops.playbook.arguments import INCLUDES
from tvmops.playbook.engine import environment
from tvmops.playbook.load import load_playbooks
from tvmops.playbook.names import short_name
from tvmops.playbook.precedence import LEVELS
from tvmops.playbook.state import PlayScope, RunOptions, Shared

PAGE = Path(__file__).resolve().parent.parent / "docs" / "language.md"
WHERE: dict[str, Iterable[str]] = {
    "play": keywords.PLAY_KEYWORDS,
    "role": keywords.ROLE_KEYWORDS,
    "block": keywords.BLOCK_KEYWORDS,
    "task": keywords.TASK_KEYWORDS,
    "handler": keywords.HANDLER_KEYWORDS,
    "import_*": keywords.IMPORT_KEYWORDS,
    "include_*": keywords.INCLUDE_KEYWORDS,
    "apply": keywords.APPLY_KEYWORDS,
}
INTRODUCTION = """\
# The playbook language

Playbooks, roles and inventories are Ansible's (ansible-core 2.19), and mean the same. This page is made from the code
by `python tools/language_page.py`: what is not on it is refused, with file, line, column and the nearest known word,
before a board is touched.

All files that can be known beforehand are read first, with those of roles, imports and includes with fixed names, and
all faults of all of them are shown at once.
"""
INCLUDING = """\
## Roles, imports, includes

A role is looked for in `roles/` beside the playbook, in the folders of `$ANSIBLE_ROLES_PATH` (by default
`~/.ansible/roles`, `/usr/share/ansible/roles`, `/etc/ansible/roles`), beside the role that depends on it, and beside
the playbook; a path will do, too. Of its folders `tasks`, `handlers`, `defaults`, `vars` and `meta` the file `main.yml`
(`main.yaml`, `main.json`, `main`) is read; `defaults` and `vars` may have a folder `main` with several files instead.
`files` and `templates` of a role come before those of the roles around it and of the playbook.

A role that a play uses twice in the same way (same parameters, variables, tags and conditions) runs once, unless its
`meta/main.yml` says `allow_duplicates: true`; import_role and include_role run it again unless they say
`allow_duplicates: false`.

Handlers of a role answer to `name` and to `role : name`. Of several with one name the last list of handlers counts.
"""
LIMITS = """\
## What is refused otherwise

| | instead |
| --- | --- |
| templates in names of imported files and roles, and in `roles` | include_tasks and include_role take them |
| templates in `tags`, `register`, `listen`, `loop_var`, `index_var` | plain names |
| roles and modules of collections, other than the modules above | copy the role to `roles/` |
| `argument_specs` of roles | a task `assert` |
| vault | the environment: `lookup('env', 'NAME')` |
| lists of alternatives in `vars_files`, `lookup('first_found')` | one file, by a name with variables in it |
| names of modules in templates | tasks with conditions |
"""
MAGIC = {
    "ansible_check_mode": "whether this is a run with --check",
    "ansible_collection_name": "none: roles of collections are not supported",
    "ansible_config_file": "none",
    "ansible_dependent_role_names": "names of the roles that the play's roles depend on",
    "ansible_diff_mode": "whether this is a run with --diff",
    "ansible_facts": "the host's facts",
    "ansible_forks": "how many hosts at once",
    "ansible_limit": "the option --limit",
    "ansible_loop": "with `loop_control: {extended: true}`: index, first, last, length and more",
    "ansible_loop_var": "the name of the loop's variable",
    "ansible_parent_role_names": "the roles whose tasks bring in this role, innermost first",
    "ansible_parent_role_paths": "their folders",
    "ansible_play_batch": "the hosts that are in the play now (see `serial`)",
    "ansible_play_hosts": "the play's hosts that have not failed",
    "ansible_play_hosts_all": "all hosts of the play",
    "ansible_play_name": "the play's name",
    "ansible_play_role_names": "names of the play's roles",
    "ansible_role_name": "the role's name",
    "ansible_role_names": "the play's roles and what they depend on",
    "ansible_run_tags": "the option --tags",
    "ansible_search_path": "the folders in which files are looked for",
    "ansible_skip_tags": "the option --skip-tags",
    "ansible_verbosity": "0",
    "ansible_version": "the version of Ansible whose language this is",
    "group_names": "the host's groups",
    "groups": "all groups and their hosts",
    "hostvars": "variables of other hosts; waits until such a host has come as far",
    "inventory_dir": "the inventory's folder",
    "inventory_file": "the inventory's file",
    "inventory_hostname": "the host's name",
    "inventory_hostname_short": "its first part",
    "omit": "as an argument: as if it had not been written",
    "play_hosts": "as ansible_play_batch",
    "playbook_dir": "the playbook's folder",
    "role_name": "the role's name",
    "role_names": "as ansible_play_role_names",
    "role_path": "the role's folder",
    "vars": "all variables",
}


def magic_names() -> set[str]:
    """The magic variables that a task of an included role sees in fact."""
    files = {
        "hosts.yml": "all: {hosts: {h: {ansible_connection: local}}}",
        "site.yml": "[{hosts: all, roles: [a]}]",
        "roles/a/tasks/main.yml": "[{import_role: {name: b}}]",
        "roles/b/tasks/main.yml": "[{ping: }]",
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        inventory = load_inventory([Path(folder) / "hosts.yml"])
        play = load_playbooks([Path(folder) / "site.yml"])[0]
        state = Shared(inventory, RunOptions(limit="all")).state(inventory.hosts["h"])
        scope = PlayScope(state, play, ["h"]).of(play.tasks[0], {}, {})
        return {name for name in scope.names() if not name.startswith("_")} - set(state.host.vars)


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION, _keywords(), INCLUDING, _includes(), _precedence(), _magic(), _filters(), _modules()]
    return "\n".join([*parts, _refused(), LIMITS])


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return "".join("| " + " | ".join(one.replace("|", "\\|") for one in line) + " |\n" for line in lines)


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _keywords() -> str:
    rows = [
        [f"`{word}`", *("x" if word in known else "" for known in WHERE.values()), meaning]
        for word, meaning in sorted(keywords.MEANINGS.items())
    ]
    text = "## Keywords\n\n" + _table(["keyword", *WHERE, "meaning"], rows)
    text += f"\nstrategy: {_code(keywords.STRATEGIES)}. order: {_code(keywords.ORDERS)}. "
    text += f"become_method: {_code(keywords.BECOME_METHODS)}.\n"
    text += f"loop_control: {_code(sorted(keywords.LOOP_CONTROL_KEYWORDS))}. "
    return text + f"A role's meta/main.yml: {_code(sorted(keywords.META_KEYWORDS))}.\n"


def _includes() -> str:
    return _table(["", "arguments"], [[f"`{name}`", _code(known)] for name, known in sorted(INCLUDES.items())])


def _precedence() -> str:
    rows = [[str(number), name, meaning] for number, (name, meaning) in enumerate(LEVELS.items(), 1)]
    text = "## Variables: who wins\n\nFrom the weakest to the strongest; magic variables are stronger still.\n\n"
    return text + _table(["", "level", "what"], rows)


def _magic() -> str:
    return "## Magic variables\n\n" + _table(
        ["variable", "what"], [[f"`{name}`", what] for name, what in MAGIC.items()]
    )


def _first_line(thing: Any) -> str:
    text = inspect.getdoc(thing) or ""
    return text.partition("\n")[0].rstrip(".").replace("`", "") if text else ""


def _described(known: Mapping[str, Any]) -> str:
    named: dict[Any, list[str]] = {}
    for name, function in known.items():
        named.setdefault(function, []).append(name)
    rows = ([_code(names), _first_line(function)] for function, names in named.items())
    return _table(["", "what"], sorted(rows))


def _with_the_rest(known: Mapping[str, Any], all_names: Iterable[str]) -> str:
    """What is tvmops's own, described; what is Jinja's and Python's, by name."""
    own = {name: one for name, one in known.items() if inspect.unwrap(one).__module__.startswith("tvmops.")}
    rest = sorted(name for name in set(all_names) - set(own) if name.isidentifier())
    return f"{_described(own)}\nAs Jinja and Python have them: {_code(rest)}.\n"


def _filters() -> str:
    env = environment(True)
    functions = {name: one for name, one in lookups.GLOBALS.items() if name not in ("query", "lookup", "q")}
    return "\n".join(
        [
            "## Filters\n",
            _with_the_rest(filters.FILTERS, env.filters),
            "## Tests\n",
            _with_the_rest(jinja_tests.TESTS, env.tests),
            "## Lookups and functions\n",
            f"`lookup`, `query` and `q` know {_code(sorted(lookups.LOOKUPS))}.",
            f"Functions: {_code(sorted(functions))}.\n",
        ]
    )


def _modules() -> str:
    names: dict[str, list[str]] = {}
    for name, file in MODULES.items():
        if name not in names.setdefault(file, []) and not name.startswith("_"):
            names[file].append(name)
    parts = ["## Modules\n"]
    for _, spelled in sorted(names.items(), key=lambda pair: sorted(pair[1])[0]):
        parts.append(_module(spelled))
    return "\n".join(parts)


def _module(names: list[str]) -> str:
    module: Any = load(names[0])  # type: ignore[no-untyped-call]
    short = list(dict.fromkeys(short_name(name) for name in names))
    text = f"### {', '.join(short)}\n\n{_first_line(module).partition(': ')[2] or _first_line(module)}."
    if getattr(module, "FREE_FORM", False):
        text += " Takes free text."
    if getattr(module, "ANY_ARGUMENT", False):
        text += " Takes any other argument."
    rows = [_argument(name, option) for name, option in sorted(module.SPEC.items()) if not name.startswith("_")]
    return text + "\n\n" + (_table(["argument", "type", "default", ""], rows) if rows else "")


def _argument(name: str, option: Mapping[str, Any]) -> list[str]:
    kind = option.get("type", "str") + (f" of {option['elements']}" if "elements" in option else "")
    default = option.get("default")
    notes = []
    if option.get("required"):
        notes.append("required")
    if option.get("choices"):
        notes.append("one of " + _listed(option["choices"]))
    if option.get("words"):
        notes.append("or " + _listed(option["words"]))
    if option.get("aliases"):
        notes.append("also " + _code(option["aliases"]))
    return [f"`{name}`", kind, "" if default is None else f"`{_shown(default)}`", "; ".join(notes)]


def _listed(values: Iterable[Any]) -> str:
    ordered = values if isinstance(values, (list, tuple)) else sorted(values, key=str)
    return ", ".join(dict.fromkeys(_shown(one) for one in ordered))


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("\r", "\\r").replace("\n", "\\n")


def _refused() -> str:
    words = sorted(set(keywords.INSTEAD) | keywords.ANSIBLE_ONLY)
    rows = [[f"`{word}`", keywords.INSTEAD.get(word, "")] for word in words]
    rows += [[f"the filter `{name}`", hint] for name, hint in sorted(filters.REFUSED.items())]
    rows += [[f"the lookup `{name}`", hint] for name, hint in sorted(lookups.REFUSED.items())]
    return "## Refused words\n\n" + _table(["", "instead"], rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
