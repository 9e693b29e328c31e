"""Follow the tasks of a guest while it is sampled: what that needs of its kernel."""

from __future__ import annotations

from contextlib import suppress

from gprof.attach import Attached
from gprof.errors import TargetError
from gprof.guest.monitored import MonitoredMachine
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.profile.user_spaces import UserSpaces
from gprof.sampling.task_numbers import Following
from gprof.user_following import UserFollower
from gprof.user_programs import UserPrograms
from symbols.errors import SymbolsError
from symbols.page_cache import PageCache
from symbols.tasks import CurrentPlaces, Task, Tasks
from symbols.user_files import UserFiles
from symbols.user_mappings import UserMappings


def follow_tasks(
    attached: Attached, tasks: TaskTable, spaces: UserSpaces | None = None
) -> tuple[Following | None, str]:
    """What a source needs to number the tasks of a guest in a table.

    Args:
        attached: the guest.
        tasks: the table.
        spaces: what the tasks have mapped, to be filled; None to leave that alone.

    Returns:
        None where its tasks cannot be told, and then a sentence why; that is empty where there
        are none, as without an operating system.
    """
    sources = attached.sources
    if attached.slide is None or not sources.runs_linux:
        return None, ""
    monitored = attached.machine if isinstance(attached.machine, MonitoredMachine) else None
    if monitored is not None and monitored.why_packets is not None:
        return None, f"Tasks are not told: {monitored.why_packets.problem}."
    known = attached.known_kernel
    try:
        memory = (attached.monitored or attached.machine).fresh_memory()
        _refuse_costly_types(attached)
        structures = attached.structures(memory)
        reader = Tasks(structures)
    except (SymbolsError, TargetError) as error:
        return None, f"Tasks are not told: {error.problem}."
    places = CurrentPlaces.of(known.address_of, structures.btf)
    guest = attached.guest.id
    users = None
    if spaces is not None:
        with suppress(SymbolsError):  # a kernel that keeps mappings in another way
            mappings = UserMappings(structures)
            programs = None
            if sources.directories:
                cache = PageCache(structures, attached.guest.architecture, known.address_of)
                programs = UserPrograms(cache, UserFiles(sources.directories))
            users = UserFollower(mappings, memory, tasks, spaces, programs)

    def number(task: Task) -> int:
        space = 0
        if users is not None and not task.kernel_thread:
            space = users.number(guest, task.tgid, task.mm)
        return tasks.add(
            GuestTask(guest, task.pid, task.tgid, task.comm, task.kernel_thread, space)
        )

    if users is None:
        return Following(places, reader, memory, number), ""
    return Following(places, reader, memory, number, users.saw, users.forget), ""


def _refuse_costly_types(attached: Attached) -> None:
    """Look for the kernel's types only where reading them costs the guest nothing.

    Raises:
        SymbolsError: it would.
    """
    monitored, image = attached.monitored, attached.sources.image
    free = monitored is not None and monitored.why_packets is None
    described = image is not None and image.section(".BTF") is not None
    if attached.introspected.types is None and not free and not described:
        raise SymbolsError(
            "the kernel's types were not read",
            "Give --guestvmlinux, or leave --guestmodules out.",
        )
