"""command: run a program on the board, without a shell."""

import datetime
import glob
import os
import shlex
import time

from .. import files
from ..context import ModuleError
from ..words import split_options

SPEC = {
    "argv": {"type": "list"},
    "cmd": {"type": "str"},
    "chdir": {"type": "path"},
    "creates": {"type": "path"},
    "removes": {"type": "path"},
    "stdin": {"type": "str"},
    "stdin_add_newline": {"type": "bool", "default": True},
    "strip_empty_ends": {"type": "bool", "default": True},
    "expand_argument_vars": {"type": "bool", "default": True},
}
RULES = {
    "required_one_of": [["_raw_params", "cmd", "argv"]],
    "mutually_exclusive": [["_raw_params", "cmd", "argv"]],
}
FREE_FORM = True
CHECK = "run"  # creates and removes decide also in check mode
EXAMPLE = {"cmd": "touch /var/lib/first-boot-done", "creates": "/var/lib/first-boot-done"}


def act(ctx, args):
    """Run the program unless `creates` or `removes` says that it need not run."""
    args = with_free_form(args)
    if args["argv"]:
        argv = [str(word) for word in args["argv"]]
    else:
        try:
            argv = shlex.split(args["cmd"])
        except ValueError as error:
            raise ModuleError("cannot split the command into words: %s" % error)
    if not argv:
        raise ModuleError("no command given", rc=256)
    if args["expand_argument_vars"]:
        argv = [os.path.expanduser(os.path.expandvars(word)) for word in argv]
    return run(ctx, args, argv, argv)


def with_free_form(args):
    """The arguments with the options of free text taken out of it."""
    if args.get("_raw_params") is None:
        return args
    command, options = split_options(args["_raw_params"])
    unknown = sorted(key for key in options if key not in args)
    if unknown:
        raise ModuleError("the command has no option %s" % ", ".join(unknown))
    return dict(args, cmd=command, **options)


def run(ctx, args, argv, shown):
    """Run `argv` under the options that command and shell share -> the result, with `shown` as its cmd."""
    reason = _needless(args)
    if reason is not None:
        said = "Would not run command" if ctx.check else "Did not run command"
        values = {"msg": "%s since %s" % (said, reason), "stdout": "skipped, since %s" % reason}
        return _with_lines(dict(values, changed=False, rc=0, stderr="", cmd=shown))
    if ctx.check:
        decided = args["creates"] is not None or args["removes"] is not None
        values = {"msg": "Command would have run if not in check mode", "stdout": "", "stderr": "", "cmd": shown}
        values.update(rc=0, start=None, end=None, delta=None)
        return dict(_with_lines(values), changed=decided, skipped=not decided, unforeseen=True, _makes=_made(args))
    stdin = args["stdin"]
    if stdin is not None and args["stdin_add_newline"]:
        stdin += "\n"
    started, clock = datetime.datetime.now(), time.monotonic()
    rc, stdout, stderr = ctx.run(argv, stdin=stdin, cwd=args["chdir"])
    delta = datetime.timedelta(seconds=time.monotonic() - clock)
    if args["strip_empty_ends"]:
        stdout, stderr = stdout.rstrip("\r\n"), stderr.rstrip("\r\n")
    values = {"changed": True, "failed": rc != 0, "cmd": shown, "rc": rc, "stdout": stdout, "stderr": stderr}
    values.update(start=str(started), end=str(started + delta), delta=str(delta), msg="")
    if rc != 0:
        values["msg"] = "non-zero return code"
    return _with_lines(values)


def _made(args):
    """The path that the command is said to make, None when there is none."""
    if args["creates"] is None or glob.has_magic(args["creates"]):
        return None
    return os.path.join(args["chdir"] or "", os.path.expanduser(args["creates"]))


def _needless(args):
    def found(pattern):
        return files.matching(os.path.join(args["chdir"] or "", os.path.expanduser(pattern)))

    if args["creates"] is not None and found(args["creates"]):
        return "'%s' exists" % args["creates"]
    if args["removes"] is not None and not found(args["removes"]):
        return "'%s' does not exist" % args["removes"]
    return None


def _with_lines(values):
    values["stdout_lines"] = values["stdout"].splitlines()
    values["stderr_lines"] = values["stderr"].splitlines()
    return values
