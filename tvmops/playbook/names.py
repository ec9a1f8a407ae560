"""How Ansible spells the names of its own modules and plugins."""

BUILTIN = "ansible.builtin."
LEGACY = "ansible.legacy."


def short_name(name: str) -> str:
    """`copy` for `ansible.builtin.copy` and `ansible.legacy.copy`; other names as they are."""
    return name.removeprefix(BUILTIN).removeprefix(LEGACY)
