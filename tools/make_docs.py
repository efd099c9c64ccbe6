"""Write the reference pages of the operators: `make_docs.py OUTPUT`.

One Markdown page for each family (a file of `duograph/ops`), made of the operators' own blocks: where each is found, its
signature, its docstring. `index.md` lists them all; `graph-names.md` the names of `duograph.graph`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from duograph import graph, ops
from duograph.ops.definition import REGISTRY, Definition


def documented() -> dict[str, list[Definition]]:
    """The operators that users call, by family, in alphabetical order."""
    families: dict[str, list[Definition]] = {}
    for definition in sorted(REGISTRY.values(), key=lambda d: d.name):
        if definition.base is None and (definition.public or definition.functional or definition.method or definition.space):
            families.setdefault(definition.function.__module__, []).append(definition)
    return dict(sorted(families.items()))


def places(definition: Definition) -> Iterator[str]:
    """The full names under which an operator is found."""
    for name in (definition.name, *definition.aliases):
        if definition.public:
            yield f"duograph.{name}"
        if definition.functional:
            yield f"duograph.nn.functional.{name}"
        if definition.space:
            yield f"duograph.{definition.space}"
        if definition.method:
            yield f"Tensor.{definition.method if isinstance(definition.method, str) else name}"
        if definition.inplace:
            yield f"Tensor.{name}_" if definition.method or not definition.functional else f"duograph.nn.functional.{name}_"


def signature(definition: Definition) -> str:
    function = definition.function if definition.wider is None else definition.wider.definition.function
    text = str(inspect.signature(function)).replace("'", "")
    return definition.name + text


def section(definition: Definition) -> str:
    text = inspect.cleandoc(definition.function.__doc__ or "")
    prose, _, rest = text.partition("\nShapes:")
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(places(definition)))
    head = f"## {definition.name}\n\n    {signature(definition)}\n\n{prose.strip()}\n\n"
    return f"{head}```\nShapes:{rest}\n```\n\nFound as {names}.\n"


def graph_names() -> Iterator[tuple[str, object]]:
    """The public functions and classes of duograph.graph, with the names of their modules: "nn.relu"."""
    for name, value in vars(graph).items():
        if inspect.ismodule(value):
            own = [
                n for n, x in vars(value).items() if callable(x) and str(getattr(x, "__module__", "")).startswith(value.__name__)
            ]
            inner = [n for n in getattr(value, "__all__", own) if not n.startswith("_") and callable(getattr(value, n))]
            if any(getattr(graph, each, None) is not getattr(value, each) for each in inner):  # a namespace of its own
                yield from ((f"{name}.{each}", getattr(value, each)) for each in inner)
        elif not name.startswith("_") and callable(value):
            yield name, value


def differences(text: str) -> str:
    """What a docstring says of how it differs from TensorFlow's."""
    _, found, rest = text.partition("Differs:")
    return " ".join(rest.split("\n\n")[0].split()) if found else ""


def graph_page() -> str:
    """The table of names: ours, which are TensorFlow 1's, what each gives, what differs."""
    lines = ["# Names of duograph.graph", "", "Each has TensorFlow 1's name: `import duograph.graph as tf`.", ""]
    lines += ["| `tf.` | gives | differs from TensorFlow 1 |", "| --- | --- | --- |"]
    for name, value in sorted(graph_names()):
        text = inspect.getdoc(value) or ""
        first = " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")
        lines.append(f"| `{name}` | {first} | {differences(text)} |")
    return "\n".join(lines) + "\n"


def main(output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    (output / "graph-names.md").write_text(graph_page(), encoding="utf-8")
    index = [f"# Operators\n\n{inspect.cleandoc(ops.__doc__ or '')}\n"]
    for module, definitions in documented().items():
        title = (sys.modules[module].__doc__ or module).strip().splitlines()[0]
        page = module.rpartition(".")[2]
        body = "\n".join(section(definition) for definition in definitions)
        (output / f"{page}.md").write_text(f"# {title}\n\n{body}", encoding="utf-8")
        links = ", ".join(f"[{d.name}]({page}.md#{d.name})" for d in definitions)
        index.append(f"* **[{title}]({page}.md)** {links}")
    (output / "index.md").write_text("\n".join(index) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
