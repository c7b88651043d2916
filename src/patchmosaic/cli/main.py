"""The console script `patchmosaic`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import patchmosaic
from patchmosaic.cli.adopt import adopt
from patchmosaic.cli.architectures import architectures
from patchmosaic.cli.audit import audit
from patchmosaic.cli.beliefs import beliefs
from patchmosaic.cli.calibrate import calibrate
from patchmosaic.cli.compare import compare
from patchmosaic.cli.console import stderr
from patchmosaic.cli.demo import demo
from patchmosaic.cli.doctor import doctor
from patchmosaic.cli.explore import explore
from patchmosaic.cli.families import families
from patchmosaic.cli.limbs import limbs
from patchmosaic.cli.reproduce import reproduce
from patchmosaic.cli.results import results
from patchmosaic.cli.sample import sample
from patchmosaic.cli.trace import trace
from patchmosaic.cli.train import train
from patchmosaic.errors import PatchMosaicError

app = typer.Typer(
    name="patchmosaic",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Predict, in closed form and seed by seed, what a trained diffusion network will draw.

    Begin with `patchmosaic demo`. On your own data the verbs form a chain over one run folder:

        patchmosaic train mnist --run runs/mnist
        patchmosaic calibrate runs/mnist --machine bbELS --machine LS
        patchmosaic compare runs/mnist --seeds 20
    """,
)
VERBS = (
    *(demo, train, adopt, calibrate, sample, compare),
    *(explore, trace, beliefs, audit),
    *(reproduce, results, families, architectures, limbs),
    doctor,
)
for verb in VERBS:
    app.command()(verb)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False) -> None:
    if show:
        typer.echo(f"patchmosaic {patchmosaic.__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; bad input ends with its message and exit status 2, an interrupt with 130."""
    try:
        app(standalone_mode=True)
    except PatchMosaicError as error:
        stderr.print(f"[bold red]Error:[/] [default]{_escaped(str(error))}[/]", soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        stderr.print("Stopped. The same command takes up where it was.")
        sys.exit(130)


def _escaped(message: str) -> str:
    from rich.markup import escape

    return escape(message)
