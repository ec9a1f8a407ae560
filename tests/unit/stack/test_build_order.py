"""Orders of builds: what a stack's server wants of the options."""

from __future__ import annotations

import dataclasses

import pytest

from tvmops.errors import StackError
from tvmops.stack import load_stack
from tvmops.stack.build_order import check_server


def test_a_cpp_server_must_be_built() -> None:
    stack = dataclasses.replace(load_stack("relay-0.19"), server="cpp")
    for value in ("ON", "TRUE", "1"):
        check_server(stack, "runtime", {"USE_CPP_RPC": value})
    check_server(stack, "full", {})
    check_server(load_stack("relay-0.19"), "runtime", {})
    for options in ({}, {"USE_CPP_RPC": "OFF"}):
        with pytest.raises(StackError, match=r"run TVM's C\+\+ server, but USE_CPP_RPC is not ON"):
            check_server(stack, "runtime", options)
