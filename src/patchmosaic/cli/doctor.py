"""`patchmosaic doctor`: what this installation can do, and whether it is right."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from patchmosaic.cli.console import Json, print_json, say


def doctor(json: Json = False, device: Annotated[str | None, typer.Option(help="Check this device only.")] = None) -> None:
    """Say what the installation can do, and check a machine against the float64 oracle on each device."""
    import importlib.util
    import os

    import torch

    from patchmosaic.data import found
    from patchmosaic.engine.native.instructions import instruction_set, instruction_sets
    from patchmosaic.runs import versions

    devices = [device] if device else ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    errors = {name: oracle_error(name) for name in devices}
    report: dict[str, Any] = {
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "kernel": {"used": instruction_set(), "built": instruction_sets()},
        "devices": {name: torch.cuda.get_device_name(name) if name.startswith("cuda") else "CPU" for name in devices},
        "extras": {name: importlib.util.find_spec(name) is not None for name in EXTRAS},
        "data": {"folder": os.environ.get("PATCHMOSAIC_DATA"), "found": {name: str(path) for name, path in found().items()}},
        "oracle_error": errors,
        "ok": all(error < TOLERANCE for error in errors.values()),
    }
    if json:
        print_json(report)
    else:
        _tell(report)
    raise typer.Exit(0 if report["ok"] else 1)


TOLERANCE = 1e-5
EXTRAS = {"pyarrow": "parquet", "datasets": "hub", "diffusers": "diffusers", "starlette": "app"}  # module -> extra


def oracle_error(device: str) -> float:
    """Relative L2 error of boundary-broken ELS against the brute force, on digits at middle noise."""
    from patchmosaic.data import load
    from patchmosaic.denoisers import BoundaryBrokenDenoiser
    from patchmosaic.engine import oracle
    from patchmosaic.sampling import seeds

    pool = load("digits", image_size=None, limit=40)
    machine = BoundaryBrokenDenoiser(pool, patch_size=3).to(device)
    t = 0.5
    alpha, sigma = (float(scale) for scale in machine.schedule(t))
    x_t = alpha * pool.images[:2] + sigma * seeds(2, pool.image_shape)
    truth = oracle.boundary_broken(x_t.numpy(), pool.images.numpy(), alpha, sigma, 3)
    difference = machine(x_t.to(device), t).cpu().double().numpy() - truth
    return float((difference**2).sum() ** 0.5 / (truth**2).sum() ** 0.5)


def _tell(report: dict[str, Any]) -> None:
    for name, version in report["versions"].items():
        say(f"{name:<12} {version}")
    say(f"{'threads':<12} {report['threads']} ({report['cpu']})")
    used, built = report["kernel"]["used"], report["kernel"]["built"]
    if used:
        say(f"{'kernel':<12} native, {used} (of {', '.join(built)})")
    else:
        why = "PATCHMOSAIC_NATIVE=0" if built else "it was not built: reinstall where there is a C++ compiler"
        say(f"{'kernel':<12} plain torch, which is slower ({why})")
    for name, here in report["extras"].items():
        say(f"{name:<12} {'installed' if here else 'missing: pip install ' + escape(repr(f'patchmosaic[{EXTRAS[name]}]'))}")
    folder = report["data"]["folder"]
    say(f"{'data':<12} digits (built in); {f'under {folder}:' if folder else 'set PATCHMOSAIC_DATA to a folder for more'}")
    for name, path in report["data"]["found"].items():
        say(f"{'':<12} {name}  {path}")
    for name, error in report["oracle_error"].items():
        verdict = "right" if error < TOLERANCE else "WRONG"
        say(f"{name:<12} {report['devices'][name]}: bbELS against the float64 oracle {error:.1e}: {verdict}")
