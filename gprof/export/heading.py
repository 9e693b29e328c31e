"""What stands above a table: who was sampled, how, and what went wrong."""

from __future__ import annotations

from gprof.export.notes import told
from gprof.profile.profile import Guest, Profile
from gprof.sampling.source import SourceFacts
from symbols.names import printable
from symbols.unwinding.stack import Ending

#: Vcpus whose steal time is told one by one.
_MOST_VCPUS = 8
_ENDINGS = {ending.name.lower(): ending for ending in Ending}


def heading(profile: Profile, samples: int) -> list[str]:
    """Who was sampled, how, and what went wrong, in lines.

    Args:
        profile: what was sampled.
        samples: how many of them are shown.
    """
    facts = profile.facts
    lines = [f"guest    {describe(guest)}" for _, guest in sorted(profile.guests.items())]
    source = f"source   {printable(facts.way)} {printable(facts.target)}".rstrip()
    if facts.asked_hz:
        source += f", {facts.reached_hz:.1f} Hz of {facts.asked_hz:.1f} Hz asked"
    lines.append(source)
    sampled = f"sampled  {samples} samples in {facts.covered_ns / 1e9:.1f} s"
    if facts.halted_ns:
        sampled += f", guest halted {facts.halted_percent:.2f} % of the time"
    lines.append(sampled)
    trouble = [
        f"{n} {what}"
        for n, what in ((facts.late, "late"), (facts.errors, "failed"), (facts.lost, "lost"))
        if n
    ]
    if trouble:
        lines.append(f"         {', '.join(trouble)}")
    if facts.vcpu_times:
        lines.append(_host(facts))
    if facts.endings:
        lines += _stacks(facts)
    return lines + [f"note     {note}" for note in told(facts.notes)]


def describe(guest: Guest) -> str:
    """A guest in one line."""
    count = len(guest.vcpus)
    vcpus = f"{count} vcpu{'s' * (count > 1)}" if count else ""
    parts = [guest.architecture, vcpus, guest.kernel]
    known = ", ".join(printable(part) for part in parts if part)
    return f"{printable(guest.name)} ({known})" if known else printable(guest.name)


def _host(facts: SourceFacts) -> str:
    """How long vcpus waited for a processor of the host, those that waited most first."""
    shares = sorted(
        (
            (100 * time.waited_ns / max(1, facts.covered_ns), vcpu)
            for vcpu, time in facts.vcpu_times.items()
        ),
        key=lambda one: (-one[0], one[1]),
    )
    most = ", ".join(f"vcpu {vcpu} {share:.1f} %" for share, vcpu in shares[:_MOST_VCPUS])
    more = ", ..." if len(shares) > _MOST_VCPUS else ""
    ran, steal = facts.ran_percent, facts.steal_percent
    return (
        f"host     vcpus ran {ran:.1f} %, waited {steal:.1f} % for its processors (steal), slept "
        f"{max(0.0, 100 - ran - steal):.1f} %; waited most: {most}{more}"
    )


def _stacks(facts: SourceFacts) -> list[str]:
    """How many call stacks were taken, how many of them lack something, and why."""
    total = sum(facts.endings.values())
    line = f"stacks   {total} by {printable(facts.unwound_by)}"
    lines = [f"{line}, {100 - facts.stacks_cut_percent:.2f} % of them whole"]
    for name, count in sorted(facts.endings.items(), key=lambda item: (-item[1], item[0])):
        ending = _ENDINGS.get(name)
        if ending is None or not ending.whole:
            sentence = ending.sentence if ending is not None else printable(name)
            lines.append(f"         {100 * count / total:.2f} % {sentence}")
    return lines
