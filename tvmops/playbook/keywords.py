"""Which keywords plays, blocks, roles and tasks may have; everything else is refused."""

from __future__ import annotations

# What blocks, roles, imports and plays pass on to the tasks in them.
PASSED_ON = frozenset(
    (
        "any_errors_fatal", "become", "become_method", "become_user", "check_mode", "diff", "environment",
        "ignore_errors", "ignore_unreachable", "no_log", "run_once", "tags", "throttle", "timeout",
    )
)  # fmt: skip
PASSED_ON_BELOW_PLAYS = PASSED_ON | {"delegate_facts", "delegate_to", "notify", "when"}
PLAY_KEYWORDS = PASSED_ON | {
    "force_handlers", "gather_facts", "handlers", "hosts", "max_fail_percentage", "name", "order", "post_tasks",
    "pre_tasks", "roles", "serial", "strategy", "tasks", "vars", "vars_files",
}  # fmt: skip
IMPORT_PLAYBOOK_KEYWORDS = frozenset(
    ("name", "import_playbook", "ansible.builtin.import_playbook", "vars", "tags", "when")
)
BLOCK_KEYWORDS = PASSED_ON_BELOW_PLAYS | {"always", "block", "name", "rescue", "vars"}
TASK_KEYWORDS = PASSED_ON_BELOW_PLAYS | {
    "action", "args", "async", "changed_when", "delay", "failed_when", "local_action", "loop", "loop_control", "name",
    "poll", "register", "retries", "until", "vars", "with_items",
}  # fmt: skip
HANDLER_KEYWORDS = TASK_KEYWORDS | {"listen"}
INCLUDE_KEYWORDS = frozenset(
    (
        "action", "args", "ignore_errors", "loop", "loop_control", "name", "no_log", "register", "run_once", "tags",
        "timeout", "vars", "when", "with_items",
    )
)  # fmt: skip
IMPORT_KEYWORDS = PASSED_ON_BELOW_PLAYS | {"action", "args", "name", "vars"}
# An entry of `roles:` or of a role's dependencies; any other key is a parameter of the role.
ROLE_KEYWORDS = (PASSED_ON_BELOW_PLAYS - {"notify"}) | {"name", "role", "vars"}
APPLY_KEYWORDS = PASSED_ON_BELOW_PLAYS | {"name", "vars"}
LOOP_CONTROL_KEYWORDS = frozenset(("extended", "extended_allitems", "index_var", "label", "loop_var", "pause"))
META_KEYWORDS = frozenset(("allow_duplicates", "dependencies", "galaxy_info"))
STRATEGIES = ("free", "linear")
ORDERS = ("inventory", "reverse_inventory", "reverse_sorted", "shuffle", "sorted")
BECOME_METHODS = ("su", "sudo")

# Ansible has these, tvmops does not: worth saying so, because the word is not a typing mistake.
ANSIBLE_ONLY = frozenset(
    (
        "argument_specs", "become_exe", "become_flags", "break_when", "collections", "connection", "debugger",
        "fact_path", "gather_subset", "gather_timeout", "include", "module_defaults", "port", "remote_user", "user",
        "validate_argspec", "vars_prompt",
    )
)  # fmt: skip
INSTEAD = {
    "argument_specs": "check what a role was given with a task 'assert'",
    "become_exe": "set the host variable ansible_become_exe",
    "become_flags": "set the host variable ansible_become_flags",
    "break_when": "put a condition on the task",
    "collections": "write the modules' whole names",
    "connection": "set the host variable ansible_connection",
    "debugger": "run with --start-at-task, or add tasks with debug",
    "fact_path": "leave it out",
    "gather_subset": "facts are gathered in one go; leave it out",
    "gather_timeout": "facts are gathered in one go; leave it out",
    "include": "use import_tasks or include_tasks",
    "module_defaults": "write the arguments on every task",
    "port": "set the host variable ansible_port",
    "remote_user": "set the host variable ansible_user",
    "user": "set the host variable ansible_user",
    "vars_prompt": "give the variable with --extra-vars",
    "with_dict": "use loop with the filter dict2items",
    "with_fileglob": "name the files in a loop",
    "with_list": "use loop",
}
