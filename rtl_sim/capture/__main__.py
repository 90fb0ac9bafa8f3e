"""`python -m rtl_sim.capture`: what `haltere capture` is, without the service's dependencies."""

from __future__ import annotations

import sys

from rtl_sim.capture.cli import main

if __name__ == "__main__":
    sys.exit(main())
