"""_script: run a program that the controller sends, for the controller's script."""

import os
import shlex
import shutil
import tempfile

from ..context import ModuleError
from .command import run

SPEC = {
    "name": {"type": "str", "default": "script"},
    "arguments": {"type": "str", "default": ""},
    "chdir": {"type": "path"},
    "creates": {"type": "path"},
    "removes": {"type": "path"},
    "executable": {"type": "str"},
}
CHECK = "run"  # creates and removes decide also in check mode
SHELL = "/bin/sh"


def act(ctx, args):
    """Run the blob unless `creates` or `removes` says that it need not run. `arguments` are a shell's words."""
    if args["chdir"] is not None and not args["chdir"].startswith("/"):
        raise ModuleError("chdir must be an absolute path, not %s" % args["chdir"])
    reason = _needless(args)
    if reason is not None:
        return {"changed": False, "skipped": True, "msg": reason}
    if ctx.check:
        if args["creates"] is None and args["removes"] is None:
            return {"changed": False, "skipped": True, "msg": "a script is not run in check mode"}
        return {"changed": True}
    folder = tempfile.mkdtemp(prefix="script-", dir=ctx.tmpdir)
    try:
        program = os.path.join(folder, os.path.basename(args["name"]) or "script")
        shutil.copyfile(ctx.blob(args["_blob"]["sha256"]), program)
        os.chmod(program, 0o700)
        return _run(ctx, args, program)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _needless(args):
    """Why the program need not run, or None. As Ansible's script: plain paths, relative to the home folder."""
    if args["creates"] is not None and os.path.exists(os.path.expanduser(args["creates"])):
        return "%s exists, matching creates option" % args["creates"]
    if args["removes"] is not None and not os.path.exists(os.path.expanduser(args["removes"])):
        return "%s does not exist, matching removes option" % args["removes"]
    return None


def _run(ctx, args, program):
    words = [args["executable"], shlex.quote(program), args["arguments"]]
    line = " ".join(word for word in words if word)
    options = {"creates": None, "removes": None, "stdin": None, "strip_empty_ends": False, "chdir": args["chdir"]}
    outcome = run(ctx, options, [SHELL, "-c", line], line)
    del outcome["cmd"]  # it names a file that is gone
    return outcome
