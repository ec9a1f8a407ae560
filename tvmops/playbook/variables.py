"""Variables in layers, looked up when a template asks for them, by Ansible's precedence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Protocol

from tvmops.playbook.faults import Pending, TemplateFault
from tvmops.playbook.undefined import Missing
from tvmops.playbook.values import Value, prepare
from tvmops.source import Map, Position


class Layer(Protocol):
    """Names and values of one origin."""

    @property
    def values(self) -> Mapping[str, Any]:
        """Names and values as they were given."""

    def get(self, name: str, scope: Scope) -> Any:
        """The value of a name that is in `values`."""


class Written:
    """Variables that a user wrote: their texts may hold templates, worked out when they are looked up."""

    def __init__(self, values: Mapping[str, Any], origins: Mapping[str, str] | None = None) -> None:
        self.values: Mapping[str, Any] = values
        self._origins = origins or {}
        self._prepared: dict[str, Value] = {}

    def position(self, name: str) -> Position | None:
        """Where the value stands, as far as it is known."""
        if isinstance(self.values, Map):
            return self.values.at(name) if self.values.at(name).path else None
        path, _, line = self._origins.get(name, "").rpartition(":")
        return Position(path, int(line)) if path and line.isdigit() else None

    def get(self, name: str, scope: Scope) -> Any:
        value = self._prepared.get(name)
        if value is None:
            value = self._prepared[name] = prepare(self.values[name], self.position(name))
        return value.loose(scope) if value.constant else scope.within(name, value, self.position(name))


class Known:
    """Values that are what they are: facts, registered results, loop items. Never read as templates."""

    def __init__(self, values: dict[str, Any] | None = None) -> None:
        self.values: dict[str, Any] = {} if values is None else values

    def get(self, name: str, scope: Scope) -> Any:  # noqa: ARG002
        value = self.values[name]
        if isinstance(value, Awaited):
            raise Pending(name)
        return value


# How a result says that nobody knows what the task would do, and that only what it would say is not known.
UNFORESEEN = ("unknown", "unforeseen")


class Results(Known):
    """Registered results and facts that tasks set, and which of them a check run could not know.

    `unforeseen`: names of set facts that were worked out of such results; `guesses`: names of what nobody knows that
    were looked up since it was last emptied.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unforeseen: set[str] = set()
        self.guesses: set[str] = set()

    def get(self, name: str, scope: Scope) -> Any:
        value = super().get(name, scope)
        if name in self.unforeseen or (isinstance(value, dict) and any(value.get(one) is True for one in UNFORESEEN)):
            self.guesses.add(name)
        return value


class Awaited:
    """Stands for a registered result that the board has yet to give."""


AWAITED = Awaited()

# Connection settings are never facts, whatever their prefix; ansible_hostname and ansible_user_id are.
_NOT_FACTS = frozenset((
    "ansible_host", "ansible_port", "ansible_user", "ansible_connection", "ansible_become",
    "ansible_python_interpreter", "ansible_password", "ansible_managed", "ansible_search_path",
))  # fmt: skip
_NEVER_FACTS = ("ansible_become_", "ansible_ssh_", "ansible_shell_")

FACT_MODULES = ("setup", "hostname", "package_facts", "service_facts")
_OTHER_FACTS = ("ansible_facts", "packages", "services")


class Facts(Known):
    """A host's facts, under `ansible_facts` and each by its own name. `awaited`: a module has yet to give some."""

    def __init__(self) -> None:
        super().__init__({"ansible_facts": {}})
        self.awaited = False

    def learn(self, facts: Mapping[str, Any]) -> None:
        """Add what a module reported. Under `ansible_facts` the prefix `ansible_` is left out."""
        known = dict(self.values.get("ansible_facts") or {})
        for name, value in facts.items():
            short = name.removeprefix("ansible_")
            known[short] = value
            self.values["ansible_local" if short == "local" else name] = value
        self.values["ansible_facts"] = known

    def could_have(self, name: str) -> bool:
        """True when the answer of a module that gives facts may hold this name."""
        known = name.startswith("ansible_") and name not in _NOT_FACTS and not name.startswith(_NEVER_FACTS)
        return known or name in _OTHER_FACTS


class Scope(Mapping[str, Any]):
    """All that one host's templates see at one moment; layers from the strongest to the weakest."""

    __slots__ = ("_active", "_layers")

    def __init__(self, layers: list[Layer], active: list[str] | None = None) -> None:
        self._layers = [layer for layer in layers if layer.values]
        self._active = [] if active is None else active

    def __getitem__(self, name: str) -> Any:
        for layer in self._layers:
            if type(layer) is Facts and layer.awaited and layer.could_have(name):
                raise Pending(name)
            if name in layer.values:
                return layer.get(name, self)
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(name in layer.values for layer in self._layers)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def names(self) -> list[str]:
        """Every name that has a value here."""
        return list(dict.fromkeys(name for layer in self._layers for name in list(layer.values)))

    def get(self, name: str, default: Any = None) -> Any:
        """As Mapping.get."""
        try:
            return self[name]
        except KeyError:
            return default

    def over(self, *layers: Layer) -> Scope:
        """This scope under some stronger layers."""
        return Scope([*layers, *self._layers], self._active)

    def within(self, name: str, value: Value, position: Position | None) -> Any:
        """Work out a variable's own text; a variable that needs itself is a fault."""
        if name in self._active:
            chain = " -> ".join([*self._active[self._active.index(name) :], name])
            raise TemplateFault(
                position, f"'{name}' is defined by itself: {chain}", "break the circle with another name"
            )
        self._active.append(name)
        try:
            return value.loose(self)
        except TemplateFault as fault:
            # Jinja looks up every name of a template, also those it does not come to use.
            return Missing(name=name, fault=fault)
        finally:
            self._active.pop()

    def awaits(self, name: str) -> bool:
        """True when a name is a registered result that the board has yet to give, and nothing hides it."""
        for layer in self._layers:
            if type(layer) is Facts and layer.awaited and layer.could_have(name):
                return False
            if name in layer.values:
                return layer.values[name] is AWAITED
        return False

    def written(self, name: str) -> bool:
        """True when a user gave this variable, whatever its value."""
        return name in self


class OtherHost(Scope):
    """Another host's variables, some of which its own run may be about to set.

    `settle` is called before such a name is looked up; `moves` waits a moment and says whether its run goes on.
    """

    __slots__ = ("_given", "_moves", "_settle")

    def __init__(
        self, layers: list[Layer], given: Layer, settle: Callable[[], None], moves: Callable[[], bool]
    ) -> None:
        super().__init__(layers)
        self._given = given
        self._settle = settle
        self._moves = moves

    def __getitem__(self, name: str) -> Any:
        if name not in self._given.values:
            self._settle()
        while True:
            going_on = self._moves()
            try:
                return super().__getitem__(name)
            except Pending:
                # The other host is setting it again at this moment; it does not wait for anyone while it does.
                if not going_on:
                    raise KeyError(name) from None


class HostVariables(Mapping[str, Any]):
    """`hostvars`: each host's variables by its name."""

    def __init__(self, names: Collection[str], scope_of: Callable[[str], Scope]) -> None:
        self._names = names
        self._scope_of = scope_of

    def __getitem__(self, name: str) -> Scope:
        if name not in self._names:
            raise KeyError(name)
        return self._scope_of(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
