"""The report page: one HTML file that needs nothing else, to explore a profile in a browser.

What is in the page is of two kinds that never mix: our own markup, style and script, and the
profile as JSON in an element that no browser runs. A content security policy names the hashes of
our style and script, so that nothing else could run or be fetched even if it came in.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import BinaryIO

from gprof.export.caption import title_of
from gprof.export.json_text import dumped
from gprof.export.page_data import page_data
from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.profile import Profile
from gprof.profile.traces import traces

#: In the order of their use: each builds on those before it.
SCRIPTS = ("columns", "model", "trees", "flame", "table", "timeline", "filters", "page")


@dataclass(frozen=True, slots=True)
class ReportPage:
    """Writes one HTML page. The same profile gives the same bytes.

    Attributes:
        title: above the picture; empty names the guests.
        chosen: which samples are in it.
        icicle: begin with the root above.
        inverted: begin with what runs as the root, and its callers on it.
    """

    title: str = ""
    chosen: Filter = EVERYTHING
    icicle: bool = False
    inverted: bool = False

    def write(self, profile: Profile, out: BinaryIO) -> None:
        """See `Exporter.write`."""
        data = page_data(profile, traces(profile, self.chosen), self.title)
        data["begin"] = {"icicle": self.icicle, "inverted": self.inverted}
        style = _resource("page.css")
        script = '(() => {\n"use strict";\n' + "".join(_resource(f"{s}.js") for s in SCRIPTS)
        script += "})();\n"
        policy = (
            f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
            "base-uri 'none'; form-action 'none'"
        )
        before, after = _resource("page.html").split("{data}")
        for key, value in (
            ("{policy}", escape(policy)),
            ("{title}", escape(title_of(profile, self.title))),
            ("{style}", style),
        ):
            before = before.replace(key, value)
        out.write(before.encode())
        # A text that ended the element, or began a comment in it, would have to begin like this.
        out.write(dumped(data).replace("<", "\\u003c").encode())
        out.write(after.replace("{script}", script).encode())


def _resource(name: str) -> str:
    return files("gprof.export").joinpath("page", name).read_text("utf-8")


def _hash(content: str) -> str:
    return f"sha256-{b64encode(sha256(content.encode()).digest()).decode()}"
