"""How much memory there is for compiling, how many jobs that allows, and how much was used."""

import os
import threading
import time

import probe

MB = 1 << 20
SAMPLE_SECONDS = 2.0
PAGE = os.sysconf("SC_PAGE_SIZE")


def available(swap=True):
    """Bytes that compilers may take: what the kernel has left, or this control group, whichever is less.

    Swap on zram counts half: it is kept in the same memory, compressed.
    """
    memory = probe.meminfo()["available"]
    room = 0
    for one in probe.swaps() if swap else []:
        free = one["size"] - one["used"]
        room += free // 2 if one["kind"] == "zram" else free
    group, group_swap = _group_room()
    if group is None:
        return memory + room
    return min(memory, group) + (room if group_swap is None else min(room, group_swap))


def _group_room():
    """(bytes left in the tightest control group around us, bytes of swap it may still use); None: no limit."""
    memory, swap = None, None
    for line in probe.read("/proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        if names == "":
            for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
                memory, swap = _least(memory, swap, root, path, _unified)
        elif "memory" in names.split(","):
            memory, swap = _least(memory, swap, "/sys/fs/cgroup/memory", path, _legacy)
    return memory, swap


def _least(memory, swap, root, path, look):
    folder = os.path.join(root, path.lstrip("/"))
    # In a container the path may be the host's, which is not visible here: then the root is our group.
    folder = folder if os.path.isdir(folder) else root
    while folder.startswith(root):
        left, left_swap = look(folder)
        memory = left if memory is None or (left is not None and left < memory) else memory
        swap = left_swap if swap is None or (left_swap is not None and left_swap < swap) else swap
        folder = os.path.dirname(folder.rstrip("/"))
    return memory, swap


def _unified(folder):
    limit, used = _number(folder, "memory.max"), _number(folder, "memory.current")
    memory = None if limit is None or used is None else max(0, limit - used + _file_cache(folder, ""))
    limit, used = _number(folder, "memory.swap.max"), _number(folder, "memory.swap.current")
    return memory, None if limit is None or used is None else max(0, limit - used)


def _legacy(folder):
    limit, used = _number(folder, "memory.limit_in_bytes"), _number(folder, "memory.usage_in_bytes")
    if limit is None or used is None or limit > 1 << 60:  # the kernel's way to say "none"
        return None, None
    memory = max(0, limit - used + _file_cache(folder, "total_"))
    both, both_used = _number(folder, "memory.memsw.limit_in_bytes"), _number(folder, "memory.memsw.usage_in_bytes")
    if both is None or both_used is None or both > 1 << 60:
        return memory, None
    return memory, max(0, both - both_used - (limit - used))


def _file_cache(folder, prefix):
    """Bytes of files in memory, which the kernel gives up when programs need them."""
    total = 0
    for line in probe.read(os.path.join(folder, "memory.stat")).splitlines():
        name, _, value = line.partition(" ")
        if name in (prefix + "inactive_file", prefix + "active_file"):
            total += int(value)
    return total


def _number(folder, name):
    text = probe.read(os.path.join(folder, name)).strip()
    return int(text) if text.isdigit() else None


def cores():
    """Processors that this process may use, a control group's quota included."""
    count = len(os.sched_getaffinity(0))
    words = probe.read("/sys/fs/cgroup/cpu.max").split()
    if len(words) == 2 and words[0].isdigit():
        count = min(count, max(1, -(-int(words[0]) // int(words[1]))))
    return count


def jobs(room, processors, compile_bytes, link_bytes, most=None):
    """(compile jobs, link jobs) for `room` bytes of memory: one of each at least, `most` at most."""
    compiling = min(processors, room // compile_bytes, most or processors)
    linking = min(processors, room // link_bytes, most or processors)
    return max(1, int(compiling)), max(1, int(linking))


class Watch:
    """Samples the memory of this process's descendants while it is entered. `peak` and `largest` in bytes."""

    def __init__(self):
        self.peak = 0
        self.largest = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.daemon = True

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._over.set()
        self._thread.join(5)

    def _work(self):
        while not self._over.wait(SAMPLE_SECONDS):
            sizes = [size for _, size in descendants(os.getpid())]
            self.peak = max(self.peak, sum(sizes))
            self.largest = max([self.largest] + sizes)


def descendants(top):
    """[(process id, resident bytes)] of all that `top` has started, and they in turn."""
    parents, sizes = {}, {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        text = probe.read("/proc/%s/stat" % name)
        words = text[text.rfind(")") + 2 :].split()
        if len(words) > 21:
            parents[int(name)] = int(words[1])
            sizes[int(name)] = int(words[21]) * PAGE
    found, layer = [], [top]
    while layer:
        layer = [pid for pid in sorted(parents) if parents[pid] in layer]
        found += layer
    return [(pid, sizes[pid]) for pid in found]


def clock_behind(folder):
    """Seconds by which the clock is behind the newest file of an earlier build in `folder`; 0 when it is not."""
    newest = 0.0
    for name in (".ninja_log", ".ninja_deps", "build.ninja", "CMakeCache.txt", "Makefile"):
        try:
            newest = max(newest, os.stat(os.path.join(folder, name)).st_mtime)
        except OSError:
            pass
    behind = newest - time.time()
    return int(behind) if behind > 60 else 0
