"""``manyeyes serve``: a model behind HTTP, and a page on which to drop photos."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from manyeyes.cli.options import AcceptUndeclared, Bundle, EngineName, Offline, Verbose, is_verbose

MB = 1_000_000


def serve(
    model: Bundle,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
    host: Annotated[
        str, typer.Option(help="Whom to serve: 0.0.0.0 is everybody who can reach this machine.")
    ] = "127.0.0.1",
    api_key_file: Annotated[
        Path | None,
        typer.Option(help="Let in only who sends the key in this file as X-API-Key (also: MANYEYES_API_KEY)."),
    ] = None,
    max_photo_mb: Annotated[float, typer.Option(min=0.001, help="Megabytes of a photo.")] = 20,
    max_megapixels: Annotated[float, typer.Option(min=0.001, help="Of a photo.")] = 100,
    max_request_mb: Annotated[float, typer.Option(min=0.001, help="Megabytes of a request.")] = 64,
    max_photos: Annotated[int, typer.Option(min=1, help="Photos of a request.")] = 32,
    max_held_mb: Annotated[float, typer.Option(min=0.001, help="Megabytes of all requests at a time.")] = 512,
    receive_seconds: Annotated[float, typer.Option(min=0.1, help="For a request to arrive.")] = 60,
    answer_seconds: Annotated[float, typer.Option(min=0.1, help="For photos to wait for their answers.")] = 60,
    waiting: Annotated[int, typer.Option(min=1, help="Photos that may wait; who brings more is sent away.")] = 128,
    batch: Annotated[int, typer.Option(min=1, help="Photos that are looked at together, at most.")] = 32,
    gather_ms: Annotated[float, typer.Option(min=0, help="How long a photo waits for others.")] = 5,
    engine: EngineName = "auto",
    offline: Offline = False,
    accept_undeclared_licence: AcceptUndeclared = False,
    verbose: Verbose = False,
) -> None:
    """Answer requests for predictions, and show a page on which to drop photos. Ctrl-C ends it.

    Nothing that is sent is kept: photos, and what backbones see of them, stay in memory until they are answered.
    """
    from manyeyes.errors import MissingExtraError

    try:
        from manyeyes.serve.app import make_app
        from manyeyes.serve.key import read_key
        from manyeyes.serve.running import listen, open_socket, run
    except ImportError as error:
        if (error.name or "").startswith("manyeyes"):
            raise
        raise MissingExtraError(f"serve needs {error.name}: pip install 'manyeyes[serve]'") from None
    from manyeyes.classifier import ManyEyesClassifier
    from manyeyes.progress import console
    from manyeyes.progress import waiting as spinning
    from manyeyes.serve.answers import about
    from manyeyes.serve.limits import Limits
    from manyeyes.serve.looking import Looking

    limits = Limits(
        photo_bytes=round(max_photo_mb * MB),
        photo_pixels=round(max_megapixels * MB),
        request_bytes=round(max_request_mb * MB),
        request_photos=max_photos,
        held_bytes=round(max_held_mb * MB),
        receive_seconds=receive_seconds,
        answer_seconds=answer_seconds,
        waiting=waiting,
        batch=batch,
        gather_seconds=gather_ms / 1000,
    )
    key = read_key(api_key_file)
    loaded = ManyEyesClassifier.load(model, offline, accept_undeclared_licence, engine)
    looking = Looking(loaded, limits.photo_pixels)
    with open_socket(host, port) as opened:
        with spinning("getting the networks ready"):
            looking.get_ready()
        if key is None and host not in ("127.0.0.1", "localhost", "::1"):
            console.print("note: there is no API key: whoever reaches this machine may ask", soft_wrap=True)
        console.print(f"serving {model.name} at {listen(opened)} (Ctrl-C ends it)", soft_wrap=True)
        _log_lines()
        run(make_app(looking, about(loaded, limits), limits, key), opened, receive_seconds + answer_seconds)


def _log_lines() -> None:
    """From here on there is a log, of lines with times, and no progress: who asks is not at this terminal."""
    from manyeyes.progress import console

    console.quiet = True
    level = logging.INFO if is_verbose() else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
