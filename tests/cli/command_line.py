"""The command line as a user types it, in this process."""

from functools import partial

from typer.testing import CliRunner

from patchmosaic.cli.main import app


def run(*arguments):
    """The result of `patchmosaic ARGUMENTS`; what it raises is raised here, but for its exit."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def runner(verb):
    """`run` of one verb."""
    return partial(run, verb)
