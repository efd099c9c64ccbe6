"""Bar 6: guards: the static call of a 10-20-10 network inside a Module tree of 600 submodules, against the bare network."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.harness import OURS, Case

THREADS = (1,)
SUBMODULES = 600


def cases() -> Iterator[Case]:
    import duograph as dg
    from duograph import nn

    class Tree(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 10))
            groups = [nn.ModuleList([nn.Linear(2, 2) for _ in range(29)]) for _ in range(SUBMODULES // 30)]
            self.rest = nn.ModuleList(groups)

        def forward(self, x: dg.Tensor) -> dg.Tensor:
            found: dg.Tensor = self.network(x)
            return found

    tree = Tree()
    assert sum(1 for _ in tree.modules()) >= SUBMODULES
    bare, inside, x = dg.static(tree.network), dg.static(tree), dg.rand(1, 10)
    with dg.no_grad():
        yield Case("bar 6: 10-20-10 in a tree of 600 Modules", {OURS: lambda: inside(x), "bare network": lambda: bare(x)},
                   {"bare network": 1 / 1.3})  # fmt: skip
