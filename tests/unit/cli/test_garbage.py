"""Garbage is looked for late, but it is."""

from __future__ import annotations

import subprocess
import sys

from tests.command_line import PATIENCE

PROGRAM = """
import gc, weakref
from gprof.cli import main

class Ring:
    pass

def dropped():
    ring = Ring()
    ring.itself = ring
    return weakref.ref(ring)

usual = gc.get_threshold()
main._look_for_garbage_later()
main._look_for_garbage_later()
assert gc.get_threshold() > usual, "it is looked for as often as before"
early = dropped()
for n in range(2):
    held = [[] for _ in range(2 * main._MANY_OBJECTS)]
    late = dropped()
assert gc.get_threshold() == usual, gc.get_threshold()
assert gc.get_freeze_count() > 0
gc.collect()
assert early() is not None, "what came before is left alone"
assert late() is None
"""


def test_what_is_imported_is_no_garbage_and_what_comes_later_may_be() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
