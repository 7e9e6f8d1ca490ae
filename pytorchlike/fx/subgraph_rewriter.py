"""Replacing parts of graphs that look like a pattern (``torch.fx.subgraph_rewriter``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..nn.modules.module import Module
from .graph import Graph
from .graph_module import GraphModule
from .node import Node, map_arg
from .tracer import symbolic_trace

__all__ = ["Match", "replace_pattern"]


class Match(NamedTuple):
    """anchor: the pattern's last node.   nodes_map: from the pattern's nodes to the graph's."""

    anchor: Node
    nodes_map: dict[Node, Node]


def replace_pattern(gm: GraphModule, pattern: Callable[..., Any] | Graph, replacement: Callable[..., Any] | Graph,
                    ) -> list[Match]:  # fmt: skip
    """Replace each part of the graph of ``gm`` that ``pattern`` describes; returns what was found.

    pattern, replacement: functions, modules or graphs with the same parameters, which stand for anything. Matches do
    not overlap, and nothing but their last values may be used outside of them. Modules and attributes are matched by
    their qualified names; those of ``replacement`` are added to ``gm``.
    """
    wanted, instead = _graph(pattern), _graph(replacement)
    ends = _ends(wanted)
    used: set[Node] = set()
    found = []
    for node in list(gm.graph.nodes):
        match: dict[Node, Any] = {}
        if _match(ends[0], node, match) and all(e in match or _find(e, gm.graph, match) for e in ends[1:]):
            inner = {match[p] for p in wanted.nodes if p.op not in ("placeholder", "output") and p in match}
            last = {match[e] for e in ends}
            leaks = any(u not in inner for n in inner - last for u in n.users)
            if not leaks and not inner & used:
                used |= inner
                found.append(Match(ends[0], match))
    replaced: dict[Node, Node] = {}
    for match in found:
        for p, n in match.nodes_map.items():  # what an earlier replacement has put in its place
            match.nodes_map[p] = replaced.get(n, n) if isinstance(n, Node) and p.op == "placeholder" else n
        _replace(gm, wanted, ends, instead, match, replaced)
    if not isinstance(replacement, Graph) and isinstance(replacement, Module):
        for node in instead.nodes:
            if node.op in ("call_module", "get_attr"):
                gm._assign(node.target, _attribute(replacement, node.target))
    gm.recompile()
    return found


def _graph(given: Any) -> Graph:
    return given if isinstance(given, Graph) else given.graph if isinstance(given, GraphModule) else symbolic_trace(
        given).graph  # fmt: skip


def _attribute(root: Any, path: str) -> Any:
    for part in path.split("."):
        root = getattr(root, part)
    return root


def _ends(graph: Graph) -> list[Node]:
    out: list[Node] = []
    map_arg(graph.output_node().args, out.append)
    if not out or any(e.op == "placeholder" for e in out):
        raise ValueError("replace_pattern: the pattern must compute what it returns")
    return out


def _find(end: Node, graph: Graph, match: dict[Node, Any]) -> bool:
    for node in graph.nodes:
        trial = dict(match)
        if _match(end, node, trial):
            match.update(trial)
            return True
    return False


def _match(p: Any, n: Any, match: dict[Node, Any]) -> bool:
    """Whether a value of the graph looks like one of the pattern; fills ``match``."""
    if isinstance(p, Node):
        if p in match:
            return match[p] is n or (p.op == "placeholder" and not isinstance(n, Node) and match[p] == n)
        if p.op == "placeholder":
            match[p] = n
            return True
        if not isinstance(n, Node) or n.op != p.op or n.target != p.target:
            return False
        match[p] = n
        return _match(p.args, n.args, match) and _match(dict(p.kwargs), dict(n.kwargs), match)
    if isinstance(p, (tuple, list)):
        return (isinstance(n, (tuple, list)) and len(n) == len(p)
                and all(_match(a, b, match) for a, b in zip(p, n, strict=True)))  # fmt: skip
    if isinstance(p, dict):
        return isinstance(n, dict) and p.keys() == n.keys() and all(_match(p[k], n[k], match) for k in p)
    return type(p) is type(n) and p == n


def _replace(gm: GraphModule, wanted: Graph, ends: list[Node], instead: Graph, match: Match,
             replaced: dict[Node, Node]) -> None:  # fmt: skip
    told = [n for n in wanted.nodes if n.op == "placeholder"]
    values: dict[Node, Any] = {}
    for theirs, ours in zip((n for n in instead.nodes if n.op == "placeholder"), told, strict=False):
        values[theirs] = match.nodes_map[ours]
    order = {node: i for i, node in enumerate(gm.graph.nodes)}
    last = max((match.nodes_map[e] for e in ends), key=order.__getitem__)
    users = [u for e in ends for u in match.nodes_map[e].users if order[u] > order[last]]
    at = min(users, key=order.__getitem__, default=last._next)  # where it is needed first
    result: list[Any] = []
    with gm.graph.inserting_before(at):
        for node in instead.nodes:
            if node.op == "output":
                map_arg(node.args, lambda n: result.append(values[n]))
            elif node not in values:
                values[node] = gm.graph.node_copy(node, lambda n: values[n])
    for end, new in zip(ends, result, strict=True):
        match.nodes_map[end].replace_all_uses_with(new)
        replaced[match.nodes_map[end]] = new
    for node in reversed(list(wanted.nodes)):
        old = match.nodes_map.get(node)
        if node.op not in ("placeholder", "output") and isinstance(old, Node) and not old.users:
            gm.graph.erase_node(old)
