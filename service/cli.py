"""`haltere`: the command line. It parses, calls one function, and shows the answer.

Heavy imports stand inside the commands, so that `haltere --help` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from service import (
    cli_drain,
    cli_overlays,
    cli_packing,
    cli_planet,
    cli_program,
    cli_quotas,
    cli_replay,
    cli_services,
    cli_serving,
    cli_simulate,
    cli_store,
)
from service.cli_service import DEFAULT_URL, Url, answers, call, mib, milli

app = typer.Typer(
    name="haltere",
    no_args_is_help=True,
    add_completion=False,
    help="Pools of GPUs and FPGAs whose running jobs can be halted, moved and resumed bit for bit.",
)
bundle = typer.Typer(no_args_is_help=True, help="Overlay bundles: make, verify, look inside.")
app.add_typer(bundle, name="bundle")
app.add_typer(cli_store.app, name="store")
cli_program.add_to(app)
app.command()(cli_drain.drain)
app.command()(cli_quotas.quotas)
app.command()(cli_services.services)
app.command()(cli_simulate.simulate)
app.command()(cli_replay.replay)
app.command("simulate-planet")(cli_planet.simulate_planet)
app.command("calibrate-trace")(cli_planet.calibrate_trace)
app.command("simulate-overlays")(cli_overlays.simulate_overlays)
app.command("simulate-packing")(cli_packing.simulate_packing)
app.command("simulate-serving")(cli_serving.simulate_serving)

console = Console()


@app.command()
def demo(
    report: Annotated[Path, typer.Option(help="Folder for the timeline and the table.")] = Path(
        "demo-report"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the moments at which jobs are halted.")] = 1,
) -> None:
    """Run the main job: preempt, move and resume real work on a pool, and check every bit."""
    from service.demo.main import run

    raise typer.Exit(run(report, seed, console))


@app.command()
def devices(
    names: Annotated[list[str] | None, typer.Argument(help="Only these, e.g. opencl:0.")] = None,
) -> None:
    """List every device on this machine and prove it by its self tests."""
    from hal.__main__ import main as prove

    raise typer.Exit(prove(names or []))


@app.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def capture(context: typer.Context) -> None:
    """Make RTL haltable: rewrite a design so that all its state can be read and written."""
    from rtl_sim.capture.cli import main as run

    raise typer.Exit(run(context.args))


@app.command(
    name="compile",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def compile_model(context: typer.Context) -> None:
    """Compile an ONNX model for the NPU and report on it: accuracy, cycles, memory, layers."""
    from compiler.__main__ import main as run

    raise typer.Exit(run(context.args))


@app.command()
def serve(
    models: Annotated[list[Path], typer.Argument(help="ONNX files; each is served by its stem.")],
    device: Annotated[
        list[str] | None, typer.Option(help="Devices of the pool; default fpga-sim:0, one a model.")
    ] = None,
    target: Annotated[str, typer.Option(help="Compiler target.")] = "npu:sim",
    dim: Annotated[
        list[str] | None,
        typer.Option(metavar="SYMBOL=NUMBER", help="A symbolic dimension, e.g. steps=8."),
    ] = None,
    host: Annotated[str | None, typer.Option()] = None,
    port: Annotated[int | None, typer.Option()] = None,
    policy: Annotated[
        str | None, typer.Option(help="Who gets devices, e.g. tiered, elastic or sharing.")
    ] = None,
    quotas: Annotated[
        Path | None, typer.Option(help="Quotas of tenants, a TOML file, for the policy elastic.")
    ] = None,
    stragglers: Annotated[
        bool, typer.Option("--stragglers", help="Avoid slow devices, with the policy elastic.")
    ] = False,
    slices: Annotated[int, typer.Option(min=1, help="Models and jobs that share a device.")] = 1,
    tier: Annotated[str, typer.Option(help="Of the models: premium, standard or basic.")] = (
        "standard"
    ),
    replicas: Annotated[
        str | None,
        typer.Option(
            metavar="LEAST:MOST", help="Of each model, as many as it needs; what is over is lent."
        ),
    ] = None,
    objective: Annotated[str, typer.Option(help="With --replicas: answers come within.")] = "200ms",
    share: Annotated[float, typer.Option(help="With --replicas: so many of them.")] = 0.99,
    recall_deadline: Annotated[
        str, typer.Option(help="With --replicas: one that is asked for has its device by then.")
    ] = "5s",
) -> None:
    """Compile ONNX models for the NPU and serve them over HTTP (Open Inference Protocol v2)."""
    from compiler.frontend import parse_dim
    from service.run import serve_models
    from service.settings import from_environment

    settings = from_environment()
    settings.host = host or settings.host
    settings.port = settings.port if port is None else port
    settings.policy = policy or settings.policy
    settings.quotas = quotas or settings.quotas
    settings.stragglers = stragglers or settings.stragglers
    pool = device or [f"fpga-sim:{index}" for index in range(len(models))]
    dims = dict(parse_dim(text) for text in dim or [])
    scaling = cli_services.scaling(replicas, objective, share, recall_deadline)
    serve_models(settings, models, pool, target, dims, console, scaling, tier, slices)


@app.command()
def submit(
    template: Annotated[str, typer.Argument(help="What to run, e.g. train-digits.")],
    parameter: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="A parameter, NAME=VALUE.")
    ] = None,
    tier: Annotated[str, typer.Option(help="premium, standard or basic.")] = "standard",
    tenant: Annotated[str, typer.Option()] = "default",
    name: Annotated[str, typer.Option()] = "",
    share: Annotated[
        str | None,
        typer.Option(
            help="Of a device, e.g. 250m (thousandths) or 0.25; of a service that shares."
        ),
    ] = None,
    cpu: Annotated[str, typer.Option(help="Of its host, e.g. 500m or 2.")] = "0",
    memory: Annotated[str, typer.Option(help="Of its host, with a unit: MiB or GiB.")] = "0MiB",
    url: Url = DEFAULT_URL,
) -> None:
    """Submit a job to a running service."""
    body: dict[str, Any] = {
        "template": template,
        "tier": tier,
        "tenant": tenant,
        "name": name,
        "parameters": dict(_parameter(text) for text in parameter or []),
        "share_milli": None if share is None else milli(share),
        "cpu_milli": milli(cpu),
        "memory_mib": mib(memory),
    }
    _show_jobs([call(url, "POST", "/v1/jobs", body)])


@app.command()
def jobs(
    job: Annotated[str | None, typer.Argument(help="Only this job of the service.")] = None,
    cancel: Annotated[bool, typer.Option(help="Cancel it.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show the programs on this machine's servers, and the jobs of a running service."""
    if cancel:
        if job is None:
            raise typer.BadParameter("--cancel needs the job's number")
        _show_jobs([call(url, "POST", f"/v1/jobs/{job}/cancel", {})])
    elif job:
        answer = call(url, "GET", f"/v1/jobs/{job}")
        _show_jobs([answer])
        console.print(
            f"halted: {answer['preemptions']}   resized: {answer['resizes']}   log: {answer['log']}"
        )
    else:
        cli_program.show_programs()
        if url != DEFAULT_URL or answers(url):
            _show_jobs(call(url, "GET", "/v1/jobs"))


@app.command()
def why(
    job: Annotated[str, typer.Argument(help="A job of the service.")],
    url: Url = DEFAULT_URL,
) -> None:
    """Say why a job waits, was halted or has failed."""
    from service.why import words

    for line in words(call(url, "GET", f"/v1/jobs/{job}")):
        console.print(line, markup=False, highlight=False)


@app.command()
def proxy(
    device: Annotated[str, typer.Argument(help="Device to serve, e.g. opencl:0.")],
    quantum_cycles: Annotated[
        int | None,
        typer.Option(help="FPGA cycles after which a kernel gives way to a session that waits."),
    ] = None,
    checkpoint_every: Annotated[
        float | None,
        typer.Option(metavar="S", help="Checkpoint every named session so often."),
    ] = None,
    store: cli_store.Store = cli_store.DEFAULT_STORE,
    name: Annotated[
        str | None, typer.Option(help="What programs call it; default: the device.")
    ] = None,
    kernel_s: Annotated[
        float | None, typer.Option(help="So long may a kernel take; its session ends. 0: any time.")
    ] = None,
    quantum_ms: Annotated[
        float | None, typer.Option(help="Slice of an OpenCL device that is shared. 0: no slices.")
    ] = None,
    session_bytes: Annotated[
        int | None, typer.Option(help="Of the device's memory, at most so much a session.")
    ] = None,
    device_bytes: Annotated[
        int | None,
        typer.Option(help="Of the device's memory, at most so much all sessions. Default: all."),
    ] = None,
    swap_bytes: Annotated[
        int | None,
        typer.Option(help="All sessions, there and swapped out. Default: half of memory; 0: none."),
    ] = None,
    swap_to: Annotated[
        Path | None, typer.Option(help="Folder to swap idle sessions out to. Default: memory.")
    ] = None,
    restarts: Annotated[
        int, typer.Option(help="Go on when the server is killed, at most so often.")
    ] = 0,
) -> None:
    """Serve a device to other processes; programs open it as proxy:DEVICE. Ctrl-C ends it."""
    from proxy.main import main as serve_device

    options = [] if quantum_cycles is None else ["--quantum-cycles", str(quantum_cycles)]
    for option, value in (
        ("--name", name),
        ("--kernel-s", kernel_s),
        ("--quantum-ms", quantum_ms),
        ("--session-bytes", session_bytes),
        ("--device-bytes", device_bytes),
        ("--swap-bytes", swap_bytes),
        ("--swap-to", swap_to),
    ):
        if value is not None:
            options += [option, str(value)]
    if checkpoint_every is not None:
        options += ["--checkpoint-every", str(checkpoint_every)]
    if checkpoint_every is not None or store != cli_store.DEFAULT_STORE:
        options += ["--store", store]
    options += ["--restarts", str(restarts)]
    raise typer.Exit(serve_device(["--device", device, *options]))


@app.command()
def timeline(
    device: Annotated[str, typer.Argument(help="Device behind a running proxy, e.g. fpga-sim:0.")],
    out: Annotated[Path, typer.Option(help="Folder for the trace and the picture.")] = Path(),
) -> None:
    """Write what a shared device did for whom: a trace (open it at ui.perfetto.dev) and a PNG."""
    from proxy.control import Control
    from proxy.paths import default_root
    from service.fabric_timeline import write

    written = write(Control(default_root(), device).timeline(), device, out)
    console.print(f"{written.summary}\n{written.trace}\n{written.png}")


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def prove(context: typer.Context) -> None:
    """Halt a captured design at random cycles and try to tell it from the original."""
    from rtl_sim.prove.__main__ import main as prove_design

    raise typer.Exit(prove_design(context.args))


@app.command()
def weigh(
    session: str,
    weight: Annotated[int, typer.Argument(help="Quanta in a turn of it, 1 to 100.")],
    device: Annotated[str, typer.Option(help="Device behind a running proxy, e.g. opencl:0.")],
) -> None:
    """Give a session a larger or smaller share of the device that it shares with others."""
    from proxy.control import Control
    from proxy.paths import default_root

    Control(default_root(), device).weigh(session, weight)
    console.print(f"a turn of {session} on {device} has {weight} quanta")


@bundle.command("build")
def bundle_build(
    name: Annotated[str, typer.Argument(help="A shipped overlay: npu-nano, npu-sim, checksum.")],
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
) -> None:
    """Build a shipped overlay, state capture included, and write it as a bundle."""
    from bitstreams import save, verified
    from hal.backends.fpga.overlays import overlay

    with console.status(f"building {name} (the first time takes a minute)"):
        built = overlay(name)
    save(verified(built.manifest, built.files, built.digest), out)
    console.print(f"{out}: {built.digest}")


@bundle.command("verify")
def bundle_verify(folder: Path) -> None:
    """Check a bundle's manifest and the digest of every file."""
    from bitstreams import load

    console.print(f"{folder}: {load(folder).digest} is whole")


@bundle.command("show")
def bundle_show(folder: Path) -> None:
    """Print a bundle's manifest."""
    from bitstreams import load

    console.print_json(load(folder).manifest_bytes.decode())


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE")
    return name, int(value) if value.lstrip("-").isdecimal() else value


def _show_jobs(rows: list[dict[str, Any]]) -> None:
    table = Table("job", "name", "tenant", "tier", "state", "ranks", "slices", "reason")
    for row in rows:
        going = f" -> {' '.join(row['target'])}" if row["target"] else ""
        cells = [row[key] for key in ("id", "name", "tenant", "tier", "state", "ranks")]
        cells += [" ".join(row["slices"]) + going, row["reason"]]
        table.add_row(*(escape(str(cell)) for cell in cells))
    console.print(table)


def main() -> None:
    """Entry point: an error of ours, and a file that cannot be read or written, is one red line,
    anything else a traceback."""
    try:
        app()
    except Exception as error:  # the process edge
        of_a_file = isinstance(error, OSError) and error.filename is not None
        if not (of_a_file or hasattr(error, "disposition")):
            raise
        code = getattr(error, "code", "error")
        # one line, and as it is: `nod:x:` in words of faults is no emoji
        console.print(f"[red]{code}[/red]: {escape(str(error))}", emoji=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
