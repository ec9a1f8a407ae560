"""One module run: check mode, diff, idempotence and verification, once for all modules. Faults become results."""

import errno
import os

from . import diff, specs
from .context import Context, ModuleError
from .files import Unknown
from .modules import load

FULL = (errno.ENOSPC, errno.EDQUOT)


def perform(task, args, check, show_diff, services, *, limit=None):
    """Carry out one item of a task once -> its result. Never raises for what a module does.

    After `limit` seconds it is stopped, and its result has `timedout`.
    """
    environment = {str(key): str(value) for key, value in (task.get("environment") or {}).items()}
    ctx = Context(check, show_diff, environment, services)
    services.recorder.begin(check, task)
    before = dict(os.environ) if environment else None
    os.environ.update(environment)
    try:
        outcome = _run_module(ctx, task["module"], args, limit)
    except Unknown as error:
        outcome = {"changed": True, "unknown": True, "msg": error.msg}
    except ModuleError as error:
        outcome = dict(error.values, failed=True, msg=error.msg)
    except OSError as error:
        outcome = {"failed": True, "msg": os_error_message(error)}
    except Exception as error:
        outcome = {"failed": True, "msg": "%s: %s" % (type(error).__name__, error), "exception": _traceback()}
    finally:
        if before is not None:
            _restore_environment(before)
    services.recorder.end(task, outcome)
    return outcome


def os_error_message(error):
    """What happened, for a person, naming the path."""
    path = error.filename if error.filename is not None else ""
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    where = " (%s)" % path if path else ""
    if error.errno in FULL:
        return "no space left on the board's disk%s" % where
    if error.errno == errno.EFBIG:
        return "the file is larger than this board allows%s" % where
    if error.errno == errno.EROFS:
        return "the board's file system is read-only%s" % where
    if error.errno in (errno.EACCES, errno.EPERM):
        return "permission denied%s: the task may need become" % where
    return "%s%s" % (error.strerror or error, where)


def _run_module(ctx, name, args, limit):
    if not limit:
        return _run_to_its_end(ctx, name, args)
    from . import deadline

    try:
        return deadline.within(limit, _run_to_its_end, ctx, name, args)
    except deadline.TaskTimedOut:
        raise ModuleError("Task failed: Timed out after %g second(s)." % limit, timedout={"period": limit})


def _run_to_its_end(ctx, name, args):
    clean, problems = specs.validate(name, args)
    if problems:
        raise ModuleError("; ".join(problem.message for problem in problems))
    module = load(name)
    if getattr(module, "RUNS_ON", "board") != "board":
        raise ModuleError("the module %s runs on the controller, not on a board" % name)
    if hasattr(module, "act"):
        if ctx.check and module.CHECK == "skip":
            return {"changed": False, "skipped": True, "msg": "%s does nothing in check mode" % name}
        outcome = module.act(ctx, clean)
        outcome.setdefault("changed", False)
        return outcome
    return _converge(ctx, module, name, clean)


def _converge(ctx, module, name, args):
    """The loop of every state module: look, compare, apply, look again."""
    before, after = module.inspect(ctx, args)
    outcome = {"changed": _public(before) != _public(after)}
    if outcome["changed"] and ctx.diff:
        outcome["diff"] = diff.of_states(before, after, str(args.get("path") or args.get("dest") or name))
    if outcome["changed"] and not ctx.check:
        outcome.update(module.apply(ctx, args, before, after) or {})
        _verify(ctx, module, args)
    elif outcome["changed"] and hasattr(module, "predict"):
        module.predict(ctx, args, before, after)
    if hasattr(module, "result"):
        outcome.update(module.result(ctx, args, after) or {})
    return outcome


def _verify(ctx, module, args):
    """A second look must find nothing left to do. VERIFY is a boolean or a function of the arguments."""
    verify = getattr(module, "VERIFY", True)
    if not (verify(args) if callable(verify) else verify):
        return
    before, after = (_public(state) for state in module.inspect(ctx, args))
    left = sorted(key for key in set(before) | set(after) if before.get(key) != after.get(key))
    if left:
        details = ["%s is %r, wanted %r" % (key, before.get(key), after.get(key)) for key in left if key != "content"]
        details = details or ["the content still differs"]
        raise ModuleError("the change was made but did not last: " + "; ".join(details), changed=True)


def _public(state):
    return {key: value for key, value in state.items() if not key.startswith("_")}


def _restore_environment(before):
    for key in set(os.environ) - set(before):
        del os.environ[key]
    for key, value in before.items():
        if os.environ.get(key) != value:
            os.environ[key] = value


def _traceback():
    import traceback

    return traceback.format_exc()
