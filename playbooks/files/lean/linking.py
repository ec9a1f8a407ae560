"""Object files and tar archives of them, made into a library on the board, where there is a compiler for it.

Standard library only, Python 3.5 or newer.
"""

import os
import shutil
import subprocess
import tarfile

COMPILERS = ("g++", "c++", "clang++", "gcc", "cc")
LINK_SECONDS = 120.0


class LinkError(Exception):
    """Why there is no library."""


def shared_library(path):
    """The path of a shared library made of `path`; `path` itself unless it ends with .o or .tar. Raises LinkError."""
    if not path.endswith((".o", ".tar")):
        return path
    compiler = next((found for found in map(shutil.which, COMPILERS) if found), None)
    name = os.path.basename(path)
    if compiler is None:
        raise LinkError(
            "%s has to be linked on the board, which has no compiler. Export a .so instead: "
            "lib.export_library('lib.so', cc='aarch64-linux-gnu-g++') with the board's cross compiler; "
            "or install g++ on the board" % name
        )
    objects = [path] if path.endswith(".o") else unpacked(path)
    target = path + ".so"
    command = [compiler, "-shared", "-fPIC", "-o", target] + objects
    try:
        output = subprocess.check_output(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, timeout=LINK_SECONDS
        )
    except subprocess.CalledProcessError as error:
        words = error.output.decode("utf-8", "replace").strip()
        raise LinkError("%s cannot be linked: %s" % (name, words[-2000:] or "exit status %d" % error.returncode))
    except subprocess.TimeoutExpired:
        raise LinkError("linking %s took more than %.0f s" % (name, LINK_SECONDS))
    del output
    return target


def unpacked(path):
    """The object and source files of a tar archive, in a folder beside it. Raises LinkError."""
    folder = path + ".files"
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    found = []
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if not member.isfile():
                    continue
                target = os.path.join(folder, os.path.basename(member.name))
                with open(target, "wb") as stream:
                    shutil.copyfileobj(archive.extractfile(member), stream)
                found.append(target)
    except (tarfile.TarError, EOFError) as error:
        raise LinkError("%s is no complete tar archive (%s)" % (os.path.basename(path), str(error).partition("\n")[0]))
    return sorted(found)
