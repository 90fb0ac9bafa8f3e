"""RNN, GRU and LSTM: one sequence, forward, with the activations that the device has.

Same rules as operators.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from compiler.frontend.raw import RawNode
from compiler.frontend.scope import Refused, Scope, int_attr, optional
from compiler.ir import ACTIVATIONS, Attr, Node

_COMMON: Mapping[str, tuple[object, ...]] = {
    "direction": ("forward",),
    "layout": (0,),
    "clip": (),  # no value is supported
    "activation_alpha": ((),),
    "activation_beta": ((),),
}
_ACTIVATIONS = {"gru": ("Sigmoid", "Tanh"), "lstm": ("Sigmoid", "Tanh", "Tanh")}


def recurrent(op: str) -> Callable[[RawNode, Scope], list[Node]]:
    def translate(node: RawNode, scope: Scope) -> list[Node]:
        attrs = _attributes(op, node)
        x, w, r = (scope.value(node, index) for index in range(3))
        for what, name in (("W", w), ("R", r)):
            if name not in scope.floats:
                raise Refused(f"{what} must be a constant: weights are pinned on chip")
        hidden = scope.shapes[r][-1]
        if "hidden_size" in node.attrs and node.attrs["hidden_size"] != hidden:
            raise Refused(f"hidden_size is {node.attrs['hidden_size']}, R says {hidden}")
        positions = (3, 5, 6) if op == "lstm" else (3, 5)
        extra = [scope.value(node, at) if optional(node, at) else "" for at in positions]
        if extra[0] and extra[0] not in scope.floats:
            raise Refused("B must be a constant: weights are pinned on chip")
        if optional(node, 4):
            steps = scope.shapes[x][0]
            if scope.ints(node, 4) != (steps,):
                raise Refused(f"sequence_lens must be [{steps}], the length of the sequence")
        if optional(node, 7) and not scope.is_zero(scope.value(node, 7)):
            raise Refused("peephole weights (P) are not supported")
        extra[1:] = ["" if scope.is_zero(name) else name for name in extra[1:]]
        return [Node(op, node.name, (x, w, r, *extra), tuple(node.outputs[:3]), attrs)]

    return translate


def _attributes(op: str, node: RawNode) -> dict[str, Attr]:
    """The operator's own attributes. Raises Refused for what the device cannot do."""
    accepted = dict(_COMMON)
    if op == "lstm":
        accepted["input_forget"] = (0,)
    if op != "rnn":
        accepted["activations"] = (_ACTIVATIONS[op],)
    for key, values in accepted.items():
        if key in node.attrs and node.attrs[key] not in values:
            wanted = " or ".join(repr(value) for value in values) or "absent"
            raise Refused(f"attribute {key} is {node.attrs[key]!r}, must be {wanted}")
    if op == "gru":
        flag = int_attr(node, "linear_before_reset", 0)
        return {"linear_before_reset": int(flag != 0)}
    if op == "lstm":
        return {}
    named = node.attrs.get("activations", ("Tanh",))
    activation = str(named[0]).lower() if isinstance(named, tuple) and len(named) == 1 else ""
    if activation not in ACTIVATIONS:
        raise Refused(f"attribute activations is {named!r}; one of {', '.join(ACTIVATIONS)}")
    return {"activation": activation}
