"""What a result was made on, for its manifest: processor, cores, memory, accelerator; no names."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import sys
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
GIB = 2**30
BFLOAT16 = {"avx512_bf16", "amx_bf16"}
"""Flags of processors that multiply bfloat16."""


@functools.cache
def describe_machine() -> str:
    """The machine in a line, such as ``AMD EPYC 9V74, 2 cores, 8 GiB; NVIDIA H200``.

    An accelerator is told where the job has loaded torch, and sees one.
    """
    parts = [_name_processor(), f"{_count_cores()} cores"]
    with contextlib.suppress(ValueError, OSError, AttributeError):
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        parts.append(f"{size / GIB:.0f} GiB")
    return "; ".join([", ".join(parts), *_list_accelerators()])


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for products in bfloat16."""
    with contextlib.suppress(OSError):
        words = CPU_INFO.read_text(encoding="utf-8", errors="replace").split()
        return not BFLOAT16.isdisjoint(words)
    return False


def _name_processor() -> str:
    with contextlib.suppress(OSError):
        for line in CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _list_accelerators() -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return sorted({torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())})
