"""A guest and its profiler as on a host that has nothing else to do, on one that has.

Two processors are needed, and root.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path


def take_precedence(process: int, at_work: Collection[int]) -> None:
    """Have the host's scheduler prefer a QEMU and this process to all others; see sched(7).

    Sessions share the processors by the niceness of their groups, and those two get the best. What
    works only now and then runs as soon as it wants to. Where one vcpu works, it has a processor,
    and the rest has the others: there an idle host would put it.

    Args:
        process: QEMU's id.
        at_work: ids of the threads of vcpus that always work: these get no more than their share.

    Raises:
        SystemExit: that is not for us to decide, or this kernel knows no such thing.
    """
    try:
        for session in (os.getpid(), process):
            Path(f"/proc/{session}/autogroup").write_text("-20")
        threads = [int(task.name) for task in Path(f"/proc/{process}/task").iterdir()]
        every = set(range(os.cpu_count() or 1))
        for thread in (*threads, os.getpid()):
            constant = thread in at_work
            policy = os.SCHED_OTHER if constant else os.SCHED_RR
            os.sched_setscheduler(thread, policy, os.sched_param(0 if constant else 1))
            alone = len(at_work) == 1 and len(every) > 1
            first = {0} if constant else every - {0}
            os.sched_setaffinity(thread, first if alone else every)
    except OSError as error:
        raise SystemExit(f"--precedence is not to be had: {error}") from None
