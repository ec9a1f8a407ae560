"""Memory and swap, in MiB."""

from .board import colon_values


def collect(board):
    """ansible_mem*_mb, ansible_swap*_mb, ansible_memory_mb."""
    values = {}
    for key, value in colon_values(board.read("proc/meminfo")):
        words = value.split()
        if key and words and words[0].isdigit():
            values[key] = int(words[0]) // 1024
    total, free = values.get("MemTotal", 0), values.get("MemFree", 0)
    swap, swap_free = values.get("SwapTotal", 0), values.get("SwapFree", 0)
    no_cache = free + values.get("Cached", 0) + values.get("Buffers", 0)
    return {
        "ansible_memtotal_mb": total,
        "ansible_memfree_mb": free,
        "ansible_swaptotal_mb": swap,
        "ansible_swapfree_mb": swap_free,
        "ansible_memory_mb": {
            "real": {"total": total, "used": total - free, "free": free},
            "nocache": {"free": no_cache, "used": total - no_cache},
            "swap": {
                "total": swap,
                "free": swap_free,
                "used": swap - swap_free,
                "cached": values.get("SwapCached", 0),
            },
        },
    }
