"""The same INI inventory under tvmops and under Ansible's own ansible-inventory."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from peers import ansible_program

from tvmops.inventory import load_inventory

TEXT = """\
first ansible_host=10.0.0.1 note='two words' flag=yes  # comment
[rpi]
rpi-[01:03]:2222 ansible_user=pi cores=4 mode=0644
[2001:db8::5]:22 name_of=six
[rpi:vars]
mirror = http://mirror/debian # part of it
limits = ['a', ('b', 2), {'c': None}]
quoted = "it's"
[boards:children]
rpi
jetson
[jetson]
nano speed=1.5 on=True
rpi-01 cores=2
[boards:vars]
cores = 8
own = True
"""


def test_hosts_groups_and_variables_are_ansibles(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text(TEXT)
    program = ansible_program().with_name("ansible-inventory")
    done = subprocess.run(
        [str(program), "-i", str(path), "--list"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    theirs = json.loads(done.stdout)
    ours = load_inventory([path])
    assert {name: host.vars for name, host in ours.hosts.items()} == theirs["_meta"]["hostvars"]
    for group in ("rpi", "jetson", "ungrouped"):
        assert sorted(ours.groups[group].direct_hosts) == sorted(theirs[group]["hosts"])
    assert sorted(ours.groups["boards"].children) == sorted(theirs["boards"]["children"])
