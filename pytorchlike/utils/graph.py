"""Pictures of autograd graphs, by Graphviz (``pip install "pytorchlike[graph]"``, and its program ``dot`` to draw)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..tensor import Tensor

__all__ = ["make_dot"]


def make_dot(
    var: Tensor | Iterable[Tensor], params: dict[str, Tensor] | None = None, show_attrs: bool = False,
    max_nodes: int = 2000,
) -> Any:  # fmt: skip
    """The operations that gradients of ``var`` go through, down to the leaves: a ``graphviz.Digraph``.

    var: a tensor or several.   params: names of leaves, as from ``dict(model.named_parameters())``.   show_attrs: also
    what the nodes tell of themselves in attributes ``_saved_…``.   max_nodes: ValueError for larger graphs.

    Its ``source`` is the text, ``render(path)`` draws. RuntimeError if ``var`` has no graph, ImportError without the
    library.
    """
    try:
        import graphviz
    except ImportError as error:
        raise ImportError('make_dot needs the graphviz library: pip install "pytorchlike[graph]"') from error
    roots = [var] if isinstance(var, Tensor) else list(var)
    names = {id(_identity(t)): name for name, t in (params or {}).items()}
    dot = graphviz.Digraph(node_attr={"style": "filled", "shape": "box", "fontname": "monospace", "fontsize": "10",
                                      "height": "0.2"})  # fmt: skip
    known: dict[Any, str] = {}
    todo: list[tuple[Any, str]] = []

    def leaf(tensor: Tensor, color: str) -> str:
        what = _identity(tensor)
        if what not in known:
            known[what] = key = f"t{len(known)}"
            label = "\n".join(filter(None, [names.get(id(what), ""), str(tuple(tensor.shape))]))
            dot.node(key, label, fillcolor=color)
        return known[what]

    def place(node: Any) -> str:
        if node in known:
            return known[node]
        if len(known) >= max_nodes:
            raise ValueError(f"make_dot: the graph has more than {max_nodes} nodes; raise max_nodes")
        key = known[node] = f"n{len(known)}"
        label = node.name().rsplit("::", 1)[-1]
        if show_attrs:
            saved = [(a.removeprefix("_saved_"), getattr(node, a)) for a in dir(node) if a.startswith("_saved_")]
            told = [f"{a}: {tuple(v.shape) if isinstance(v, Tensor) else v}" for a, v in saved]
            label = "\n".join([label, "-" * len(label), *told]) if told else label
        dot.node(key, label, fillcolor="lightgrey")
        todo.append((node, key))
        return key

    for root in roots:
        shown = leaf(root, "darkolivegreen1" if root.grad_fn is not None else "lightblue")
        if root.grad_fn is not None:
            dot.edge(place(root.grad_fn), shown)
        elif not root.requires_grad:
            raise RuntimeError("make_dot: a tensor does not require grad and has no graph")
    while todo:
        node, key = todo.pop()
        variable = getattr(node, "variable", None)
        if variable is not None:
            dot.edge(leaf(variable, "lightblue"), key)
        for following, _ in node.next_functions:
            if following is not None:
                dot.edge(place(following), key)
    return dot


def _identity(tensor: Tensor) -> Any:
    """What stays the same of a leaf, whichever object shows it: what gathers its gradient."""
    node = tensor._get().node
    return tensor._get() if node is None or tensor.grad_fn is not None else node
