"""The tables of the results store. Durations are seconds, sizes bytes, times UTC in ISO 8601."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA_VERSION = 1

Document = dict[str, Any]


class Base(DeclarativeBase):
    """Maps Python types to columns."""

    type_annotation_map = {dict[str, Any]: JSON, list[float]: JSON}


class SchemaRow(Base):
    """One row: the version these tables have, and what wrote them first."""

    __tablename__ = "schema_version"

    version: Mapped[int] = mapped_column(primary_key=True)
    tvmops_version: Mapped[str]


class SweepRow(Base):
    """One run of a sweep. `status` is running, done, failed or interrupted."""

    __tablename__ = "sweeps"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    path: Mapped[str]
    definition: Mapped[Document]
    status: Mapped[str]
    planned: Mapped[int]
    started: Mapped[str]
    finished: Mapped[str | None]
    seconds: Mapped[float | None]
    """Wall time of this run."""


class ProvenanceRow(Base):
    """What a job ran with; shared by all jobs that ran with the same. `id` is the sha256 of its content."""

    __tablename__ = "provenance"

    id: Mapped[str] = mapped_column(primary_key=True)
    stack: Mapped[str]
    versions: Mapped[Document]
    """tvm, ffi, llvm, numpy, onnxruntime, python as the worker or the board said."""
    target: Mapped[Document | None]
    host_facts: Mapped[Document | None]
    tvmops_version: Mapped[str]
    git_commit: Mapped[str | None]
    git_dirty: Mapped[bool | None]


class JobRow(Base):
    """One compile, measurement or baseline that ran, or failed. Never changed once written."""

    __tablename__ = "jobs"
    __table_args__ = (Index("jobs_by_key", "key", "ok"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str]
    kind: Mapped[str]
    workload: Mapped[str]
    host: Mapped[str | None]
    stack: Mapped[str]
    ok: Mapped[bool]
    error_kind: Mapped[str | None]
    error_message: Mapped[str | None]
    started: Mapped[str]
    seconds: Mapped[float]
    """Wall time of the job, waiting for its board excluded."""
    phases: Mapped[Document]
    """Phase name to seconds."""
    inputs: Mapped[Document]
    """All that the key was made of."""
    provenance_id: Mapped[str] = mapped_column(ForeignKey("provenance.id"))
    model_sha256: Mapped[str | None]
    input_sha256: Mapped[str | None]
    artifact_sha256: Mapped[str | None]
    artifact_bytes: Mapped[int | None]
    samples: Mapped[list[float] | None]
    """Raw samples, seconds per inference."""
    runs_per_sample: Mapped[int | None]
    differences: Mapped[Document | None]
    """Largest differences from the reference output, per output."""
    task: Mapped[Document | None]
    """What the model answered, and whether that is right."""
    conditions_before: Mapped[Document | None]
    conditions_after: Mapped[Document | None]
    details: Mapped[Document]
    """The rest of the worker's result, as it came."""


class SweepJobRow(Base):
    """Which jobs belong to a run of a sweep, those it found in the store included."""

    __tablename__ = "sweep_jobs"

    sweep_id: Mapped[int] = mapped_column(ForeignKey("sweeps.id"), primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    reused: Mapped[bool]
