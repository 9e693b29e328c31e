"""Every format that a profile can leave in, with the names of files that stand for it.

Says where an exporter is without importing it: the command line offers all of them at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gprof.errors import UsageError
from gprof.export.exporter import Exporter


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        about: for whom it is.
        exporter: module and class of its exporter, `folded:Folded`.
        endings: of file names, with their dot.
        grouped: its rows can be symbols, modules, and so on.
        inlining: it can show which functions were inlined.
    """

    about: str
    exporter: str
    endings: tuple[str, ...]
    grouped: bool = False
    inlining: bool = False

    def make(self, **options: Any) -> Exporter:
        """An exporter of this format.

        Args:
            options: fields of its class, such as `chosen`.
        """
        module, name = self.exporter.split(":")
        made: Exporter = getattr(importlib.import_module(f"gprof.export.{module}"), name)(**options)
        return made


FORMATS: Mapping[str, Format] = {
    "folded": Format("stacks in lines, for flame graph tools", "folded:Folded",
                     (".folded", ".collapsed", ".collapsedstack.txt")),
    "speedscope": Format("www.speedscope.app", "speedscope:Speedscope",
                         (".speedscope.json", ".speedscope"), inlining=True),
    "firefox": Format("profiler.firefox.com", "firefox:Firefox", (".firefox.json", ".firefox"),
                      inlining=True),
    "pprof": Format("go tool pprof", "pprof:Pprof", (".pb.gz", ".pprof"), inlining=True),
    "perf-script": Format("whatever reads perf script", "perf_script:PerfScript",
                          (".linux-perf.txt", ".perf.txt", ".perf")),
    "callgrind": Format("KCachegrind", "callgrind:Callgrind", (".callgrind",)),
    "csv": Format("spreadsheets", "table:CsvTable", (".csv",), grouped=True),
    "json": Format("programs", "table:JsonTable", (".json",), grouped=True),
    "svg": Format("a flame graph", "flamegraph:FlameGraph", (".svg",)),
    "html": Format("a flame graph to explore", "report_page:ReportPage", (".html", ".htm")),
}  # fmt: skip


def format_of(path: Path, among: Collection[str] = FORMATS) -> str:
    """The format that a file's name asks for. The longest ending wins; `.gz` may follow it.

    Args:
        path: of the file.
        among: keys of `FORMATS`: those that can be written.

    Raises:
        UsageError: the name asks for none of them.
    """
    name = path.name.lower()
    plain = name.removesuffix(".gz")
    found = [
        (len(ending), key)
        for key, format_ in FORMATS.items()
        for ending in format_.endings
        if name.endswith(ending) or plain.endswith(ending)
    ]
    form = "callgrind" if name.startswith("callgrind.out") else max(found)[1] if found else ""
    if form in among:
        return form
    endings = ", ".join(FORMATS[key].endings[0] for key in FORMATS if key in among)
    if form:
        raise UsageError(
            f"{path} asks for {form}, which cannot be written here",
            f"Give a name that ends in {endings}, or use `gprof export`.",
        )
    raise UsageError(
        f"{path} does not say in which format to write",
        f"Give a name that ends in {endings}.",
    )


def compressed(path: Path, format_: str) -> bool:
    """Whether a file's name asks for gzip around a format that is not compressed itself."""
    return path.name.lower().endswith(".gz") and format_ != "pprof"
