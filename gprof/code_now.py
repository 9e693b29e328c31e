"""The code of a guest whose kernel may move while somebody looks at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from gprof.attach import Attached
from symbols.memory import Memory


class CodeNow(Mapping[int, Memory]):
    """Where the instructions of the one guest are read, by its id, as it is when that is asked.

    Args:
        attached: gives the guest as it is known now.
    """

    def __init__(self, attached: Callable[[], Attached]) -> None:
        self._attached = attached
        self._known: tuple[Attached, Memory] | None = None

    def __getitem__(self, number: int) -> Memory:
        attached = self._attached()
        if number != attached.guest.id:
            raise KeyError(number)
        known = self._known
        # What is known of a file is kept as long as that lies where it is.
        if known is None or known[0] is not attached:
            known = self._known = attached, attached.code
        return known[1]

    def __iter__(self) -> Iterator[int]:
        yield self._attached().guest.id

    def __len__(self) -> int:
        return 1
