"""Stacks: named, locked versions of TVM; their compiling environments; the runtime bundles that boards get."""

from tvmops.stack.board import board_architecture, board_python, bundle_variables, check_board, release_variables
from tvmops.stack.bundle import Bundle, ensure_bundle, read_version_file
from tvmops.stack.environment import ensure_environment, environment_path
from tvmops.stack.spec import Stack, load_stack, stack_names

__all__ = [
    "Bundle",
    "Stack",
    "board_architecture",
    "board_python",
    "bundle_variables",
    "check_board",
    "ensure_bundle",
    "ensure_environment",
    "environment_path",
    "load_stack",
    "read_version_file",
    "release_variables",
    "stack_names",
]
