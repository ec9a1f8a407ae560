"""make: have make bring targets up to date."""

import os
import shlex

from .. import files
from ..context import ModuleError

SPEC = {
    "chdir": {"type": "path", "required": True},
    "target": {"type": "str"},
    "targets": {"type": "list", "elements": "str"},
    "params": {"type": "dict"},
    "file": {"type": "path"},
    "jobs": {"type": "int"},
    "make": {"type": "path"},
}
RULES = {"mutually_exclusive": [["target", "targets"]]}
CHECK = "run"  # make itself tells what it would do
EXAMPLE = {"chdir": "/opt/src/tvm", "target": "runtime", "jobs": 4, "params": {"USE_OPENCL": "ON"}}
UP_TO_DATE = 0  # exit code of make -q


def act(ctx, args):
    """Ask make whether there is work (make -q); if so, and not in check mode, have it done."""
    shown = {key: args[key] for key in ("target", "targets", "params", "chdir", "file", "jobs")}
    folder = args["chdir"]
    if not os.path.isdir(folder):
        if ctx.check and (files.is_directory(folder) or files.unsure()):
            return dict(shown, changed=True, msg="an earlier task would make the folder %s" % folder)
        raise ModuleError("the folder %s does not exist" % folder, **shown)
    program = ctx.which(args["make"]) if args["make"] else ctx.which("gmake") or ctx.which("make")
    if program is None:
        if ctx.check:
            return dict(shown, changed=True, msg="make is not on this board yet")
        raise ModuleError("this board has no program %s" % (args["make"] or "make (package make)"), **shown)
    argv = [program] + _words(args)
    shown["command"] = " ".join(shlex.quote(word) for word in argv)
    rc, stdout, stderr = ctx.run(argv + ["-q"], cwd=folder)
    if rc == UP_TO_DATE or ctx.check:
        return dict(shown, changed=rc != UP_TO_DATE, stdout=stdout, stderr=stderr)
    rc, stdout, stderr = ctx.run(argv, cwd=folder)
    if rc != 0:
        last = (stderr.strip() or stdout.strip() or "exit code %d" % rc).splitlines()[-1]
        raise ModuleError("make failed: %s" % last, rc=rc, stdout=stdout, stderr=stderr, **shown)
    return dict(shown, changed=True, stdout=stdout, stderr=stderr)


def _words(args):
    words = []
    if args["jobs"] is not None:
        words += ["-j", str(args["jobs"])]
    if args["file"] is not None:
        words += ["-f", args["file"]]
    words += [args["target"]] if args["target"] else []
    words += args["targets"] or []
    params = sorted((args["params"] or {}).items())
    return words + [key if value is None else "%s=%s" % (key, value) for key, value in params]
