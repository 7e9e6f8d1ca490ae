"""Batch normalisation, its lazy forms, and the base that instance normalisation shares with it."""

from __future__ import annotations

from typing import Any

from ...autograd.mode import no_grad
from ...tensor import Tensor
from ...tensor import functions as T
from ...tensor.dtype import int64
from .. import functional as F
from .. import init
from ..parameter import Parameter, UninitializedBuffer, UninitializedParameter
from .lazy import LazyModuleMixin
from .module import Module

__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d",
    "SyncBatchNorm",
]


def _check_dims(input: Tensor, *allowed: int) -> None:
    if input.dim() not in allowed:
        raise ValueError(f"expected {' or '.join(f'{n}D' for n in allowed)} input (got {input.dim()}D input of shape "
                         f"{tuple(input.shape)})")


class _NormBase(Module):
    """Arguments, parameters and running statistics of batch and instance normalisation."""

    _version = 2
    __constants__ = ["track_running_stats", "momentum", "eps", "num_features", "affine"]

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, device: Any = None, dtype: Any = None, *,
                 bias: bool = True) -> None:
        super().__init__()
        kind = {"device": device, "dtype": dtype}
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.register_parameter("weight", Parameter(T.empty(num_features, **kind)) if affine else None)
        self.register_parameter("bias", Parameter(T.empty(num_features, **kind)) if affine and bias else None)
        tracked = track_running_stats
        self.register_buffer("running_mean", T.zeros(num_features, **kind) if tracked else None)
        self.register_buffer("running_var", T.ones(num_features, **kind) if tracked else None)
        self.register_buffer("num_batches_tracked",
                             T.zeros((), dtype=int64, device=device) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Mean 0, variance 1, no batches seen."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, and reset_running_stats."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        raise NotImplementedError(f"{type(self).__name__} does not say which inputs it takes")

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}")

    def _load_from_state_dict(self, state_dict: dict, prefix: str, local_metadata: dict, strict: bool,
                              missing_keys: list, unexpected_keys: list, error_msgs: list) -> None:
        version = local_metadata.get("version", None)
        key = prefix + "num_batches_tracked"
        if (version is None or version < 2) and self.track_running_stats and key not in state_dict:
            # Files of that time did not count batches.
            count = self.num_batches_tracked
            state_dict[key] = count if count is not None and not count.is_meta else T.zeros((), dtype=int64)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                                      error_msgs)


class _BatchNorm(_NormBase):
    def _counted(self) -> Any:
        """Count a batch, if they are counted; what it weighs in the running statistics."""
        if self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # a plain average over all batches so far
                return self.num_batches_tracked.reciprocal()
        return self.momentum or 0.0

    def forward(self, input: Tensor) -> Tensor:
        """Normalised over all axes but the channels; running statistics are updated in training mode."""
        self._check_input_dim(input)
        training = self.training
        momentum = self._counted() if training else self.momentum or 0.0
        use_running = not training or self.track_running_stats
        return F.batch_norm(
            input, self.running_mean if use_running else None, self.running_var if use_running else None, self.weight,
            self.bias, training or (self.running_mean is None and self.running_var is None), momentum, self.eps)


class _LazyNormBase(LazyModuleMixin, _NormBase):
    """num_features is the number of channels of the first input."""

    def __init__(self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, device: Any = None, dtype: Any = None, *,
                 bias: bool = True) -> None:
        super().__init__(0, eps, momentum, False, False, device, dtype, bias=False)
        kind = {"device": device, "dtype": dtype}
        self.affine = affine
        self.track_running_stats = track_running_stats
        if affine:
            self.weight = UninitializedParameter(**kind)
            if bias:
                self.bias = UninitializedParameter(**kind)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(**kind)
            self.running_var = UninitializedBuffer(**kind)
            self.num_batches_tracked = T.zeros((), dtype=int64, device=device)

    def reset_parameters(self) -> None:
        """As the layer it becomes, once the parameters have shapes."""
        if not self.has_uninitialized_params() and self.num_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        """Take num_features from ``input``."""
        if self.has_uninitialized_params():
            self.num_features = input.shape[1]
            for tensor in (self.weight, self.bias, self.running_mean, self.running_var):
                if tensor is not None:
                    tensor.materialize((self.num_features,))
            self.reset_parameters()


class BatchNorm1d(_BatchNorm):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` with mean and variance over the batch (and length).

    Shapes:      (N, C) or (N, C, L) -> the same.
    Parameters:  weight and bias (C,), 1 and 0, if affine.
    Buffers:     running_mean, running_var (C,), num_batches_tracked (), if track_running_stats: updated in training as
                 (1 - momentum) * old + momentum * new (unbiased variance), as a plain average if momentum is None, and
                 used instead of the batch's statistics in evaluation.
    Raises:      ValueError for inputs of other dimensions, or a single value per channel in training.
    Source:      Ioffe & Szegedy 2015, arXiv:1502.03167.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        _check_dims(input, 2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images, (N, C, H, W) -> the same; see BatchNorm1d."""

    def _check_input_dim(self, input: Tensor) -> None:
        _check_dims(input, 4)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of volumes, (N, C, D, H, W) -> the same; see BatchNorm1d."""

    def _check_input_dim(self, input: Tensor) -> None:
        _check_dims(input, 5)


class LazyBatchNorm1d(_LazyNormBase, _BatchNorm):
    """A BatchNorm1d whose num_features is that of its first input; it then becomes a BatchNorm1d."""

    cls_to_become = BatchNorm1d
    _check_input_dim = BatchNorm1d._check_input_dim


class LazyBatchNorm2d(_LazyNormBase, _BatchNorm):
    """A BatchNorm2d whose num_features is that of its first input; it then becomes a BatchNorm2d."""

    cls_to_become = BatchNorm2d
    _check_input_dim = BatchNorm2d._check_input_dim


class LazyBatchNorm3d(_LazyNormBase, _BatchNorm):
    """A BatchNorm3d whose num_features is that of its first input; it then becomes a BatchNorm3d."""

    cls_to_become = BatchNorm3d
    _check_input_dim = BatchNorm3d._check_input_dim


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation over the batch of all devices, (N, C, *) -> the same; see BatchNorm1d.

    A tensor sharded over devices is one tensor here, so its statistics are those of the whole batch already. In
    training, in a ``process_group`` of several processes (None: the world), they are those of everybody's batches.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, process_group: Any = None, device: Any = None, dtype: Any = None,
                 *, bias: bool = True) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def forward(self, input: Tensor) -> Tensor:
        """The normalised input."""
        if self.training or self.running_mean is None:
            from ... import distributed as dist

            if dist.is_initialized() and dist.get_world_size(self.process_group) > 1:
                self._check_input_dim(input)
                return self._between_processes(input)
        return super().forward(input)

    def _between_processes(self, input: Tensor) -> Tensor:
        """As ``forward`` in training, with sums over all processes."""
        from ...distributed.nn.functional import all_reduce

        axes = [d for d in range(input.dim()) if d != 1]
        x = input.float() if input.dtype.itemsize < 4 else input
        size = T.tensor([input.numel() // input.shape[1]], dtype=x.dtype, device=x.device)
        sums = all_reduce(T.cat([x.sum(axes), size]), group=self.process_group)
        count = sums[-1].detach()
        mean = sums[:-1] / count
        shape = [1, -1, *[1] * (input.dim() - 2)]
        away = x - mean.view(shape)
        var = all_reduce((away * away).sum(axes), group=self.process_group) / count
        out = away * (var + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            out = out * self.weight.view(shape)
        if self.bias is not None:
            out = out + self.bias.view(shape)
        if self.training and self.track_running_stats and self.running_mean is not None:
            with no_grad():
                rate = self._counted()
                self.running_mean.lerp_(mean.detach().to(self.running_mean.dtype), rate)
                unbiased = var.detach() * (count / (count - 1))
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), rate)
        return out.to(input.dtype)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")
        if input.shape[1] == 0:
            raise ValueError("SyncBatchNorm number of input channels should be non-zero")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """``module`` with every BatchNorm in it replaced by a SyncBatchNorm of the same parameters and buffers."""
        result = module
        if isinstance(module, _BatchNorm):
            result = SyncBatchNorm(module.num_features, module.eps, module.momentum, module.affine,
                                   module.track_running_stats, process_group, bias=module.bias is not None)
            if module.affine:
                with no_grad():
                    result.weight = module.weight
                    result.bias = module.bias
            result.running_mean = module.running_mean
            result.running_var = module.running_var
            result.num_batches_tracked = module.num_batches_tracked
            result.training = module.training
        for name, child in module.named_children():
            result.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return result
