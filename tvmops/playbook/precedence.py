"""Who wins when a variable is defined in several places: the order that state.PlayScope follows."""

from __future__ import annotations

# From the weakest to the strongest, by the names of Ansible's documentation. vars_prompt, which Ansible has between
# play vars and vars_files, is not supported.
LEVELS: dict[str, str] = {
    "role defaults": "`defaults/main.yml` of a role; a role's own, where several define it",
    "inventory file group vars": "`vars` of a group in the inventory; a subgroup's are stronger than its parent's",
    "inventory group_vars/all": "`group_vars/all` beside the inventory",
    "playbook group_vars/all": "`group_vars/all` beside the playbook",
    "inventory group_vars/*": "other groups beside the inventory",
    "playbook group_vars/*": "other groups beside the playbook",
    "inventory file host vars": "variables of a host in the inventory",
    "inventory host_vars/*": "`host_vars` beside the inventory",
    "playbook host_vars/*": "`host_vars` beside the playbook",
    "host facts": "what `setup` found out, as `ansible_<name>`",
    "play vars": "`vars` of the play; those of an import_playbook around it are stronger",
    "play vars_files": "files of `vars_files`, the last one strongest",
    "role vars": "`vars/main.yml` of a role and the `vars` of its use; the whole play sees those of public roles",
    "block vars": "`vars` of a block, the innermost strongest, and of an import around a task",
    "task vars": "`vars` of the task",
    "include_vars": "what `include_vars` has read",
    "set_facts and registered vars": "what `set_fact` and `register` have set",
    "role params": "other keys of an entry of `roles` or `dependencies`",
    "include params": "`vars` of an include_tasks or include_role, and its loop's item",
    "extra vars": "the option `--extra-vars`",
}
