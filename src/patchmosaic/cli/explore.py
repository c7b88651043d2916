"""`patchmosaic explore`: a page in the browser that shows what is drawn, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchmosaic.cli.console import Budget, Device, Json, budget_bytes, print_json, progress_bars, say


def explore(
    source: Annotated[
        str | None, typer.Argument(help="A run folder, or data as for `train`; without it, a training set of two images.")
    ] = None,
    port: Annotated[int, typer.Option(help="On 127.0.0.1; 0 takes any free one.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    limit: Annotated[
        int | None, typer.Option(help="Use the first so many training images; by default at most 2,000.", min=1)
    ] = None,
    export: Annotated[Path | None, typer.Option(help="Write one HTML file to share instead, and open nothing.")] = None,
    machine: Annotated[list[str] | None, typer.Option(help="For --export: repeat for several.")] = None,
    seeds: Annotated[int, typer.Option(help="For --export: seeds 0 to this.", min=1)] = 4,
    steps: Annotated[int | None, typer.Option(help="For --export: DDIM steps.", min=1)] = None,
    label: Annotated[int | None, typer.Option("--class", help="For --export: the class to draw, by number.")] = None,
    memory_budget: Budget = 1.0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Watch noise become an image, click a pixel, and see which training patches it came from.

    Everything stays on this machine. Ctrl-C ends it.

    Examples: `patchmosaic explore digits`, `patchmosaic explore runs/fashion`,
    `patchmosaic explore digits --export digits.html --machine ELS --machine IS --seeds 6`
    """
    from patchmosaic.app.session import Session

    session = Session(source, device=device, images=limit, memory_budget=budget_bytes(memory_budget))
    if export is not None:
        from patchmosaic.app.export import export as write

        with progress_bars() as progress:
            write(session, export, machine or (), range(seeds), label=label, steps=steps, progress=progress)
        if json:
            print_json({"file": str(export), "bytes": export.stat().st_size})
        else:
            say(f"{export}: open it in any browser; it needs no server and no network.")
        return

    import webbrowser

    from patchmosaic.app.server import HOST, application, listening, serve

    application(session)  # a missing extra, and data that are not there, are told before anything opens
    with progress_bars() as progress:
        session.subject(session.names[0], None, progress)
    listener = listening(port)
    address = f"http://{HOST}:{listener.getsockname()[1]}/"
    if json:
        print_json({"address": address})
    else:
        say(f"The explorer is at {address}  (Ctrl-C ends it)")
    if browser:
        webbrowser.open(address)
    serve(session, listener)
