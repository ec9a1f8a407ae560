"""mount: a file system, in /etc/fstab and mounted."""

import os

from .. import files, fstab
from ..context import ModuleError

STATES = ["mounted", "present", "absent", "absent_from_fstab", "unmounted", "remounted", "ephemeral"]
SPEC = {
    "path": {"type": "path", "required": True, "aliases": ["name"]},
    "state": {"type": "str", "required": True, "choices": STATES},
    "src": {"type": "path"},
    "fstype": {"type": "str"},
    "opts": {"type": "str"},
    "opts_no_log": {"type": "bool", "default": False},
    "dump": {"type": "str", "default": "0"},
    "passno": {"type": "str", "default": "0"},
    "fstab": {"type": "path", "default": "/etc/fstab"},
    "boot": {"type": "bool", "default": True},
    "backup": {"type": "bool", "default": False},
}
RULES = {"required_if": [["state", state, ["src", "fstype"]] for state in ("mounted", "present", "ephemeral")]}
EXAMPLE = {"path": "/mnt/models", "src": "/dev/mmcblk0p3", "fstype": "ext4", "opts": "noatime", "state": "mounted"}
DEADLINE = 300  # seconds; a file system may be checked, or a server asked first
LAYERS = 32  # how many file systems are taken off one mount point


def VERIFY(args):  # noqa: N802  (the contract's name)
    """A remount leaves no trace."""
    return args["state"] not in ("remounted", "ephemeral")


def inspect(ctx, args):
    """fstab's text and whether something is mounted, as they are and as they should be."""
    state, path = args["state"], args["path"]
    table = os.path.realpath(args["fstab"])
    text = files.read(table).decode("utf-8", "surrogateescape") if files.exists(table) else ""
    new = text
    if state in ("mounted", "present", "absent", "absent_from_fstab"):
        new = fstab.edited(text, _entry(args), state in ("mounted", "present"))
    # Options that must not be shown hide the whole text.
    before = {"fstab": "before"} if args["opts_no_log"] else {"content": text}
    after = {"fstab": "before" if text == new else "after"} if args["opts_no_log"] else {"content": new}
    after.update(_fstab=table, _old=text, _new=new)
    found = fstab.mounted(path)
    _refuse(ctx, args, found)
    if state in ("mounted", "ephemeral", "unmounted"):
        before["mounted"], after["mounted"] = found is not None, state != "unmounted"
    elif state == "absent" and (found is not None or text != new):
        before.update(mounted=found is not None, directory=files.exists(path))
        after.update(mounted=False, directory=False)
    if state == "remounted" or (state == "ephemeral" and found is not None):
        before["remounted"], after["remounted"] = False, True
    return before, after


def _entry(args):
    """The line of fstab, as fields."""
    options = args["opts"] or "defaults"
    if not args["boot"] and "noauto" not in options.split(","):
        options += ",noauto"
    path = args["path"] if args["path"] == "/" else args["path"].rstrip("/")
    numbers = {"dump": args["dump"], "passno": args["passno"]}
    return dict(numbers, src=args["src"], path=path, fstype=args["fstype"], opts=options)


def _refuse(ctx, args, found):
    state, path = args["state"], args["path"]
    if state not in ("present", "absent", "absent_from_fstab"):
        if args["fstype"] == "swap":
            raise ModuleError("swap is not mounted: use state: present, and the command swapon for this boot")
        if not path.startswith("/"):
            raise ModuleError("%s is no absolute path" % path)
    if state == "remounted" and found is None and not files.unsure():
        raise ModuleError("nothing is mounted at %s" % path)
    if state == "ephemeral" and found is not None and not _is_source(args, found):
        raise ModuleError("%s is mounted at %s already, not %s" % (found["src"], path, args["src"]))


def _is_source(args, found):
    src = args["src"]
    for prefix in ("UUID", "LABEL", "PARTUUID", "PARTLABEL"):
        if src.startswith(prefix + "="):
            src = "/dev/disk/by-%s/%s" % (prefix.lower(), src.partition("=")[2])
    if found["src"] == src or os.path.realpath(found["src"]) == os.path.realpath(src):
        return True
    return os.path.isdir(src) and os.path.samefile(src, args["path"])  # a bind mount


def apply(ctx, args, before, after):
    """Edit fstab, then mount or unmount. When mounting fails fstab is as before."""
    state, path, extra = args["state"], args["path"], {}
    if before.get("mounted") != after.get("mounted") or "remounted" in after:
        extra["_undo"] = [{"kind": "mount", "text": "%s: %s" % (path, state)}]
    if args["backup"] and after["_old"] != after["_new"] and files.exists(after["_fstab"]):
        extra["backup_file"] = files.backup(after["_fstab"])
    if state in ("mounted", "ephemeral"):
        made = files.make_directories(path)
        _write(after["_fstab"], after["_old"], after["_new"])
        try:
            _mount(ctx, args, before, after)
        except ModuleError:
            _write(after["_fstab"], after["_new"], after["_old"])
            for folder in reversed(made):
                files.remove(folder)
            raise
        return extra
    _write(after["_fstab"], after["_old"], after["_new"])
    if state == "remounted":
        _remount(ctx, args)
    elif state in ("unmounted", "absent") and before.get("mounted"):
        _unmount(ctx, path)
    if before.get("directory") and not after["directory"]:
        _remove_point(path)
    return extra


def predict(ctx, args, before, after):
    """What happens to files."""
    _write(after["_fstab"], after["_old"], after["_new"])
    if args["state"] in ("mounted", "ephemeral"):
        files.make_directories(args["path"])
    elif before.get("directory") and not before["mounted"] and not after["directory"]:
        _remove_point(args["path"])
    return {}


def result(ctx, args, after):
    """The entry, by Ansible's names."""
    values = _entry(args)
    if args["opts_no_log"]:
        values["opts"] = None
    return dict(values, name=values.pop("path"), fstab=args["fstab"])


def _write(path, old, new):
    if old != new:
        files.write_bytes(path, new.encode("utf-8", "surrogateescape"))


def _mount(ctx, args, before, after):
    if before["mounted"]:
        _remount(ctx, args)
    elif args["state"] == "ephemeral":
        options = ["-o", args["opts"]] if args["opts"] else []
        _run(ctx, ["mount"] + options + ["-t", args["fstype"], args["src"], args["path"]])
    else:
        _run(ctx, ["mount"] + _table(args) + [args["path"]])


def _table(args):
    return [] if args["fstab"] == SPEC["fstab"]["default"] else ["-T", args["fstab"]]


def _remount(ctx, args):
    """Give what is mounted its new options; where that cannot be, unmount and mount."""
    options = ["remount"] + ([args["opts"]] if args["opts"] else [])
    try:
        _run(ctx, ["mount"] + _table(args) + ["-o", ",".join(options), args["path"]])
    except ModuleError:
        if args["state"] == "ephemeral":
            raise
        _unmount(ctx, args["path"])
        _run(ctx, ["mount"] + _table(args) + [args["path"]])


def _unmount(ctx, path):
    for _ in range(LAYERS):
        if fstab.mounted(path) is None:
            return
        _run(ctx, ["umount", path])


def _remove_point(path):
    if files.kind(path) == "directory" and files.names(path):
        raise ModuleError("%s is unmounted but not empty: it stays" % path)
    files.remove(path)


def _run(ctx, argv):
    if os.geteuid() != 0:
        raise ModuleError("only root can change what is mounted: add `become: true`")
    program = ctx.which(argv[0])
    if program is None:
        raise ModuleError("this board has no program %s (package mount)" % argv[0])
    rc, stdout, stderr = ctx.run([program] + argv[1:], timeout=DEADLINE, env={"LC_ALL": "C"})
    if rc != 0:
        raise ModuleError("%s failed: %s" % (argv[0], stderr.strip() or stdout.strip() or rc), rc=rc, stderr=stderr)
