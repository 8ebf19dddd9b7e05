"""`sparsec demo-web`"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from sparsec.cli.console import progress, say
from sparsec.cli.parameters import one_shape, shape_option


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 picks a free one.")
@click.option(
    "--onnxruntime-web",
    "peer",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="The npm package of ONNX Runtime Web, to race against.  [default: node_modules/onnxruntime-web, if it is there]",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FOLDER", help="Write the page there; serve nothing."
)
@click.option(
    "--target",
    type=click.Choice(["wasm32", "wasm32-relaxed", "wasm32-threads", "wasm32-relaxed-threads"]),
    default="wasm32-threads",
    show_default=True,
)
@shape_option
def command(
    model: str, port: int, peer: Path | None, output: Path | None, target: str, shapes: tuple[str, ...]
) -> None:
    """Serve a page that runs MODEL, a network of one picture, in the browser.

    It shows hand landmarks over the picture, and the milliseconds with and without the use of zeros.
    """
    from sparsec.options import Options
    from sparsec.web.demo import find_peer, serve, write_page

    found = find_peer(peer)
    options = Options(target, one_shape(shapes))
    with ExitStack() as stack:
        folder = output or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = None if output is not None else stack.enter_context(serve(folder, port))
        with progress(f"compiling {Path(model).name} twice") as stages:
            write_page(model, folder, options, peer=found, report=False, progress=stages)
        if server is None:
            say(f"{output}: any web server shows it, e.g. python3 -m http.server -d {output}")
            return
        click.echo(f"http://127.0.0.1:{server.server_address[1]}/  (Ctrl-C ends)")
        if found is None:
            say("without ONNX Runtime Web: npm install onnxruntime-web brings it")
        server.serve_forever()
