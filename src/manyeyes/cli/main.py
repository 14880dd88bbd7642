"""``manyeyes``: the commands, and how an error reaches the user."""

import io
import os
import signal
import sys
from types import FrameType

import typer
from rich.text import Text

from manyeyes.cli import (
    adapt,
    backbones,
    budget,
    choose,
    decathlon,
    evaluate,
    extract,
    features,
    fit,
    predict,
    report,
    samples,
    serve,
    study,
)
from manyeyes.cli.options import is_verbose
from manyeyes.errors import ManyEyesError
from manyeyes.progress import console
from manyeyes.version import __version__

app = typer.Typer(
    name="manyeyes",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Look at every photo with several pre-trained vision models, and learn whom to trust photo by photo.",
)
app.command("fit")(fit.fit)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("budget")(budget.budget)
app.command("report")(report.report)
app.command("extract", cls=extract.ExtractCommand)(extract.extract)
app.command("serve")(serve.serve)
app.command("study")(study.study)
app.command("adapt")(adapt.adapt)
app.command("decathlon")(decathlon.decathlon)
backbones.app.command("choose")(choose.choose)
app.add_typer(backbones.app, name="backbones")
app.add_typer(features.app, name="features")
app.command("samples")(samples.samples)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"manyeyes {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    pass


class _Stopped(BaseException):
    """Ctrl-C, as a class that typer does not know: of KeyboardInterrupt it makes a silent end."""


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # who presses twice does not want to wait
    raise _Stopped


def main() -> None:
    """Run the command line: errors are one line on stderr, with a traceback only when ``-v`` was given."""
    signal.signal(signal.SIGINT, _stop)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file's name may hold bytes that are not UTF-8; in JSON this escape is how such a byte is written.
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app(prog_name="manyeyes")
        finally:
            sys.stdout.flush()  # here, where a reader that has gone can still be dealt with
    except ManyEyesError as error:
        _fail(str(error), 1)
    except _Stopped:
        _fail("all finished work is kept, and running the command again goes on from there", 130, "stopped")
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nobody is left to tell, and what is still to come goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:  # a fault of ours; the user still gets one line, and the traceback on request
        _fail(f"unexpected {type(error).__name__}: {error} (run again with -v for the traceback)", 70)


def _fail(message: str, status: int, what: str = "error") -> None:
    from manyeyes.images.photo import readable

    if is_verbose() and sys.exc_info()[0] is not None:
        console.print_exception()
    console.quiet = False
    line = Text.assemble((f"{what}:", "bold red"), f" {readable(' '.join(message.split()))}")
    console.print(line, soft_wrap=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
