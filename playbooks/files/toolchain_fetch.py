"""Bring what a tool of the toolchain is made of: a wheel, an archive of programs, or sources; checked and unpacked.

    TVMOPS_TOOL=JSON python3 toolchain_fetch.py

JSON: {"name", "prefix", "work", "check": false, "origins": [ORIGIN...], "index": URL (of Python packages), "archives":
FOLDER, "given": [files that lie there]}; the first origin that can be had is taken, and lies in WORK/src with
WORK/origin.json then; toolchain_make.py makes PREFIX of it. Nothing is done when PREFIX/.complete is there.
ORIGIN = {"file" (its name), "sha256", "urls": [...] or "package" (of the index), "part" (the folder in it that counts,
with "*" for any name), "glibc" (at least)} and what toolchain_make.py wants to know. A download that was cut off goes
on where it was. Exit status 0: it was there; 3: it was brought (check: it would be); 1: one line why not.
Standard library only, Python 3.5 or newer.
"""

import fnmatch
import hashlib
import html.parser
import http.client
import json
import os
import re
import shutil
import stat
import sys
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile

ANSWER_SECONDS = 60.0
UNPACKED = 6  # times the size of an archive, for what is in it
RIGHT, WRONG, MADE = 0, 1, 3
NET_ERRORS = (OSError, ValueError, http.client.HTTPException)


class Failed(Exception):
    """Why it cannot be had."""


def main():
    """Exit status as above, and one line."""
    asked = json.loads(os.environ["TVMOPS_TOOL"])
    try:
        status, text = work(asked)
    except Failed as reason:
        status, text = WRONG, "%s: %s" % (asked["name"], reason)
    print(text)
    return status


def work(asked):
    """(exit status, line)."""
    note = os.path.join(asked["work"], "origin.json")
    if os.path.exists(os.path.join(asked["prefix"], ".complete")) or ready(note):
        return RIGHT, "%s is there" % asked["name"]
    origins = [one for one in asked["origins"] if not unfit(one)]
    if not origins:
        reasons = [unfit(one) for one in asked["origins"]] or ["nobody has made it for this architecture"]
        raise Failed("nothing fits this board: " + "; ".join(reasons))
    if asked["check"]:
        return MADE, "%s would be brought from %s" % (asked["name"], origins[0]["file"])
    if not os.path.isdir(asked["work"]):
        os.makedirs(asked["work"], 0o755)
    archive, origin = obtain(origins, asked)
    sources = os.path.join(asked["work"], "src")
    unpack(archive, sources)
    tree = part_of(sources, origin.get("part", ""))
    with open(note + ".new", "w") as stream:
        json.dump(dict(origin, tree=tree), stream, sort_keys=True)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(note + ".new", note)
    return MADE, "%s is brought from %s" % (asked["name"], origin["file"])


def ready(note):
    """Whether what was brought still lies there. Programs go on to their prefix, and are gone when they do not run."""
    try:
        with open(note) as stream:
            return os.path.isdir(json.load(stream)["tree"])
    except (OSError, ValueError, KeyError):
        return False


def unfit(origin):
    """Why this board cannot run what is in the origin; "" when it can."""
    wanted = origin.get("glibc")
    if wanted:
        have = glibc()
        if have and numbers(have) < numbers(wanted):
            return "%s needs glibc %s, this is %s" % (origin["file"], wanted, have)
    return ""


def glibc():
    try:
        return os.confstr("CS_GNU_LIBC_VERSION").split()[-1]
    except (AttributeError, OSError, ValueError, IndexError):
        return ""


def numbers(version):
    return [int(part) for part in re.findall(r"\d+", version)]


# -- getting it


def obtain(origins, asked):
    """(path, origin) of the first archive that can be had, its content checked; one that was given is the first."""
    problems = []
    for origin in sorted(origins, key=lambda one: one["file"] not in asked["given"]):
        for source in sources(origin, asked, problems):
            try:
                return had(source, origin, asked["work"]), origin
            except Failed as reason:
                problems.append(str(reason))
    raise Failed("it could not be had: " + "; ".join(problems))


def sources(origin, asked, problems):
    """Where it may be, one after the other; an index is asked only when it is its turn."""
    if origin["file"] in asked["given"]:
        yield os.path.join(asked["archives"], origin["file"])
        return
    if origin.get("package"):
        try:
            yield in_index(origin, asked["index"])
        except Failed as reason:
            problems.append(str(reason))
    for url in origin.get("urls", []):
        yield url


def had(source, origin, folder):
    """The checked archive: where it lies, or downloaded."""
    if "://" not in source:
        if not os.path.isfile(source):
            raise Failed("%s is not there" % source)
        verify(source, origin["sha256"])
        return source
    path = os.path.join(folder, origin["file"])
    if not os.path.exists(path):
        download(source, path + ".part")
        try:
            verify(path + ".part", origin["sha256"])
        except Failed:
            os.unlink(path + ".part")
            raise
        os.rename(path + ".part", path)
    return path


class Links(html.parser.HTMLParser):
    """The links of an index's page."""

    def __init__(self):
        html.parser.HTMLParser.__init__(self)
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def in_index(origin, index):
    """The URL of a file in an index of Python packages."""
    page = "%s/%s/" % (index.rstrip("/"), origin["package"])
    links = Links()
    with opened(page, {"Accept": "text/html, */*"}) as answer:
        try:
            links.feed(answer.read().decode("utf-8", "replace"))
        except NET_ERRORS as error:
            raise Failed("%s: %s" % (page, error))
    for link in links.found:
        if os.path.basename(urllib.parse.unquote(urllib.parse.urlsplit(link).path)) == origin["file"]:
            return urllib.parse.urljoin(page, link.split("#")[0])
    raise Failed("%s has no %s" % (page, origin["file"]))


def opened(url, headers):
    try:
        return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=ANSWER_SECONDS)
    except urllib.error.HTTPError as error:
        raise Failed("%s: %d %s" % (url, error.code, error.reason))
    except NET_ERRORS as error:
        raise Failed("%s: %s" % (url, getattr(error, "reason", error)))


def download(url, partial):
    """Fetch into `partial`, going on behind what is there already."""
    have = os.path.getsize(partial) if os.path.exists(partial) else 0
    try:
        answer = opened(url, {"Range": "bytes=%d-" % have} if have else {})
    except Failed:
        if not have:
            raise
        have, answer = 0, opened(url, {})  # the rest of it is not to be had, or there is none
    with answer:
        announced = int(answer.headers.get("Content-Length") or 0)
        try:
            with open(partial, "ab" if answer.getcode() == 206 else "wb") as stream:
                begin = stream.seek(0, os.SEEK_END)
                shutil.copyfileobj(answer, stream, 1 << 20)
                stream.flush()
                os.fsync(stream.fileno())
                missing = announced - (stream.tell() - begin)
        except NET_ERRORS as error:
            raise Failed("%s: %s" % (url, error))
    if announced and missing > 0:
        raise Failed("%s: cut off %d bytes before its end; what has come is kept for the next time" % (url, missing))


def verify(path, sha256):
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for piece in iter(lambda: stream.read(1 << 20), b""):
            digest.update(piece)
    if digest.hexdigest() != sha256:
        raise Failed("%s is not what it should be: its SHA-256 is %s, not %s" % (path, digest.hexdigest(), sha256))


# -- unpacking it


def unpack(archive, into):
    """Everything of a zip or tar archive; names that lead out of the folder end it."""
    shutil.rmtree(into, ignore_errors=True)
    os.makedirs(into, 0o755)
    space = os.statvfs(into)
    needed = os.path.getsize(archive) * UNPACKED
    if space.f_bavail * space.f_frsize < needed:
        raise Failed("no room in %s: unpacking %s wants about %d MB" % (into, archive, needed / 1e6))
    try:
        (unzip if archive.endswith((".whl", ".zip")) else untar)(archive, into)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise Failed("%s cannot be unpacked: %s" % (archive, error))


def unzip(archive, into):
    with zipfile.ZipFile(archive) as bundle:
        for item in bundle.infolist():
            inside(item.filename)
            path = bundle.extract(item, into)
            mode = item.external_attr >> 16
            if mode and not item.filename.endswith("/"):
                os.chmod(path, stat.S_IMODE(mode) & 0o755 | 0o644)


def untar(archive, into):
    with tarfile.open(archive) as bundle:
        members = bundle.getmembers()
        for member in members:
            inside(member.name)
            if member.issym():
                inside(os.path.join(os.path.dirname(member.name), member.linkname))
            elif member.islnk():
                inside(member.linkname)
            elif not (member.isfile() or member.isdir()):
                raise Failed("%s has %s, which is neither file nor folder nor link" % (archive, member.name))
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = member.mode & 0o755 | 0o200
        bundle.extractall(into, members)


def inside(name):
    if os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == "..":
        raise Failed("the archive's %s leads out of it" % name)


def part_of(folder, pattern):
    """The folder inside `folder` that matches, the whole one for ""."""
    if not pattern:
        return folder
    for parent, folders, _ in os.walk(folder):
        for name in sorted(folders):
            path = os.path.join(parent, name)
            if fnmatch.fnmatch(os.path.relpath(path, folder), pattern):
                return path
    raise Failed("there is no %s in the archive" % pattern)


if __name__ == "__main__":
    sys.exit(main())
