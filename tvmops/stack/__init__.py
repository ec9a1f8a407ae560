"""Stacks: named, locked versions of TVM; their compiling environments; the runtime artifacts that boards get."""

from tvmops.stack.artifact import Artifact, read_version_file
from tvmops.stack.board import artifact_variables, board_architecture, board_python, check_board, release_variables
from tvmops.stack.environment import ensure_environment, environment_path
from tvmops.stack.spec import Stack, load_stack, stack_names
from tvmops.stack.wheel_artifact import ensure_artifact

__all__ = [
    "Artifact",
    "Stack",
    "artifact_variables",
    "board_architecture",
    "board_python",
    "check_board",
    "ensure_artifact",
    "ensure_environment",
    "environment_path",
    "load_stack",
    "read_version_file",
    "release_variables",
    "stack_names",
]
