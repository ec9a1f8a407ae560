"""Reports: what a person reads of a sweep. HTML, Markdown and CSV, all from one picture of the results."""
