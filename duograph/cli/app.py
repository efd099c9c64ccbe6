"""The commands and their options."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Optional

import typer
from typer.core import TyperGroup

from .models import reported
from .output import FAILED, AsJson, UsageError, fail, progress, say
from .values import Choice

_NAME = "duograph"  # also where it runs as `python -m duograph`: completion is for this name


class _Commands(TyperGroup):
    """The commands, whose wrong use is told as JSON where that is asked for."""

    def main(self, args: Any = None, *rest: Any, **options: Any) -> Any:
        words = sys.argv[1:] if args is None else list(args)
        options["prog_name"] = _NAME
        if "--json" not in words:
            return super().main(words, *rest, **options)
        try:
            code = super().main(words, *rest, **options | {"standalone_mode": False})
        except Exception as error:
            if not hasattr(error, "format_message"):  # that of click's errors, wherever typer keeps them
                raise
            try:
                fail(error.format_message(), True)
            except typer.Exit as end:
                code = end.exit_code
        sys.exit(code)


app = typer.Typer(
    name=_NAME,
    cls=_Commands,
    help="Look at, run, check, time and convert models. Exit codes: 0 fine, 1 a check failed, 2 wrong use or an unreadable file.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
File = Annotated[str, typer.Argument(help="An ONNX file.", show_default=False)]
Sizes = Annotated[Optional[list[str]], typer.Option("--size", "-s", help="NAME=NUMBER of an open size (1).", show_default=False)]  # noqa: UP045
Inputs = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--input", "-i", help="[NAME=]FILE.npy, .npz or .png; the others are random.", show_default=False),
]
Seed = Annotated[int, typer.Option(help="Of random inputs.", min=0)]
High = Annotated[int, typer.Option(help="Random whole numbers are below this.", min=1)]
Tolerance = Annotated[float, typer.Option(help="Allowed difference, of the largest element.", min=0.0)]
Threads = Annotated[int, typer.Option(help="Threads.", min=1)]


def run() -> None:
    """Run the command that was asked for."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # an encoding without µ ends no command
    app()


def _say_version(wanted: bool) -> None:
    if wanted:
        import duograph as dg

        say(f"duograph {dg.__version__}")
        raise typer.Exit()


@app.callback()
def _common(
    version: Annotated[bool, typer.Option("--version", help="Show the version.", callback=_say_version, is_eager=True)] = False,
) -> None:
    pass


def _numbers(option: str, text: str) -> list[int]:
    """Whole numbers above 0, with commas between them."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"{option} takes whole numbers above 0 as 1,2, not {text!r}")
    return [int(part) for part in parts]


def _choice(sizes: list[str] | None, seed: int = 0, high: int = 2) -> Choice:
    from .values import sizes_of

    return Choice(sizes_of(sizes or ()), seed, high)


@app.command()
def info(
    file: File,
    size: Sizes = None,
    high: High = 2,
    kernels: Annotated[bool, typer.Option(help="List the program's kernels.")] = False,
    json: AsJson = False,
) -> None:
    """Inputs, outputs, operators, parameters, floating-point operations and the plan of memory."""
    from .info import about, show

    with reported(json):
        show(about(file, _choice(size, high=high), kernels), json)


@app.command("run")
def run_once(
    file: File,
    inputs: Inputs = None,
    output: Annotated[Optional[str], typer.Option("--output", "-o", help="Write the outputs: FILE.npz.")] = None,  # noqa: UP045
    seed: Seed = 0,
    high: High = 2,
    size: Sizes = None,
    json: AsJson = False,
) -> None:
    """Run a model once, on files or on random numbers."""
    from .models import call, load
    from .running import show
    from .values import inputs_for, paths_of
    from .writing import target_of, write_arrays

    with reported(json):
        if output is not None:
            target_of(output, (".npz",), (file, *paths_of(inputs or ())))
        model = load(file)
        arrays = inputs_for(model, inputs or (), _choice(size, seed, high))
        made = call(model, arrays)
        if output is not None:
            write_arrays(output, made)
        show(arrays, made, output, json)


@app.command()
def check(
    file: File,
    inputs: Inputs = None,
    size: Sizes = None,
    seed: Seed = 0,
    high: High = 2,
    tolerance: Tolerance = 1e-4,
    json: AsJson = False,
) -> None:
    """Is the file in order, and does this machine compute what it should: as the example in it, or as onnxruntime."""
    from .checking import check as examine
    from .checking import show

    bar, _ = progress("checking")
    with reported(json):
        with bar:
            found = examine(file, inputs or (), _choice(size, seed, high), tolerance)
        show(found, json)
    if not found["passed"]:
        raise typer.Exit(FAILED)


@app.command()
def bench(
    file: File,
    inputs: Inputs = None,
    size: Sizes = None,
    seed: Seed = 0,
    high: High = 2,
    threads: Annotated[str, typer.Option(help="Numbers of threads: 1,2.")] = "1",
    rounds: Annotated[int, typer.Option(help="Timed calls of each runtime.", min=1)] = 30,
    against: Annotated[str, typer.Option(help="Other runtimes: onnxruntime,openvino.")] = "",
    json: AsJson = False,
) -> None:
    """Median and 90th percentile of a call's time, and of other runtimes' in the same minutes."""
    from .timing import bench as measure
    from .timing import show

    with reported(json):
        counts, choice = _numbers("--threads", threads), _choice(size, seed, high)
        others = [name.strip() for name in against.split(",") if name.strip()]
        bar, tick = progress("timing", rounds * len(counts))
        with bar:
            found = measure(file, inputs or (), choice, counts, rounds, others, tick)
        show(found, json)


@app.command()
def tune(
    file: File,
    inputs: Inputs = None,
    size: Sizes = None,
    high: High = 2,
    threads: Threads = 1,
    winograd: Annotated[bool, typer.Option(help="Try Winograd's way, too: larger rounding errors.")] = False,
    json: AsJson = False,
) -> None:
    """Measure in which way each product and convolution is made the fastest here, and keep that for other processes."""
    from .tuning import show
    from .tuning import tune as measure

    bar, _ = progress("measuring")
    with reported(json):
        with bar:
            found = measure(file, inputs or (), _choice(size, high=high), threads, winograd)
        show(found, json)


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="FILE.onnx, .npz or .safetensors.", show_default=False)],
    target: Annotated[str, typer.Argument(help="The file to write.", show_default=False)],
    opset: Annotated[Optional[int], typer.Option(help="Another opset.")] = None,  # noqa: UP045
    weights: Annotated[Optional[str], typer.Option(help="float16, bfloat16 or int8 weights.")] = None,  # noqa: UP045
    json: AsJson = False,
) -> None:
    """The same in another file: .npz to .safetensors or back, ONNX in another opset, with smaller weights, or as Python."""
    from .converting import WEIGHTS, show
    from .converting import convert as write

    bar, _ = progress("converting")
    with reported(json):
        if weights is not None and weights not in WEIGHTS:
            raise UsageError(f"--weights is one of {', '.join(WEIGHTS)}, not {weights!r}")
        with bar:
            found = write(source, target, opset, weights)
        show(found, json)


@app.command()
def diff(
    first: File,
    second: File,
    inputs: Inputs = None,
    size: Sizes = None,
    seed: Seed = 0,
    high: High = 2,
    tolerance: Tolerance = 1e-5,
    structure: Annotated[bool, typer.Option(help="Compare nodes, attributes and weights.")] = True,
    numbers: Annotated[bool, typer.Option(help="Compare what they compute.")] = True,
    json: AsJson = False,
) -> None:
    """What two files have in common: nodes, attributes, weights, and what they compute. Exit code 1 if they differ."""
    from .comparing import diff as compare
    from .comparing import show

    bar, _ = progress("comparing")
    with reported(json):
        with bar:
            found = compare(first, second, inputs or (), _choice(size, seed, high), tolerance, structure, numbers)
        show(found, json)
    if not found["same"]:
        raise typer.Exit(FAILED)


@app.command()
def view(
    file: File,
    size: Sizes = None,
    high: High = 2,
    output: Annotated[Optional[str], typer.Option("--output", "-o", help="Write the file instead: FILE.onnx.")] = None,  # noqa: UP045
    port: Annotated[int, typer.Option(help="Of the server; 0 takes a free one.", min=0, max=65535)] = 0,
    browse: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    wait: Annotated[bool, typer.Option(help="Serve until interrupted.")] = True,
    json: AsJson = False,
) -> None:
    """Open the graph in Netron; nodes say which kernels compute them and where these write."""
    from .viewing import show, write
    from .viewing import view as serve

    with reported(json):
        choice = _choice(size, high=high)
        if output is None:
            serve(file, choice, port, browse, wait, json)
        else:
            write(file, choice, output)
            show(output, json)


@app.command()
def demo(
    steps: Annotated[int, typer.Option(help="Training steps.", min=4)] = 200,
    json: AsJson = False,
) -> None:
    """Train one network as a dynamic and as a static graph: the same losses, and what the switch saves."""
    from .demo import demonstrate, show

    bar, tick = progress("training", 2 * steps)
    with reported(json):
        with bar:
            found = demonstrate(steps, tick)
        show(found, json)
    if not found["same_losses"]:
        raise typer.Exit(FAILED)


@app.command()
def doctor(json: AsJson = False) -> None:
    """What this machine has, and what would be faster."""
    from .doctor import examine, show

    with reported(json):
        show(examine(), json)
