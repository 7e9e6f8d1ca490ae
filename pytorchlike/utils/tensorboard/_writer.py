"""The writer: PyTorch's parameters, and tensors as what tensorboardX understands."""

from __future__ import annotations

import functools
import inspect
import io
import itertools
import os
import time
import wave
from typing import Any

import numpy as np
import tensorboardX
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.proto.tensor_pb2 import TensorProto
from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboardX.record_writer import RecordWriter as RecordWriter
from tensorboardX.summary import hparams as _hparams
from tensorboardX.summary import scalar as _scalar
from tensorboardX.writer import FileWriter as FileWriter

from ...tensor import Tensor

__all__ = ["FileWriter", "RecordWriter", "SummaryWriter"]

_files = itertools.count()
_TYPES = {"float32": 1, "float64": 2, "int32": 3, "uint8": 4, "int64": 9, "bool": 10}  # of TensorFlow's DataType


_TAKE_TENSORS = (
    "add_histogram", "add_histogram_raw", "add_image", "add_images", "add_image_with_boxes", "add_video",
    "add_pr_curve", "add_pr_curve_raw", "add_embedding", "add_mesh",
)  # fmt: skip


def _plain(value: Any) -> Any:
    """Tensors as NumPy arrays (bfloat16 and its kin as float32), also inside containers."""
    if isinstance(value, Tensor):
        array = value.detach().cpu().numpy()
        if array.dtype.kind not in "biufc" or array.dtype.itemsize == 2:
            array = array.astype(np.float32) if array.dtype.kind not in "iu" else array
        return np.array(array)
    if type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    if type(value) is dict:
        return {key: _plain(v) for key, v in value.items()}
    return value


def _converted(name: str) -> Any:
    """A method of tensorboardX's that takes tensors, at any place."""
    theirs = getattr(tensorboardX.SummaryWriter, name)

    @functools.wraps(theirs)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return theirs(self, *map(_plain, args), **{key: _plain(value) for key, value in kwargs.items()})

    method.__signature__ = inspect.signature(theirs)  # type: ignore[attr-defined]
    return method


class SummaryWriter(tensorboardX.SummaryWriter):
    """Writes an event file to ``log_dir`` for TensorBoard; a context manager.

    log_dir:  by default ``runs/`` with date, time and host.  comment: appended to the default.
    purge_step: step from which an earlier run's values are to be hidden.  max_queue, flush_secs: how many values, and
    for how many seconds, wait before they are written.  filename_suffix: of the event file.

    Methods as in ``torch.utils.tensorboard``: values may be tensors, NumPy arrays and numbers.
    """

    def __init__(self, log_dir: str | os.PathLike | None = None, comment: str = "", purge_step: int | None = None,
                 max_queue: int = 10, flush_secs: int = 120, filename_suffix: str = "") -> None:  # fmt: skip
        super().__init__(None if log_dir is None else os.fspath(log_dir), comment, purge_step, max_queue, flush_secs,
                         filename_suffix)  # fmt: skip

    @property
    def _filename_suffix(self) -> str:
        """What a new file's name ends in: tensorboardX tells files apart by the second, which writers may share."""
        return f".{os.getpid()}.{next(_files)}{self._suffix}"

    @_filename_suffix.setter
    def _filename_suffix(self, value: str) -> None:
        self._suffix = value

    @property
    def log_dir(self) -> str:
        """The directory that is written to."""
        return self.logdir

    @log_dir.setter
    def log_dir(self, value: str) -> None:
        self.logdir = value

    def get_logdir(self) -> str:
        """The directory that is written to."""
        return self.logdir

    for _name in _TAKE_TENSORS:
        locals()[_name] = _converted(_name)
    del _name

    def add_scalars(self, main_tag: str, tag_scalar_dict: dict[str, Any], global_step: int | None = None,
                    walltime: float | None = None) -> None:  # fmt: skip
        """Numbers of one diagram, each from an event file of its own: ``<log_dir>/<main_tag>_<tag>``."""
        walltime = time.time() if walltime is None else walltime
        self._get_file_writer()
        for tag, value in tag_scalar_dict.items():
            path = os.path.join(self.logdir, f"{main_tag.replace('/', '_')}_{tag}")
            writer = self.all_writers.get(path)
            if writer is None:
                writer = self.all_writers[path] = FileWriter(
                    path, self._max_queue, self._flush_secs, self._filename_suffix
                )
            writer.add_summary(_scalar(main_tag, _plain(value)), global_step, walltime)

    def add_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None, walltime: float | None = None,
                   new_style: bool = False, double_precision: bool = False) -> None:  # fmt: skip
        """A number at a step. ``new_style`` writes it as a tensor, with ``double_precision`` in 64 bits.

        ValueError for more than one element; NotImplementedError, which loggers catch, for what is no number or array.
        """
        value = _plain(scalar_value)
        if isinstance(value, (str, bytes)):
            value = float(value)
        elif not isinstance(value, (np.ndarray, np.generic, int, float, complex)):
            raise NotImplementedError(f"Got {type(value)}, but numpy array or torch tensor are expected.")
        value = np.asarray(value)
        if value.size != 1:
            raise ValueError(f"add_scalar: {tag!r} has {value.size} elements; a scalar must have one")
        if not new_style and not double_precision:
            super().add_scalar(tag, value.reshape(()), global_step, walltime)
            return
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))
        self._add_tensor(tag, value.reshape(()).astype(np.float64 if double_precision else np.float32), metadata,
                         global_step, walltime)  # fmt: skip

    def add_tensor(self, tag: str, tensor: Any, global_step: int | None = None, walltime: float | None = None) -> None:
        """The elements of a tensor at a step. TypeError for dtypes that the format does not have."""
        self._add_tensor(tag, np.asarray(_plain(tensor)), None, global_step, walltime)

    def _add_tensor(self, tag: str, array: np.ndarray, metadata: Any, step: int | None, walltime: float | None) -> None:
        kind = _TYPES.get(array.dtype.name)
        if kind is None:
            raise TypeError(f"event files have no tensors of {array.dtype}; convert {tag!r} first")
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=n) for n in array.shape])
        proto = TensorProto(dtype=kind, tensor_shape=shape, tensor_content=np.ascontiguousarray(array).tobytes())
        value = Summary.Value(tag=tag, tensor=proto, metadata=metadata)
        self._get_file_writer().add_summary(Summary(value=[value]), step, walltime)

    def add_audio(self, tag: str, snd_tensor: Any, global_step: int | None = None, sample_rate: int = 44100,
                  walltime: float | None = None) -> None:  # fmt: skip
        """One channel of sound at a step, as 16-bit WAV: (L,), or with dims of size 1 beside it.

        Samples outside of [-1, 1] are clipped, with a printed warning.  ValueError for several channels.
        """
        samples = np.asarray(_plain(snd_tensor)).squeeze()
        if samples.ndim != 1:  # tensorboardX would take (1, L) for L channels, and needs the package soundfile
            raise ValueError(f"add_audio: {tag!r} must be one channel, got shape {np.shape(snd_tensor)}")
        if samples.size and np.abs(samples).max() > 1:
            print("warning: audio amplitude out of range, auto clipped.")
            samples = samples.clip(-1, 1)
        file = io.BytesIO()
        with wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(sample_rate)
            out.writeframes((samples * 32767).astype("<i2").tobytes())
        audio = Summary.Audio(sample_rate=sample_rate, num_channels=1, length_frames=len(samples),
                              encoded_audio_string=file.getvalue(), content_type="audio/wav")  # fmt: skip
        self._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=tag, audio=audio)]), global_step, walltime)

    def add_text(self, tag: str, text_string: str, global_step: int | None = None,
                 walltime: float | None = None) -> None:  # fmt: skip
        """A text (Markdown) at a step."""
        super().add_text(tag, text_string, global_step, walltime)

    def add_hparams(self, hparam_dict: dict[str, Any], metric_dict: dict[str, Any],
                    hparam_domain_discrete: dict[str, list] | None = None, run_name: str | None = None,
                    global_step: int | None = None) -> None:  # fmt: skip
        """Hyper-parameters of a run and what it achieved, in an event file of their own below ``log_dir``.

        hparam_domain_discrete: the values that a hyper-parameter may have.  TypeError unless both are dicts, ValueError
        for a hyper-parameter that is neither a number nor a text (None is left out).
        """
        if type(hparam_dict) is not dict or type(metric_dict) is not dict:
            raise TypeError("hparam_dict and metric_dict should be dictionary.")
        settings = {k: _number(v) for k, v in hparam_dict.items() if v is not None}
        for key, value in settings.items():
            if not isinstance(value, (int, float, str, bool)):
                raise ValueError(f"value should be one of int, float, str, bool, or torch.Tensor, not "
                                 f"{type(value).__name__} ({key!r})")  # fmt: skip
        metrics = {k: _number(v) for k, v in metric_dict.items()}
        experiment, start, end = _hparams(settings, metrics)
        if hparam_domain_discrete:
            _set_domains(experiment, settings, hparam_domain_discrete)
        name = run_name if run_name else str(time.time())
        with SummaryWriter(os.path.join(self._get_file_writer().get_logdir(), name)) as writer:
            for summary in (experiment, start, end):
                writer.file_writer.add_summary(summary)
            for key, value in metrics.items():
                writer.add_scalar(key, value, global_step)

    def add_graph(self, model: Any, input_to_model: Any = None, verbose: bool = False,
                  use_strict_trace: bool = True) -> None:  # fmt: skip
        """The modules of a model and what flows between them, found by a forward pass that is only recorded.

        input_to_model: a tensor or a tuple of them.  verbose: print the graph too.  use_strict_trace says nothing here.
        """
        from ._graph import graph_of

        graph = graph_of(model, input_to_model)
        if verbose:
            print(graph)
        self._get_file_writer().add_event(Event(graph_def=graph.SerializeToString()))


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, (Tensor, np.generic)) else value


def _set_domains(experiment: Any, settings: dict[str, Any], domains: dict[str, list]) -> None:
    """Write the possible values into the experiment's description."""
    from google.protobuf.struct_pb2 import ListValue
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    unknown = sorted(set(domains) - set(settings))
    if unknown:
        raise ValueError(f"hparam_domain_discrete has {unknown}, which are no hyper-parameters of this run")
    metadata = experiment.value[0].metadata
    content = HParamsPluginData.FromString(metadata.plugin_data.content)
    for info in content.experiment.hparam_infos:
        if info.name in domains:
            values = ListValue()
            for value in domains[info.name]:
                one = values.values.add()
                if isinstance(value, bool):
                    one.bool_value = value
                elif isinstance(value, (int, float)):
                    one.number_value = value
                else:
                    one.string_value = str(value)
            info.domain_discrete.CopyFrom(values)
    metadata.plugin_data.content = content.SerializeToString()
