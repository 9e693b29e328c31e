"""Whether a description of a kernel's types is true, by the first task that every kernel has.

Where a plugin of GCC shuffles structures (CONFIG_RANDSTRUCT) the debugging information does not
say so: the compiler has written it down before, and it has all members in the order of the source
(GCC 12, `finish_struct` of c-decl.c comes before PLUGIN_FINISH_TYPE). To read by it would tell
tasks and modules that are none.

The first task (`init_task` of init/init_task.c) keeps the name that it is compiled with, but for
the number of its vcpu, and so shows where a task has its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from symbols.btf import Btf
from symbols.errors import BtfError
from symbols.memory import Memory, MemoryFault, windows
from symbols.structures import Structures

#: INIT_TASK_COMM, and what init_idle of kernel/sched/core.c makes of it.
_NAME = re.compile(rb"swapper(/0)?\0")
#: Larger than any `struct task_struct`.
_LARGEST = 16 << 10
_SIZE = 16  # TASK_COMM_LEN
_WRAP = 1 << 64


def first_task_contradicts(
    types: Btf, memory: Memory, address_of: Callable[[str], int | None]
) -> bool:
    """Whether the first task has its name elsewhere than a description of types says.

    Not so where it has no name at all, as in a guest that has not booted.

    Args:
        types: the description.
        memory: the guest's.
        address_of: runtime address of a symbol.
    """
    task = address_of("init_task")
    if task is None:
        return False
    span = min(_LARGEST, _WRAP - task)
    try:
        name, _ = Structures(memory, types).member("task_struct", "comm")
        if name.offset + _SIZE > span or _NAME.match(memory.read(task + name.offset, _SIZE)):
            return False
    except (BtfError, MemoryFault):
        return False
    return _NAME.search(windows(memory, [task], span)[0]) is not None
