"""Where a return address is at each place of a function, beside the compiler's own tables.

The unwinders of aarch64, s390x and riscv64 look at the instructions to tell whether the innermost
function has saved its link register. `.debug_frame` of the same vmlinux says so too (DWARF 5,
section 6.4): an oracle that covers code which no guest happens to run.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from elftools.dwarf.callframe import FDE
from elftools.elf.elffile import ELFFile

from symbols.elf import Image
from symbols.memory import BytesMemory
from symbols.unwinding.backchain import S390xFrames
from symbols.unwinding.frame_pointer import FunctionStart, LinkPrologue, strip_signature
from symbols.unwinding.riscv64 import Made, RiscVFrames
from symbols.unwinding.stack import Registers, words_of
from tests.guests.debian_kernel import KERNELS, KernelUnavailable, fetch_kernel

pytestmark = [pytest.mark.guest, pytest.mark.generations, pytest.mark.timeout(1800)]

FUNCTIONS = 3000
#: DWARF's number of the link register.
LINKS = {"aarch64": 30, "s390x": 14, "riscv64": 1}
_NOTHING = words_of(BytesMemory([]))


def in_register(image: Image, start_of: FunctionStart) -> Callable[[int], bool]:
    """Tells by our means whether the return address is in the link register at a pc."""
    if image.architecture == "s390x":
        s390x = S390xFrames(start_of, image)
        return lambda pc: s390x.without_link(pc) is not None
    if image.architecture == "riscv64":
        riscv = RiscVFrames(start_of, image)
        return lambda pc: riscv.made(pc) is not Made.WHOLE
    prologue = LinkPrologue(start_of, image, strip_signature)
    return lambda pc: prologue.caller(Registers(pc, 0, 0, {"link": 1}), _NOTHING) is not None


def places(table: list[dict[Any, Any]], end: int) -> Iterator[dict[Any, Any]]:
    """The first row of a function's table, and the one that holds for longest."""
    ends = [*(row["pc"] for row in table[1:]), end]
    yield table[0]
    yield max(zip(table, ends, strict=True), key=lambda row: row[1] - row[0]["pc"])[0]


@pytest.mark.parametrize("key", ["arm64-6.1", "s390x-6.1", "riscv64-6.12"])
def test_links_are_where_the_compiler_has_them(
    key: str, record_figure: Callable[[str, str, str], None]
) -> None:
    try:
        kernel = fetch_kernel(KERNELS[key])
    except KernelUnavailable as reason:
        pytest.skip(str(reason))
    image = Image.open(kernel.vmlinux)
    link = LINKS[image.architecture]
    start = 0
    ours = in_register(image, lambda _: start)
    outcomes: Counter[bool] = Counter()
    with kernel.vmlinux.open("rb") as stream:
        dwarf = ELFFile(stream).get_dwarf_info(relocate_dwarf_sections=False)
        entries = [entry for entry in dwarf.CFI_entries() if isinstance(entry, FDE)]
        for entry in random.Random(1).sample(entries, FUNCTIONS):
            start = entry["initial_location"]
            for row in places(entry.get_decoded().table, start + entry["address_range"]):
                rule = row.get(link)
                saved = rule is not None and rule.type == "OFFSET"
                outcomes[ours(row["pc"]) != saved] += 1
    record_figure(key, "links", f"{outcomes[True]}/{outcomes.total()}")
    assert outcomes[True] >= 0.999 * outcomes.total()
