"""The reference pages, made of the operators' blocks, name every operator that users call."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from duograph.ops.definition import REGISTRY

ROOT = Path(__file__).parent.parent.parent


def test_every_operator_has_a_section(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "tools" / "make_docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(tmp_path)
    pages = {page.stem: page.read_text(encoding="utf-8") for page in tmp_path.glob("*.md")}
    for definition in REGISTRY.values():
        if definition.public and definition.base is None and definition.is_ours:
            page = pages[definition.function.__module__.rpartition(".")[2]]
            assert f"\n## {definition.name}\n" in page and f"[{definition.name}](" in pages["index"], definition.name
    hardtanh = pages["gates"].partition("## hardtanh\n")[2].partition("\n## ")[0]
    assert "hardtanh(x: Tensor, min_val: Number = -1.0, max_val: Number = 1.0) -> Tensor" in hardtanh
    assert "Gradient: 1 inside" in hardtanh and "`duograph.nn.functional.hardtanh_`" in hardtanh
    names = [line.split("|")[1:3] for line in pages["graph-names"].splitlines() if line.startswith("| `")]
    assert len(names) >= 250 and all(gives.strip() for _, gives in names), [n for n, gives in names if not gives.strip()]
    add = pages["arithmetic"].partition("## add\n")[2].partition("\n## ")[0]
    assert "alpha: Number = 1" in add and "`Tensor.add_`" in add
