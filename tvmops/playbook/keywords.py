"""Which keywords a play and a task may have; everything else is refused."""

from __future__ import annotations

PLAY_KEYWORDS = frozenset(
    (
        "name", "hosts", "vars", "vars_files", "tasks", "handlers", "tags", "become", "become_user", "become_method",
        "environment", "gather_facts", "ignore_errors", "no_log",
    )
)  # fmt: skip
IMPORT_PLAYBOOK_KEYWORDS = frozenset(
    ("name", "import_playbook", "ansible.builtin.import_playbook", "vars", "tags", "when")
)
TASK_KEYWORDS = frozenset(
    (
        "name", "args", "when", "loop", "with_items", "register", "tags", "become", "become_user", "become_method",
        "environment", "changed_when", "failed_when", "ignore_errors", "no_log", "notify", "vars",
    )
)  # fmt: skip
INCLUDE_KEYWORDS = frozenset(("name", "args", "when", "loop", "with_items", "tags", "vars", "no_log", "ignore_errors"))
IMPORT_KEYWORDS = frozenset(
    (
        "name",
        "args",
        "when",
        "tags",
        "vars",
        "become",
        "become_user",
        "become_method",
        "environment",
        "ignore_errors",
        "no_log",
    )
)

# Ansible has these, tvmops does not: worth saying so, because the word is not a typing mistake.
ANSIBLE_ONLY = frozenset(
    (
        "action", "always", "any_errors_fatal", "async", "become_exe", "become_flags", "block", "check_mode",
        "collections", "connection", "debugger", "delay", "delegate_facts", "delegate_to", "diff", "fact_path",
        "force_handlers", "gather_subset", "gather_timeout", "ignore_unreachable", "include", "listen", "local_action",
        "loop_control", "max_fail_percentage", "module_defaults", "order", "poll", "port", "post_tasks", "pre_tasks",
        "remote_user", "rescue", "retries", "roles", "run_once", "serial", "strategy", "throttle", "timeout", "until",
        "vars_prompt", "include_role", "import_role", "include_vars", "meta", "role", "validate_argspec",
    )
)  # fmt: skip
INSTEAD = {
    "remote_user": "set the host variable ansible_user",
    "port": "set the host variable ansible_port",
    "connection": "set the host variable ansible_connection",
    "check_mode": "use the option --check",
    "diff": "use the option --diff",
    "with_dict": "use loop with the filter dict2items",
    "with_list": "use loop",
    "with_fileglob": "name the files in a loop",
    "gather_subset": "facts are gathered in one go; leave it out",
    "action": "write the module's name as the key",
    "local_action": "tvmops runs nothing on the controller",
    "include": "use import_tasks or include_tasks",
    "listen": "notify the handler by its name",
}
