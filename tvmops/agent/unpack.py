"""From one zip file to a directory beside it, whole or not at all."""

import hashlib
import os
import shutil
import tempfile
import zipfile


def unpack(archive):
    """Unpack `<cache>/agent-<sha256>.pyz` to `<cache>/agent-<sha256>` -> that directory.

    None where the disk does not allow it: the agent then runs from the zip. Raises RuntimeError when the zip is
    not what its name says.
    """
    stem, extension = os.path.splitext(archive)
    if extension != ".pyz":
        return None
    if os.path.isdir(stem):
        return stem
    with open(archive, "rb") as source:
        found = hashlib.sha256(source.read()).hexdigest()
    if os.path.basename(stem) != "agent-" + found:
        raise RuntimeError("%s was damaged on its way: its sha256 is %s" % (archive, found))
    cache = os.path.dirname(archive)
    temporary = None
    try:
        temporary = tempfile.mkdtemp(prefix=".unpack-", dir=cache)
        with zipfile.ZipFile(archive) as bundle:
            bundle.extractall(temporary)
        if os.geteuid() == 0:
            _give_to_owner_of(archive, temporary)
        os.sync()  # a directory with its final name must hold its files also after a power cut
        os.rename(temporary, stem)
    except OSError:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        return stem if os.path.isdir(stem) else None
    return stem


def _give_to_owner_of(archive, directory):
    """A root agent in a login user's cache leaves files that this user can use and remove."""
    owner = os.stat(archive)
    for path, _, names in os.walk(directory):
        for one in [path] + [os.path.join(path, name) for name in names]:
            os.chown(one, owner.st_uid, owner.st_gid)
