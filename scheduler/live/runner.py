"""The parent of one worker: it starts the program, waits for it, and writes down how it ended.

    python runner.py RECORD-FD READY-FD PROGRAM ARGUMENT...

It outlives the pool, so that a worker that ends while no pool runs is still told of. It holds the
lock on the record until its own end: whoever gets the lock knows that nothing is written any more.
RECORD gets one line per fact (see scheduler.live.worker.Record). READY is closed once the program
runs or could not be started.

It is run as a file by a bare interpreter, for which imports are most of its cost: the standard
library only, and little of it.
"""

import os
import signal
import sys


def main() -> int:
    record, ready, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    for fd in (record, ready):
        os.set_inheritable(fd, False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for the program, whose end is to be written
    note(record, f"runner {os.getpid()}")
    usual = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ]
    try:
        pid = os.posix_spawnp(command[0], command, os.environ, setsigdef=usual)
    except OSError as error:
        note(record, f"refused {error.errno}")
        return 1
    note(record, f"worker {pid} {start_ticks(pid)}")
    os.close(ready)
    _, status = os.waitpid(pid, 0)
    note(record, f"exit {os.waitstatus_to_exitcode(status)}")
    os.killpg(0, signal.SIGKILL)  # what it left behind ends with it, and so do we
    return 0


def note(record: int, line: str) -> None:
    os.write(record, f"{line}\n".encode())


def start_ticks(pid: int) -> int:
    """When the process began; it is our child, so it is there at least as a zombie."""
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  # pathlib costs 5 ms here
        stat = file.read()
    return int(stat[stat.rindex(b")") + 2 :].split()[19])


if __name__ == "__main__":
    sys.exit(main())
