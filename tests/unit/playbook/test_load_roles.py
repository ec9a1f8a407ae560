"""How roles, blocks, imports and includes become a play's tasks and handlers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tvmops.errors import ConfigError, ConfigErrors
from tvmops.playbook.handler_names import by_precedence, known_names
from tvmops.playbook.load import load_playbooks
from tvmops.playbook.load_include import included_values
from tvmops.playbook.model import Play, Task


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A playbook's folder, with no roles elsewhere."""
    monkeypatch.setenv("ANSIBLE_ROLES_PATH", str(tmp_path / "elsewhere"))
    return tmp_path / "here"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def load(folder: Path, site: str, **files: str) -> Play:
    write(folder, {"site.yml": site, **{name.replace("__", "/") + ".yml": text for name, text in files.items()}})
    return load_playbooks([folder / "site.yml"])[0]


def faults(folder: Path, site: str, **files: str) -> list[str]:
    try:
        load(folder, site, **files)
    except ConfigErrors as errors:
        return [str(error).replace(f"{folder}/", "") for error in errors.errors]
    except ConfigError as error:
        return [str(error).replace(f"{folder}/", "")]
    return []


def title(task: Task) -> str:
    return task.full_title(str(task.title.loose({})))


def titles(tasks: tuple[Task, ...]) -> list[str]:
    return [title(task) for task in tasks if not task.implicit]


def test_the_order_of_a_play(folder: Path) -> None:
    play = load(
        folder,
        """
- hosts: all
  post_tasks: [{name: after, ping: }]
  tasks: [{name: task, ping: }]
  roles: [web]
  pre_tasks: [{name: before, ping: }]
""",
        roles__web__tasks__main="- {name: one, ping: }\n",
        roles__web__meta__main="dependencies: [base]\n",
        roles__base__tasks__main="- {name: zero, ping: }\n",
    )
    shown = [task.args.loose({}).get("_raw_params") if task.implicit else title(task) for task in play.tasks]
    flush = "flush_handlers"
    assert shown == ["before", flush, "base : zero", "web : one", "task", flush, "after", flush]
    assert all(task.tags == {"always"} for task in play.tasks if task.implicit)


def test_blocks_become_a_flat_list_with_paths(folder: Path) -> None:
    play = load(
        folder,
        """
- hosts: all
  tasks:
    - name: outer
      when: a
      vars: {x: 1}
      tags: t
      become: true
      block:
        - {name: one, ping: }
        - block:
            - {name: two, ping: , when: b, become: false}
          always:
            - {name: three, ping: }
      rescue:
        - {name: four, ping: }
    - {name: five, ping: }
""",
    )
    tasks = {title(task): task for task in play.tasks if not task.implicit}
    paths = {
        name: [(section.kind, section.rescue, section.always) for section in task.path] for name, task in tasks.items()
    }
    assert paths == {
        "one": [("tasks", True, False)],
        "two": [("tasks", True, False), ("tasks", False, True)],
        "three": [("tasks", True, False), ("always", False, True)],
        "four": [("rescue", True, False)],
        "five": [],
    }
    assert len({section.block for task in tasks.values() for section in task.path}) == 2
    two = tasks["two"]
    assert [condition.text for condition in two.when] == ["a", "b"]
    assert two.tags == {"t"}
    assert two.become is not None
    assert two.become.loose({}) is False
    assert [dict(layer.values) for layer in two.vars] == [{"x": 1}]


def test_what_a_role_passes_on_to_its_tasks(folder: Path) -> None:
    play = load(
        folder,
        """
- hosts: all
  roles:
    - {role: web, tags: t, when: a, become: true, vars: {v: 1}, port_number: 80, timeout: 7}
""",
        roles__web__tasks__main="- {name: one, ping: , tags: u}\n",
        roles__web__handlers__main="- {name: h, ping: , listen: [restart]}\n",
        roles__web__meta__main="dependencies: [{role: base, when: b, colour: red}]\n",
        roles__base__tasks__main="- {name: zero, ping: }\n",
        roles__web__defaults__main="d: 1\n",
        roles__web__vars__main="r: 1\n",
    )
    zero, one = (task for task in play.tasks if not task.implicit)
    assert (one.tags, zero.tags) == ({"t", "u"}, {"t"})
    assert [condition.text for condition in zero.when] == ["a", "b"]
    assert one.timeout is not None
    assert one.timeout.loose({}) == 7
    assert one.role is not None
    assert zero.role is not None
    assert [dict(layer.values) for layer in one.role.param_layers] == [{"port_number": 80}]
    assert [dict(layer.values) for layer in zero.role.param_layers] == [{"colour": "red"}, {"port_number": 80}]
    assert [dict(layer.values) for layer in zero.role.variable_layers] == [{"r": 1}, {"v": 1}]
    assert [dict(layer.values) for layer in zero.role.default_layers] == [{"d": 1}]
    handler = play.handlers[0]
    assert known_names([handler]) == ["restart", "web : restart", "h", "web : h"]
    assert handler.become is not None
    assert [role.name for role in play.roles] == ["web"]


def test_handlers_and_whose_name_counts(folder: Path) -> None:
    play = load(
        folder,
        """
- hosts: all
  roles: [web]
  tasks:
    - import_role: {name: imported}
    - {ping: , notify: [same, "web : same", topic]}
  handlers:
    - {name: same, ping: , vars: {from: play}}
    - {name: same, ping: , vars: {from: play again}}
    - block:
        - {name: other, ping: , listen: topic}
      when: x
""",
        roles__web__tasks__main="[]\n",
        roles__web__handlers__main="- {name: same, ping: , vars: {from: web}}\n",
        roles__imported__handlers__main="- {name: same, ping: , vars: {from: imported}}\n",
    )
    assert titles(play.handlers) == ["web : same", "same", "same", "other", "imported : same"]
    order = [
        handler.vars[0].values["from"] if handler.vars else title(handler) for handler in by_precedence(play.handlers)
    ]
    assert order == ["imported", "other", "play", "play again", "web"]
    assert [condition.text for condition in play.handlers[3].when] == ["x"]


def test_a_role_that_depends_on_what_already_ran_is_marked(folder: Path) -> None:
    files = {
        "roles__a__meta__main": "dependencies: [base]\n",
        "roles__b__meta__main": "dependencies: [base]\n",
        "roles__base__tasks__main": "- {name: zero, ping: }\n",
    }
    play = load(folder, "- hosts: all\n  roles: [a, b]\n", **files)
    first, second = (task.role for task in play.tasks if not task.implicit)
    assert first is not None
    assert second is not None
    assert first is not second
    assert first.same == second.same
    assert first.once
    marks = [task.role for task in play.tasks if task.args.loose({}).get("_raw_params") == "role_complete"]
    assert marks == [first, second]
    other = load(folder, "- hosts: all\n  roles: [a, {role: base, tags: x}]\n")
    assert len({task.role.same for task in other.tasks if task.role}) == 2
    assert not [task for task in other.tasks if task.implicit and task.role]
    files["roles__base__meta__main"] = "allow_duplicates: true\n"
    assert not any(
        task.role.once for task in load(folder, "- hosts: all\n  roles: [a, b]\n", **files).tasks if task.role
    )


def test_where_roles_are_looked_for(folder: Path) -> None:
    for place in ("roles/x", "../elsewhere/x", "../elsewhere/y", "y", "z", "nested/deep/w"):
        write(folder, {f"{place}/tasks/main.yml": f"- {{name: {place}, ping: }}\n"})
    play = load(folder, f"- hosts: all\n  roles: [x, y, z, {folder}/nested/deep/w, nested/deep/w]\n")
    assert [role.folder.relative_to(folder.parent) for role in play.roles] == [
        Path(place) for place in ("here/roles/x", "elsewhere/y", "here/z", "here/nested/deep/w", "here/nested/deep/w")
    ]
    assert titles(play.tasks) == [
        "x : roles/x", "y : ../elsewhere/y", "z : z", f"{folder}/nested/deep/w : nested/deep/w",
        "nested/deep/w : nested/deep/w",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["main.yml", "main.yaml", "main.json", "main"])
def test_files_of_a_role(folder: Path, name: str) -> None:
    write(folder, {f"roles/web/tasks/{name}": '[{"name": "one", "ping": null}]\n'})
    write(folder, {f"roles/web/vars/{name}": '{"a": 1}\n'})
    play = load(folder, "- hosts: all\n  roles: [web]\n")
    assert titles(play.tasks) == ["web : one"]
    assert play.roles[0].vars.values == {"a": 1}


def test_variables_of_a_role_in_a_folder(folder: Path) -> None:
    write(folder, {"roles/web/vars/main/b.yml": "b: 2\nc: 2\n", "roles/web/vars/main/c.yaml": "c: 3\n"})
    write(folder, {"roles/web/vars/main/.hidden.yml": "d: 4\n", "roles/web/vars/main/more/a.yml": "a: 1\n"})
    write(folder, {"roles/web/vars/main/readme.txt": "no: yaml\n", "roles/web/tasks/main/one.yml": "- nonsense\n"})
    play = load(folder, "- hosts: all\n  roles: [web]\n")
    assert dict(play.roles[0].vars.values) == {"a": 1, "b": 2, "c": 3}


def test_other_files_of_a_role(folder: Path) -> None:
    write(folder, {"roles/web/tasks/install.yml": "- {name: install, ping: }\n"})
    write(folder, {"roles/web/vars/big.yml": "v: 1\n", "roles/web/defaults/big.yml": "d: 1\n"})
    write(folder, {"roles/web/handlers/big.yml": "- {name: h, ping: }\n"})
    given = "{name: web, tasks_from: install, vars_from: big, defaults_from: big.yml, handlers_from: big}"
    play = load(folder, f"- hosts: all\n  tasks:\n    - import_role: {given}\n")
    assert titles(play.tasks) == ["web : install"]
    assert titles(play.handlers) == ["web : h"]
    role = play.roles[0]
    assert (role.vars.values, role.defaults.values) == ({"v": 1}, {"d": 1})


def test_faults_of_roles_are_found_with_those_of_the_play(folder: Path) -> None:
    tasks = "    - nope: 1\n    - include_role: {name: web, tasks_from: instal}\n"
    found = faults(
        folder,
        "- hosts: all\n  roles: [web, self]\n  tasks:\n" + tasks,
        roles__web__tasks__main="- coppy: {}\n- include_tasks: more.yml\n",
        roles__web__tasks__more="- command: a\n  wehn: x\n",
        roles__web__tasks__install="[]\n",
        roles__web__vars__main="- 1\n",
        roles__web__defaults__main="a-b: 1\n",
        roles__web__handlers__main="- include_role: {name: web}\n",
        roles__web__meta__main="dependancies: []\n",
        roles__self__meta__main="dependencies: [self]\n",
    )
    expected = [
        "roles/web/meta/main.yml:1:1: a role's meta/main.yml has no keyword 'dependancies'",
        "roles/web/defaults/main.yml:1:1: 'a-b' cannot be a variable's name",
        "roles/web/vars/main.yml:1:1: a file of variables is a mapping, not a list",
        "roles/web/tasks/main.yml:1:3: there is no module 'coppy'",
        "roles/web/tasks/more.yml:2:3: a task has no keyword 'wehn'",
        "roles/web/handlers/main.yml:1:17: include_role cannot be a handler",
        "roles/self/meta/main.yml:1:16: the role 'self' depends on itself: self -> self",
        "site.yml:4:7: there is no module 'nope'",
        "site.yml:5:7: the role 'web' has no file 'tasks/instal'",
    ]
    assert [one for one in expected if not any(fault.startswith(one) for fault in found)] == []
    assert len(found) == len(expected)
    assert any("did you mean 'install'?" in fault for fault in found)


@pytest.mark.parametrize("escape", ["../../secret", "/etc/hostname"])
def test_a_file_of_a_role_lies_in_the_role(folder: Path, escape: str) -> None:
    write(folder, {"roles/secret.yml": "- ping:\n", "roles/web/tasks/main.yml": "[]\n"})
    found = faults(folder, f"- hosts: all\n  tasks:\n    - import_role: {{name: web, tasks_from: {escape}}}\n")
    assert len(found) == 1
    assert "is not inside the folder tasks of the role 'web'" in found[0]


def test_including_a_role(folder: Path) -> None:
    play = load(
        folder,
        """
- hosts: all
  tasks:
    - include_role:
        name: "{{ which }}"
        tasks_from: "{{ what }}"
        apply: {tags: applied, become: true, vars: {a: 1}}
        public: true
      vars: {v: 1}
      tags: own
      when: x
""",
        roles__web__tasks__install="- {name: install, ping: }\n- import_role: {name: inner}\n",
        roles__web__handlers__main="- {name: h, ping: }\n",
        roles__inner__tasks__main="- {name: inner, ping: }\n",
    )
    task = play.tasks[0]
    assert task.include is not None
    assert task.tags == {"own"}
    values = included_values(task.include, {"which": "web", "what": "install"})
    found = play.loader.included(task, values)
    assert titles(found.tasks) == ["web : install", "inner : inner"]
    assert titles(found.handlers) == ["web : h"]
    assert [(role.name, role.public) for role in found.roles] == [("inner", True), ("web", True)]
    one, inner = (task for task in found.tasks if not task.implicit)
    assert one.tags == {"applied"}
    assert one.when == ()
    assert [dict(layer.values) for layer in one.vars] == [{"a": 1}]
    assert [dict(layer.values) for layer in one.inherited.params] == [{"v": 1}]
    assert [role.name for role in inner.inherited.included_from] == ["web"]
    assert not one.inherited.included_from
    with pytest.raises(ConfigError, match=r"site.yml:4:7: there is no role 'wob'") as caught:
        play.loader.included(task, {"include": "wob"})
    assert "did you mean 'web'?" in str(caught.value)


def test_a_role_may_use_itself_with_other_files(folder: Path) -> None:
    write(
        folder,
        {"roles/web/tasks/main.yml": "- import_role: {name: web, tasks_from: more}\n- include_role: {name: web}\n"},
    )
    write(folder, {"roles/web/tasks/more.yml": "- {name: more, ping: }\n"})
    play = load(folder, "- hosts: all\n  roles: [web]\n")
    assert titles(play.tasks) == ["web : more", "web : include_role : web"]
    found = faults(folder, "- hosts: all\n  tasks: [{import_role: {name: web, tasks_from: round}}]\n",
                   roles__web__tasks__round="- import_role: {name: web, tasks_from: round}\n")  # fmt: skip
    assert len(found) == 1
    assert "round.yml:1:16: 'round.yml' imports itself" in found[0]


def test_where_files_of_tasks_are_looked_for(folder: Path) -> None:
    write(folder, {f"{place}.yml": f"- {{name: {place}, ping: }}\n" for place in (
        "tasks/beside", "top", "tasks/sub/deep", "tasks/deep", "roles/web/tasks/own", "roles/web/tasks/sub/own2",
    )})  # fmt: skip
    write(
        folder,
        {"tasks/first.yml": "- import_tasks: beside.yml\n- import_tasks: top.yml\n- import_tasks: sub/second.yml\n"},
    )
    write(folder, {"tasks/sub/second.yml": "- import_tasks: deep.yml\n"})
    write(folder, {"roles/web/tasks/main.yml": "- import_tasks: sub/start.yml\n- import_tasks: top.yml\n"})
    write(folder, {"roles/web/tasks/sub/start.yml": "- import_tasks: own.yml\n- import_tasks: own2.yml\n"})
    play = load(folder, "- hosts: all\n  roles: [web]\n  tasks:\n    - import_tasks: tasks/first.yml\n")
    assert [str(task.title.loose({})) for task in play.tasks if not task.implicit] == [
        "roles/web/tasks/own", "roles/web/tasks/sub/own2", "top", "tasks/beside", "top", "tasks/sub/deep",
    ]  # fmt: skip


def test_old_ways_to_call_a_module(folder: Path) -> None:
    play = load(
        folder,
        """
- hosts: all
  tasks:
    - action: copy src=a dest=/b
    - local_action: command echo hi chdir=/
    - action: {module: file, path: /x, state: touch}
      delegate_to: other
""",
    )
    copy, command, file = (task for task in play.tasks if not task.implicit)
    assert (copy.module, copy.args.loose({}), copy.delegate_to) == ("copy", {"src": "a", "dest": "/b"}, None)
    assert (command.module, command.args.loose({})) == ("command", {"chdir": "/", "_raw_params": "echo hi"})
    assert command.delegate_to is not None
    assert command.delegate_to.loose({}) == "localhost"
    assert (file.module, file.args.loose({})) == ("file", {"path": "/x", "state": "touch"})


def test_every_keyword_reaches_its_task(folder: Path) -> None:
    play = load(
        folder,
        """
- hosts: all
  serial: [1, "30%", "{{ n }}"]
  max_fail_percentage: 25
  any_errors_fatal: true
  force_handlers: true
  strategy: ansible.builtin.free
  throttle: 3
  order: reverse_sorted
  tasks:
    - command: a
      register: r
      until: r is succeeded
      retries: 5
      delay: 0.5
      loop: [1, 2]
      loop_control: {loop_var: thing, index_var: n, label: "{{ thing }}!", pause: 1, extended: true}
      delegate_to: "{{ other }}"
      delegate_facts: true
      run_once: true
      throttle: 1
      timeout: 30
      async: 60
      poll: 2
      check_mode: false
      diff: true
      ignore_unreachable: true
      become_method: ansible.builtin.su
""",
    )
    assert [value.constant for value in play.serial] == [True, True, False]
    assert (play.strategy, play.order) == ("free", "reverse_sorted")
    for value in (play.max_fail_percentage, play.any_errors_fatal, play.force_handlers, play.throttle):
        assert value is not None
    task = play.tasks[0]
    given = {
        name: getattr(task, name).loose({"other": "h2"})
        for name in ("retries", "delay", "delegate_to", "delegate_facts", "run_once", "throttle", "timeout",
                     "async_seconds", "poll", "check_mode", "diff", "ignore_unreachable", "become_method",
                     "any_errors_fatal")
    }  # fmt: skip
    assert given == {
        "retries": 5, "delay": 0.5, "delegate_to": "h2", "delegate_facts": True, "run_once": True, "throttle": 1,
        "timeout": 30, "async_seconds": 60, "poll": 2, "check_mode": False, "diff": True, "ignore_unreachable": True,
        "become_method": "su", "any_errors_fatal": True,
    }  # fmt: skip
    assert task.until is not None
    assert [condition.text for condition in task.until] == ["r is succeeded"]
    control = task.loop_control
    assert (control.loop_var, control.index_var, control.extended) == ("thing", "n", True)
    assert control.label is not None
    assert control.label.loose({"thing": 1}) == "1!"
