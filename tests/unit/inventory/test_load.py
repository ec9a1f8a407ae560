"""Loading inventories: formats, precedence, origins, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvmops.errors import ConfigError, ConfigErrors
from tvmops.inventory import FactsCache, Host, Inventory, load_inventory
from tvmops.paths import project_root


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "hosts.yml"


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_inventory([path])
    return str(caught.value)


def test_example_fleet_has_the_six_boards_with_their_targets() -> None:
    inventory = load_inventory([project_root() / "inventory" / "hosts.yml"])
    for group in ("jetson", "rpi3b", "rk3288", "pynq", "nuc", "lab-server"):
        for host in inventory.select(group):
            for variable in ("tvm_target", "tvm_stack", "apt_mirror", "power"):
                assert f"group_vars/{group}.yml" in host.origins[variable]


PRECEDENCE = {
    "hosts.yml": """
all:
  vars: {where: inventory all}
  children:
    parent:
      vars: {where: inventory parent}
      children:
        child:
          vars: {where: inventory child}
          hosts:
            board: {where: inventory host}
""",
    "group_vars/all.yml": "where: group_vars all",
    "group_vars/parent.yml": "where: group_vars parent",
    "group_vars/child/main.yml": "where: group_vars child",
    "host_vars/board.yml": "where: host_vars",
}


def test_variable_precedence_is_ansibles(tmp_path: Path) -> None:
    """Taking the winning place away each time uncovers the next one."""
    order = [
        ("host_vars", "host_vars/board.yml"),
        ("inventory host", "board: {where: inventory host}"),
        ("group_vars child", "group_vars/child/main.yml"),
        ("group_vars parent", "group_vars/parent.yml"),
        ("group_vars all", "group_vars/all.yml"),
        ("inventory child", "vars: {where: inventory child}"),
        ("inventory parent", "vars: {where: inventory parent}"),
        ("inventory all", "vars: {where: inventory all}"),
    ]
    path = write(tmp_path, PRECEDENCE)
    for expected, place in order:
        host = load_inventory([path]).hosts["board"]
        assert host.vars["where"] == expected
        assert host.origins["where"].rpartition(":")[2].isdecimal()
        if place.endswith(".yml"):
            (tmp_path / place).unlink()
        else:
            path.write_text(path.read_text().replace(place, place.partition(" ")[0] + " {}"))


def test_playbook_group_vars_win_over_the_inventorys(tmp_path: Path) -> None:
    path = write(tmp_path / "inv", {"hosts.yml": "g: {hosts: {a: }}", "group_vars/g.yml": "x: inventory"})
    write(tmp_path / "play", {"group_vars/g.yml": "x: playbook"})
    assert load_inventory([path], playbook_dir=tmp_path / "play").hosts["a"].vars["x"] == "playbook"


def test_ranges_groups_and_ungrouped(tmp_path: Path) -> None:
    path = write(tmp_path, {"hosts.yml": "all: {hosts: {lone: }, children: {pis: {hosts: {'pi[1:3]': {cores: 4}}}}}"})
    inventory = load_inventory([path])
    assert list(inventory.groups["pis"].hosts) == ["pi1", "pi2", "pi3"]
    assert inventory.groups["ungrouped"].hosts == ["lone"]
    assert inventory.hosts["pi2"].vars == {"cores": 4}


def test_program_inventory(tmp_path: Path) -> None:
    listing = {
        "boards": {"hosts": ["a", "b"], "vars": {"v": 1}, "children": ["sub"]},
        "sub": ["c"],
        "_meta": {"hostvars": {"a": {"ansible_host": "10.0.0.1"}}},
    }
    program = tmp_path / "inventory.sh"
    program.write_text(f"#!/bin/sh\ncat <<'X'\n{json.dumps(listing)}\nX\n")
    program.chmod(0o755)
    inventory = load_inventory([program])
    assert inventory.groups["boards"].hosts == ["a", "b", "c"]
    assert inventory.hosts["a"].vars == {"v": 1, "ansible_host": "10.0.0.1"}
    assert inventory.hosts["c"].origins["v"] == f"program {program}"


def test_program_without_meta_is_asked_for_each_host(tmp_path: Path) -> None:
    program = tmp_path / "inventory.sh"
    program.write_text('#!/bin/sh\n[ "$1" = --list ] && echo \'{"g": ["a"]}\' || echo "{\\"name_asked\\": \\"$2\\"}"\n')
    program.chmod(0o755)
    assert load_inventory([program]).hosts["a"].vars == {"name_asked": "a"}


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo oops >&2; exit 3", "exit code 3: oops"),
        ("echo not json", "not JSON"),
        ("echo '[]'", "not a JSON object"),
        ("echo '{\"g\": 4}'", "group 'g'"),
    ],
)
def test_broken_programs_are_named(tmp_path: Path, script: str, expected: str) -> None:
    program = tmp_path / "inventory.sh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    assert expected in refusal(program)
    assert str(program) in refusal(program)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all:\n  hsts: {}\n", ":2:3: unknown key 'hsts' in group 'all'\n  did you mean 'hosts'?"),
        ("all:\n  hosts:\n    a: 5\n", ":3:5: host 'a': variables must be a mapping"),
        ("all:\n  hosts: [a]\n", ":2:10: hosts of group 'all' must be a mapping"),
        ("all:\n  hosts:\n    b[3:1]:\n", ":3:5: '[3:1]' runs backwards"),
        ("hosts:\n  a:\n", ":1:1: 'hosts' stands where a group name belongs"),
        ("all:\n\thosts:\n", ":2:1: YAML:"),
        ("all:\n  hosts:\n    a:\n    a:\n", ":4:5: 'a' is given twice (first at line 3)"),
        ("a:\n  children:\n    b:\n      children:\n        a:\n", "would be its own ancestor"),
        ("- a\n", ":1:1: an inventory is a mapping"),
        ("all:\n  vars: {x: !vault abc}\n", ":2:13: YAML: could not determine a constructor"),
    ],
)
def test_faults_are_named_with_file_line_column(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, {"hosts.yml": text})
    assert f"{path}" in refusal(path)
    assert expected in refusal(path)


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, {"hosts.yml": "all:\n  hsts: {}\n  vras: {}\n  children: 5\n"})
    with pytest.raises(ConfigErrors) as caught:
        load_inventory([path])
    assert len(caught.value.errors) == 3


def test_vault_files_are_refused_by_name(tmp_path: Path) -> None:
    path = write(
        tmp_path, {"hosts.yml": "all: {hosts: {a: }}", "group_vars/all.yml": "$ANSIBLE_VAULT;1.1;AES256\n00\n"}
    )
    assert "group_vars/all.yml:1:1: encrypted" in refusal(path)


def test_unknown_pattern_suggests_the_nearest_name(tmp_path: Path) -> None:
    inventory = load_inventory([write(tmp_path, {"hosts.yml": "jetson: {hosts: {nano: }}"})])
    with pytest.raises(ConfigError, match="did you mean 'jetson'") as caught:
        inventory.select("jetsn")
    assert "hosts.yml" in str(caught.value)
    assert [host.vars for host in inventory.select("localhost")] == [{"ansible_connection": "local"}]


def test_a_limit_that_leaves_nothing_is_an_error(tmp_path: Path) -> None:
    inventory: Inventory = load_inventory([write(tmp_path, {"hosts.yml": "g: {hosts: {a: , b: }}\nh: {hosts: {c: }}"})])
    assert [host.name for host in inventory.select("all", "b:c")] == ["b", "c"]
    with pytest.raises(ConfigError, match="--limit c"):
        inventory.select("g", "c")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["all", "hosts", "vars", "children", "x"]), inner, max_size=4)
        ),
    )
)
def test_any_document_loads_or_is_refused(tmp_path_factory: pytest.TempPathFactory, document: object) -> None:
    path = tmp_path_factory.mktemp("inventory") / "hosts.yml"
    path.write_text(json.dumps(document))
    try:
        load_inventory([path])
    except ConfigError as error:
        assert str(path) in str(error)


def test_facts_cache_keeps_forgets_and_survives_damage(tmp_path: Path) -> None:
    cache, host = FactsCache(tmp_path), Host("a")
    assert cache.get(host) is None
    cache.put(host, {"ansible_machine": "aarch64"})
    assert cache.get(host) == {"ansible_machine": "aarch64"}
    assert cache.get(host, max_age=-1) is None
    (tmp_path / "a.json").write_text('{"gathered_at":')
    assert cache.get(host) is None
    assert cache.gathered_at(host) is None


def test_facts_of_another_machine_of_that_name_are_not_taken(tmp_path: Path) -> None:
    cache = FactsCache(tmp_path)
    secret = "ProxyCommand=go --with hunter2"
    here = Host("b1", {"ansible_host": "10.0.0.1", "ansible_ssh_common_args": f"-o '{secret}'"})
    there = Host("b1", {"ansible_host": "10.0.0.2"})
    cache.put(here, {"ansible_machine": "x86_64"})
    assert cache.get(there) is None
    assert cache.gathered_at(there) is None
    cache.put(there, {"ansible_machine": "aarch64"})
    assert cache.get(here) is None
    assert cache.get(there) == {"ansible_machine": "aarch64"}
    cache.put(here, {})
    assert "hunter2" not in (tmp_path / "b1.json").read_text()
