"""What ``nvidia-smi`` tells of a GPU."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from .._devices import DeviceModule

__all__ = ["clock_rate", "device_memory_used", "list_gpu_processes", "memory_usage", "power_draw", "temperature",
           "utilization"]

_module = DeviceModule("cuda")


def _physical(device: Any) -> str:
    """How nvidia-smi calls a GPU that this process sees: by its number among all, or its UUID."""
    index = _module._device(device).index or 0
    shown = [part.strip() for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
    return shown[index] if index < len(shown) else str(index)


def _ask(device: Any, what: str, of: str = "gpu") -> list[str]:
    command = ["nvidia-smi", f"--query-{of}={what}", "--format=csv,noheader,nounits", f"--id={_physical(device)}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except FileNotFoundError:
        raise RuntimeError("torch.cuda: nvidia-smi, which knows the GPU's sensors, was not found") from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        told = (getattr(error, "stdout", None) or str(error)).strip()
        raise RuntimeError(f"torch.cuda: nvidia-smi cannot tell {what}: {told}") from error
    return done.stdout.strip().splitlines()


def _number(device: Any, what: str) -> float:
    found = _ask(device, what)[0].strip()
    try:
        return float(found)
    except ValueError:
        raise RuntimeError(f"torch.cuda: this GPU does not tell {what}: {found}") from None


def utilization(device: Any = None) -> int:
    """Per cent of the last moments in which a kernel ran. RuntimeError without a GPU or nvidia-smi."""
    return int(_number(device, "utilization.gpu"))


def memory_usage(device: Any = None) -> int:
    """Per cent of the last moments in which memory was read or written."""
    return int(_number(device, "utilization.memory"))


def temperature(device: Any = None) -> int:
    """Degrees Celsius."""
    return int(_number(device, "temperature.gpu"))


def power_draw(device: Any = None) -> int:
    """Milliwatts."""
    return int(1000 * _number(device, "power.draw"))


def clock_rate(device: Any = None) -> int:
    """MHz of the multiprocessors."""
    return int(_number(device, "clocks.sm"))


def device_memory_used(device: Any = None) -> int:
    """Bytes that all processes use, JAX's reserve included."""
    return int(_number(device, "memory.used")) << 20


def list_gpu_processes(device: Any = None) -> str:
    """A line for each process that computes there, and its memory."""
    rows = [row.split(",") for row in _ask(device, "pid,used_memory", "compute-apps")]
    lines = [f"GPU:{_module._device(device).index or 0}"]
    lines += [f"process {pid.strip():>10s} uses {used.strip():>12s} MB GPU memory" for pid, used in rows]
    return "\n".join(lines if rows else [*lines, "no processes are running"])
