"""Find the package mirror and the Python index for this board: ask all candidates at once, take the best complete one.

    TVMOPS_MIRRORS=JSON python3 -I mirror_probe

JSON: {"apt": question or null, "pip": question or null}; playbooks/vars/mirrors.yml makes the questions and shows their
parts. One JSON line with what was found; exit status 1 and a sentence when nothing can be used. Nothing is written.
Standard library only, Python 3.5 or newer.
"""

import json
import os
import sys

import apt_mirrors
import asking
import python_indexes

# pip knows nothing of apt's proxies.
KINDS = (
    ("apt", apt_mirrors.survey, apt_mirrors.make_opener),
    ("pip", python_indexes.survey, lambda: asking.opener_through({})),
)


def main():
    """Exit status 0 and JSON, or 1 and a sentence."""
    asked = json.loads(os.environ["TVMOPS_MIRRORS"])
    found, problems = {}, []
    for kind, ask, make_opener in KINDS:
        if asked.get(kind):
            reports = ask(asked[kind], make_opener())
            best = asking.choose(reports, asked[kind]["again"])
            if best is None:
                problems.append(sentence(asked[kind]["what"], reports))
            found[kind] = dict(best or {}, reports=[summary(one) for one in reports])
    print("\n".join(problems) if problems else json.dumps(found, sort_keys=True))
    return 1 if problems else 0


def sentence(what, reports):
    """Why nothing can be used, candidate by candidate."""
    return "%s: %s" % (what, "; ".join("%s: %s" % (one["name"], one["problem"]) for one in reports))


def summary(report):
    return {key: report[key] for key in ("name", "problem", "rate", "kept")}


if __name__ == "__main__":
    sys.exit(main())
