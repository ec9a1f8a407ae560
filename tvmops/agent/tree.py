"""The predicted file tree of check mode: nodes laid over the real file system, with the kernel's errors."""

import base64
import collections
import errno
import io
import os
import stat

from .node import FORMATS, Node, Unknown

MAX_LINKS = 40


class Tree:
    """Predicted nodes by their real path (no links in it)."""

    def __init__(self, blob, unsure):
        self._blob = blob
        self._unsure = unsure
        self.nodes = {}
        self.owner = (-1, -1)  # uid and gid of what is made; -1: this process's

    def use_blobs(self, blob):
        """Get blobs' files from this function from now on."""
        self._blob = blob

    def resolve(self, path, follow=True):
        """The path without links in it, whether something is there or not. Raises OSError (ELOOP)."""
        todo = collections.deque(os.path.join(os.getcwd(), path).split("/"))
        here, hops = "/", 0
        while todo:
            part = todo.popleft()
            if part in ("", "."):
                continue
            if part == "..":
                here = os.path.dirname(here)
                continue
            child = os.path.join(here, part)
            target = None
            if follow or any(one not in ("", ".") for one in todo):
                target = self._link_target(child)
            if target is None:
                here = child
                continue
            hops += 1
            if hops > MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            here = "/" if target.startswith("/") else here
            todo.extendleft(reversed(target.split("/")))
        return here

    def status(self, path, follow=True):
        """A Node or os.stat_result, None when nothing is there. Raises Unknown."""
        try:
            found = self._find(self.resolve(path, follow))
        except OSError as error:
            if follow and error.errno == errno.ELOOP:
                return None
            raise
        if found is not None and getattr(found, "kind", None) == "unknown":
            raise Unknown("what %s is cannot be known before a real run: %s" % (path, found.content[1]))
        return found

    def exists(self, path, follow=True):
        """True when something would be there, known or not."""
        try:
            return self._find(self.resolve(path, follow)) is not None
        except OSError:
            return False

    def read_link(self, path):
        """Where a link leads. Raises OSError."""
        real = self.resolve(path, follow=False)
        target = self._link_target(real)
        if target is None:
            raise _error(errno.EINVAL if self._find(real) is not None else errno.ENOENT, path)
        return target

    def names(self, path):
        """The names in a directory. Raises OSError."""
        real = self.resolve(path)
        found = self._need(real, path)
        if not stat.S_ISDIR(found.st_mode):
            raise _error(errno.ENOTDIR, path)
        names = set() if isinstance(found, Node) and found.fresh else set(os.listdir(real))
        for known, node in self.nodes.items():
            if os.path.dirname(known) == real and known != "/":
                if node.kind == "absent":
                    names.discard(os.path.basename(known))
                else:
                    names.add(os.path.basename(known))
        return sorted(names)

    def open(self, path):
        """A file's content, as a binary file. Raises OSError and Unknown."""
        real = self.resolve(path)
        found = self._need(real, path)
        if stat.S_ISDIR(found.st_mode):
            raise _error(errno.EISDIR, path)
        kind, value = self.content(path)[:2]
        if kind == "bytes":
            return io.BytesIO(value)
        if kind == "member":
            return io.BytesIO(_member(value, found.content[3]))
        return open(self.local_copy(path), "rb")

    def local_copy(self, path):
        """A path on the disk with this file's content. Raises OSError and Unknown."""
        kind, value = self.content(path)[:2]
        if kind == "blob":
            return self._blob(value)
        if kind == "disk":
            return value
        raise Unknown("the content of %s cannot be known before a real run: %s" % (path, value))

    def content(self, path):
        """A file's content as a Node has it. Raises OSError."""
        real = self.resolve(path)
        found = self._need(real, path)
        return found.content if isinstance(found, Node) else ("disk", real)

    def disk_path(self, path):
        """The real path of what is on the disk as it is, None for what is predicted or not there."""
        real = self.resolve(path)
        found = self._find(real)
        return real if found is not None and not isinstance(found, Node) else None

    def put(self, path, node):
        """Something would be at `path`, in place of what is there now. Raises OSError, as making it would."""
        real = self._writable(path)
        self._inherit(real, node)
        self._drop_below(real)
        self.nodes[real] = node

    def remove(self, path):
        """Nothing would be at `path`, nor below it. Raises OSError."""
        real = self._writable(path)
        self._need(real, path)
        self._drop_below(real)
        self.nodes[real] = Node("absent")

    def hard_link(self, source, path):
        """`path` would be another name of `source`. Raises OSError."""
        node = self._own(self.resolve(source, follow=False), source)
        self.put(path, node)
        node.st_nlink += 1

    def change(self, path, follow, **values):
        """Mode, uid, gid (-1: as it is), mtime_ns or atime_ns of what is there would change. Raises OSError."""
        node = self._own(self.resolve(path, follow), path)
        if values.get("mode") is not None:
            node.mode = values["mode"]
        for key in ("uid", "gid"):
            if values.get(key, -1) != -1:
                setattr(node, "st_" + key, values[key])
        for key in ("mtime_ns", "atime_ns"):
            if values.get(key) is not None:
                setattr(node, "st_" + key, values[key])

    def as_json(self):
        """The nodes as JSON, for another process of this agent."""
        found = {}
        for path, node in self.nodes.items():
            values = {key: getattr(node, key) for key in ("kind", "mode", "target", "fresh")}
            values.update(uid=node.st_uid, gid=node.st_gid, ino=node.st_ino, dev=node.st_dev, links=node.st_nlink)
            values.update(mtime_ns=node.st_mtime_ns, atime_ns=node.st_atime_ns, content=node.content)
            if node.content is not None and node.content[0] == "bytes":
                values["content"] = ("bytes", base64.b64encode(node.content[1]).decode("ascii"))
            found[path] = values
        return found

    def take(self, message):
        """Have the nodes of `as_json`; hard links stay one file."""
        self.nodes, known = {}, {}
        for path, values in message.items():
            identity = (values["dev"], values["ino"])
            node = known.get(identity)
            if node is None:
                if values["content"] is not None and values["content"][0] == "bytes":
                    values["content"] = ("bytes", base64.b64decode(values["content"][1]))
                node = known[identity] = Node(**values)
            self.nodes[path] = node

    def _find(self, real):
        node = self.nodes.get(real)
        if node is not None:
            return None if node.kind == "absent" else node
        above = real
        while above != "/":
            above = os.path.dirname(above)
            node = self.nodes.get(above)
            if node is not None and (node.kind != "directory" or node.fresh):
                return None
        try:
            return os.lstat(real)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise

    def _need(self, real, path):
        found = self._find(real)
        if found is None:
            raise _error(errno.ENOENT, path)
        if getattr(found, "kind", None) == "unknown":
            raise Unknown("what %s is cannot be known before a real run: %s" % (path, found.content[1]))
        return found

    def _link_target(self, real):
        found = self._find(real)
        if isinstance(found, Node):
            return found.target if found.kind == "link" else None
        if found is not None and stat.S_ISLNK(found.st_mode):
            return os.readlink(real)
        return None

    def _own(self, real, path):
        """The node at a real path, made of what is on the disk when there is none yet."""
        found = self._need(real, path)
        if isinstance(found, Node):
            return found
        kind = {value: key for key, value in FORMATS.items()}.get(stat.S_IFMT(found.st_mode), "other")
        node = Node(kind, mode=stat.S_IMODE(found.st_mode), uid=found.st_uid, gid=found.st_gid, fresh=False)
        node.st_mtime_ns, node.st_atime_ns = found.st_mtime_ns, found.st_atime_ns
        node.st_ino, node.st_dev, node.st_nlink = found.st_ino, found.st_dev, found.st_nlink
        node.content = ("disk", real)
        node.target = os.readlink(real) if kind == "link" else None
        self.nodes[real] = node
        return node

    def _writable(self, path):
        """The real path of a name to make or remove. Raises OSError when the directory does not allow it."""
        real = self.resolve(path, follow=False)
        parent = os.path.dirname(real)
        found = self._find(parent)
        if found is None and self._unsure():
            self._make_missing(parent)
        elif found is None:
            raise _error(errno.ENOENT, path)
        elif getattr(found, "kind", None) == "unknown":
            self.nodes[parent] = Node("directory", mode=0o755)
        elif not stat.S_ISDIR(found.st_mode):
            raise _error(errno.ENOTDIR, path)
        elif not isinstance(found, Node) and not os.access(parent, os.W_OK, effective_ids=True):
            read_only = os.statvfs(parent).f_flag & os.ST_RDONLY
            raise _error(errno.EROFS if read_only else errno.EACCES, path)
        return real

    def _make_missing(self, real):
        """A directory that something unpredictable may have made."""
        if self._find(real) is None:
            self._make_missing(os.path.dirname(real))
            self.nodes[real] = Node("directory", mode=0o755, uid=os.geteuid(), gid=os.getegid())

    def _inherit(self, real, node):
        """Owner and group of a new node, where none were given: the process's, or the group of a setgid directory."""
        parent = self._find(os.path.dirname(real))
        setgid = parent is not None and bool(parent.st_mode & stat.S_ISGID)
        if node.st_uid == -1:
            node.st_uid = os.geteuid() if self.owner[0] == -1 else self.owner[0]
        if node.st_gid == -1:
            own = os.getegid() if self.owner[1] == -1 else self.owner[1]
            node.st_gid = parent.st_gid if setgid else own
        if setgid and node.kind == "directory":
            node.mode |= stat.S_ISGID

    def _drop_below(self, real):
        if real in self.nodes:
            self.nodes[real].st_nlink -= 1
        prefix = real.rstrip("/") + "/"
        for path in [path for path in self.nodes if path.startswith(prefix)]:
            del self.nodes[path]


def _member(archive, path):
    from .archives import Archive

    with Archive(archive) as opened, opened.open(opened.find(path)) as source:
        return source.read()


def _error(number, path):
    return OSError(number, os.strerror(number), path)
