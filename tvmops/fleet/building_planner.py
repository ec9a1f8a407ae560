"""Making the plan: facts to ABIs, ABIs to builders and toolchains, those to build keys, keys to what the store has."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from tvmops.connection import connect
from tvmops.errors import ConfigError, StackError, TvmopsError
from tvmops.fleet.building_plan import CROSS, HERE, HOST, NATIVE, Asked, Board, Build, BuildPlan
from tvmops.fleet.facts import known_or_gathered
from tvmops.inventory.model import Host, Inventory
from tvmops.paths import cache_dir, user_path
from tvmops.source import did_you_mean
from tvmops.stack.abi import Abi, abi_of, foreseeable, mismatches
from tvmops.stack.artifact import Artifact
from tvmops.stack.build_order import BuildOrder, check_server
from tvmops.stack.config import render_config
from tvmops.stack.fit import reasons_against
from tvmops.stack.llvm import choose_llvm
from tvmops.stack.probing import Probe, probe_here, probe_host
from tvmops.stack.sources import SourceTree, fetch_source, lacking
from tvmops.stack.spec import Stack, load_stack, stack_name
from tvmops.stack.store import Store
from tvmops.stack.toolchain import Toolchain, for_arch
from tvmops.stack.versions import release

FACTS_AGE = 60.0  # seconds: as for provisioning
Say = Callable[[str], None]


class Planner:
    """Plans one `tvmops build`. What is slow (probing a builder, fetching sources) is done once."""

    def __init__(self, inventory: Inventory, asked: Asked, store: Store, say: Say) -> None:
        self.inventory = inventory
        self.asked = asked
        self.store = store
        self.say = say
        self._probes: dict[str, Probe] = {}
        self._sources: dict[str, SourceTree] = {}

    def plan(self, hosts: Sequence[Host]) -> BuildPlan:
        """The plan for these hosts. Raises ConfigError, and StackError for what concerns all of them."""
        boards = self._boards(hosts)
        plan = BuildPlan(boards, [], [board for board in boards if not board.stack.is_built and not board.refused])
        if plan.wheels and self.asked.target == "full":
            raise ConfigError(
                f"--target full: stack {plan.wheels[0].stack.name} is made from wheels",
                f"its compiler: tvmops env.create --stack {plan.wheels[0].stack.name}",
            )
        groups: dict[tuple[str, ...], list[Board]] = {}
        for board in boards:
            if board.stack.is_built and not board.refused:
                groups.setdefault(self._group(board), []).append(board)
        builds: dict[str, Build] = {}
        for members in groups.values():
            self._add(builds, members)
        plan.builds = [build for build in builds.values() if build.boards]
        return plan

    def _boards(self, hosts: Sequence[Host]) -> list[Board]:
        stacks: dict[str, Stack] = {}
        for host in hosts:
            name = self._stack_name(host)
            stacks[name] = stacks.get(name) or load_stack(name)
        self.say(f"facts of {len(hosts)} {'board' if len(hosts) == 1 else 'boards'}")
        facts = known_or_gathered(hosts, max_age=FACTS_AGE)
        return [self._board(host, stacks[self._stack_name(host)], facts[host.name]) for host in hosts]

    def _stack_name(self, host: Host) -> str:
        return stack_name(host.vars, self.asked.stack or "")

    def _board(self, host: Host, stack: Stack, facts: Mapping[str, Any] | TvmopsError) -> Board:
        if isinstance(facts, TvmopsError):
            return Board(host, stack, None, Abi(""), [f"it gave no facts: {facts.message}"])
        board = Board(host, stack, facts, abi_of(facts))
        board.refused = list(reasons_against(stack, facts))
        return board

    def _builder(self, board: Board) -> str:
        return str(self.asked.builder or board.host.vars.get("tvm_builder") or CROSS)

    def _group(self, board: Board) -> tuple[str, ...]:
        """Boards with equal answers here are served by one build."""
        names = ("tvm_build_options", "tvm_build_flags", "tvm_build_sysroot", "tvm_build_static_libstdcxx")
        builder = self._builder(board)
        # What a board builds itself is linked with its own libraries.
        abi = str(board.abi) if builder == NATIVE else board.abi.machine
        wanted = json.dumps([board.host.vars.get(name) for name in names], sort_keys=True, default=str)
        return board.stack.name, abi, builder, wanted

    def _add(self, builds: dict[str, Build], members: list[Board]) -> None:
        first = members[0]
        builder = self._builder(first)
        try:
            where = self._where(builder, first)
            order = self._order(first, where)
            build = builds.get(order.key)
            if build is None:
                build = Build(order, builder, where, self._folder(order, where), [], self._stored(order.key))
        except StackError as error:
            reason = f"{error.message}; {error.hint}" if error.hint else error.message
            for board in members:
                board.refused.append(reason)
            return
        builds[order.key] = build
        for board in members:
            board.refused += self._misfits(build, board)
            if not board.refused:
                build.boards.append(board)

    def _folder(self, order: BuildOrder, where: str) -> str:
        """The work folder: one for a stack and machine, not for a key, so that only what changed is compiled again."""
        top = cache_dir() if where == HERE else PurePosixPath(self._probe(where).home) / ".cache" / "tvmops"
        return str(top / "build" / f"{order.stack.name}-{order.machine}-{order.target}")

    def _misfits(self, build: Build, board: Board) -> list[str]:
        assert board.facts is not None
        if build.artifact is not None:
            return mismatches(build.artifact.manifest, board.facts)
        return foreseeable(build.order.linked_glibc, board.facts)

    def _stored(self, key: str) -> Artifact | None:
        try:
            return self.store.find(key)
        except StackError as error:
            self.say(f"{error.message}: it will be built again")
            return None

    def _where(self, builder: str, board: Board) -> str:
        """The name of the host that builds. Raises ConfigError."""
        if builder == CROSS:
            return HERE
        if builder == NATIVE:
            return board.host.name
        name = builder.removeprefix(HOST)
        if builder == name:
            place = board.host.origins.get("tvm_builder", "") if not self.asked.builder else "--builder"
            raise ConfigError(f"{place}: there is no builder '{builder}'", "builders: cross, native, host:NAME")
        if name not in self.inventory.hosts:
            raise ConfigError(f"builder {builder}: no such host", did_you_mean(name, list(self.inventory.hosts)))
        return name

    def _order(self, board: Board, where: str) -> BuildOrder:
        stack, target = board.stack, self.asked.target
        toolchain = self._toolchain(board, where)
        source = self._source(stack)
        if target == "full" and not source.complete:
            raise StackError(
                f"a full compiler cannot be built from {source.origin}: it has the runtime's headers only",
                f"sources of {stack.name}: {', '.join(stack.sources)} (--source NAME, or a checkout's path)",
            )
        self._refuse_crossed(toolchain, where)
        llvm = toolchain.llvm.config_value if toolchain.llvm and target == "full" else None
        exists = os.path.exists if where == HERE else (lambda _path: True)  # another machine's paths are unknown
        config = render_config(stack, target, board.host.vars, self.asked.overrides, source.folder, llvm, exists=exists)
        check_server(stack, target, config.options)
        missing = lacking(source, config.options)
        if missing:
            raise StackError("; ".join(missing), "name a complete source with --source, or switch the option off")
        settings = {"most_jobs": self.asked.jobs}
        return BuildOrder(stack, target, self.asked.build_type, source, config, toolchain, settings)

    def _refuse_crossed(self, toolchain: Toolchain, where: str) -> None:
        """Raise StackError for a compiler whose LLVM is another machine's: the linker would say so after hours."""
        machine = self._probe(where).machine
        if self.asked.target == "full" and toolchain.arch != machine:
            raise StackError(
                f"a full compiler for {toolchain.arch} cannot be linked with the builder's LLVM, that is for {machine}",
                "build it on a machine of that kind: --builder native, or host:NAME",
            )

    def _toolchain(self, board: Board, where: str) -> Toolchain:
        """What compiles for the board there. Raises StackError with everything that stands against it."""
        variables = board.host.vars
        flags = _flags(board)
        sysroot = _sysroot(variables)
        if sysroot and where != HERE:
            raise StackError("tvm_build_sysroot is a folder of this machine", f"builder cross, not one on {where}")
        toolchain = for_arch(
            self._probe(where),
            board.abi.arch,
            sysroot=sysroot,
            static_libstdcxx=str(variables.get("tvm_build_static_libstdcxx", "")).lower() in ("true", "yes", "on", "1"),
            flags=flags,
        )
        needs = release(board.stack.tag)
        if self.asked.target == "full":
            toolchain = toolchain.with_llvm(choose_llvm(self._probe(where), needs))
        reasons = toolchain.requirements(needs, self.asked.target)
        if reasons:
            place = "this machine" if where == HERE else where
            raise StackError(f"{place} cannot build it: {'; '.join(str(reason) for reason in reasons)}")
        return toolchain

    def _probe(self, where: str) -> Probe:
        if where not in self._probes:
            self.say(f"looking for compilers {'here' if where == HERE else 'on ' + where}")
            self._probes[where] = probe_here() if where == HERE else self._probe_far(self.inventory.hosts[where])
        return self._probes[where]

    def _probe_far(self, host: Host) -> Probe:
        try:
            connection = connect(host)
            try:
                return probe_host(connection)
            finally:
                connection.close()
        except StackError:
            raise
        except TvmopsError as error:
            raise StackError(f"the builder {host.name}: {error.message}", error.hint) from error

    def _source(self, stack: Stack) -> SourceTree:
        if stack.name not in self._sources:
            self._sources[stack.name] = fetch_source(stack, self.asked.source, self.say, sha256=self.asked.sha256)
        return self._sources[stack.name]


def _sysroot(variables: Mapping[str, Any]) -> str | None:
    given = str(variables.get("tvm_build_sysroot") or "")
    return str(user_path(given).absolute()) if given else None


def _flags(board: Board) -> list[str]:
    given = board.host.vars.get("tvm_build_flags") or []
    place = board.host.origins.get("tvm_build_flags", "the inventory")
    if not isinstance(given, (str, list, tuple)):
        raise ConfigError(f"{place}: tvm_build_flags is {given!r}", "write a list: [-mcpu=cortex-a53]")
    flags = given.split() if isinstance(given, str) else [str(one) for one in given]
    native = [flag for flag in flags if flag in ("-march=native", "-mcpu=native", "-mtune=native")]
    if native:
        raise ConfigError(
            f"{place}: {native[0]} depends on the machine that compiles", "name the processor, e.g. -mcpu=cortex-a53"
        )
    return flags
