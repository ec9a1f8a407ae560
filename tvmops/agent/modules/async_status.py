"""async_status: ask how a task that was started with `async` and `poll: 0` is getting on."""

from .. import jobs

SPEC = {
    "jid": {"type": "str", "required": True},
    "mode": {"type": "str", "choices": ["status", "cleanup"], "default": "status"},
}
CHECK = "run"  # asking changes nothing


def act(ctx, args):
    """The job's own result once it has finished; until then, that it has not."""
    if args["mode"] == "cleanup":
        return {"ansible_job_id": args["jid"], "erased": jobs.cleanup(args["jid"])}
    return jobs.status(args["jid"])
