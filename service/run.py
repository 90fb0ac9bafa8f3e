"""`haltere serve`: a pool, the models on it, and the HTTP service over both."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from rich.console import Console
from rich.markup import escape

from compiler.driver import symbols
from scheduler.live.fleet import Host, this_machine
from scheduler.live.pool import Pool, Tier
from scheduler.live.recover import Running
from scheduler.policies.quotas import Quotas
from scheduler.quota_file import read_quotas
from service.app import create_app
from service.control import TEMPLATES, Choice, Control, Number, Template
from service.deploy import MODEL_DEVICES, deploy
from service.errors import BadRequest
from service.gateway import Gateway
from service.host import hosting, listen
from service.scaling import Scaling
from service.score import MAX_PASSES
from service.settings import Settings

SHARED_MEMORY = Path("/dev/shm")


def serve_models(
    settings: Settings,
    models: Sequence[Path],
    devices: Sequence[str],
    target: str,
    dims: Mapping[str, int],
    console: Console,
    scaling: Scaling | None = None,
    tier: str = Tier.STANDARD,
    slices: int = 1,
) -> None:
    """Serve until interrupted. `dims`: each model is given those that it has. `scaling`: of each
    model. `slices`: of each device."""
    names = [path.stem for path in models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BadRequest(
            f"more than one model is called {', '.join(twice)}: a model is served by its file's "
            "name without the ending, so name each file otherwise"
        )
    missing = [str(path) for path in models if not path.is_file()]
    if missing:
        raise BadRequest(f"no such file: {', '.join(missing)}")
    kinds = _kinds(models, devices, scaling, slices)
    quotas = _quotas(settings, devices)
    if tier not in tuple(Tier) or (scaling is not None and tier == Tier.BASIC):
        which = [each for each in Tier if scaling is None or each is not Tier.BASIC]
        raise BadRequest(f"tier {tier!r} of the models: one of {', '.join(which)}")
    dims_of = _dims_of(models, dims)
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadRequest(
            f"cannot make the folder {settings.state_dir} for journal, logs and checkpoints: "
            f"{error.strerror}; name another by HALTERE_STATE_DIR"
        ) from error
    gateway = Gateway(settings.max_pending, settings.max_sessions, settings.session_idle_s)
    listener = listen(settings.host, settings.port)
    signal.signal(signal.SIGTERM, _interrupt)  # a service manager's stop is a Ctrl-C
    signal.signal(signal.SIGINT, _interrupt)  # also where a shell started us with it ignored
    with (
        meeting_place(settings.state_dir) as root,
        Pool(
            root,
            devices,
            settings.state_dir,
            policy=settings.policy,
            stragglers=settings.stragglers,
            slices=dict.fromkeys(devices, slices),
            hosts=hosts_of(settings, devices),
            quotas=quotas,
        ) as pool,
    ):
        for path, kind in zip(models, kinds, strict=True):
            name = escape(path.stem)
            with console.status(f"compiling and loading {name} (the first time takes longer)"):
                deploy(
                    gateway,
                    pool,
                    path.stem,
                    path,
                    kind=kind,
                    target=target,
                    dims=dims_of[path],
                    timeout_s=settings.infer_timeout_s,
                    tier=Tier(tier),
                    scaling=scaling,
                )
        templates = {**TEMPLATES, "score": scoring(models, kinds[0], target, dims_of)}
        control = Control(pool, settings.state_dir / "results", templates)
        app = create_app(settings, gateway, control)
        with hosting(app, listener) as port:
            for name in gateway.names():
                where = f"http://{settings.host}:{port}/v2/models/{quote(name)}/infer"
                console.print(escape(where), soft_wrap=True)
            console.print(f"services: http://{settings.host}:{port}/v1/services")
            console.print(f"jobs: http://{settings.host}:{port}/v1/jobs    Ctrl-C ends it")
            try:
                threading.Event().wait()
            except KeyboardInterrupt:
                console.print("stopping")


def _quotas(settings: Settings, devices: Sequence[str]) -> Quotas | None:
    """Raises TraceDamaged."""
    if settings.quotas is None:
        return None
    return read_quotas(settings.quotas, sorted({uri.rpartition(":")[0] for uri in devices}))


def hosts_of(settings: Settings, devices: Sequence[str]) -> dict[str, Host]:
    """Raises BadRequest."""
    given = settings.device_cpu_milli, settings.device_memory_mib
    if min(given) < 0:
        raise BadRequest(f"HALTERE_DEVICE_CPU_MILLI and _MEMORY_MIB are not below 0: {given}")
    even = (of // max(len(devices), 1) for of in this_machine())
    cpu_milli, memory_mib = (own or part for own, part in zip(given, even, strict=True))
    return dict.fromkeys(devices, (cpu_milli, memory_mib))


def scoring(
    models: Sequence[Path], kind: str, target: str, dims_of: Mapping[Path, Mapping[str, int]]
) -> Template:
    """Batch inference by the models that are served, on devices of the first one's kind."""
    words = [sys.executable, "-m", "service.score", "--target", target]
    dims: dict[str, int] = {}
    for path in models:
        words += ["--known", f"{path.stem}={path.absolute()}"]
        dims |= dims_of[path]
    for symbol, number in dims.items():
        words += ["--dim", f"{symbol}={number}"]
    parameters: dict[str, Choice | Number] = {
        "model": Choice(tuple(path.stem for path in models)),
        "passes": Number(1, MAX_PASSES),
        "seed": Number(0, 2**31 - 1),
    }
    return Template(kind, tuple(words), parameters)


def _kinds(
    models: Sequence[Path], devices: Sequence[str], scaling: Scaling | None, slices: int
) -> list[str]:
    """The kind of device of each model, in the order of the devices. A model keeps its device, or
    as many as its fewest replicas, so one too many would wait for ever. Raises BadRequest."""
    kinds = [uri.partition(":")[0] for uri in dict.fromkeys(devices) for _ in range(slices)]
    fit = [kind for kind in kinds if kind in MODEL_DEVICES]
    if len(models) > len(fit):
        raise BadRequest(
            f"{len(models)} models ({', '.join(path.stem for path in models)}) need a device each, "
            f"and {len(fit)} of the pool's ({', '.join(devices)}) can serve them: give a --device "
            f"{MODEL_DEVICES[0]}:N for each model, or leave --device away; or let several share "
            "one, by --slices"
        )
    chosen = fit[: len(models)]
    for kind in dict.fromkeys(chosen):
        there, served = fit.count(kind), chosen.count(kind)
        if scaling and max(served * scaling.least, scaling.most) > there:
            raise BadRequest(
                f"{served} models with {scaling.least} to {scaling.most} replicas do not fit the "
                f"{there} {kind} devices (or slices of some) there are: give more, by --device or "
                "--slices, or ask for fewer --replicas"
            )
    return chosen


def _dims_of(models: Sequence[Path], dims: Mapping[str, int]) -> dict[Path, dict[str, int]]:
    """Raises BadRequest for a symbol that no model has, CompileError for what is no model."""
    known = {path: symbols(path) for path in models}
    unknown = [repr(name) for name in dims if not any(name in each for each in known.values())]
    if unknown:
        found = "; ".join(f"{p.stem} has {', '.join(s) or 'none'}" for p, s in known.items())
        raise BadRequest(f"no model has a symbolic dimension {', '.join(unknown)}: {found}")
    return {path: {name: dims[name] for name in dims if name in own} for path, own in known.items()}


def root_of(state_dir: Path) -> Path:
    """Where the servers of a state_dir meet their workers: always the same place, so that a
    service that was killed finds its own again."""
    name = hashlib.sha256(str(state_dir.resolve()).encode()).hexdigest()[:12]
    root = SHARED_MEMORY / f"haltere-{os.getuid()}-{name}"
    root.mkdir(mode=0o700, exist_ok=True)
    if root.is_symlink() or root.stat().st_uid != os.getuid():
        raise BadRequest(f"{root} belongs to somebody else: remove it, or choose another state_dir")
    return root


@contextmanager
def meeting_place(state_dir: Path) -> Iterator[Path]:
    """Gone in the end, also by an error; unless there is a pool, that runs or was killed, whose
    place it is. Raises BadRequest."""
    root = root_of(state_dir)
    try:
        yield root
    finally:
        if not Running.is_there(state_dir):
            shutil.rmtree(root, ignore_errors=True)


def _interrupt(_signum: int, _frame: object) -> None:
    raise KeyboardInterrupt
