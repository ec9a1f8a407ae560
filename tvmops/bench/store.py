"""The results store: append-only, any database SQLAlchemy knows, SQLite by default. One transaction per job."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, update
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

import tvmops
from tvmops.bench.store_models import (
    SCHEMA_VERSION,
    Base,
    JobRow,
    ProvenanceRow,
    SchemaRow,
    SweepJobRow,
    SweepRow,
)
from tvmops.errors import StoreError
from tvmops.paths import state_dir

SQLITE_BUSY_SECONDS = 30

# from version -> the step to the next one. A step may only add: older rows stay readable.
MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {}


@dataclass(frozen=True)
class Provenance:
    """What a job ran with. See ProvenanceRow."""

    stack: str
    versions: dict[str, Any] = field(default_factory=dict)
    target: dict[str, Any] | None = None
    host_facts: dict[str, Any] | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None

    def row(self) -> ProvenanceRow:
        """The row, named by its content."""
        values = {**self.__dict__, "tvmops_version": tvmops.__version__}
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return ProvenanceRow(id=hashlib.sha256(text.encode()).hexdigest(), **values)


def default_url() -> str:
    """SQLite in the project's state folder."""
    return f"sqlite:///{state_dir() / 'results.sqlite'}"


def utc_now() -> str:
    """The time now, UTC, ISO 8601, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


class Store:
    """One results store. Safe to use from several threads and several processes."""

    def __init__(
        self,
        url: str | None = None,
        *,
        version: int = SCHEMA_VERSION,
        migrations: Mapping[int, Callable[[Connection], None]] = MIGRATIONS,
    ) -> None:
        """Open the store, make or migrate its tables. Raises StoreError when it is newer or cannot be used."""
        self.url = url or default_url()
        self._version = version
        self._migrations = migrations
        try:
            self.engine = _engine(self.url)
            self._writer = self.engine.execution_options(write=True)
            with self._explained():
                self._prepare()
        except OSError as error:
            raise StoreError(f"{self.url}: {error.strerror}", "give a folder that is writable: --store URL") from error
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise StoreError(
                f"--store {self.url}: {error}", "give an SQLAlchemy URL such as sqlite:///results.sqlite"
            ) from error

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    # -- writing ---------------------------------------------------------------------------------------------

    def start_sweep(self, name: str, path: str, definition: dict[str, Any], planned: int) -> int:
        """Note that a sweep starts; its id."""
        row = SweepRow(
            name=name, path=path, definition=definition, status="running", planned=planned, started=utc_now()
        )
        with self._writing() as session:
            session.add(row)
            session.flush()
            return row.id

    def finish_sweep(self, sweep_id: int, status: str, seconds: float) -> None:
        """Note how a sweep ended."""
        with self._writing() as session:
            values = {"status": status, "finished": utc_now(), "seconds": seconds}
            session.execute(update(SweepRow).where(SweepRow.id == sweep_id).values(values))

    def add_job(self, sweep_id: int, row: JobRow, provenance: Provenance) -> int:
        """Store a finished job and its provenance in one transaction; its id."""
        origin = provenance.row()
        with self._writing() as session:
            if session.get(ProvenanceRow, origin.id) is None:
                session.add(origin)
                session.flush()
            row.provenance_id = origin.id
            session.add(row)
            session.flush()
            session.add(SweepJobRow(sweep_id=sweep_id, job_id=row.id, reused=False))
            return row.id

    def reuse_jobs(self, sweep_id: int, job_ids: Iterable[int]) -> None:
        """Make jobs found in the store part of this sweep."""
        with self._writing() as session:
            for job_id in job_ids:
                session.merge(SweepJobRow(sweep_id=sweep_id, job_id=job_id, reused=True))

    # -- reading ---------------------------------------------------------------------------------------------

    def stored(self, keys: Iterable[str]) -> dict[str, JobRow]:
        """The newest successful job of each key that has one."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, JobRow] = {}
        with self._session() as session:
            for start in range(0, len(wanted), 500):
                part = wanted[start : start + 500]
                query = select(JobRow).where(JobRow.key.in_(part), JobRow.ok).order_by(JobRow.id)
                found.update({row.key: row for row in session.scalars(query)})
        return found

    def sweeps(self, name: str | None = None) -> list[SweepRow]:
        """Runs of sweeps, oldest first; only those called `name` if given."""
        query = select(SweepRow).order_by(SweepRow.id)
        if name is not None:
            query = query.where(SweepRow.name == name)
        with self._session() as session:
            return list(session.scalars(query))

    def jobs(self, sweep_id: int) -> list[tuple[JobRow, ProvenanceRow, bool]]:
        """The jobs of a run of a sweep in the order they were stored, with provenance and `reused`."""
        query = (
            select(JobRow, ProvenanceRow, SweepJobRow.reused)
            .join(SweepJobRow, SweepJobRow.job_id == JobRow.id)
            .join(ProvenanceRow, ProvenanceRow.id == JobRow.provenance_id)
            .where(SweepJobRow.sweep_id == sweep_id)
            .order_by(JobRow.id)
        )
        with self._session() as session:
            return [(job, provenance, reused) for job, provenance, reused in session.execute(query)]

    # -- inside ----------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        with self._writer.begin() as connection:
            tables = set(inspect(connection).get_table_names())
            if SchemaRow.__tablename__ not in tables:
                if tables & set(Base.metadata.tables):
                    raise StoreError(f"{self.url}: has tables of ours but no version", "use another file or URL")
                Base.metadata.create_all(connection)
                connection.execute(
                    SchemaRow.__table__.insert().values(  # type: ignore[attr-defined]
                        version=self._version, tvmops_version=tvmops.__version__
                    )
                )
                return
            self._migrate(connection)

    def _migrate(self, connection: Connection) -> None:
        found = connection.execute(select(SchemaRow.version)).scalar_one()
        if found > self._version:
            raise StoreError(
                f"{self.url}: written by a newer tvmops "
                f"(results version {found}, this one reads up to {self._version})",
                "update tvmops, or use another file: --store sqlite:///other.sqlite",
            )
        for step in range(found, self._version):
            self._migrations[step](connection)
            connection.execute(update(SchemaRow).values(version=step + 1))

    def _session(self) -> contextlib.AbstractContextManager[Session]:
        return self._transaction(self.engine)

    def _writing(self) -> contextlib.AbstractContextManager[Session]:
        return self._transaction(self._writer)

    @contextlib.contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Session]:
        with self._explained(), Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error)
            raise StoreError(
                f"{self.url}: {reason}", "is it a results file, writable, with space on its disk?"
            ) from error


def _engine(url: str) -> Engine:
    if url.startswith("sqlite:///") and not url.startswith("sqlite:///:"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sqlite_settings)
        event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_begin(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail at once when another process wrote in between:
    # writers take the lock at their start and wait for it.
    writes = connection.get_execution_options().get("write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _sqlite_settings(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # no implicit BEGIN from the driver
    cursor = connection.cursor()
    # Write-ahead log: a report can read while a sweep writes.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_SECONDS * 1000}")
    cursor.close()
