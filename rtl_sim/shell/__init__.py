"""The shell of a board, in RTL: isolators and a snapshot controller around a captured overlay.

`wrap` turns a captured overlay into a module `shell` with plain AXI ports: the overlay's own behind
isolators (`rtl/shell/shell_boundary.sv`), the controller's registers and its memory port. All the
controller knows of the overlay is its `Geometry`, made from the state map. `image` turns what the
controller moves into the canonical snapshot and back; `protocol` is the host's side of it.
docs/shell.md specifies registers and image.
"""

from rtl_sim.shell.geometry import Geometry
from rtl_sim.shell.image import from_snapshot, to_snapshot
from rtl_sim.shell.wrap import Wrapped, wrap

__all__ = ["Geometry", "Wrapped", "from_snapshot", "to_snapshot", "wrap"]
