"""The emitted top as a tree of modules, one for each instance that holds state.

The text of the flat top is cut at its marks (`owners.py`) and nothing else is done to it: the same
registers, chain, logic and clocks, so that what is right flat is right in modules. A net that is
used elsewhere than where it is driven becomes a port of each module on its way. Inside a module its
own names lose the module's path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rtl_sim.capture.owners import MARK
from rtl_sim.capture.scope import identifier

_DECLARED: Final = re.compile(
    r"  (reg|wire) (\[\d+:0\] )?(\\\S+ |\w[\w$]*)( \[\d+:\d+\])?( = [^;]*)?;\Z"
)
_PORT: Final = re.compile(r"  (?:input|output)(?: reg)? (\[\d+:0\] )?(\\\S+ |\w[\w$]*),?\Z")
_NAME: Final = r"(?:\\\S+ |[A-Za-z_$][\w$]*)"
# What is no net first: texts, numbers, pins of instances.
_TOKEN: Final = re.compile(rf'"(?:[^"\\]|\\.)*"|\d+\'\w+|\.{_NAME}|{_NAME}')
_ASSIGNED: Final = re.compile(
    r"(?:^|[);:]|\belse|\bbegin|\bassign|\bwire(?: \[\d+:0\])?)\s*(\\\S+ |[A-Za-z_]\w*[\w$]*)"
    r"\s*(?:\[[^=;]*?\]\s*)*(?:<=|=(?!=))"
)


@dataclass(slots=True)
class _Net:
    kind: str  # "reg", "wire", "" for a port of the top
    range: str
    tail: str = ""  # of its declaration: an initial value, or an array's bounds
    array: bool = False
    home: str = ""  # the path of the module that drives it
    users: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Piece:
    path: str
    lines: list[str]


def split(lines: Sequence[str], top: str, paths: frozenset[str]) -> list[str]:
    """The modules' texts, the top's last. `lines`: the top with its marks."""
    head = lines.index(");")
    nets: dict[str, _Net] = {}
    for line in lines[1:head]:
        match = _PORT.match(line)
        assert match, line
        nets[match[2]] = _Net("", match[1] or "")
    pieces = list(_pieces(lines[head + 1 : -1], nets))
    for piece in pieces:
        for line in piece.lines:
            for name in _names(line):
                if name in nets:
                    nets[name].users.add(piece.path)
    for name, net in nets.items():
        assert not net.array or net.users <= {net.home}, name
    tree = _Tree(top, paths, nets)
    texts = [
        tree.module(path, [p.lines for p in pieces if p.path == path])
        for path in sorted(paths, key=lambda path: (-path.count("."), path))
    ]
    own = [p.lines for p in pieces if not p.path]
    return [*texts, "\n".join([*lines[: head + 1], *tree.body("", own), "endmodule"])]


def _pieces(lines: Sequence[str], nets: dict[str, _Net]) -> Iterator[_Piece]:
    """The pieces, each with its owner, while `nets` gets all that is declared and who drives it."""
    piece = _Piece("", [])
    found = [piece]
    whole = False  # since an `ifdef: what is declared there is its own
    for line in lines:
        if line.startswith(MARK):
            path, driven = json.loads(line.removeprefix(MARK))
            piece, whole = _Piece(path, []), False
            found.append(piece)
            for name in driven:
                nets[name].home = path
            continue
        whole = whole or line.startswith("`")
        match = None if whole else _DECLARED.match(line)
        if match:
            kind, bits, name, bounds, value = match.groups(default="")
            if kind == "reg" or not value:
                nets[name] = _Net(kind, bits, bounds + value, bool(bounds), piece.path)
                continue
            nets[name] = _Net(kind, bits)
            line = f"  assign {name}{value};"
        piece.lines.append(line)
        for name in _ASSIGNED.findall(line):
            if name in nets and not nets[name].array:
                nets[name].home = piece.path
    yield from (piece for piece in found if piece.lines)


def _names(line: str) -> Iterator[str]:
    return (match[0] for match in _TOKEN.finditer(line))


def _above(path: str, paths: frozenset[str]) -> str:
    """The path of the module in which that of `path` is instantiated."""
    return max((p for p in paths if path.startswith(f"{p}.")), key=len, default="")


class _Tree:
    def __init__(self, top: str, paths: frozenset[str], nets: Mapping[str, _Net]) -> None:
        self._nets, self._paths = nets, paths
        self._parent = {path: _above(path, paths) for path in paths}
        self._children: dict[str, list[str]] = {path: [] for path in ("", *paths)}
        for path in sorted(paths):
            self._children[self._parent[path]].append(path)
        self._kinds: dict[str, str] = {}
        for path in sorted(paths):
            base = f"{top}__{re.sub('[^0-9A-Za-z_]', '_', path)}"
            taken = set(self._kinds.values())
            self._kinds[path] = next(
                name for n in range(len(paths) + 1)
                if (name := f"{base}_{n}" if n else base) not in taken
            )  # fmt: skip
        # path -> net -> direction of the port through which it passes the module's border
        self._ports: dict[str, dict[str, str]] = {path: {} for path in paths}
        self._present: dict[str, set[str]] = {path: set() for path in ("", *paths)}
        for name in sorted(nets):
            self._route(name)
        self._local = {path: self._named(path) for path in ("", *paths)}

    def _route(self, name: str) -> None:
        net = self._nets[name]
        up = self._trail(net.home)
        self._present[net.home].add(name)
        for user in sorted(net.users):
            down = self._trail(user)
            common = next(path for path in up if path in down)
            for path in up[: up.index(common)]:
                self._ports[path][name] = "output"
            for path in down[: down.index(common)]:
                self._ports[path].setdefault(name, "input")
            self._present[common].add(name)

    def _trail(self, path: str) -> list[str]:
        """From `path` to the top."""
        trail = [path]
        while path:
            path = self._parent[path]
            trail.append(path)
        return trail

    def _named(self, path: str) -> dict[str, str]:
        """Net -> its name in the module of `path`; its own come first, without the path."""
        names = sorted({*self._ports.get(path, ()), *self._present[path]})
        if not path:
            return {name: name for name in names}
        taken = {_instance(child, path) for child in self._children[path]}
        local: dict[str, str] = {}
        own = [name for name in names if _plain(name).startswith(f"{path}.")]
        for name in (*own, *(name for name in names if name not in set(own))):
            label = _plain(name)
            label = label[len(path) + 1 :] if name in own else label
            while (found := identifier(label)) in taken:
                label += "_"
            taken.add(found)
            local[name] = found
        return local

    def module(self, path: str, pieces: Sequence[Sequence[str]]) -> str:
        ports = [
            f"  {direction} {self._declared(name, path)}"
            for name, direction in sorted(self._ports[path].items())
        ]
        body = [*self.body(path, pieces), "endmodule"]
        return "\n".join([f"module {self._kinds[path]} (", ",\n".join(ports), ");", *body])

    def body(self, path: str, pieces: Sequence[Sequence[str]]) -> Iterator[str]:
        local, ports = self._local[path], self._ports.get(path, {})
        for name in local:
            if self._nets[name].kind and name not in ports:
                declared = self._declared(name, path)
                yield f"  {declared};" if declared.startswith("reg ") else f"  wire {declared};"
        for child in self._children[path]:
            pins = (
                f"    .{self._local[child][name]}({local[name]})"
                for name in sorted(self._ports[child])
            )
            yield f"  {self._kinds[child]} {_instance(child, path)} ("
            yield ",\n".join(pins)
            yield "  );"
        for lines in pieces:
            for line in lines:
                yield _TOKEN.sub(lambda match: local.get(match[0], match[0]), line)

    def _declared(self, name: str, path: str) -> str:
        """As what a net is declared: a variable where it is driven, a wire elsewhere."""
        net, local = self._nets[name], self._local[path][name]
        if net.home == path and net.kind == "reg":
            return f"reg {net.range}{local}{net.tail}"
        return f"{net.range}{local}"


def _plain(name: str) -> str:
    """What an identifier is in the RTL."""
    return name[1:-1] if name.startswith("\\") else name


def _instance(child: str, path: str) -> str:
    return identifier(child[len(path) + 1 :] if path else child)
