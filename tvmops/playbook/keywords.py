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

# What each means, in a few words; the page of the language is made of these.
MEANINGS = {
    "action": "the module and its arguments in one text, as in old playbooks",
    "always": "tasks that run after the block and its rescue, whatever happened",
    "any_errors_fatal": "a failure of one host ends the play for all",
    "args": "more arguments of the module",
    "async": "seconds that the task may run in the background",
    "become": "whether to become another user",
    "become_method": "how: sudo or su",
    "become_user": "who, root by default",
    "block": "tasks that belong to each other",
    "changed_when": "when the result counts as a change",
    "check_mode": "no: run it even with --check; yes: only ever predict it",
    "delay": "seconds between tries, 5 by default",
    "delegate_facts": "facts that it finds belong to the host it is delegated to",
    "delegate_to": "the host on which it runs instead",
    "diff": "whether to show what changes",
    "environment": "environment variables",
    "failed_when": "when the result counts as a failure",
    "force_handlers": "notified handlers run even on a host that has failed",
    "gather_facts": "whether to find out about the hosts first, yes by default",
    "handlers": "tasks that run once, at the end of a part, when they were notified",
    "hosts": "the hosts of the play: a pattern or a list of them",
    "ignore_errors": "go on after a failure",
    "ignore_unreachable": "go on with a host that could not be reached",
    "listen": "topics that notify this handler",
    "local_action": "as action, delegated to localhost",
    "loop": "a list: the task runs for each item",
    "loop_control": "extended, extended_allitems, index_var, label, loop_var, pause",
    "max_fail_percentage": "the share of failed hosts that ends the play",
    "name": "what it is called",
    "no_log": "keep arguments and results out of all logs",
    "notify": "handlers to run when it has changed something",
    "order": "in which order hosts are taken",
    "poll": "seconds between looks at a task in the background; 0 leaves it alone",
    "post_tasks": "tasks after all others",
    "pre_tasks": "tasks before the roles",
    "register": "the variable for the result",
    "rescue": "tasks that run when one of the block has failed",
    "retries": "how often to try, 3 by default",
    "role": "the role's name",
    "roles": "roles, before the tasks; other keys of an entry are parameters of the role",
    "run_once": "only the first host does it, for all",
    "serial": "how many hosts at once go through the play: numbers, percentages or a list of these",
    "strategy": "linear: hosts wait for each other after every task; free: they do not (nor without this keyword)",
    "tags": "names by which --tags and --skip-tags choose",
    "tasks": "the tasks",
    "throttle": "how many hosts at most do this at a time",
    "timeout": "seconds after which it has failed",
    "until": "try again until this holds",
    "vars": "variables",
    "vars_files": "files of variables",
    "when": "only if this holds",
    "with_items": "as loop; lists in the list are flattened",
}
