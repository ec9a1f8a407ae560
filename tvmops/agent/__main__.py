"""The entry: make sure that file names are read as UTF-8, then serve."""

import os
import sys

LOCALE_TRIED = "TVMOPS_AGENT_LOCALE"


def main():
    """Start the agent. Does not return."""
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if sys.getfilesystemencoding().lower() != "utf-8" and LOCALE_TRIED not in os.environ:
        # Python 3.6 and older read file names as ASCII in the C locale.
        os.environ[LOCALE_TRIED] = os.environ.get("LC_ALL", "")
        os.environ["LC_ALL"] = "C.UTF-8"
        os.execv(sys.executable, [sys.executable, "-I", "-S", home])
    _restore_locale()
    status = 4
    try:
        from .main import serve

        status = serve(cache_directory(home))
    except ImportError as error:
        os.write(1, ('{"ev":"fatal","t":0,"msg":"this Python lacks the module %s"}\n' % error.name).encode())
    except Exception:
        import traceback

        traceback.print_exc()
    sys.stderr.flush()
    os._exit(status)  # the wire's threads may be in the middle of a read


def cache_directory(home):
    """Where the agent keeps its files: beside itself when it was sent to a board, else the user's cache."""
    if os.path.basename(home).startswith("agent-"):
        return os.path.dirname(home)
    return os.path.join(os.path.expanduser("~"), ".cache", "tvmops")


def _restore_locale():
    before = os.environ.pop(LOCALE_TRIED, None)
    if before:
        os.environ["LC_ALL"] = before
    elif before is not None:
        del os.environ["LC_ALL"]


if __name__ == "__main__":
    main()
