"""What a person waits for and what an idle Pegasus takes: help, start, memory, size on disk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.harness import ROOT, Figure, Report, resident_mebibytes

_PEGASUS = str(Path(sys.executable).parent / "pegasus")
_IDLE_SECONDS = 3


def help_seconds() -> float:
    """Median of five, after one that warms the file cache."""
    times = []
    for _ in range(6):
        begun = time.perf_counter()
        subprocess.run([_PEGASUS, "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - begun)
    return median(times[1:])


def start_and_idle(directory: str) -> tuple[float, float]:
    """Seconds from `pegasus up` to its first answer of /ready, and MB resident after some idle seconds."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PEGASUS_")}
    begun = time.perf_counter()
    with subprocess.Popen(
        [_PEGASUS, "up", "--port", "0", "--data", directory], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        if process.stdout is None:
            raise RuntimeError("no output")
        line = process.stdout.readline()
        took = time.perf_counter() - begun
        if "is ready" not in line:
            raise RuntimeError(f"pegasus up said: {line}")
        time.sleep(_IDLE_SECONDS)
        memory = resident_mebibytes(process.pid)
        process.send_signal(signal.SIGTERM)
    return took, memory


def clone_to_answer() -> tuple[float, float]:
    """Seconds from `git clone` to the first cited answer of `make run`, and MB of the checkout with its .venv."""
    with tempfile.TemporaryDirectory(prefix="pegasus-clone-") as folder:
        checkout = Path(folder, "pegasus")
        environment = {**os.environ, "HOME": folder, "PEGASUS_DATA": f"{folder}/data", "PEGASUS_PORT": "0"}
        begun = time.perf_counter()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(checkout)], check=True)
        with subprocess.Popen(
            ["make", "run", f"PYTHON={getattr(sys, '_base_executable', sys.executable)}"],
            cwd=checkout, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True,
        ) as process:  # fmt: skip
            if process.stdout is None:
                raise RuntimeError("no output")
            cited = next((line for line in process.stdout if line.startswith("Citation:")), None)
            took = time.perf_counter() - begun
            os.killpg(process.pid, signal.SIGINT)
        if cited is None:
            raise RuntimeError("make run ended without a cited answer")
        used = sum(file.stat().st_blocks * 512 for file in checkout.rglob("*") if not file.is_symlink())
    return took, used / 1e6


def measure() -> Report:
    directory = tempfile.mkdtemp(prefix="pegasus-bench-")
    try:
        start_and_idle(directory)  # Makes the stores and warms the file cache.
        started, memory = start_and_idle(directory)
    finally:
        shutil.rmtree(directory)
    help_took = help_seconds()
    answered, size = clone_to_answer()
    return Report([
        Figure("pegasus --help", f"{help_took:.2f} s", "<= 0.3 s", "", help_took <= 0.3),
        Figure("pegasus up to ready, warm", f"{started:.1f} s", "<= 6 s", "", started <= 6),
        Figure("memory when idle", f"{memory:.0f} MB", "<= 350 MB", "", memory <= 350),
        Figure("git clone to the first cited answer", f"{answered:.0f} s", "<= 120 s", "packages may come from a cache",
               answered <= 120),
        Figure("size of the checkout, installed", f"{size:.0f} MB", "<= 800 MB", "khoj 6,200 MB", size <= 800),
    ])  # fmt: skip
