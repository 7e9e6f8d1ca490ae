"""``python -m pytorchlike.distributed.run``: a program in several processes, as by ``torchrun``.

    python -m pytorchlike.distributed.run --nproc_per_node 2 train.py --epochs 3
    python -m pytorchlike -m torch.distributed.run --standalone --nproc_per_node 2 train.py

Each process finds RANK, LOCAL_RANK, WORLD_SIZE, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT in its environment, and
``import torch`` gives pytorchlike there. When one fails, the others are stopped, and with --max_restarts all are
started anew. What ``torch.distributed.elastic.multiprocessing.errors.record`` has noted of exceptions is printed.
Several machines: the same command on each with its own --node_rank, and the --master_addr and --master_port of the
first; on each of them the processes fail when those of another one do, and are started anew, too.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any

from ..multiprocessing.spawn import end_with_parent

__all__ = ["get_args_parser", "main", "run"]

_EVERY = 0.05  # seconds between looks at the processes


def get_args_parser() -> argparse.ArgumentParser:
    """The options, in either spelling: ``--nproc-per-node`` or ``--nproc_per_node``."""
    parser = argparse.ArgumentParser(prog="python -m pytorchlike.distributed.run", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)

    def add(name: str, **kwargs: Any) -> None:
        parser.add_argument(f"--{name}", f"--{name.replace('_', '-')}", **kwargs)

    add("nnodes", default="1", help="the number of machines (N, or N:N)")
    add("nproc_per_node", default="1", help="processes on this machine: a number, cpu, gpu or auto")
    add("node_rank", type=int, default=None, help="which machine this is, from 0 on")
    add("master_addr", default=None, help="address of the first machine (127.0.0.1)")
    add("master_port", type=int, default=None, help="a free port there; on one machine, chosen if not given")
    add("rdzv_backend", default="static", help="static or c10d: the same here")
    add("rdzv_endpoint", default="", help="HOST[:PORT], instead of the two above")
    add("rdzv_id", default="none", help="name of the job")
    add("rdzv_conf", default="", help="accepted, with no effect")
    add("local_addr", default=None, help="accepted, with no effect")
    add("standalone", action="store_true", help="one machine, port chosen")
    add("max_restarts", type=int, default=0, help="how often to start all again after a failure")
    add("monitor_interval", type=float, default=_EVERY, help="seconds between looks at the processes")
    add("start_method", default="spawn", choices=["spawn", "fork", "forkserver"], help="no effect: programs are run")
    add("role", default="default", help="ROLE_NAME in the environment")
    add("log_dir", default=None, help="folder for --redirects and --tee")
    add("redirects", default="0", help="1, 2 or 3: standard output, errors or both go to files in log_dir")
    add("tee", default="0", help="as redirects, and the console gets them, too")
    add("use_env", action="store_true", help="no --local-rank argument (which run never gives, but launch does)")
    add("no_python", action="store_true", help="the program is no Python script")
    add("module", action="store_true", help="the program is a module")
    parser.add_argument("-m", dest="module", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-r", dest="redirects", help=argparse.SUPPRESS)
    parser.add_argument("-t", dest="tee", help=argparse.SUPPRESS)
    parser.add_argument("training_script", help="the program")
    parser.add_argument("training_script_args", nargs=argparse.REMAINDER, help="its arguments")
    return parser


def _number_here(given: str) -> int:
    if given.isdigit() and int(given) > 0:
        return int(given)
    if given == "cpu":
        return os.cpu_count() or 1
    if given in ("gpu", "auto", "cuda"):
        from .. import cuda

        count = cuda.device_count()
        if given == "auto":
            return count or os.cpu_count() or 1
        if count:
            return count
        raise ValueError(f"--nproc_per_node {given}: there are no GPUs")
    raise ValueError(f"Unsupported nproc_per_node value: {given}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def _command(args: argparse.Namespace) -> list[str]:
    if args.no_python:
        if args.module:
            raise ValueError("Don't use both the '--no-python' flag and the '--module' flag at the same time.")
        return [args.training_script, *args.training_script_args]
    package = (__package__ or "").partition(".")[0]
    python = [sys.executable, "-u", "-m", package]
    return [*python, *(["-m"] if args.module else []), args.training_script, *args.training_script_args]


class _Failed(Exception):
    """A process has failed; told: what ``record`` wrote of exceptions, by rank, the first one first."""

    def __init__(self, rank: int, code: int) -> None:
        super().__init__(rank, code)
        self.rank, self.code = rank, code
        self.told: list[tuple[int, str]] = []


def run(args: argparse.Namespace) -> int:
    """Run the program as the parsed options say; 0, or the exit status of the process that failed first."""
    low, _, high = args.nnodes.partition(":")
    if high and high != low:
        raise ValueError(f"--nnodes {args.nnodes}: the number of machines cannot change while the job runs; give "
                         f"--nnodes {high}")
    nodes, here = int(low), _number_here(args.nproc_per_node)
    host, port = args.master_addr, args.master_port
    if args.rdzv_endpoint and not args.standalone:
        host, _, given = args.rdzv_endpoint.partition(":")
        port = int(given) if given and given != "0" else port
    if args.standalone and nodes != 1:
        raise ValueError("--standalone is for one machine")
    if nodes > 1 and (host is None or port is None):
        raise ValueError("several machines need --master_addr and --master_port (or --rdzv_endpoint HOST:PORT)")
    if args.node_rank is None:
        if nodes > 1 and "GROUP_RANK" not in os.environ:
            raise ValueError("several machines need --node_rank, a number for each from 0 on, where the first one is "
                             "at the given address")
        args.node_rank = int(os.environ.get("GROUP_RANK", 0))
    job = args.rdzv_id if args.rdzv_id != "none" else secrets.token_hex(8)
    for attempt in range(args.max_restarts + 1):
        common = {
            **os.environ, "WORLD_SIZE": nodes * here, "LOCAL_WORLD_SIZE": here, "GROUP_RANK": args.node_rank,
            "GROUP_WORLD_SIZE": nodes, "ROLE_WORLD_SIZE": nodes * here, "ROLE_NAME": args.role,
            "MASTER_ADDR": host or "127.0.0.1", "MASTER_PORT": port or _free_port(), "TORCHELASTIC_RUN_ID": job,
            "TORCHELASTIC_RESTART_COUNT": attempt, "TORCHELASTIC_MAX_RESTARTS": args.max_restarts,
        }  # fmt: skip
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        common["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), root]))
        if here > 1:
            common.setdefault("OMP_NUM_THREADS", "1")
        try:
            _run_all(args, common, here)
        except _Failed as failed:
            print(f"rank {failed.rank} failed: {_how(failed.code)}", file=sys.stderr)
            for rank, message in failed.told:
                print(f"  rank {rank}: {message}", file=sys.stderr)
            left = args.max_restarts - attempt
            if left:
                print(f"all processes are started again, {left} times at most", file=sys.stderr)
            if attempt == args.max_restarts:
                return failed.code if failed.code > 0 else 128 - failed.code
            continue
        return 0
    return 0


def _how(code: int) -> str:
    return f"exit status {code}" if code >= 0 else f"killed by signal {signal.Signals(-code).name}"


_STREAMS = {"0": (), "1": ("stdout",), "2": ("stderr",), "3": ("stdout", "stderr")}


def _output(args: argparse.Namespace, rank: int) -> tuple[dict[str, Any], list[str]]:
    """Files for the streams of a process, and which of them go to the console, too. ValueError for other numbers."""
    for option in ("redirects", "tee"):
        if (given := getattr(args, option)) not in _STREAMS:
            raise ValueError(f"--{option} {given}: give 0, 1 (standard output), 2 (errors) or 3 (both)")
    both = _STREAMS[args.tee]
    chosen = [name for name in _STREAMS["3"] if name in both or name in _STREAMS[args.redirects]]
    if not chosen:
        return {}, []
    if not args.log_dir:
        raise ValueError("--redirects and --tee need --log_dir, a folder for the files")
    os.makedirs(args.log_dir, exist_ok=True)
    return {name: open(os.path.join(args.log_dir, f"{rank}-{name}.log"), "wb") for name in chosen}, list(both)


def _copy(source: Any, file: Any, console: Any, prefix: str) -> None:
    """Lines of a process go to its file, and to the console with its name."""
    with source, file:
        for line in source:
            file.write(line)
            file.flush()
            console.write(f"{prefix}{line.decode(errors='replace')}")
            console.flush()


def _run_all(args: argparse.Namespace, common: dict[str, Any], here: int) -> None:
    command = _command(args)
    processes: list[subprocess.Popen] = []
    copiers: list[threading.Thread] = []
    stop = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    errors = tempfile.mkdtemp(prefix="pytorchlike-errors-")
    try:
        for local in range(here):
            rank = args.node_rank * here + local
            own = {**common, "RANK": rank, "LOCAL_RANK": local, "ROLE_RANK": rank}
            own["TORCHELASTIC_ERROR_FILE"] = os.path.join(errors, f"{rank}.json")
            files, both = _output(args, rank)
            line = list(command)
            if getattr(args, "local_rank_argument", False):
                line.insert(len(line) - len(args.training_script_args), f"--local-rank={local}")
            env = {k: str(v) for k, v in own.items()}
            streams = {name: subprocess.PIPE if name in both else file for name, file in files.items()}
            process = subprocess.Popen(line, env=env, preexec_fn=_end_with_launcher, **streams)
            processes.append(process)
            for name, file in files.items():
                if name not in both:
                    file.close()
                    continue
                pair = (getattr(process, name), file, getattr(sys, name), f"[{args.role}{rank}]:")
                copiers.append(threading.Thread(target=_copy, args=pair, daemon=True))
                copiers[-1].start()
        running = dict(enumerate(processes, args.node_rank * here))
        while running:
            for rank, process in list(running.items()):
                code = process.poll()
                if code is not None:
                    del running[rank]
                    if code:
                        raise _Failed(rank, code)
            time.sleep(min(args.monitor_interval, _EVERY))
    except _Failed as failed:
        _end(processes)
        failed.told = _told(errors)
        raise
    finally:
        _end(processes)
        for copier in copiers:
            copier.join(5)
        shutil.rmtree(errors, ignore_errors=True)
        for number, before in stop.items():
            signal.signal(number, before)


def _told(folder: str) -> list[tuple[int, str]]:
    """What ``record`` wrote of the exceptions of processes, the first one first."""
    found = []
    for name in os.listdir(folder):
        with open(os.path.join(folder, name)) as file:
            message = json.load(file)["message"]
        info = message.get("extraInfo", {})
        found.append((float(info.get("timestamp", 0)), int(name.partition(".")[0]), message["message"]))
    return [(rank, message) for _, rank, message in sorted(found)]


def _end_with_launcher() -> None:
    end_with_parent(signal.SIGTERM)


def _interrupt(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)


def _end(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    end = time.monotonic() + 10
    for process in processes:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main(args: list[str] | None = None, local_rank_argument: bool = False) -> None:
    """The command line. Exits with the status of the process that failed first.

    local_rank_argument: the program is given ``--local-rank=N``, unless --use_env is.
    """
    parser = get_args_parser()
    parsed = parser.parse_args(args)
    parsed.local_rank_argument = local_rank_argument and not parsed.use_env
    try:
        status = run(parsed)
    except ValueError as error:
        parser.error(str(error))
    if status:
        sys.exit(status)


if __name__ == "__main__":
    main()
