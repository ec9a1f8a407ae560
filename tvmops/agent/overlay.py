"""Check mode's picture of the board: what earlier tasks of a check run would have made, laid over what is.

`active()` is the Overlay while a task runs in check mode, None otherwise. Files are in its `tree` and reached through
agent/files.py; users, groups, packages and units that would be there are plain dicts that their modules read and write.
What cannot be predicted (a command's doings) makes the overlay unsure: from then on what is missing may be
there in a real run, so a module that misses something says `changed`, not `failed`.
"""

from .tree import Tree

_current = {"active": None}  # of the running task


def active():
    """The Overlay that the running task predicts into; None outside check mode."""
    return _current["active"]


def unsure():
    """True in check mode when an earlier task would have done what nobody can predict."""
    return active() is not None and active().unsure


def use(overlay):
    """Predict into this Overlay from now on; None: changes are made for real."""
    _current["active"] = overlay


class Overlay:
    """What a check run has predicted so far. Lives as long as the agent."""

    def __init__(self, blob=None):
        self.tree = Tree(blob, lambda: self.unsure)
        self.users = {}  # name -> accounts.User, None for one that would be gone
        self.groups = {}  # name -> accounts.Group, None for one that would be gone
        self.packages = {}  # name -> version, "" for one that would be gone
        self.units = {}  # name -> {systemd's property: value}: those that would be others
        self.lists_fetched = False  # apt's, or those of another package manager
        self.unsure = False

    @property
    def is_empty(self):
        """True when nothing was predicted."""
        known = (self.users, self.groups, self.packages, self.units, self.tree.nodes)
        return not (self.unsure or self.lists_fetched or any(known))

    def as_json(self):
        """All of it, for another process of this agent."""
        return {
            "unsure": self.unsure,
            "nodes": self.tree.as_json(),
            "users": {name: user and list(user) for name, user in self.users.items()},
            "groups": {name: group and list(group) for name, group in self.groups.items()},
            "packages": self.packages,
            "units": self.units,
            "lists_fetched": self.lists_fetched,
        }

    def take(self, message):
        """Become what another process's Overlay was when it said `as_json`."""
        from .accounts import Group, User

        self.unsure = message["unsure"]
        self.tree.take(message["nodes"])
        self.users = {name: user and User(*user) for name, user in message["users"].items()}
        self.groups = {name: group and Group(*group) for name, group in message["groups"].items()}
        self.packages, self.units = message["packages"], message["units"]
        self.lists_fetched = message["lists_fetched"]
