"""What rpc.up is asked for becomes a plan, or one message."""

from __future__ import annotations

import pytest

from tvmops.errors import ConfigError
from tvmops.inventory import Host
from tvmops.rpc.plan import GatewayPlan, gateway_name, make_plan


def plan(*hosts: Host, port: int = 9190, seconds: float = 60.0, key_by: str = "") -> GatewayPlan:
    return make_plan(
        "boards:!pynq",
        hosts,
        tracker_port=port,
        session_seconds=seconds,
        key_by=key_by,
        version_of={"relay-0.19": "0.19.0"}.__getitem__,
    )


def test_a_key_is_the_variables_or_the_servers_or_the_hosts_name() -> None:
    keyed = Host("b1", {"tvm_rpc_key": "rk3288", "model": "rk"})
    bare = Host("b2", {"model": "pi", "tvm_stack": "relay-0.19"})
    assert [board.key for board in plan(keyed, bare).boards] == ["rk3288", "b2"]
    assert [board.key for board in plan(keyed, bare, key_by="model").boards] == ["rk", "pi"]
    assert [board.version for board in plan(keyed, bare).boards] == ["", "0.19.0"]
    assert plan(bare).listen == "127.0.0.1"


def test_a_plan_survives_the_pipe() -> None:
    made = plan(Host("b1", {"ansible_become_password": "secret", "tvm_rpc_listen": "10.1.2.3"}, groups=("boards",)))
    assert GatewayPlan.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"tvm_rpc_tracker": "10.0.0.1:9190"}, "hosts.yml:3: tvm_rpc_tracker: the RPC server of b1 belongs to"),
        ({"tvm_rpc_listen": "0.0.0.0"}, "hosts.yml:3: tvm_rpc_listen: '0.0.0.0': clients are told this address"),
        ({"tvm_rpc_listen": "desk"}, "hosts.yml:3: tvm_rpc_listen: 'desk': is no IPv4 address"),
        ({"key": "two words"}, "hosts.yml:3: 'two words' cannot be the key of b1"),
        ({}, "--key-by key: b1 has no such variable"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(variables: dict[str, str], message: str) -> None:
    host = Host("b1", variables, dict.fromkeys(variables, "hosts.yml:3"))
    with pytest.raises(ConfigError) as refused:
        plan(host, key_by="key" if message.find("key") >= 0 else "")
    assert str(refused.value).startswith(message)


def test_one_gateway_has_one_address() -> None:
    with pytest.raises(ConfigError, match=r"one gateway listens at one address, but: b1 10.0.0.1, b2 127.0.0.1"):
        plan(Host("b1", {"tvm_rpc_listen": "10.0.0.1"}), Host("b2"))


@pytest.mark.parametrize(("port", "seconds", "option"), [(0, 1, "--tracker-port"), (1, 0, "--session-seconds")])
def test_numbers_that_are_none(port: int, seconds: float, option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        plan(Host("b1"), port=port, seconds=seconds)


@pytest.mark.parametrize(("pattern", "name"), [("boards", "boards"), ("a,b:!c", "a_b_c"), ("../x", "_x"), ("*", "_")])
def test_a_gateways_name_can_be_a_files(pattern: str, name: str) -> None:
    assert gateway_name(pattern) == name
