"""What the loader refuses, and exactly where it points."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tvmops.errors import ConfigError, ConfigErrors
from tvmops.playbook.arguments import INCLUDES
from tvmops.playbook.keywords import (
    BLOCK_KEYWORDS,
    HANDLER_KEYWORDS,
    LOOP_CONTROL_KEYWORDS,
    META_KEYWORDS,
    PLAY_KEYWORDS,
    ROLE_KEYWORDS,
)
from tvmops.playbook.load import load_playbooks

PLAY = "- hosts: all\n  tasks:\n"


def faults(text: str, folder: Path) -> list[str]:
    """The first lines of all complaints about a playbook, without the file's name."""
    path = folder / "site.yml"
    path.write_text(text)
    try:
        load_playbooks([path])
    except ConfigErrors as errors:
        return [error.message.removeprefix(f"{path}:") for error in errors.errors]
    except ConfigError as error:
        return [error.message.removeprefix(f"{path}:")]
    return []


REFUSED = {
    "not a list": ("hosts: all\n", "1:1: a playbook is a list of plays, not a mapping"),
    "not a mapping": ("- 3\n", "1:3: a play is a mapping, not a number"),
    "no hosts": ("- name: x\n", "1:3: a play needs 'hosts'"),
    "play keyword": ("- hosts: all\n  tsaks: []\n", "2:3: a play has no keyword 'tsaks'"),
    "unsupported play keyword": ("- hosts: all\n  vars_prompt: []\n", "2:3: 'vars_prompt' is not supported"),
    "serial": (
        "- hosts: all\n  serial: [1, some]\n",
        "2:15: 'serial' wants a whole number or a percentage, not 'some'",
    ),
    "strategy": ("- hosts: all\n  strategy: fastest\n", "2:13: strategy 'fastest' is not supported"),
    "order": ("- hosts: all\n  order: '{{ x }}'\n", "2:10: 'order' cannot be a template"),
    "max_fail_percentage": (
        "- hosts: all\n  max_fail_percentage: [1]\n",
        "2:24: 'max_fail_percentage' wants a number or a percentage, not a list",
    ),
    "gather_facts": ("- hosts: all\n  gather_facts: maybe\n", "2:17: 'gather_facts' wants yes or no, not text"),
    "vars": ("- hosts: all\n  vars: [a]\n", "2:9: 'vars' wants a mapping of names to values, not a list"),
    "variable name": ("- hosts: all\n  vars:\n    a-b: 1\n", "3:5: 'a-b' cannot be a variable's name"),
    "template in vars": ("- hosts: all\n  vars:\n    a: '{{ b | upper( }}'\n", "3:23: template: unexpected '}'"),
    "tasks": ("- hosts: all\n  tasks: x\n", "2:10: tasks are a list, not text"),
    "task": (PLAY + "    - x\n", "3:7: a task is a mapping, not text"),
    "no module": (PLAY + "    - name: x\n", "3:7: this task calls no module"),
    "unknown module": (PLAY + "    - coppy: {dest: /x}\n", "3:7: there is no module 'coppy'"),
    "unknown collection": (PLAY + "    - community.docker.x: {}\n", "3:7: there is no module 'community.docker.x'"),
    "two modules": (PLAY + "    - command: a\n      shell: b\n", "4:7: a task calls one module, here are"),
    "task keyword": (PLAY + "    - command: a\n      wehn: x\n", "4:7: a task has no keyword 'wehn'"),
    "block of no list": (PLAY + "    - block: x\n", "3:14: tasks are a list, not text"),
    "block keyword": (PLAY + "    - block: []\n      loop: [1]\n", "4:7: 'loop' cannot go with a block"),
    "unknown block keyword": (PLAY + "    - block: []\n      recsue: []\n", "4:7: a block has no keyword 'recsue'"),
    "rescue without block": (PLAY + "    - command: a\n      rescue: []\n", "4:7: a task has no keyword 'rescue'"),
    "delegate_to": (PLAY + "    - command: a\n      delegate_to: [b]\n", "4:20: 'delegate_to' wants text, not a list"),
    "until": (PLAY + "    - command: a\n      until: a ==\n", "4:14: condition: unexpected"),
    "retries": (PLAY + "    - command: a\n      retries: often\n", "4:16: 'retries' wants a whole number, not 'often'"),
    "delay": (PLAY + "    - command: a\n      delay: .inf\n", "4:14: 'delay' wants a number, not 'inf'"),
    "async": (PLAY + "    - command: a\n      async: 1.5\n", "4:14: 'async' wants a whole number, not '1.5'"),
    "loop_control": (
        PLAY + "    - command: a\n      loop_control: x\n",
        "4:21: 'loop_control' wants a mapping, not text",
    ),
    "loop_control keyword": (
        PLAY + "    - command: a\n      loop_control: {labl: x}\n",
        "4:22: a loop_control has no keyword 'labl'",
    ),
    "loop_var": (PLAY + "    - command: a\n      loop_control: {loop_var: a-b}\n", "4:32: 'a-b' cannot be a variable"),
    "listen": (PLAY + "    - command: a\n      listen: x\n", "4:7: 'listen' is for handlers"),
    "action and module": (PLAY + "    - action: ping\n      command: a\n", "4:7: a task calls one module, here are"),
    "action": (PLAY + "    - action: coppy a=b\n", "3:15: there is no module 'coppy'"),
    "templated action": (
        PLAY + "    - action: '{{ x }} a=b'\n",
        "3:15: 'action' wants a module's name (without templates)",
    ),
    "end_role": (PLAY + "    - meta: end_role\n", "3:13: there is no role here to end"),
    "block in a block of handlers": (
        "- hosts: all\n  handlers:\n    - block:\n        - block: []\n",
        "4:11: a block of handlers cannot hold blocks",
    ),
    "role as handler": (
        "- hosts: all\n  handlers:\n    - include_role: {name: x}\n",
        "3:21: include_role cannot be a handler",
    ),
    "imported handlers that listen": (
        "- hosts: all\n  handlers:\n    - import_tasks: site.yml\n      listen: x\n",
        "4:7: 'listen' cannot go with import_tasks",
    ),
    "roles": ("- hosts: all\n  roles: web\n", "2:10: 'roles' wants a list of roles, not text"),
    "role": ("- hosts: all\n  roles: [[web]]\n", "2:11: a role is a name or a mapping with 'role', not a list"),
    "role without name": ("- hosts: all\n  roles: [{tags: x}]\n", "2:11: an entry of 'roles' needs 'role'"),
    "no role": ("- hosts: all\n  roles: [web]\n", "2:11: there is no role 'web'"),
    "templated role": ("- hosts: all\n  roles: ['{{ x }}']\n", "2:11: the name of a role cannot be a template here"),
    "role from somewhere": (
        "- hosts: all\n  roles: [{role: web, src: x}]\n",
        "2:23: 'src' is not supported: roles are",
    ),
    "role parameter": ("- hosts: all\n  roles: [{role: web, a-b: x}]\n", "2:23: 'a-b' cannot be a variable's name"),
    "role in free text": (PLAY + "    - import_role: web\n", "3:20: import_role takes arguments as 'name: value'"),
    "nameless role": (PLAY + "    - import_role: {tasks_from: x}\n", "3:20: import_role needs the name of a role"),
    "templated import of a role": (
        PLAY + "    - import_role: {name: '{{ x }}'}\n",
        "3:20: the role of import_role cannot be a template",
    ),
    "looped import of a role": (
        PLAY + "    - import_role: {name: web}\n      loop: [1]\n",
        "4:7: 'loop' cannot go with import_role",
    ),
    "apply of an import": (
        PLAY + "    - import_role: {name: web, apply: {}}\n",
        "3:32: import_role has no argument 'apply'",
    ),
    "apply": (PLAY + "    - include_tasks: {file: a, apply: x}\n", "3:39: 'apply' wants a mapping, not text"),
    "apply keyword": (
        PLAY + "    - include_tasks: {file: a, apply: {notfy: x}}\n",
        "3:40: a mapping of 'apply' has no keyword 'notfy'",
    ),
    "with_dict": (PLAY + "    - command: a\n      with_dict: {}\n", "4:7: 'with_dict' is not supported"),
    "argument": (PLAY + "    - file: {path: /x, stat: file}\n", "3:24: file has no argument 'stat'"),
    "missing argument": (PLAY + "    - file: {state: file}\n", "3:13: file needs the argument 'path'"),
    "choice": (PLAY + "    - file: {path: /x, state: dir}\n", "3:24: argument 'state': 'dir' is none of"),
    "argument type": (PLAY + "    - wait_for: {port: many}\n", "3:18: argument 'port': wants a whole number"),
    "key=value argument": (PLAY + "    - file: path=/x stat=file\n", "3:13: file has no argument 'stat'"),
    "no free form": (PLAY + "    - file: /x\n", "3:13: file takes arguments as 'name: value', not free text"),
    "open quote": (PLAY + "    - command: echo 'x\n", "3:16: 'command': \"'\" is missing its partner"),
    "when type": (PLAY + "    - command: a\n      when: 3\n", "4:13: a condition is an expression such as"),
    "when syntax": (PLAY + "    - command: a\n      when: a ==\n", "4:13: condition: unexpected"),
    "when with brackets": (PLAY + "    - command: a\n      when: '{{ a }} == 1'\n", "4:19: condition: expected token"),
    "unknown test": (
        PLAY + "    - command: a\n      when: a is chnaged\n",
        "4:18: condition: there is no test 'chnaged'",
    ),
    "unknown filter": (
        PLAY + "    - command: '{{ a | defualt(1) }}'\n",
        "3:24: template: there is no filter 'defualt'",
    ),
    "refused filter": (
        PLAY + "    - command: '{{ a | password_hash }}'\n",
        "3:24: template: there is no filter 'passwor",
    ),
    "refused lookup": (PLAY + "    - debug: msg=\"{{ lookup('pipe', 'x') }}\"\n", "3:30: template: there is no lookup"),
    "filter in a branch": (
        PLAY + '    - command: "{% if a %}{{ a | nope }}{% endif %}"\n',
        "3:34: template: there is no filter 'nope'",
    ),
    "block scalar": (
        PLAY + "    - command: |\n        one\n        {{ a | nope }}\n",
        "5:16: template: there is no filter",
    ),
    "unclosed": (PLAY + "    - command: 'echo {{ a '\n", "3:16: 'command': '}}' is missing its partner"),
    "loop": (PLAY + "    - command: a\n      loop: x\n", "4:13: 'loop' wants a list, or a template that gives one"),
    "loop and with_items": (
        PLAY + "    - command: a\n      loop: [a]\n      with_items: [b]\n",
        "5:7: 'with_items' and 'loop' cannot go with each other",
    ),
    "register": (PLAY + "    - command: a\n      register: a.b\n", "4:17: 'a.b' cannot be a variable's name"),
    "set_fact name": (PLAY + "    - set_fact: {a-b: 1}\n", "3:18: 'a-b' cannot be a variable's name"),
    "tags": (PLAY + "    - command: a\n      tags: {a: b}\n", "4:13: 'tags' wants a name or a list of names"),
    "notify": (PLAY + "    - command: a\n      notify: x\n", "4:15: there is no handler 'x' in this play"),
    "become": (PLAY + "    - command: a\n      become: perhaps\n", "4:15: 'become' wants yes or no, not text"),
    "become_method": (
        PLAY + "    - command: a\n      become_method: doas\n",
        "4:22: become_method 'doas' is not supported",
    ),
    "environment": (PLAY + "    - command: a\n      environment: x\n", "4:20: 'environment' wants a mapping, not text"),
    "import": (PLAY + "    - import_tasks: none.yml\n", "3:21: {folder}/none.yml: cannot read"),
    "templated import": (
        PLAY + "    - import_tasks: '{{ x }}.yml'\n",
        "3:21: the file of import_tasks cannot be a temp",
    ),
    "looped import": (PLAY + "    - import_tasks: a\n      loop: [1]\n", "4:7: 'loop' cannot go with import_tasks"),
    "include keyword": (PLAY + "    - include_tasks: site.yml\n      become: true\n", "4:7: 'become' cannot go with"),
    "include argument": (
        PLAY + "    - include_tasks: {file: a, aply: {}}\n",
        "3:32: include_tasks has no argument 'apl",
    ),
    "args": (PLAY + "    - command: a\n      args: x\n", "4:13: 'args' wants a mapping, not text"),
    "given twice": (PLAY + "    - command: a\n      command: b\n", "4:7: 'command' is given twice"),
    "yaml": ("- hosts: all\n  tasks: [\n", "3:1: YAML: "),
    "vars_files": ("- hosts: all\n  vars_files: [none.yml]\n", "2:16: {folder}/none.yml: cannot read"),
    "playbook import": ("- import_playbook: none.yml\n", "1:20: {folder}/none.yml: cannot read"),
    "imports itself": ("- import_playbook: site.yml\n", "1:20: 'site.yml' imports itself: site.yml -> site.yml"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_its_place(case: str, tmp_path: Path) -> None:
    text, expected = REFUSED[case]
    found = faults(text, tmp_path)
    expected = expected.replace("{folder}", str(tmp_path))
    assert found, "nothing was refused"
    assert any(fault.startswith(expected) for fault in found), found


def test_all_faults_of_all_files_in_reading_order(tmp_path: Path) -> None:
    (tmp_path / "more.yml").write_text("- nope: 1\n- command: '{{ x | upper( }}'\n")
    text = "- hosts: all\n  wrong: 1\n  tasks:\n    - import_tasks: more.yml\n    - alsonope: 1\n  handlers: x\n"
    found = faults(text, tmp_path)
    own = [fault for fault in found if not fault.startswith("/")]
    places = [tuple(int(number) for number in fault.split(":")[:2]) for fault in own]
    assert places == sorted(places)
    assert [place[0] for place in places] == [2, 5, 6]
    imported = [fault for fault in found if fault.startswith(str(tmp_path / "more.yml"))]
    assert [fault.split(":")[1] for fault in imported] == ["1", "2"]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("    - coppy: {}\n", "did you mean 'copy'?"),
        ("    - command: a\n      notfy: x\n", "did you mean 'notify'?"),
        ("    - file: {path: /x, moode: '0644'}\n", "did you mean 'mode'?"),
        ("    - command: '{{ a | defualt(1) }}'\n", "did you mean 'default'?"),
        ("    - command: a\n      when: a is suceeded\n", "did you mean 'succeeded'?"),
        ("    - command: a\n      become_method: sud\n", "did you mean 'sudo'?"),
        ("    - command: a\n      loop_control: {index_vr: i}\n", "did you mean 'index_var'?"),
        ("    - block: []\n      alwys: []\n", "did you mean 'always'?"),
        ("    - include_role: {name: x, task_from: y}\n", "did you mean 'tasks_from'?"),
        ("    - include_tasks: x.yml\n      become: true\n", "apply: {become: ...}"),
        ("    - command: a\n      module_defaults: {}\n", "write the arguments on every task"),
        ("    - with_sequence: count=3\n", "see docs/language.md"),
    ],
)
def test_suggests_what_was_meant(wrong: str, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "site.yml"
    path.write_text(PLAY + wrong)
    with pytest.raises(ConfigError) as caught:
        load_playbooks([path])
    assert hint in str(caught.value)


def test_free_form_arguments_and_long_names(tmp_path: Path) -> None:
    path = tmp_path / "site.yml"
    path.write_text(
        PLAY
        + "    - ansible.builtin.copy: src=a dest='/x y' mode=0600\n"
        + '    - command: make  -j4 chdir=/tmp "a b" creates=/tmp/x\n'
        + "    - shell:\n        cmd: echo\n      args: {chdir: /}\n"
    )
    first, second, third = (task.args.loose({}) for task in load_playbooks([path])[0].tasks if not task.implicit)
    assert first == {"src": "a", "dest": "/x y", "mode": "0600"}
    assert second == {"chdir": "/tmp", "creates": "/tmp/x", "_raw_params": 'make  -j4  "a b"'}
    assert third == {"cmd": "echo", "chdir": "/"}


def test_imports_pass_on_what_they_were_given(tmp_path: Path) -> None:
    (tmp_path / "in.yml").write_text("- command: a\n  when: inner\n  tags: t2\n  vars: {x: own}\n")
    path = tmp_path / "site.yml"
    path.write_text(
        "- hosts: all\n  become: true\n  tags: t0\n  tasks:\n"
        "    - import_tasks: in.yml\n      when: outer\n      tags: t1\n"
        "      vars: {x: outer, y: outer}\n      no_log: true\n"
    )
    task = load_playbooks([path])[0].tasks[0]
    assert [condition.text for condition in task.when] == ["outer", "inner"]
    assert task.tags == {"t0", "t1", "t2"}
    assert [dict(layer.values) for layer in task.vars] == [{"x": "own"}, {"x": "outer", "y": "outer"}]
    assert task.become is not None
    assert task.become.loose({}) is True
    assert task.no_log is not None


KEYWORDS = sorted(
    {"command", "file", "copy", "debug", "assert", "that", "meta", "set_fact", "include_vars", "web", *INCLUDES}
    | PLAY_KEYWORDS | BLOCK_KEYWORDS | HANDLER_KEYWORDS | ROLE_KEYWORDS | LOOP_CONTROL_KEYWORDS | META_KEYWORDS
    | {argument for arguments in INCLUDES.values() for argument in arguments}
)  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=12),
    st.sampled_from(["{{ a }}", "{{ a", "{% if %}", "a is b", "x=1 'y", "{{ a | nope }}", "{# #}", "all"]),
)  # fmt: skip
KEYS = st.one_of(st.sampled_from(KEYWORDS), st.text(max_size=6))
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=25
)
TASKS = st.lists(st.dictionaries(KEYS, ANYTHING, max_size=4), max_size=4)
BLOCKS = st.recursive(
    TASKS,
    lambda inner: st.lists(
        st.fixed_dictionaries({"block": inner}, optional={"rescue": inner, "when": SCALARS}), max_size=2
    ),
    max_leaves=4,
)
ROLES = st.lists(
    st.sampled_from(["web", "base"])
    | st.fixed_dictionaries({"role": st.just("web")}, optional={"when": SCALARS})
    | ANYTHING,
    max_size=3,
)
PLAYS = st.lists(
    st.fixed_dictionaries(
        {"hosts": ANYTHING, "tasks": BLOCKS, "handlers": BLOCKS, "vars": ANYTHING, "roles": ROLES},
        optional={"serial": ANYTHING, "strategy": ANYTHING, "timeout": ANYTHING, "pre_tasks": BLOCKS},
    ),
    max_size=2,
)


@settings(max_examples=150, deadline=None)
@given(data=st.one_of(ANYTHING, PLAYS), role=BLOCKS, meta=st.dictionaries(KEYS, ROLES | ANYTHING, max_size=2))
def test_whatever_is_written_is_loaded_or_refused_with_a_place(data: object, role: object, meta: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "site.yml"
        path.write_text(yaml.safe_dump(data), encoding="utf-8")
        for name, content in {"web/tasks": role, "web/handlers": role, "web/meta": meta, "base/vars": meta}.items():
            (Path(folder) / "roles" / name).mkdir(parents=True)
            (Path(folder) / "roles" / name / "main.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
        try:
            load_playbooks([path])
        except ConfigErrors as errors:
            assert all(error.message.startswith(folder) for error in errors.errors)
        except ConfigError as error:
            assert error.message.startswith(folder)


@pytest.mark.parametrize("name", ["a\0b", "~nobody-has-this-name/a.yml", "x" * 300])
@pytest.mark.parametrize("keyword", ["import_tasks", "include_tasks"])
def test_names_that_no_file_can_have(tmp_path: Path, keyword: str, name: str) -> None:
    path = tmp_path / "site.yml"
    path.write_text(yaml.safe_dump([{"hosts": "all", "tasks": [{keyword: name}], "vars_files": [f"{name}.2"]}]))
    with pytest.raises(ConfigError) as info:
        load_playbooks([path])
    faults = info.value.errors if isinstance(info.value, ConfigErrors) else [info.value]
    assert len(faults) == 2
    assert all(fault.message.startswith(str(path)) for fault in faults)
    assert all(fault.message.isprintable() for fault in faults)
