"""Which of OpenCL's entry points our driver has: the table in docs/opencl.md, from its sources.

    python -m proxy.native.supported [--write]

The slots are those of the ICD's dispatch table; a test compares the page and what the driver does.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

SOURCES = Path(__file__).with_name("opencl")
PAGE = Path(__file__).parents[2] / "docs" / "opencl.md"
HEADER = Path("/usr/include/CL/cl_icd.h")
BEGIN, END = "<!-- slots: python -m proxy.native.supported --write -->\n", "<!-- end of slots -->\n"

_DONE = re.compile(r"^  table\.(cl\w+) = \w+;", re.MULTILINE)
_REFUSED = re.compile(r"^  REFUSE\((cl\w+), (CL_\w+)\);", re.MULTILINE)
_SLOT = re.compile(r"^\s+cl_api_\w+\s+(cl\w+);", re.MULTILINE)


def slots(header: Path = HEADER) -> list[str]:
    """Every slot of the dispatch table, in its order. Needs OpenCL's headers."""
    text = header.read_text()
    begin = text.index("typedef struct _cl_icd_dispatch")
    return _SLOT.findall(text[begin : text.index("} cl_icd_dispatch;")])


def done() -> set[str]:
    """Entry points that the driver has."""
    return {
        name
        for path in SOURCES.glob("*.cpp")
        if path.name != "refused.cpp"
        for name in _DONE.findall(path.read_text())
    }


def refused() -> dict[str, str]:
    """Entry points that it answers with a code, and which."""
    return dict(_REFUSED.findall((SOURCES / "refused.cpp").read_text()))


def table() -> str:
    """The two lists as markdown."""
    has, lacks = done(), refused()
    rows = [f"{len(has)} entry points are there:", "", _listed(sorted(has)), ""]
    rows += [
        f"{len(lacks)} are refused, each with this code:",
        "",
        "| code | entry points |",
        "|---|---|",
    ]
    for code in sorted(set(lacks.values())):
        rows.append(f"| `{code}` | {_listed(sorted(n for n, c in lacks.items() if c == code))} |")
    return "\n".join([*rows, ""])


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def written(page: str) -> str:
    """The page with this table in it."""
    begin, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    return page[:begin] + table() + page[end:]


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(written(PAGE.read_text()))
    else:
        sys.stdout.write(table())
