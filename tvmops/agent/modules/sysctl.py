"""sysctl: a kernel setting, in a file that is read at boot and in the running kernel."""

import os

from .. import files
from ..context import ModuleError
from ..specs import FALSE_WORDS, TRUE_WORDS

SPEC = {
    "name": {"type": "str", "required": True, "aliases": ["key"]},
    "value": {"type": "raw", "aliases": ["val"]},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "sysctl_file": {"type": "path", "default": "/etc/sysctl.conf"},
    "sysctl_set": {"type": "bool", "default": False},
    "reload": {"type": "bool", "default": True},
    "ignoreerrors": {"type": "bool", "default": False},
}
RULES = {"required_if": [["state", "present", ["value"]]]}
EXAMPLE = {"name": "vm.swappiness", "value": "10", "sysctl_file": "/etc/sysctl.d/60-board.conf"}
# The kernel may store another number than it was given (-1, 0x10, a limit of its own).
VERIFY = False
KERNEL = "/proc/sys"
DEADLINE = 60  # seconds
COMMENT = ("#", ";")


def inspect(ctx, args):
    """The file's text and the kernel's value as they are, and as they should be."""
    name, value = args["name"].strip(), text_of(args["value"])
    if isinstance(args["value"], (list, dict)) or not name or any(letter in name + value for letter in "\n\0"):
        raise ModuleError("%r = %r is no kernel setting" % (name, value))
    path = os.path.realpath(args["sysctl_file"])
    old = files.read(path).decode("utf-8", "surrogateescape") if files.exists(path) else ""
    before, after = {"content": old}, {"content": edited(old, name, value, args["state"]), "_path": path}
    after.update(_name=name, _value=value)
    if args["state"] == "present" and (args["sysctl_set"] or args["reload"]):
        known = current(name)
        if known is not None or not args["ignoreerrors"]:
            before["kernel"] = known
            after["kernel"] = known if known is not None and known.split() == value.split() else value
    return before, after


def apply(ctx, args, before, after):
    """Set it in the kernel when asked to, write the file, and load the file."""
    if args["sysctl_set"] and before.get("kernel") != after.get("kernel"):
        _set(after["_name"], after["_value"], args["ignoreerrors"])
    predict(ctx, args, before, after)
    if args["reload"]:
        _load(ctx, args["sysctl_file"], args["ignoreerrors"])
    if before.get("kernel") == after.get("kernel"):
        return {}
    text = "%s = %s, was %s" % (after["_name"], after["_value"], before["kernel"])
    return {"_undo": [{"kind": "kernel setting", "text": text}]}


def predict(ctx, args, before, after):
    """What happens to files."""
    if before["content"] != after["content"]:
        files.write_bytes(after["_path"], after["content"].encode("utf-8", "surrogateescape"))
    return {}


def text_of(value):
    """A value as a file has it; YAML's and Ansible's words for true and false are 1 and 0."""
    if isinstance(value, bool):
        return "1" if value else "0"
    text = "" if value is None else str(value).strip()
    if text.lower() in TRUE_WORDS:
        return "1"
    return "0" if text.lower() in FALSE_WORDS else text


def edited(text, name, value, state):
    """The file's text with one line for the setting, or none. Other lines stay as they are."""
    kept, done = [], False
    for line in text.splitlines(True):
        key, found = _setting(line)
        if key != name:
            kept.append(line)
        elif state == "present" and not done:
            done = True
            newline = line if found == value else "%s=%s\n" % (name, value)
            kept.append(newline)
    if state == "present" and not done:
        if kept and not kept[-1].endswith("\n"):
            kept[-1] += "\n"
        kept.append("%s=%s\n" % (name, value))
    return "".join(kept)


def _setting(line):
    """(name, value) of a line; (None, None) for comments and others."""
    if line.strip().startswith(COMMENT) or "=" not in line:
        return None, None
    key, _, value = line.partition("=")
    return key.strip(), value.strip()


def kernel_path(name):
    """The file of /proc/sys for a setting. As for sysctl(8), whichever of . and / comes first separates."""
    if "/" not in name or 0 <= name.find(".") < name.find("/"):
        name = name.translate({ord("."): "/", ord("/"): "."})
    return os.path.join(KERNEL, *[part for part in name.split("/") if part not in ("", ".", "..")])


def current(name):
    """The kernel's value, or None when it has no such setting, or tells nobody."""
    try:
        with open(kernel_path(name)) as source:
            return source.read().strip()
    except (IOError, OSError):
        return None


def _set(name, value, ignore):
    try:
        with open(kernel_path(name), "w") as target:
            target.write(value + "\n")
    except (IOError, OSError) as error:
        if not ignore:
            raise ModuleError("the kernel does not take %s = %s: %s" % (name, value, error.strerror))


def _load(ctx, path, ignore):
    program = ctx.which("sysctl")
    if program is None:
        raise ModuleError("this board has no program sysctl (package procps); reload: false does without")
    rc, stdout, stderr = ctx.run([program] + (["-e"] if ignore else []) + ["-p", path], timeout=DEADLINE)
    if rc != 0 and not ignore:
        said = stderr.strip() or stdout.strip() or "exit code %d" % rc
        raise ModuleError("sysctl -p %s failed: %s" % (path, said), rc=rc, stdout=stdout, stderr=stderr)
