"""`$error`, `$fatal`, `$finish` and their like in processes, which no reader has code for.

slang's reader says where each of them is, through macros and includes. There it is given a text in
which they are messages that begin with a mark (`$display("<mark>", ...)`); in what is emitted a
message with a mark is the task again. A message that prints what the reader has no code for (text
of no fixed length, reals) loses what it prints. Your files stay as they are (`Staged.overlay`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from rtl_sim.capture.staging import Staged

TASKS: Final = ("error", "fatal", "finish", "info", "stop", "warning")
LOST: Final = "lost"  # the mark of a message of which nothing is left
# A complaint is three lines: what, the source's line, and a caret below the place.
_COMPLAINT: Final = re.compile(
    r"^(.+?):(\d+): ERROR: (.+)\n.*\n([ \t]*)\^.*\n"
    r"((?:.+?:\d+: NOTE: expanded from macro .*\n.*\n[ \t]*\^.*\n)*)",
    re.MULTILINE,
)
_EXPANDED: Final = re.compile(r"^(.+?):(\d+): NOTE: .*\n.*\n([ \t]*)\^", re.MULTILINE)
_UNSUPPORTED: Final = re.compile(rf"unsupported system task '\$({'|'.join(TASKS)})'\Z")
_FORMAT: Final = re.compile(r"called with unrecognized format character `(.)'")

_MARKED: Final = re.compile(rf"<haltere:({'|'.join((*TASKS, LOST))}):(.*?)>")
_MESSAGE: Final = re.compile(r"\$(?:display|write)[bho]?\s*(?=\()")
_OPEN: Final = re.compile(r"\s*\(")
_LEVEL: Final = re.compile(r"\s*\d+\s*(,|(?=\)))")  # the first argument of these:
_LEVELLED: Final = ("fatal", "finish", "stop")
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[()]', re.DOTALL)


class _Place(NamedTuple):
    path: str  # as slang names the file
    line: int  # from 1
    column: int  # from 0
    why: str


def rewrite(staged: Staged, log: str) -> bool:
    """Make messages of the tasks that `log` complains of, and leave out what messages cannot print.

    Whether anything was done.
    """
    files: dict[str, list[_Place]] = {}
    for place in _places(log):
        files.setdefault(place.path, []).append(place)
    done = False
    for path, places in files.items():
        before = text = staged.read(path)
        for place in sorted(places, reverse=True):
            text = _mended(text, place)
        done = (text != before and staged.overlay(path, text)) or done
    for letter in _FORMAT.findall(log):  # whose place is not told
        for path in staged.sources:
            before = text = staged.read(path)
            for start, end in reversed(list(_messages(text))):
                if re.search(rf"%[-+0-9.]*{re.escape(letter)}", text[start:end], re.IGNORECASE):
                    line = text.count("\n", 0, start) + 1
                    empty = _emptied(text[start:end], _Place(path, line, 0, ""))
                    text = text[:start] + empty + text[end:]
            done = (text != before and staged.overlay(path, text)) or done
    return done


class Marked(NamedTuple):
    task: str  # "": none, it is what it seems
    where: str  # file and line
    text: str  # without the mark


def marked(text: str) -> Marked:
    """What a message stands for."""
    match = _MARKED.match(text)
    return Marked(match[1], match[2], text[match.end() :]) if match else Marked("", "", text)


def _places(log: str) -> list[_Place]:
    """Of all complaints, in a macro's text if they came from one."""
    found: dict[_Place, None] = {}
    for path, line, why, blank, macros in _COMPLAINT.findall(log):
        inner = _EXPANDED.findall(macros)
        at = inner[-1] if inner else (path, line, blank)
        found[_Place(at[0], int(at[1]), len(at[2]), why)] = None
    return list(found)


def _mended(text: str, place: _Place) -> str:
    starts = [0, *(match.end() for match in re.finditer("\n", text)), len(text)]
    start, end = starts[place.line - 1 : place.line + 1]
    at = start + place.column
    task = _UNSUPPORTED.match(place.why)
    if task is None:
        for first, last in _messages(text):
            if first <= at < last:
                own = place._replace(line=text.count("\n", 0, first) + 1)
                return text[:first] + _emptied(text[first:last], own) + text[last:]
        return text
    if not text.startswith(f"${task[1]}", at):  # a caret counts columns, not letters
        at = text.find(f"${task[1]}", start, end)
    return text if at < 0 else text[:at] + _message(text[at:], task[1], place)


def _messages(text: str) -> Iterator[tuple[int, int]]:
    """Where each `$display(...)` and `$write(...)` begins and ends."""
    for match in _MESSAGE.finditer(text):
        yield match.start(), _closing(text, match.end() + 1) + 1


def _closing(text: str, start: int) -> int:
    """Where the bracket is closed that was opened before `start`."""
    depth = 1
    for match in _TOKEN.finditer(text, start):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if not depth:
            return match.start()
    return len(text)


def _mark(task: str, place: _Place) -> str:
    name = re.sub(r"[^\w.]", "_", Path(place.path).name)
    return f'"<haltere:{task}:{name}:{place.line}>"'


def _emptied(call: str, place: _Place) -> str:
    """A message without what it prints, in as many lines."""
    own = _MARKED.search(call)
    mark = f'"{own[0]}"' if own else _mark(LOST, place)
    lines = "".join(re.findall(r"\\?\n", call))
    return f"$display({mark}{lines})"


def _message(text: str, task: str, place: _Place) -> str:
    """`text`, which begins with a call of `task`, with a message instead."""
    rest, mark = text[len(task) + 1 :], _mark(task, place)
    opened = _OPEN.match(rest)
    if opened is None:
        return f"$display({mark}){rest}"
    level = _LEVEL.match(rest, opened.end()) if task in _LEVELLED else None
    first = level.end() if level else opened.end()
    last = _closing(rest, opened.end())
    given = f", {rest[first:last]}" if rest[first:last].strip() else rest[first:last]
    return f"$display{rest[: opened.end()]}{mark}{given}{rest[last:]}"
