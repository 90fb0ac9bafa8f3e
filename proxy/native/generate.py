"""Writes `table.hpp`: the records and the session file's layout for the native halves.

    python -m proxy.native.generate

The source is `proxy.records`, `proxy.segment` and `proxy.wire`; a test compares what is checked in.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_type_hints

from proxy import records, segment, wire
from proxy.segment import Asleep, Line, Rest, State

TABLE = Path(__file__).with_name("table.hpp")

_TYPES = {
    int: "std::uint64_t",
    bytes: "Bytes",
    str: "Bytes",
    tuple[int, ...]: "Sizes",
    tuple[records.AnyArg, ...]: "Args",
}


def table() -> str:
    """The text of the header."""
    parts = [_HEAD, *_constants(), ""]
    for operation, kind in records.OPERATIONS.items():
        parts += _struct(operation, kind)
    parts += _visit()
    parts.append("}  // namespace haltere\n")
    return "\n".join(parts)


_HEAD = """\
// Written by proxy/native/generate.py from proxy/records.py, segment.py and wire.py: do not edit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "codec.hpp"

namespace haltere {
"""


def _constants() -> list[str]:
    words = {
        "kMagic": segment.MAGIC,
        "kVersion": segment.LAYOUT_VERSION << 32 | records.VERSION,
    }
    sizes = {
        "kLineBytes": segment.LINE_BYTES,
        "kErrorAt": segment.ERROR_AT,
        "kErrorBytes": segment.ERROR_BYTES,
        "kEndAt": segment.END_AT,
        "kEndBytes": segment.END_BYTES,
        "kHomeAt": segment.NAME_AT,
        "kHomeBytes": segment.NAME_BYTES,
        "kRequestAt": segment.REQUEST_AT,
        "kRequestBytes": segment.REQUEST_BYTES,
        "kReplyAt": segment.REPLY_AT,
        "kReplyBytes": segment.REPLY_BYTES,
        "kRingAt": segment.RING_AT,
        "kMaxRecordBytes": wire.MAX_RECORD_BYTES,
        "kInlineBytes": wire.INLINE_BYTES,
    }
    lines = [f"inline constexpr std::uint64_t {k} = {v:#x}ull;" for k, v in words.items()]
    lines += [f"inline constexpr std::size_t {k} = {v};" for k, v in sizes.items()]
    for enum in (Line, State, Asleep, Rest):
        members = ", ".join(f"{member.name} = {member.value}" for member in enum)
        lines += ["", f"enum class {enum.__name__} : std::uint64_t {{ {members} }};"]
    return lines


def _struct(operation: int, kind: type[records.Record]) -> list[str]:
    hints = get_type_hints(kind)
    fixed = [name for name in kind._fields if hints[name] is int]
    loose = [name for name in kind._fields if hints[name] is not int]
    lines = [
        f"struct {kind.__name__} {{",
        f"  static constexpr std::uint16_t operation = {operation};",
    ]
    lines += [f"  {_TYPES[hints[name]]} {name}{{}};" for name in kind._fields]
    calls = " ".join(f"visit(self.{name});" for name in (*fixed, *loose))
    lines += [
        "  template <class Self, class Visit>",
        "  static void fields([[maybe_unused]] Self& self, [[maybe_unused]] Visit&& visit) {",
        f"    {calls}",
        "  }",
        "};",
        "",
    ]
    return lines


def _visit() -> list[str]:
    lines = [
        "constexpr bool is_command(std::uint16_t operation) {",
        f"  return operation < {records.FIRST_CALL};",
        "}",
        "",
        "// Decodes one whole record and calls then(number, record). False: malformed.",
        "template <class Then>",
        "bool visit_record(Bytes bytes, Then&& then) {",
        "  const std::optional<RecordHead> head = read_head(bytes);",
        "  if (!head) return false;",
        "  switch (head->operation) {",
    ]
    for kind in records.OPERATIONS.values():
        lines.append(
            f"    case {kind.__name__}::operation: "
            f"return decode_then<{kind.__name__}>(*head, bytes, then);"
        )
    lines += ["  }", "  return false;", "}"]
    return lines


if __name__ == "__main__":
    TABLE.write_text(table())
