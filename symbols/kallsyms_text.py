r"""Symbols as the text of /proc/kallsyms, for other tools that want a file of it.

The form is that of kernel/kallsyms.c (s_show): `ADDRESS TYPE NAME`, and behind a module's symbol a
tab and the module's name in brackets.
"""

from __future__ import annotations

from symbols.symbol_lines import SymbolLines


def write_kallsyms(lines: SymbolLines) -> bytes:
    """The text of some symbols, a line each, in their order.

    Names are written as the kernel has them; `symbols.names.printable` is for showing them.
    """
    blob, start, end = lines.names.columns()
    tails = [f"\t[{owner}]\n".encode("utf-8", "backslashreplace") for owner in lines.owners]
    tails.append(b"\n")  # the kernel's own: its owner is -1
    columns = zip(
        lines.address.tolist(),
        lines.kind.tolist(),
        start.tolist(),
        end.tolist(),
        lines.owner.tolist(),
        strict=True,
    )
    return b"".join(
        b"%016x %c %b%b" % (address, kind, blob[first:after], tails[owner])
        for address, kind, first, after, owner in columns
    )
