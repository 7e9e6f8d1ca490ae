"""Building one XLA program out of a whole trace."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np

from .evaluators import Inline, _sharding, jit_at
from .schedule import Numbers, Schedule, evaluate
from .trie import Call, Input, State


def build(state: State, live: tuple[int, ...], may_give: tuple[int, ...]) -> Any:
    """Compile the trace that ends at ``state``: inputs in, arrays of the ``live`` slots out.

    ``may_give``: inputs that nobody needs afterwards; those that fit a result are donated.
    """
    import jax
    import jax.numpy as jnp

    from .execute import Program, _wanted, tracked_of

    graph = state.graph()
    wanted = _wanted(state, live)
    tracked = tracked_of(state, live)
    schedule = Schedule(graph, wanted)
    place = state.place
    guards = _guards(graph, schedule, wanted)

    room = Counter((graph.metas[s].shape, graph.metas[s].dtype) for s in wanted)
    held = set() if tracked is None else set(tracked[3])
    given, kept = [], []
    for s in schedule.inputs:
        m = graph.metas[s]
        if s in may_give and s not in held and s not in wanted and room[(m.shape, m.dtype)] > 0:
            room[(m.shape, m.dtype)] -= 1
            given.append(s)
        else:
            kept.append(s)

    layout: dict[str, Any] = {}

    def program(keep: list, give: list, ints: Any, floats: Any, complexes: Any) -> list:
        env = dict(zip(kept, keep, strict=True))
        env.update(zip(given, give, strict=True))
        # a result that is an input is that input's array; one that is donated must come out, since it goes in for good
        source = {id(env[s]): s for s in kept}
        before = dict(env)
        checks = evaluate(schedule, env, Numbers(ints, floats, complexes), Inline(), drop=False)
        if checks:
            bad = jnp.stack([jnp.logical_not(ok) for flags, _ in checks for ok in flags])
            failed = jnp.any(bad)
            for new, old in guards.items():
                env[new] = jax.tree.map(lambda a, b: jnp.where(failed, b, a), env[new], before[old])
            layout["checks"] = [(c, call.location, call.op.name) for _, call in checks for c in call.kernel.checks]
        outs, copies, results = [], [], []
        for s in wanted:
            a = env[s]
            if id(a) in source and source[id(a)] != s:
                copies.append((s, source[id(a)]))
            elif id(a) not in source:
                source[id(a)] = s
                outs.append(s)
                results.append(a)
        layout["outs"], layout["copies"] = tuple(outs), tuple(copies)
        if checks:
            results.append(bad)
        return results

    def spec(s: int) -> Any:
        m = graph.metas[s]
        return jax.ShapeDtypeStruct(m.shape, m.dtype, **_sharding(m.place))

    ints, floats, complexes = _vector_sizes(graph)
    args = (
        [spec(s) for s in kept],
        [spec(s) for s in given],
        jax.ShapeDtypeStruct((ints,), np.int64),
        jax.ShapeDtypeStruct((floats,), np.float64),
        jax.ShapeDtypeStruct((complexes,), np.complex128),
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Some donated buffers were not usable")
        compiled = jit_at(program, place, donate_argnums=(1,)).lower(*args).compile()

    out = Program()
    out.schedule, out.live = schedule, frozenset(live)
    out.outs, out.copies = layout["outs"], layout["copies"]
    out.kept, out.given = tuple(kept), tuple(given)
    out.checks = layout.get("checks", ())
    out.run, out.tracked, out.uses = compiled, tracked, 0
    return out


def _vector_sizes(graph: Any) -> tuple[int, int, int]:
    from .op import Wide

    top = {"ints": 0, "floats": 0, "complexes": 0}
    for e in graph.entries:
        if type(e) is Call:
            for i in e.ins:
                if type(i) is Wide:
                    name = "floats" if i.type is float else "complexes" if i.type is complex else "ints"
                    top[name] = max(top[name], i.index + 1)
    return top["ints"], top["floats"], top["complexes"]


def _guards(graph: Any, schedule: Schedule, wanted: tuple[int, ...]) -> dict[int, int]:
    """Result slot -> input slot that it replaces in place, for what must survive a failed data check."""
    origin: dict[int, int] = {}
    for e in graph.entries:
        if type(e) is Input:
            origin[e.first] = e.first
        elif type(e) is Call:
            n = 1 if e.op.alias or e.op.leaf else e.op.inplace
            for new, old in zip(e.out_slots, e.slots[:n], strict=False):
                if old in origin:
                    origin[new] = origin[old]
    used = set(schedule.inputs)
    return {s: origin[s] for s in wanted if s in origin and origin[s] != s and origin[s] in used}
