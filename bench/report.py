"""What the bench prints: progress on standard error, one table and the machine's description on standard output."""

import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

_STARTED = time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One line of the table. `ratio` is better the larger it is where the goal says `>=`."""

    what: str
    ours: str
    bare: str = ""
    ratio: str = ""
    goal: str = ""


def progress(text: str) -> None:
    """Tell whoever waits what goes on."""
    print(f"[{time.monotonic() - _STARTED:5.1f} s] {text}", file=sys.stderr, flush=True)


def spread(ratios: Sequence[float]) -> str:
    """Write the median of some rounds' ratios and, in brackets, their quartiles."""
    low, _, high = quantiles(ratios, n=4)
    return f"{median(ratios):.2f} ({low:.2f}-{high:.2f})"


def table(results: Sequence[Result]) -> str:
    """Lay the results out in columns."""
    rows = [("", "ours", "bare", "ratio (quartiles)", "goal")]
    rows += [(result.what, result.ours, result.bare, result.ratio, result.goal) for result in results]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}  {row[4]}".rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def machine(postgres: str = "") -> str:
    """Describe the machine without naming it, and PostgreSQL by its version when it takes part."""
    database = f", PostgreSQL {postgres}" if postgres else ""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return (
        f"{os.cpu_count()} cores ({_processor()}), {pages * size / 2**30:.0f} GiB of memory,"
        f" Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}{database};"
        f" load average before the run {os.getloadavg()[0]:.1f}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
