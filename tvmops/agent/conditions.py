"""The conditions of a measurement: clocks, heat, load, throttling. Everything is read; nothing is changed."""

import os
import re
import time

SAMPLE = 0.2  # seconds between the two looks at every process's CPU time
TOP = 5  # processes listed
THROTTLED_BITS = {0: "under_voltage", 1: "frequency_capped", 2: "throttled", 3: "soft_temperature_limit"}
SINCE_BOOT = 16  # bits 16 to 19 say the same of any time since boot
FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
VCGENCMD = ("/usr/bin/vcgencmd", "/opt/vc/bin/vcgencmd")


def collect(board, sample=SAMPLE):
    """All conditions in one dict; units: kHz, degrees Celsius, bytes, seconds."""
    before, started = cpu_ticks(board), time.time()
    found = {
        "time": started,
        "boot_id": board.line("proc/sys/kernel/random/boot_id") or None,
        "uptime_seconds": _float(board.line("proc/uptime").split(" ")[0]),
        "memory_available_bytes": _memory_available(board),
        "clock_source": board.line("sys/devices/system/clocksource/clocksource0/current_clocksource") or None,
        "cpus": cpus(board),
        "thermal": thermal(board),
        "devices": devices(board),
        "turbo": turbo(board),
        "throttled": throttled(board),
        "thermal_throttle": thermal_throttle(board),
        "jetson": jetson(board),
    }
    found.update(load(board.line("proc/loadavg")))
    time.sleep(max(0.0, sample - (time.time() - started)))
    found["top"] = top_users(before, cpu_ticks(board), time.time() - started)
    return found


def cpus(board):
    """[{"cpu", "online", "cur_khz", "min_khz", "max_khz", "hardware_max_khz", "governor"}] for every processor."""
    found = []
    for path in board.glob("sys/devices/system/cpu/cpu[0-9]*"):
        name = os.path.basename(path)
        if not re.match(r"cpu\d+$", name):
            continue
        folder = path + "/cpufreq/"
        found.append(
            {
                "cpu": int(name[3:]),
                "online": board.line(path + "/online") != "0",
                "cur_khz": board.number(folder + "scaling_cur_freq"),
                "min_khz": board.number(folder + "scaling_min_freq"),
                "max_khz": board.number(folder + "scaling_max_freq"),
                "hardware_max_khz": board.number(folder + "cpuinfo_max_freq"),
                "governor": board.line(folder + "scaling_governor") or None,
            }
        )
    return found


def thermal(board):
    """[{"zone", "type", "celsius"}]; zones that give no sensible number are left out."""
    found = []
    for path in board.glob("sys/class/thermal/thermal_zone[0-9]*"):
        value = board.number(path + "/temp")
        if value is None:
            continue
        # Millidegrees nearly everywhere; a few old drivers give degrees.
        celsius = value / 1000.0 if abs(value) >= 1000 else float(value)
        if -60 < celsius < 200:
            found.append({"zone": os.path.basename(path), "type": board.line(path + "/type"), "celsius": celsius})
    return found


def devices(board):
    """Clocks of GPU and memory, where the kernel scales them: [{"name", "cur_hz", "min_hz", "max_hz", "governor"}]."""
    return [
        {
            "name": os.path.basename(path),
            "cur_hz": board.number(path + "/cur_freq"),
            "min_hz": board.number(path + "/min_freq"),
            "max_hz": board.number(path + "/max_freq"),
            "governor": board.line(path + "/governor") or None,
        }
        for path in board.glob("sys/class/devfreq/*")
    ]


def turbo(board):
    """True when the processor may clock above its base, False when that is off, None when the board cannot say."""
    no_turbo = board.number("sys/devices/system/cpu/intel_pstate/no_turbo")
    if no_turbo is not None:
        return no_turbo == 0
    boost = board.number("sys/devices/system/cpu/cpufreq/boost")
    return None if boost is None else boost != 0


def throttled(board):
    """A Raspberry Pi's own report, decoded; None on other boards."""
    raw = board.line(FIRMWARE)
    if not raw:
        for program in VCGENCMD:
            if board.exists(program):
                raw = board.output([program, "get_throttled"])
                break
    return decode_throttled(raw)


def decode_throttled(raw):
    """`throttled=0x50005` or `50005` as {"raw", "now": [..], "since_boot": [..]}; None for anything else."""
    match = re.search(r"^(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})\s*$", raw.strip())
    if not match:
        return None
    value = int(match.group(1), 16)
    return {
        "raw": value,
        "now": [name for bit, name in sorted(THROTTLED_BITS.items()) if value >> bit & 1],
        "since_boot": [name for bit, name in sorted(THROTTLED_BITS.items()) if value >> (bit + SINCE_BOOT) & 1],
    }


def thermal_throttle(board):
    """How often x86 cores and packages were throttled since boot: {"core": sum, "package": sum}; None elsewhere."""
    counts = {}
    for kind in ("core", "package"):
        pattern = "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/%s_throttle_count" % kind
        numbers = [board.number(path) for path in board.glob(pattern)]
        numbers = [number for number in numbers if number is not None]
        if numbers:
            # Every core of a package repeats the package's count.
            counts[kind] = sum(numbers) if kind == "core" else max(numbers)
    return counts or None


def jetson(board):
    """A Jetson's power mode, pinned clocks and one line of tegrastats; None on other boards."""
    if not board.exists("etc/nv_tegra_release"):
        return None
    found = {"power_mode": parse_nvpmodel(board.output(["nvpmodel", "-q"]))}
    found["clocks_pinned"] = parse_jetson_clocks(board.output(["jetson_clocks", "--show"]))
    found["tegrastats"] = board.first_line(["tegrastats", "--interval", "100"]) or None
    return found


def parse_nvpmodel(text):
    """ "MAXN" from `NV Power Mode: MAXN`; None when it does not say."""
    match = re.search(r"NV Power Mode:\s*(\S+)", text)
    return match.group(1) if match else None


def parse_jetson_clocks(text):
    """True when every core's lowest clock is its highest, as jetson_clocks leaves them; None when it does not say."""
    cores = re.findall(r"cpu\d+:\s*(?:Online=1\s+)?(?:Gonvernor|Governor)=\S+\s+MinFreq=(\d+)\s+MaxFreq=(\d+)", text)
    return all(low == high for low, high in cores) if cores else None


def load(text):
    """/proc/loadavg's line: load averages, processes running now (this one not counted), and all there are."""
    words = text.split()
    averages = [_float(word) for word in words[:3]]
    running, _, total = (words[3] if len(words) > 3 else "").partition("/")
    return {
        "loadavg": averages if len(averages) == 3 else None,
        "processes_running": max(0, int(running) - 1) if running.isdigit() else None,
        "processes": int(total) if total.isdigit() else None,
    }


def cpu_ticks(board):
    """{pid: (comm, ticks of CPU time so far)} of every process that can be seen."""
    found = {}
    for name in os.listdir(board.path("proc")) if board.exists("proc") else ():
        if name.isdigit():
            parsed = parse_stat(board.line("proc/%s/stat" % name))
            if parsed:
                found[int(name)] = parsed
    return found


def parse_stat(text):
    """(comm, utime + stime) of a line of /proc/PID/stat; None when it is not one. comm may hold blanks and brackets."""
    head, bracket, tail = text.rpartition(")")
    fields = tail.split()
    if not bracket or "(" not in head or len(fields) < 13 or not (fields[11].isdigit() and fields[12].isdigit()):
        return None
    return head.partition("(")[2], int(fields[11]) + int(fields[12])


def top_users(before, after, seconds):
    """The processes that used most CPU between two looks: [{"pid", "comm", "percent"}], 100 being one whole core."""
    ticks = float(os.sysconf("SC_CLK_TCK"))
    used = []
    for pid, (comm, now) in after.items():
        if pid == os.getpid():
            continue
        spent = now - before.get(pid, (comm, now))[1]
        if spent > 0 and seconds > 0:
            used.append({"pid": pid, "comm": comm, "percent": round(100.0 * spent / ticks / seconds, 1)})
    return sorted(used, key=lambda one: (-one["percent"], one["pid"]))[:TOP]


def _memory_available(board):
    match = re.search(r"^MemAvailable:\s+(\d+) kB", board.read("proc/meminfo"), re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def _float(text):
    try:
        return float(text)
    except ValueError:
        return None
