"""Types that are described as if the kernel had not shuffled its structures are not believed."""

from __future__ import annotations

import pytest

from symbols.btf import Btf
from symbols.errors import IntrospectionError
from symbols.first_task import first_task_contradicts
from symbols.introspection import KnownKernel, kernel_types
from tests.unit.symbols.kernel_memory import types
from tests.unit.symbols.test_module_types import HEAD, NAMED, SIZES, Build, Loaded, known

TASK = 0xFFFF_FFFF_9B80_0040
TYPES = 0xFFFF_FFFF_9B00_0000
NAME = 400  # in a task, as the types have it


def shuffled(task: bytes) -> tuple[Loaded, KnownKernel]:
    """A kernel that describes its types, has a first task, and modules in another form."""
    loaded = Loaded(Build(order=tuple(reversed(SIZES))))
    loaded.put(TYPES, types("6.12"))
    loaded.put(TASK - 0x40, bytes(0x40) + task + bytes(8192 - 0x40 - len(task)))
    data = {"modules": HEAD, "__start_BTF": TYPES, "init_task": TASK}
    return loaded, KnownKernel(kallsyms=known().with_data(data))


def task(at: int, name: bytes, size: int = 2048) -> bytes:
    return bytes(at) + name + bytes(size - at - len(name))


@pytest.mark.parametrize(
    ("data", "contradicted"),
    [
        (task(NAME, b"swapper"), False),
        (task(NAME, b"swapper/0"), False),
        (task(1208, b"swapper/0"), True),
        (task(16, b"swapper"), True),
        (task(16, b"swapper/12"), False),  # another one's
        (bytes(2048), False),  # not there yet
    ],
)
def test_the_name_of_the_first_task_tells(data: bytes, contradicted: bool) -> None:
    loaded, kernel = shuffled(data)
    described = Btf.parse(types("6.12"))
    found = first_task_contradicts(described, loaded.memory, kernel.address_of)
    assert found is contradicted


@pytest.mark.parametrize("place", [None, (1 << 64) - 8, 1 << 32])
def test_no_first_task_tells_nothing(place: int | None) -> None:
    described = Btf.parse(types("6.12"))
    loaded, _ = shuffled(task(16, b"swapper"))
    assert not first_task_contradicts(described, loaded.memory, lambda _: place)


def test_modules_tell_what_their_description_does_not() -> None:
    loaded, kernel = shuffled(task(16, b"swapper"))
    found = kernel_types(loaded.memory, kernel, kernel.address_of)
    assert found.member("task_struct", "comm") is None
    loaded.check(loaded.memory, kernel)


def test_where_they_do_not_it_is_said() -> None:
    loaded, kernel = shuffled(task(16, b"swapper"))
    for module in loaded.modules[: len(NAMED)]:
        loaded.words(module + loaded.build.places()["mem"], 1)
    with pytest.raises(IntrospectionError, match="CONFIG_RANDSTRUCT"):
        kernel_types(loaded.memory, kernel, kernel.address_of)
