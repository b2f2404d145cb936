# SPDX-License-Identifier: Apache-2.0
"""What machine this is, and in what state: the fingerprint and the conditions of a run."""

import hashlib
import os
import platform
import re
import subprocess
import time
from pathlib import Path

from kernel_llm.files import cache_dir

ROOT = Path(__file__).resolve().parent.parent
CPU_DIR = Path("/sys/devices/system/cpu")


def fingerprint(clock="wall", threads=1, step_ns=None):
    """
    Returns what must be known of a machine to compare figures: a flat dict of texts, numbers and
    None for what the system does not tell. Under an emulator the clock "wall" is "emulated".
    """
    info = _cpuinfo()
    core = core_path()
    qemu, emulated_cpu = emulator()
    return {
        "clock": "emulated" if qemu and clock == "wall" else clock,
        "arch": platform.machine(),
        "cpu": emulated_cpu or info.get("model name") or info.get("Processor") or _part(info),
        "part": _part(info),
        "board": _read("/proc/device-tree/model") or _read("/sys/class/dmi/id/product_name"),
        "cores": len(os.sched_getaffinity(0)),
        "governor": _read(CPU_DIR / "cpu0/cpufreq/scaling_governor"),
        "freq_max_khz": _number(_read(CPU_DIR / "cpu0/cpufreq/cpuinfo_max_freq")),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "compiler": _compiler(core),
        "flags": _flags_hash(),
        "core": _file_hash(core),
        "revision": _revision(),
        "threads": threads,
        "timer_step_ns": step_ns,
        "qemu": qemu,
    }


def work_dir():
    """Returns the folder of what the suite keeps and makes: in a checkout, or in the cache."""
    folder = ROOT / "build" if (ROOT / "Makefile").exists() else cache_dir()
    (folder / "bench").mkdir(parents=True, exist_ok=True)
    return folder / "bench"


def emulator():
    """
    Returns (program, core) that emulate this process, as far as told; (None, None) on silicon.

    QEMU's user mode shows a process its own files in /proc/self, but not in /proc/thread-self.
    """
    try:
        program = os.path.basename(os.readlink("/proc/thread-self/exe"))
    except OSError:
        return None, None
    if not program.startswith("qemu-"):
        return None, None
    words = Path("/proc/thread-self/cmdline").read_bytes().decode(errors="replace").split("\0")
    return program, words[words.index("-cpu") + 1] if "-cpu" in words else None


def conditions():
    """Returns what changes from minute to minute: load, frequency, temperature, throttling."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load": list(os.getloadavg()),
        "freq_khz": _number(_read(CPU_DIR / "cpu0/cpufreq/scaling_cur_freq")),
        "celsius": _celsius(),
        "throttled": _throttled(),
        "busy_ticks": _busy_ticks(),
    }


def was_throttled(before, after):
    """Tells whether the CPU was slowed for heat or power between two conditions()."""
    return after["throttled"] is not None and after["throttled"] != before["throttled"]


def others_share(before, after, own_seconds):
    """
    Returns how many cores other processes and other guests used between two conditions(), given
    the CPU time of this process and its children in between; None if the system does not tell.
    """
    if before["busy_ticks"] is None or after["busy_ticks"] is None:
        return None
    busy = (after["busy_ticks"][0] - before["busy_ticks"][0]) / os.sysconf("SC_CLK_TCK")
    passed = after["busy_ticks"][1] - before["busy_ticks"][1]
    return max(0.0, (busy - own_seconds) / passed) if passed > 0 else None


def core_path():
    """Returns the path of the compiled core, None before it is built."""
    return next(iter(sorted((ROOT / "kernel_llm").glob("_kllm*.so"))), None)


def free_bytes():
    """Returns the memory that can be taken without swapping, in bytes; 0 if unknown."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", _read("/proc/meminfo") or "")
    return int(found[1]) * 1024 if found else 0


# ------------------------------------------------------------------------------------ inner parts


def _read(path):
    try:
        text = Path(path).read_text(errors="replace")
    except OSError:
        return None
    return text.replace("\0", "").strip() or None


def _number(text):
    return int(text) if text and text.isdigit() else None


def _cpuinfo():
    pairs = (line.split(":", 1) for line in (_read("/proc/cpuinfo") or "").splitlines())
    info = {}
    for pair in pairs:
        if len(pair) == 2:
            info.setdefault(pair[0].strip(), pair[1].strip())
    return info


def _part(info):
    """Returns the part number: implementer:part on ARM, family:model:stepping on x86."""
    if "CPU part" in info:
        return f"{info.get('CPU implementer', '?')}:{info['CPU part']}"
    return ":".join(info.get(k, "?") for k in ("cpu family", "model", "stepping"))


def _compiler(core):
    """Returns the compiler's own note in the binary, which is what was really used."""
    if core is None:
        return None
    found = re.search(
        rb"(GCC: \([^\0]{1,90}|[A-Za-z ]*clang version [^\0]{1,60})", core.read_bytes()
    )
    return found[1].decode(errors="replace").strip() if found else None


def _flags_hash():
    build = ROOT / "native" / "build.py"
    if not build.exists():
        return None
    lines = re.findall(r"^.*\"-[a-zA-Z].*$", build.read_text(), re.MULTILINE)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _file_hash(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path else None


def _revision():
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None


def _celsius():
    zones = sorted(Path("/sys/class/thermal").glob("thermal_zone*/temp"))
    values = [_number(_read(zone)) for zone in zones]
    values = [v / 1000 for v in values if v is not None]
    return max(values) if values else None


def _throttled():
    """Returns a text that changes with throttling; None if the system has no such file."""
    paths = sorted(CPU_DIR.glob("cpu*/thermal_throttle/*_throttle_count"))
    paths += [
        Path("/sys/devices/platform/soc/soc:firmware/get_throttled"),
        Path("/sys/class/hwmon/hwmon0/in0_lcrit_alarm"),
    ]
    texts = [_read(path) for path in paths]
    texts = [text for text in texts if text is not None]
    return " ".join(texts) or None


def _busy_ticks():
    """Returns (clock ticks all CPUs spent working or stolen, seconds since start)."""
    line = (_read("/proc/stat") or "").splitlines()[:1]
    if not line:
        return None
    user, nice, system, _idle, _wait, irq, soft, steal = map(int, line[0].split()[1:9])
    return [user + nice + system + irq + soft + steal, time.monotonic()]
