"""One stop of a guest for several questions, each of which may depend on the answers before it.

The stack depends on the stack pointer: so the guest has to wait for us in between. The last
question carries the continue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gprof.guest.dialogue import Dialogue, Exchange, portions


class Stop:
    """A stop that begins with the first question; see `Stub.stopped`.

    Args:
        dialogue: with the stub, for as long as the stop lasts.
        spin: for the first question, see `Connection.receive`.
    """

    def __init__(self, dialogue: Dialogue, *, spin: bool) -> None:
        self._dialogue = dialogue
        self._spin = spin
        self._ours = self._running = False
        self._first: Exchange | None = None
        self._answered_ns = 0

    @property
    def exchange(self) -> Exchange:
        """The times of the whole stop; its replies are those of the first question."""
        assert self._first is not None
        return replace(self._first, answered_ns=self._answered_ns, waited=True)

    def ask(self, requests: Sequence[bytes], *, last: bool = False) -> list[bytes]:
        """The replies to some requests; the guest stands while they are made.

        Args:
            requests: payloads of packets.
            last: let the guest run in the same write, if it was we who stopped it. The first
                question is never the last: for that there is `Stub.exchange`.
        """
        if self._first is None:
            replies = self._begin(requests)
        else:
            assert not self._running, "the last question was asked"
            self._running = last and self._ours
            replies = self._dialogue.ask(requests, resume=self._running)
        self._answered_ns = self._dialogue.received_ns
        return replies

    def _begin(self, requests: Sequence[bytes]) -> list[bytes]:
        dialogue = self._dialogue
        first, *more = portions(requests)
        ours, begun = dialogue.stop(first, resume=False, spin=self._spin)
        if ours == dialogue.held:
            dialogue.set_held(not ours)
        for part in more:
            begun.replies.extend(dialogue.ask(part))
        self._ours, self._first = ours, begun
        return begun.replies

    def end(self) -> None:
        """Let the guest run where the last question did not."""
        if self._first is None or self._running:
            return
        self._running = True
        if self._ours:
            self._dialogue.resume()
        else:
            self._dialogue.acknowledge()
