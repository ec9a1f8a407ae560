"""Writes a report's files."""

from __future__ import annotations

from pathlib import Path

from tvmops.bench.report.html import html_page
from tvmops.bench.report.markdown import markdown
from tvmops.bench.report.picture import Picture
from tvmops.bench.report.tables import as_csv
from tvmops.errors import TvmopsError
from tvmops.paths import state_dir

PAGE, TEXT, TABLE = "report.html", "report.md", "results.csv"


def report_folder(picture: Picture) -> Path:
    """Where the report of a sweep run goes when no other place is asked for."""
    return state_dir() / "reports" / f"{picture.sweep.name}-{picture.sweep.id}"


def written_report(picture: Picture) -> Path | None:
    """The HTML page of a sweep run in its usual place, if it was written."""
    page = report_folder(picture) / PAGE
    return page if page.is_file() else None


def write_report(picture: Picture, folder: Path, source: str) -> list[Path]:
    """Write the HTML page, the Markdown and the CSV into `folder`; their paths."""
    texts = {PAGE: html_page(picture, source), TEXT: markdown(picture), TABLE: as_csv(picture)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise TvmopsError(
            f"--output {folder}: cannot write: {error.strerror}", "name a folder that you may write to"
        ) from error
    return [folder / name for name in texts]
