"""group: make, change or remove a group of users."""

from .. import accounts, overlay
from ..context import ModuleError

SPEC = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "gid": {"type": "int"},
    "system": {"type": "bool", "default": False},
    "non_unique": {"type": "bool", "default": False},
}
RULES = {"required_if": [["non_unique", True, ["gid"]]]}


def inspect(_ctx, args):
    """The group as it is, and as it should be."""
    groups = accounts.groups()
    group = groups.get(args["name"])
    if args["state"] == "absent":
        return {"state": "present" if group else "absent"}, {"state": "absent"}
    before = {"state": "present" if group else "absent"}
    after = {"state": "present"}
    if args["gid"] is not None:
        if not args["non_unique"]:
            others = [one.name for one in groups.values() if one.gid == args["gid"] and one.name != args["name"]]
            if others:
                raise ModuleError("gid %d belongs to the group %s already" % (args["gid"], others[0]))
        before["gid"] = group.gid if group else None
        after["gid"] = args["gid"]
    return before, after


def apply(ctx, args, before, after):
    """Run groupadd, groupmod or groupdel."""
    if after["state"] == "absent":
        accounts.change(ctx, ["groupdel", args["name"]])
        return _undo(args, before, "groupadd it again")
    flags = []
    if args["gid"] is not None:
        flags += ["-g", str(args["gid"])] + (["-o"] if args["non_unique"] else [])
    if before["state"] == "present":
        accounts.change(ctx, ["groupmod"] + flags + [args["name"]])
    else:
        accounts.change(ctx, ["groupadd"] + (["-r"] if args["system"] else []) + flags + [args["name"]])
    return _undo(args, before, "groupdel" if before["state"] == "absent" else "groupmod")


def _undo(args, before, how):
    return {"_undo": [{"kind": "group", "text": args["name"], "was": before, "undo": how}]}


def predict(_ctx, args, before, after):
    """Note in the overlay that the group would be there, or gone."""
    groups = accounts.groups()
    if after["state"] == "absent":
        overlay.active().groups[args["name"]] = None
        return
    old = groups.get(args["name"])
    gid = args["gid"] if args["gid"] is not None else old and old.gid
    if gid is None:
        gid = accounts.next_id({one.gid for one in groups.values()}, args["system"])
    overlay.active().groups[args["name"]] = accounts.Group(args["name"], gid, old.members if old else [])


def result(_ctx, args, _after):
    """Ansible's return values."""
    values = {"name": args["name"], "state": args["state"]}
    group = accounts.groups().get(args["name"])
    if group is not None and args["state"] == "present":
        values["gid"] = group.gid
        values["system"] = args["system"]
    return values
