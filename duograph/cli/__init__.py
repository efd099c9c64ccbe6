"""The command line: `duograph info model.onnx`, or `python -m duograph …`. Needs `pip install "duograph[cli]"`."""

from __future__ import annotations

import sys


def main() -> None:
    """The command `duograph`. Exits with 0 if all is well, 1 if a check failed, 2 for wrong use or bad files."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError as error:
        print(f'duograph: {error.name} is not installed: pip install "duograph[cli]"', file=sys.stderr)
        sys.exit(2)
    from .app import run

    run()
