"""Call stacks, each distinct one stored once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class StackTable:
    """Distinct stacks by id; id 0 is the absence of a stack.

    A stack is a tuple of pcs, leaf first. The leaf is the sample's own pc. Each other one is a
    return address: what was at work there is the byte before it. A frame that was interrupted has
    its pc plus one, so that this holds for it too.
    """

    def __init__(self) -> None:
        self._stacks: list[tuple[int, ...]] = [()]
        self._ids: dict[tuple[int, ...], int] = {(): 0}

    def __len__(self) -> int:
        return len(self._stacks)

    def __getitem__(self, stack: int) -> tuple[int, ...]:
        return self._stacks[stack]

    def add(self, pcs: Sequence[int]) -> int:
        """The id of a stack, new or known."""
        key = tuple(pcs)
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = len(self._stacks)
            self._stacks.append(key)
        return found

    def since(self, first: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        """The ids from `first` on with their stacks, as a recorder writes what is new."""
        for stack in range(max(first, 1), len(self._stacks)):
            yield stack, self._stacks[stack]
