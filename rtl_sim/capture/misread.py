"""What Yosys's own reader takes for something else, looked for in the text that it read.

It says nothing of that, so that a capture of what it made would do something else than the RTL.
Where slang does not read the design either, it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rtl_sim.capture.errors import Refusal
from rtl_sim.capture.formal import blanked

_DUMP: Final = re.compile(
    r"^-- Verilog code after preprocessor --\n(.*?)^-- END OF DUMP --$", re.MULTILINE | re.DOTALL
)
_FILE: Final = re.compile(r"^`file_push \"(.+)\"$", re.MULTILINE)

_CAST: Final = re.compile(r"[\w)]\s*'\s*\(")
_WIDTHS: Final = (
    "a cast to a width (`8'(x)`) counts as wide as what is cast for Yosys's own reader, also for "
    "the operands beside it; give what is cast a variable of its own"
)
_PART: Final = re.compile(r"\]\s*\[[^\[\];]*\]\s*<?=(?!=)")
_SIGNED: Final = re.compile(r"\$?\bsigned\b")
_ZEROS: Final = (
    "a signed value written to a part of a memory's word is extended with zeros by Yosys's own "
    "reader; write the part's full width"
)


def misread(log: str, work: Path) -> Iterator[Refusal]:
    """`log`: of `read_verilog -ppdump`, in whose folder `work` the files have their names."""
    dumps = _DUMP.findall(log)
    code = blanked("".join(dumps))
    files = list(dict.fromkeys(name for dump in dumps for name in _FILE.findall(dump)))
    if _CAST.search(code):
        yield Refusal("width-cast", _place(_CAST, files, work), _WIDTHS)
    if _SIGNED.search(code) and _PART.search(code):
        yield Refusal("signed-part", _place(_PART, files, work), _ZEROS)


def _place(pattern: re.Pattern[str], files: list[str], work: Path) -> str:
    """The first of it in the files as they were written, which may be a macro's text."""
    for name in files:
        text = blanked((work / name).read_text(encoding="utf-8", errors="replace"))
        if match := pattern.search(text):
            return f"{name}:{text.count(chr(10), 0, match.start()) + 1}"
    return ", ".join(files)
