"""The command line of the server process."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path

from hal.errors import HalError
from hal.registry import open_device
from proxy.errors import ProxyError
from proxy.fabric import QUANTUM_CYCLES
from proxy.keeper import keep
from proxy.limits import KERNEL_S, QUANTUM_MS, Limits
from proxy.paths import CORE_VARIABLE, QUANTUM_VARIABLE, default_root
from proxy.server import CORES, REATTACH_S, Server
from proxy.store.pipeline import reuse_memory

PARENT_CHECK_S = 0.5


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m proxy.server", description="Serve one device.")
    parser.add_argument("--root", type=Path, default=default_root(), help="shared directory")
    parser.add_argument("--device", required=True, help="URI, e.g. opencl:0")
    parser.add_argument("--name", help="what workers call it; default: the device's URI")
    parser.add_argument("--reattach-s", type=float, default=REATTACH_S)
    parser.add_argument(
        "--quantum-cycles",
        type=int,
        default=os.environ.get(QUANTUM_VARIABLE, QUANTUM_CYCLES),
        help="clock cycles after which a kernel gives the fabric to a session that waits "
        f"(default: {QUANTUM_VARIABLE}, else {QUANTUM_CYCLES})",
    )
    parser.add_argument(
        "--core",
        choices=CORES,
        default=os.environ.get(CORE_VARIABLE) or None,
        help=f"who does commands (default: {CORE_VARIABLE}, else the native engine where it can)",
    )
    limits = parser.add_argument_group("of the native engine")
    limits.add_argument("--quantum-ms", type=float, default=QUANTUM_MS, help="slice; 0: none")
    limits.add_argument("--kernel-s", type=float, default=KERNEL_S, help="watchdog; 0: none")
    limits.add_argument("--session-bytes", type=int, help="of the device's memory, a session")
    limits.add_argument("--device-bytes", type=int, help="of it, all sessions (default: all of it)")
    limits.add_argument(
        "--swap-bytes",
        type=int,
        help="of all sessions, there and swapped out (default: half of the host's; 0: none)",
    )
    limits.add_argument("--swap-to", type=Path, help="folder to swap out to (default: memory)")
    parser.add_argument(
        "--checkpoint-every",
        type=float,
        metavar="S",
        help="checkpoint every session that has a name, so often, into --store",
    )
    parser.add_argument(
        "--redo",
        action=argparse.BooleanOptionalAction,
        help="keep in memory what sessions do, so that a server started when this one was killed "
        "goes on with them; when that grows long, a checkpoint goes to --store (default: with "
        "--checkpoint-every)",
    )
    parser.add_argument("--store", help="folder or URL of the checkpoint store")
    parser.add_argument("--tied-to", type=int, help="stop when this process is gone")
    parser.add_argument(
        "--restarts",
        type=int,
        default=0,
        metavar="N",
        help="start another server when one is killed, at most so often; implies --redo, by "
        "default with a store that goes at the end",
    )
    given = parser.parse_args(argv)
    if given.checkpoint_every is not None and given.checkpoint_every <= 0:
        parser.error("--checkpoint-every needs a time above 0")
    if given.restarts > 0:
        options = sys.argv[1:] if argv is None else argv
        return keep(options, given.restarts, given.store, given.tied_to)
    if (given.redo or given.checkpoint_every is not None) and not given.store:
        parser.error("--checkpoint-every and --redo need a --store")
    reuse_memory()
    try:
        device = open_device(given.device)
        server = Server(
            given.root,
            given.name or given.device,
            device,
            given.reattach_s,
            quantum_cycles=given.quantum_cycles,
            core=given.core,
            limits=Limits(
                given.quantum_ms,
                given.kernel_s,
                given.session_bytes,
                given.device_bytes,
                given.swap_bytes,
                given.swap_to,
            ),
            checkpoint_every_s=given.checkpoint_every,
            store=given.store or "",
            redo=given.redo,
        )
    except (HalError, ProxyError) as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return 1

    server.capture_prints()

    def stop(signum: int, frame: object) -> None:
        server.stopping = True

    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(signum) != signal.SIG_IGN:  # as nohup has it
            signal.signal(signum, stop)
    if given.tied_to is not None:
        threading.Thread(target=_watch, args=(server, given.tied_to), daemon=True).start()
    server.run()
    if not server.builds.close(0.0):  # a compiler, whose library the end of a process tears down
        sys.stderr.write("stopped while a program was being built\n")
        sys.stderr.flush()
        os._exit(0)
    return 0


def _watch(server: Server, parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    server.stopping = True


if __name__ == "__main__":
    sys.exit(main())
