"""When a server dies its programs are told soon, in OpenCL's words and in a line of ours."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from opencl_machine import TIMEOUT_S, Machine

from proxy.launcher import spawn

SOURCE = """
import numpy as np, pyopencl as cl
context = cl.Context(cl.get_platforms()[0].get_devices()[:1])
queue = cl.CommandQueue(context)
buffer = cl.Buffer(context, cl.mem_flags.READ_WRITE, 4096)
cl.enqueue_copy(queue, buffer, np.zeros(1024, np.uint32))
queue.finish()
print("up", flush=True)
input()
for turn in range(2):
    try:
        cl.enqueue_copy(queue, np.zeros(1024, np.uint32), buffer)
        print("fine")
    except cl.Error as error:
        print(cl.status_code.to_string(error.code))
try:
    cl.Context(context.devices)
except cl.Error as error:
    print(cl.status_code.to_string(error.code))
"""


def test_a_dead_server_is_an_error_and_no_hang() -> None:
    root = Path(tempfile.mkdtemp(prefix="haltere-t-", dir="/dev/shm"))
    server = spawn("opencl:0", root, tied=True)
    try:
        machine = Machine(root, (server.paths.name,))
        program = machine.under("-c", SOURCE, name="bereft", stdin=subprocess.PIPE)
        assert program.stdout is not None
        assert program.stdout.readline() == "up\n"
        server.kill()
        time.sleep(0.2)  # the driver looks every 0.1 s
        out, err = program.communicate("\n", timeout=TIMEOUT_S)
        assert out.split() == ["DEVICE_NOT_AVAILABLE"] * 3
        assert err.count("session bereft: the server of opencl:0 died") == 1
        assert err.count("no server of opencl:0 runs") == 1
    finally:
        server.stop()
        shutil.rmtree(root, ignore_errors=True)
