"""Made-up but realistic profiles: a small kernel, its modules, user space, idle, the unresolved."""

from __future__ import annotations

import random
from collections.abc import Sequence

from gprof.profile.profile import Guest, Profile
from gprof.profile.samples import SampleTable
from gprof.profile.stacks import StackTable
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.sampling.source import Mode, SampleBatch, SourceFacts
from symbols.memory import BytesMemory
from symbols.names import printable
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable

KERNEL_LINK = 0xFFFFFFFF81000000
SLIDE = 0x1E200000
KERNEL = KERNEL_LINK + SLIDE
EXT4 = 0xFFFFFFFFC0400000
VIRTIO_NET = 0xFFFFFFFFC0300000
BLOB = 0xFFFFFFFFC0800000
NOWHERE = 0xFFFFC90000123456
USER = 0x00007F1234561000

# name, size in bytes, and how often the function is the leaf
_KERNEL_TEXT: tuple[tuple[str, int, int], ...] = (
    ("startup_64", 0x60, 0),
    ("secondary_startup_64_no_verify", 0xE0, 0),
    ("entry_SYSCALL_64_after_hwframe", 0x80, 6),
    ("do_syscall_64", 0xA0, 12),
    ("syscall_exit_to_user_mode", 0x40, 9),
    ("ksys_read", 0xD0, 4),
    ("ksys_write", 0xD0, 3),
    ("vfs_read", 0x2C0, 11),
    ("vfs_write", 0x330, 8),
    ("new_sync_write", 0x1D0, 5),
    ("generic_file_read_iter", 0x180, 7),
    ("filemap_read", 0x4E0, 31),
    ("copy_page_to_iter", 0x240, 22),
    ("copy_user_enhanced_fast_string", 0x40, 140),
    ("clear_page_erms", 0x20, 85),
    ("__alloc_pages", 0x380, 14),
    ("get_page_from_freelist", 0x11C0, 26),
    ("handle_mm_fault", 0x2F0, 13),
    ("exc_page_fault", 0x190, 10),
    ("asm_exc_page_fault", 0x30, 3),
    ("native_queued_spin_lock_slowpath", 0x2B0, 60),
    ("_raw_spin_lock_irqsave", 0x50, 38),
    ("__schedule", 0x8A0, 17),
    ("try_to_wake_up", 0x5A0, 9),
    ("net_rx_action", 0x2E0, 8),
    ("napi_gro_receive", 0x180, 9),
    ("tcp_v4_rcv", 0xE40, 12),
    ("cpu_startup_entry", 0x30, 0),
    ("do_idle", 0x2B0, 2),
    ("default_idle", 0x30, 160),
    ("asm_common_interrupt", 0x40, 1),
    ("common_interrupt", 0xB0, 2),
)
_EXT4_TEXT = (
    ("ext4_file_read_iter", 0x120, 4),
    ("ext4_file_write_iter", 0x1E0, 6),
    ("ext4_da_write_begin", 0x310, 14),
    ("ext4_mark_iloc_dirty", 0x2A0, 19),
    ("ext4_es_lookup_extent", 0x1C0, 23),
)
_VIRTIO_NET_TEXT = (
    ("virtnet_poll", 0x980, 16),
    ("receive_buf", 0xC80, 21),
    ("start_xmit", 0x640, 13),
)
_UNRESOLVED = (("gap", 0, 5), ("blob", 0, 12), ("nowhere", 0, 4), ("user", 0, 210))
_LEAVES = (*_KERNEL_TEXT, *_EXT4_TEXT, *_VIRTIO_NET_TEXT, *_UNRESOLVED)

# Who calls whom, leaf first, for every function that is not called straight from the entry.
_READ = (
    "filemap_read", "generic_file_read_iter", "ext4_file_read_iter",
    "vfs_read", "ksys_read", "do_syscall_64", "entry_SYSCALL_64_after_hwframe",
)  # fmt: skip
_WRITE = (
    "ext4_file_write_iter", "new_sync_write", "vfs_write", "ksys_write",
    "do_syscall_64", "entry_SYSCALL_64_after_hwframe",
)  # fmt: skip
_FAULT = ("handle_mm_fault", "exc_page_fault", "asm_exc_page_fault")
_IDLE = ("do_idle", "cpu_startup_entry", "secondary_startup_64_no_verify")
_RECEIVE = (
    "virtnet_poll", "net_rx_action", "common_interrupt", "asm_common_interrupt",
    "default_idle", *_IDLE,
)  # fmt: skip
_CALLERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "copy_user_enhanced_fast_string": (("copy_page_to_iter", *_READ), _WRITE),
    "copy_page_to_iter": (_READ,),
    "ext4_es_lookup_extent": (_READ, ("ext4_da_write_begin", *_WRITE)),
    "ext4_mark_iloc_dirty": (_WRITE,),
    "ext4_da_write_begin": (_WRITE,),
    "clear_page_erms": (("get_page_from_freelist", "__alloc_pages", *_FAULT),),
    "get_page_from_freelist": (("__alloc_pages", *_FAULT), ("__alloc_pages", *_WRITE)),
    "__alloc_pages": (_FAULT, _WRITE),
    "native_queued_spin_lock_slowpath": (
        ("_raw_spin_lock_irqsave", "try_to_wake_up", *_RECEIVE),
        ("_raw_spin_lock_irqsave", "get_page_from_freelist", "__alloc_pages", *_FAULT),
    ),
    "_raw_spin_lock_irqsave": (("try_to_wake_up", *_RECEIVE),),
    "try_to_wake_up": (_RECEIVE,),
    "receive_buf": (_RECEIVE,),
    "napi_gro_receive": (("receive_buf", *_RECEIVE),),
    "tcp_v4_rcv": (("napi_gro_receive", "receive_buf", *_RECEIVE),),
    "start_xmit": (("new_sync_write", "vfs_write", "ksys_write", "do_syscall_64"),),
    "__schedule": (("do_idle", *_IDLE[1:]), ("__schedule", "vfs_read", "ksys_read")),
    "default_idle": (_IDLE,),
}


def _caller_chains(leaf: str) -> tuple[tuple[str, ...], ...]:
    if leaf in _CALLERS:
        return _CALLERS[leaf]
    for path in (_READ, _WRITE, _FAULT, _RECEIVE):
        if leaf in path:
            return (path[path.index(leaf) + 1 :],)
    return ((),)


def _laid_out(text: Sequence[tuple[str, int, int]], at: int) -> list[Symbol]:
    """Functions one after the other, each on a 16 byte boundary."""
    placed = []
    for name, size, _ in text:
        placed.append(Symbol(name, at, at + size))
        at += (size + 31) & ~15
    return placed


def space() -> AddressSpace:
    """A kernel with a slide, two modules with symbols and one without."""
    kernel = _laid_out(_KERNEL_TEXT, KERNEL_LINK)
    # The last page of the kernel's text holds no symbol.
    return AddressSpace(
        [
            LoadedImage(
                "[kernel]",
                ImageKind.KERNEL,
                KERNEL,
                KERNEL + 0x10000,
                SymbolTable.of(kernel),
                SLIDE,
                bytes.fromhex("5c1dc2f0a3b94e7d8b0f66a1d2c3b4a5968778ff"),
                "vmlinux",
            ),
            *(
                LoadedImage(name, ImageKind.MODULE, at, at + 0x10000, SymbolTable.of(found), at)
                for name, at, found in (
                    ("ext4", EXT4, _laid_out(_EXT4_TEXT, 0)),
                    ("virtio_net", VIRTIO_NET, _laid_out(_VIRTIO_NET_TEXT, 0)),
                )
            ),
            LoadedImage("blob", ImageKind.MODULE, BLOB, BLOB + 0x20000),
        ]
    )


def synthetic(samples: int = 2000, stacks: bool = False, seed: int = 0) -> Profile:
    """A profile of a guest with two vcpus, the same one for the same arguments.

    Args:
        samples: how many; two a sampling instant, one for each vcpu, at about 99 Hz.
        stacks: give samples of kernel code their call stacks; user space has none.
        seed: of the random numbers.
    """
    rng = random.Random(seed)
    where = space()
    at = {
        name: where.find(name)[0].symbol
        for name, _, _ in (*_KERNEL_TEXT, *_EXT4_TEXT, *_VIRTIO_NET_TEXT)
    }
    leaves = rng.choices([name for name, _, _ in _LEAVES], [n for *_, n in _LEAVES], k=samples)
    known = StackTable()
    pcs, modes, ids = [], [], []
    for leaf in leaves:
        mode = Mode.KERNEL
        chain: tuple[str, ...] = ()
        if leaf == "user":
            pc, mode = USER + rng.randrange(0x4000), Mode.USER
        elif leaf == "gap":
            pc = KERNEL + 0xF000 + rng.randrange(0x1000)
        elif leaf == "blob":
            pc = BLOB + rng.randrange(0x3000)
        elif leaf == "nowhere":
            pc = NOWHERE + rng.randrange(16)
        else:
            symbol = at[leaf]
            # A function is hot in a few places, not in all of it.
            pc = symbol.start + rng.randrange(0, min(symbol.end - symbol.start, 0x60), 4)
            chain = rng.choice(_caller_chains(leaf))
        pcs.append(pc)
        modes.append(mode)
        ids.append(
            known.add((pc, *(at[name].start + 0x15 for name in chain)))
            if stacks and mode is Mode.KERNEL
            else 0
        )
    instants, now = [], 1_000_000_000
    for _ in range((samples + 1) // 2):
        now += int(rng.expovariate(99) * 1e9)
        instants.append(now)
    table = SampleTable()
    table.append(
        SampleBatch.of(
            pcs,
            time=[instants[i // 2] for i in range(samples)],
            stack=ids,
            vcpu=[i % 2 for i in range(samples)],
            mode=modes,
        )
    )
    covered = now - 1_000_000_000
    return Profile(
        samples=table.frozen(),
        facts=SourceFacts(
            way="gdbstub",
            target="localhost:1234",
            asked_hz=99.0,
            reached_hz=1e9 * len(instants) / covered if covered else 0.0,
            covered_ns=covered,
            taken=len(instants),
            halted_ns=82_000 * len(instants),
            late=len(instants) // 200,
        ),
        guests={0: Guest(0, "web1", "x86_64", (0, 1), "6.1.0-56-cloud-amd64")},
        spaces={0: where},
        stacks=known,
        texts={0: BytesMemory(_text_of(at["clear_page_erms"]))},
        started_ns=1_750_000_000_000_000_000,
    )


def _text_of(symbol: Symbol) -> list[tuple[int, bytes]]:
    """The bytes of clear_page_erms: endbr64; mov ecx, 4096; xor eax, eax; rep stosb; ret."""
    code = bytes.fromhex("f30f1efab90010000031c0f3aac3")
    size = symbol.end - symbol.start
    return [(symbol.start, (code + b"\xcc" * size)[:size])]


#: Names that attack a terminal, a page, a spreadsheet or a parser.
HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "]]>",
    "a&b<c>\"d'",
    "\x1b[31mred\x1b]0;title\x07",
    "\u202egnp.exe",
    "x" * 10_000,
    "=cmd|' /C calc'!A0",
    "semi;colon 12",
    "line\nbreak\r\ttab\0nul",
    "\udcff\uffff",
    "漢字の関数名がとても長い",
    "",
    "-->",
    "${jndi:ldap://x}",
    '" onload="alert(1)',
)


def hostile() -> Profile:
    """A profile in which everything that a guest can name is an attack."""
    table = SymbolTable.of([Symbol(name, 16 * i, 16 * i + 16) for i, name in enumerate(HOSTILE)])
    image = LoadedImage("evil<&\x1b", ImageKind.MODULE, 0xF000, 0x10000, table, 0xF000)
    tasks = TaskTable()
    # Names of tasks are made printable where they are read.
    found = [tasks.add(GuestTask(0, i, i, printable(name))) for i, name in enumerate(HOSTILE)]
    return Profile(
        SampleBatch.of(
            [0xF000 + 16 * i + 4 for i in range(len(HOSTILE)) for _ in range(i + 1)],
            task=[found[i] for i in range(len(HOSTILE)) for _ in range(i + 1)],
        ),
        SourceFacts("gdbstub", "<b>\x1b[2J", notes=("note\x1b[31m</text>",), covered_ns=10**9),
        {0: Guest(0, "</title><script>alert(1)</script>\x1b", "x\x00", (0,), "6.1\n")},
        {0: AddressSpace([image])},
        tasks=tasks,
    )
