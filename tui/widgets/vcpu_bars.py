"""A bar for each vcpu: how its time was shared between kernel, user space and idling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gprof.sampling.source import Mode
from tui.glyphs import Glyphs
from tui.picture import VcpuModes
from tui.shares import shared_out
from tui.toned import Piece, Tone, width_of

#: A bar narrower than this says nothing.
_LEAST = 8
_MOST = 60
_GAP = 2
#: ` 100 %`
_NUMBER = 6
#: ` steal 100 %`, where there is any to speak of.
_STEAL = 12
_LEAST_STEAL = 0.01


def vcpu_lines(
    vcpus: Sequence[VcpuModes], width: int, lines: int, glyphs: Glyphs
) -> list[list[Piece]]:
    """The bars of all vcpus in at most `lines` lines of at most `width` cells.

    Where they are too many, neighbours share a bar, and its label tells which.
    """
    if not vcpus or lines <= 0:
        return []
    several_guests = len({v.guest for v in vcpus}) > 1
    stolen = any((v.steal or 0.0) >= _LEAST_STEAL for v in vcpus)
    number = _NUMBER + (_STEAL if stolen else 0)
    for together in range(1, len(vcpus) + 1):
        groups = [vcpus[i : i + together] for i in range(0, len(vcpus), together)]
        labels = [_label(group, several_guests) for group in groups]
        label_width = max(map(len, labels))
        most = max((width + _GAP) // (label_width + 1 + _LEAST + number + _GAP), 1)
        columns = min(-(-len(groups) // lines), len(groups))
        if columns <= most or together == len(vcpus):
            break
    cell = (width - _GAP * (columns - 1)) // columns
    room = cell - label_width - 1 - number
    if stolen and room < 1:  # the header has it for all of them
        stolen, room = False, room + _STEAL
    room = min(max(room, 1), _MOST)
    drawn = [
        _bar(label.rjust(label_width), _summed(group), room, glyphs)
        + ([_steal(group)] if stolen else [])
        for label, group in zip(labels, groups, strict=True)
    ]
    gap: Piece = (" " * _GAP, Tone.PLAIN)
    result: list[list[Piece]] = []
    for first in range(0, len(drawn), columns):
        line: list[Piece] = []
        for bar in drawn[first : first + columns]:
            line += [gap, *bar] if line else bar
        result.append(line)
    return result


def legend(glyphs: Glyphs) -> list[Piece]:
    """What the patterns of the bars mean."""
    return [
        (glyphs.kernel, Tone.KERNEL), (" kernel  ", Tone.DIM),
        (glyphs.user, Tone.USER), (" user  ", Tone.DIM),
        (glyphs.other, Tone.OTHER), (" other  ", Tone.DIM),
        (glyphs.idle, Tone.IDLE), (" idle", Tone.DIM),
    ]  # fmt: skip


def _bar(label: str, weights: Mapping[Mode, int], room: int, glyphs: Glyphs) -> list[Piece]:
    total = sum(weights.values())
    idle = weights.get(Mode.IDLE, 0)
    parts = [weights.get(Mode.KERNEL, 0), weights.get(Mode.USER, 0)]
    parts += [total - idle - sum(parts), idle]
    cells = shared_out(parts, room)
    marks = (
        (glyphs.kernel, Tone.KERNEL),
        (glyphs.user, Tone.USER),
        (glyphs.other, Tone.OTHER),
        (glyphs.idle, Tone.IDLE),
    )
    pieces: list[Piece] = [(f"{label} ", Tone.DIM)]
    pieces += [(mark * n, tone) for (mark, tone), n in zip(marks, cells, strict=True) if n]
    pieces.append((" " * (room - sum(cells)), Tone.PLAIN))
    busy = f"{100.0 * (total - idle) / total:.0f}" if total else "-"
    pieces.append((f" {busy:>3} %", Tone.PLAIN))
    assert width_of(pieces) == len(label) + 1 + room + _NUMBER
    return pieces


def _steal(group: Sequence[VcpuModes]) -> Piece:
    """How much of their time these vcpus waited for the host, on average."""
    known = [v.steal for v in group if v.steal is not None]
    if not known:
        return (" " * _STEAL, Tone.PLAIN)
    share = min(sum(known) / len(known), 1.0)
    return (f" steal {100 * share:>3.0f} %", Tone.WARN if share >= _LEAST_STEAL else Tone.DIM)


def _label(group: Sequence[VcpuModes], several_guests: bool) -> str:
    first, last = group[0], group[-1]
    if not several_guests:
        return f"{first.vcpu}" if first is last else f"{first.vcpu}-{last.vcpu}"
    start = f"{first.guest}/{first.vcpu}"
    return start if first is last else f"{start}-{last.guest}/{last.vcpu}"


def _summed(group: Sequence[VcpuModes]) -> dict[Mode, int]:
    return {mode: sum(v.weights.get(mode, 0) for v in group) for mode in Mode}
