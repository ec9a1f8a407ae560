"""assert: fail unless every expression is true. Runs on the controller."""

RUNS_ON = "controller"
SPEC = {
    "that": {"type": "raw", "required": True},
    "fail_msg": {"type": "raw", "aliases": ["msg"]},
    "success_msg": {"type": "raw"},
    "quiet": {"type": "bool", "default": False},
}
EXAMPLE = {"that": ["ansible_memtotal_mb > 400"], "fail_msg": "too little memory for an RPC server"}
