"""How modules look in notebooks: a tree that folds, with shapes and numbers of parameters."""

from __future__ import annotations

import html
from typing import Any

#: Modules and parameters that are shown.
_MODULES, _TENSORS = 1000, 50
_STYLE = "font-family:monospace;font-size:12px"
_FAINT = "opacity:.6"


def html_of(module: Any) -> str:
    """``module._repr_html_()``: nothing but names and shapes is looked at.  What cannot be told does not raise."""
    left = [_MODULES]
    try:
        tree = _tree(module, "", 0, left)
        total, trained = _counts(module)
    except Exception as error:
        return f"<pre>{html.escape(f'{type(module).__name__}: {type(error).__name__}: {error}')}</pre>"
    more = f" ({total - trained:,} of them frozen)" if trained < total else ""
    cut = f'<div style="{_FAINT}">only the first {_MODULES} modules are shown</div>' if left[0] < 0 else ""
    told = f"{total:,} parameter{'s' * (total != 1)}{more}{', training' if module.training else ', evaluation'}"
    return f'<div style="{_STYLE}">{tree}{cut}<div style="{_FAINT}">{told}</div></div>'


def _tree(module: Any, name: str, depth: int, left: list[int]) -> str:
    left[0] -= 1
    if left[0] < 0:
        return ""
    total, _ = _counts(module)
    title = f"<span style='{_FAINT}'>{html.escape(name)}</span> " if name else ""
    extra = module.extra_repr().replace("\n", ", ")
    extra = extra if len(extra) <= 120 else extra[:117] + "..."
    title += f"<b>{html.escape(module._get_name())}</b>({html.escape(extra)})"
    title += f' <span style="{_FAINT}">{total:,}</span>' if total else ""
    own = [*_tensors(module._parameters, ""), *_tensors(module._buffers, " buffer")]
    if len(own) > _TENSORS:
        own[_TENSORS:] = [f'<div style="{_FAINT}">… and {len(own) - _TENSORS} more</div>']
    children = [_tree(child, key, depth + 1, left) for key, child in module._modules.items() if child is not None]
    inside = "".join([*own, *children])
    if not inside:
        return f'<div style="margin-left:14px">{title}</div>'
    opened = " open" if depth < 1 else ""
    indent = "margin-left:14px" if depth else ""
    return f'<details{opened} style="{indent}"><summary>{title}</summary>{inside}</details>'


def _tensors(found: dict[str, Any], what: str) -> list[str]:
    out = []
    for name, t in found.items():
        if t is None:
            continue
        told = f"{_shape(t)} {str(t.dtype).removeprefix('torch.')}{what}"
        if not what and not t.requires_grad:
            told += " frozen"
        out.append(f'<div style="margin-left:28px;{_FAINT}">{html.escape(name)} {html.escape(told)}</div>')
    return out


def _is_lazy(tensor: Any) -> bool:
    from ..parameter import is_lazy

    return is_lazy(tensor)


def _shape(tensor: Any) -> str:
    return "not initialised yet" if _is_lazy(tensor) else str(list(tensor.shape))


def _counts(module: Any) -> tuple[int, int]:
    """(elements of all parameters, of those that require gradients); shared ones count once."""
    total = trained = 0
    for p in module.parameters():
        if not _is_lazy(p):
            total += p.numel()
            trained += p.numel() if p.requires_grad else 0
    return total, trained


__all__ = ["html_of"]
