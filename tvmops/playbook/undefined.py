"""Values that are not there: what Jinja gets for unknown names, and what `omit` is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import jinja2
from jinja2.runtime import Undefined
from jinja2.utils import missing

from tvmops.playbook.faults import TemplateFault, UndefinedFault


class UndefinedUsed(jinja2.UndefinedError):
    """An undefined value was used. `name` was looked up; `fault` is set when a variable's own text is at fault."""

    def __init__(self, message: str, name: str | None, owner: Any, fault: TemplateFault | None) -> None:
        super().__init__(message)
        self.name = name
        self.owner = owner
        self.fault = fault


class Missing(Undefined):
    """Undefined as Ansible has it: every use is an error, but `a.b.c | default(1)` may ask for parts of it."""

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: type[Exception] = UndefinedUsed,  # noqa: ARG002 (Jinja passes it)
        fault: TemplateFault | None = None,
    ) -> None:
        super().__init__(hint, obj, name, jinja2.UndefinedError)
        self.fault = fault

    def _used(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        if self.fault is not None:
            raise UndefinedUsed(self.fault.problem, self._undefined_name, missing, self.fault)
        owner = self._undefined_obj
        if self._undefined_hint:
            message = self._undefined_hint
        elif owner is missing:
            message = f"'{self._undefined_name}' is undefined"
        else:
            kind = "dictionary" if isinstance(owner, Mapping) else type(owner).__name__
            message = f"the {kind} has no key or attribute '{self._undefined_name}'"
        raise UndefinedUsed(message, self._undefined_name, owner, None)

    def check(self) -> None:
        """Raise when this is not just undefined, but the outcome of a mistake."""
        if self.fault is not None and not isinstance(self.fault, UndefinedFault):
            self._used()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, _key: Any) -> Missing:  # type: ignore[override]
        return self

    __hash__ = _used
    __iter__ = __str__ = __len__ = __bool__ = __eq__ = __ne__ = __contains__ = _used
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __div__ = __rdiv__ = _used
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _used
    __pos__ = __neg__ = __call__ = __lt__ = __le__ = __gt__ = __ge__ = _used
    __int__ = __float__ = __complex__ = __pow__ = __rpow__ = _used

    def __repr__(self) -> str:
        return "Undefined"


class Omit:
    """The type of `omit`: an argument with this value is as if it had not been written."""

    def __repr__(self) -> str:
        return "omit"

    def __str__(self) -> str:
        raise jinja2.UndefinedError("'omit' cannot be part of a longer text")


OMIT = Omit()
