"""Links what TVM compiled into a shared library, the same way in every release."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Optional

from ..failures import failing_as


def export_library(library: Any, artifact: Path, compiler: Optional[str], wrapped: Callable[[str], Any]) -> None:
    """It is linked under another name first: `artifact` is whole or absent. `wrapped` is TVM's cross_compiler."""
    part = artifact.with_name("part-" + artifact.name)
    options = {"fcompile": wrapped(compiler)} if compiler else {}
    with failing_as("Compile", f"the library cannot be linked with {compiler or 'the C++ compiler'}"):
        library.export_library(str(part), **options)
    part.replace(artifact)
