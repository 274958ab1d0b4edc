"""What a benchmark ran on, and the time and memory that a call took."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

MIB = 2**20
STATUS = Path("/proc/self/status")
RESET_PEAK = Path("/proc/self/clear_refs")


def describe_machine(device: str, threads: int) -> dict[str, Any]:
    """Processor, cores, memory and accelerator."""
    info = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (info.read_text().splitlines() if info.exists() else ())
        if line.startswith("model name")
    ]
    machine = {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    if device.startswith("cuda"):
        machine["accelerator"] = torch.cuda.get_device_name()
    return machine


def list_versions(packages: Iterable[str]) -> dict[str, str]:
    """Version of each package that is installed."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def measure_call(call: Callable[[], Any], device: str) -> tuple[Any, dict[str, float]]:
    """Result, seconds and memory of a call.

    Returns
    -------
    result
        What the call gave.
    cost : dict
        ``seconds`` by the clock, ``cpu_seconds`` of all threads; ``peak_mib``, the most memory that
        the process held at a time, and ``added_mib``, how much of it was not held before; on a GPU
        both count the device's memory.
    """
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        if RESET_PEAK.exists():
            RESET_PEAK.write_text("5")
        before = _read_memory("VmRSS")
    cpu, clock = time.process_time(), time.perf_counter()
    result = call()
    if on_gpu:
        torch.cuda.synchronize()
    seconds, cpu = time.perf_counter() - clock, time.process_time() - cpu
    peak = torch.cuda.max_memory_allocated() if on_gpu else _read_memory("VmHWM")
    return result, {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_mib": peak / MIB,
        "added_mib": (peak - before) / MIB,
    }


def _read_memory(name: str) -> int:
    """Bytes of an entry of this process's status; 0 where the system keeps none."""
    if not STATUS.exists():
        return 0
    for line in STATUS.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return 0
