"""The command `eolab serve`: the network of a run as an HTTP service."""

import argparse
import sys
from pathlib import Path
from typing import Any

from eolab.cli.parsing import command, positive, say
from eolab.core.errors import ParameterError
from eolab.core.ranks import LOOPBACK

EXAMPLES = """\
examples:
  eolab serve RUN
  curl --data-binary @image.h5 http://127.0.0.1:8000/predict
  curl --data-binary @image.tif -H 'Accept: image/tiff' -o mask.tif http://127.0.0.1:8000/predict
  eolab serve RUN --engine openvino --port 8080

RUN is the folder or the name of a run that trained a network of images or of pixel series. GeoTIFF, HDF5 and
npy files are read, and answered as JSON or GeoTIFF; http://127.0.0.1:8000/docs says how, docs/serving.md what
is refused. Only this machine reaches it unless --host says another address. It has no passwords. It needs
`pip install 'eolab[serve]'`, and 'eolab[fast]' for engines other than keras."""


def add(commands: Any) -> None:
    """Add the command."""
    serve = command(commands, _serve, "answer requests over HTTP with the network of a run", EXAMPLES)
    serve.add_argument(
        "run", metavar="RUN", type=Path, help="a run that trained a network: its folder or name"
    )
    text = "address of this machine to listen on (default 127.0.0.1, which others do not reach)"
    serve.add_argument("--host", default=LOOPBACK[0], metavar="ADDRESS", help=text)
    text = "port to listen on (default 8000; 0 for any that is free)"
    serve.add_argument("--port", type=int, default=8000, metavar="N", help=text)
    text = "what computes: onnx (default), openvino, keras, or auto for the fastest one installed"
    serve.add_argument("--engine", default="onnx", help=text)
    text = "largest request, and largest image once it is unpacked (default 64)"
    serve.add_argument("--max-mb", type=positive, default=64, metavar="MB", help=text)
    text = "longest time to send a request, and to answer it (default 30)"
    serve.add_argument("--timeout", type=positive, default=30, metavar="SECONDS", help=text)
    text = "requests at once, others are answered 503 (default 16)"
    serve.add_argument("--queue", type=positive, default=16, metavar="N", help=text)
    text = "images or series of waiting requests that are computed together (default 16)"
    serve.add_argument("--batch", type=positive, default=16, metavar="N", help=text)


def _serve(options: argparse.Namespace) -> int:
    from eolab.runs import history

    try:
        from eolab.prediction.serving import server, service
    except ImportError:
        raise ParameterError(
            "The service needs FastAPI and uvicorn: install them with  pip install 'eolab[serve]'"
        ) from None
    from eolab.studies import served

    with server.listen(options.host, options.port) as listening:  # before what takes a while
        model, predict = served.load(history.find(options.run), options.engine, options.batch, say)
        limits = service.Limits(options.max_mb, options.timeout, options.queue, options.batch)
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        say(f"{model.name} on http://{shown}:{port} with engine {model.facts['engine']!r}; Ctrl+C stops it.")
        if "tensorflow" in sys.modules:
            say("TensorFlow is loaded, which takes more memory: engines onnx and openvino do without.")
        if options.host not in LOOPBACK:
            say(f"Everybody who reaches {options.host} can use it: there are no passwords.")
        try:
            server.run(service.app(service.Service(model, predict, limits), say), listening)
        except KeyboardInterrupt:  # uvicorn has finished what it was at
            say("Stopped.")
    return 0
