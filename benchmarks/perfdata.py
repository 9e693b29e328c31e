"""Reading a large perf.data: gprof against perf itself, wall time and peak memory side by side.

Makes recordings of any size by repeating the samples of a real one (fixtures/perf), in a
temporary directory, and reads each with every reader, best of some runs, in a process of its own:

    python benchmarks/perfdata.py --samples 5000000 --runs 3 --script

All are whole commands, from start to printed table, with the kallsyms of both guests: but for
`gprof report, no names`, and `perf report`, which without `kvm` names the host alone.
"""

from __future__ import annotations

import argparse
import lzma
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
RECORDING = ROOT / "fixtures" / "perf" / "two-guestmount.data.xz"
_SAMPLE, _FINISHED_ROUND = 9, 68
_SAMPLES = re.compile(r"\d+ samples|Samples: \S+ of event")
#: The word of these samples that holds the time: header, ip, tid, time.
_TIME = 3


@dataclass(frozen=True)
class Run:
    """What one reading took: by the clock, of the processor, and of memory."""

    seconds: float
    processor: float
    megabytes: float
    said: str


def repeated(recording: bytes, samples: int, path: Path) -> int:
    """Write a recording with about as many samples, all other records once; the count written.

    Each repetition is later than the one before and ends a round, as if perf had gone on. The
    features behind the records move with them: their table holds absolute offsets.
    """
    offset, size = struct.unpack_from("<QQ", recording, 40)
    records, rest = recording[offset : offset + size], recording[offset + size :]
    others, sampled, at = [], [], 0
    while at < len(records):
        kind, _, length = struct.unpack_from("<IHH", records, at)
        (sampled if kind == _SAMPLE else others).append(records[at : at + length])
        at += length
    words = np.frombuffer(b"".join(sampled), "<u8").reshape(len(sampled), -1).copy()
    span = int(words[:, _TIME].max() - words[:, _TIME].min()) + 1
    times = max(samples // len(sampled), 1)
    round_end = struct.pack("<IHH", _FINISHED_ROUND, 0, 8)
    head = b"".join(others)
    new_size = len(head) + times * (words.nbytes + len(round_end))
    header = bytearray(recording[:offset])
    struct.pack_into("<Q", header, 48, new_size)
    features = sum(word.bit_count() for word in struct.unpack_from("<4Q", recording, 72))
    table = bytearray(rest)
    for i in range(features):
        (place,) = struct.unpack_from("<Q", table, 16 * i)
        struct.pack_into("<Q", table, 16 * i, place + new_size - size)
    with path.open("wb") as file:
        file.write(header)
        file.write(head)
        for _ in range(times):
            file.write(words.tobytes())
            file.write(round_end)
            words[:, _TIME] += np.uint64(span)
        file.write(table)
    return times * len(sampled)


def run(command: list[str]) -> Run:
    """Run to the end and take the time and the peak memory that the kernel counted."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PAGER": "cat"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = _SAMPLES.search(output.read(1000).decode(errors="replace"))
    if process.returncode:
        raise SystemExit(f"{command[0]} failed with code {process.returncode}")
    processor = usage.ru_utime + usage.ru_stime
    return Run(seconds, processor, usage.ru_maxrss / 1024, said[0] if said else "")


def mount(directory: Path) -> Path:
    """The guests' symbols as `--guestmount` takes them."""
    for pid in ("1310", "1313"):
        kept, proc = RECORDING.parent / "guests" / pid, directory / pid / "proc"
        proc.mkdir(parents=True)
        shutil.copy(kept / "modules", proc)
        (proc / "kallsyms").write_bytes(lzma.decompress((kept / "kallsyms.xz").read_bytes()))
    return directory


def main() -> None:
    parser = argparse.ArgumentParser(description="Read a large perf.data with gprof and perf")
    parser.add_argument("--samples", type=int, default=5_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--script", action="store_true", help="time perf script too (slow)")
    arguments = parser.parse_args()
    recording = lzma.decompress(RECORDING.read_bytes())
    with tempfile.TemporaryDirectory() as directory:
        guests = f"--guestmount={mount(Path(directory) / 'guests')}"
        for samples in (arguments.samples // 10, arguments.samples):
            path = Path(directory) / f"{samples}.data"
            written = repeated(recording, samples, path)
            print(f"{written} samples, {path.stat().st_size / 1e6:.0f} MB")
            ours = [sys.executable, "-m", "gprof", "report", "-i", str(path)]
            report = ["report", "--stdio", "--sort", "sym"]
            commands = {"gprof report": [*ours, guests], "gprof report, no names": ours}
            if shutil.which("perf"):
                commands["perf kvm report"] = [
                    "perf", "kvm", "--guest", guests, "-i", str(path), *report,
                ]  # fmt: skip
                commands["perf report"] = ["perf", *report, "-i", str(path)]
            if shutil.which("perf") and arguments.script:
                commands["perf script"] = [
                    "perf", "script", guests, "-F", "pid,tid,time,ip,sym", "-i", str(path),
                ]  # fmt: skip
            for name, command in commands.items():
                best = min((run(command) for _ in range(arguments.runs)), key=lambda r: r.processor)
                print(
                    f"  {name:22} {best.seconds:7.2f} s, of the processor {best.processor:6.2f} s, "
                    f"{best.megabytes:5.0f} MB  {best.said}"
                )
            path.unlink()


if __name__ == "__main__":
    main()
