"""Keeps RTL from reaching the host that simulates it.

A bundle comes from a stranger, and a simulator runs `$system` or foreign C++ with the host's
rights. None of that is hardware, so no overlay loses anything.
"""

from __future__ import annotations

import re

from hal.errors import OverlayRejected

# System tasks with no effect outside the model.
HARMLESS_TASKS = frozenset(
    (
        *("signed", "unsigned", "clog2", "bits", "size", "high", "low", "left", "right"),
        *("display", "write", "error", "warning", "info", "fatal", "stop", "finish", "time"),
        *("past", "rose", "fell", "stable", "onehot", "onehot0", "countones", "isunknown"),
    )
)
# No macros: they can paste a name together. RTL that went through state capture has none left.
HARMLESS_DIRECTIVES = frozenset(
    (
        *("timescale", "default_nettype", "resetall", "celldefine", "endcelldefine"),
        *("ifdef", "ifndef", "elsif", "else", "endif"),
    )
)
# Escaped names, comments, strings and plain names may hold a dollar sign; they are matched first.
_TOKEN = re.compile(
    r"""\\\S+ | //[^\n]* | /\*.*?\*/ | [A-Za-z_][\w$]* | (?P<dpi>"DPI) | "(?:\\.|[^"\\\n])*"
    | \$(?P<task>\w*) | `(?P<directive>\w*)""",
    re.DOTALL | re.VERBOSE,
)


def refuse_host_access(path: str, source: bytes) -> None:
    """Raises OverlayRejected, naming what it found."""
    for match in _TOKEN.finditer(source.decode(errors="replace")):
        task, directive = match["task"], match["directive"]
        if (
            match["dpi"]
            or (task is not None and task not in HARMLESS_TASKS)
            or (directive is not None and directive not in HARMLESS_DIRECTIVES)
        ):
            raise OverlayRejected(
                f"{path} uses {match[0]}, which could reach the host; an overlay is hardware only"
            )
