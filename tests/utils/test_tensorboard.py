"""What is written to event files, read back from them."""

import glob
import io
import struct
import subprocess
import sys
import wave

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn

pytest.importorskip("tensorboardX")
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.graph_pb2 import GraphDef

from pytorchlike.utils.tensorboard import SummaryWriter

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def events(folder):
    """All events below a folder (records of a length, its checksum, the event and its checksum)."""
    found = []
    for path in sorted(glob.glob(f"{folder}/**/events.out*", recursive=True)):
        with open(path, "rb") as file:
            data = file.read()
        at = 0
        while at < len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            found.append(Event.FromString(data[at + 12 : at + 12 + size]))
            at += size + 16
    return found


def values(folder):
    return [(e.step, v) for e in events(folder) for v in e.summary.value]


def test_numbers_histograms_and_texts(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        assert writer.get_logdir() == writer.log_dir == str(tmp_path)
        loss = torch.tensor(2.0, requires_grad=True) * 3
        writer.add_scalar("loss", loss, 1)
        writer.add_scalar("half", torch.tensor(1.5, dtype=torch.bfloat16), torch.tensor(2).item())
        writer.add_scalar("new", torch.tensor([0.1], dtype=torch.float64), 3, new_style=True, double_precision=True)
        writer.add_tensor("t", torch.arange(6).reshape(2, 3), 4)
        writer.add_histogram("h", torch.linspace(0, 1, 50), 5)
        writer.add_histogram("p", nn.Parameter(torch.ones(3)), 5)
        writer.add_text("note", "**hello**", 6)
        writer.add_pr_curve("pr", torch.tensor([0, 1, 1]), torch.tensor([0.2, 0.7, 0.9]), 7)
        with pytest.raises(ValueError, match="2 elements"):
            writer.add_scalar("x", torch.ones(2), 1)
        for value in ([1.0], None, {}):
            with pytest.raises(NotImplementedError, match="torch tensor are expected"):
                writer.add_scalar("x", value, 1)
        with pytest.raises(TypeError, match="complex64"):
            writer.add_tensor("c", torch.ones(1, dtype=torch.complex64))
    found = {v.tag.split("/")[0]: (step, v) for step, v in values(tmp_path)}
    assert found["loss"][1].simple_value == 6 and found["loss"][0] == 1 and found["half"][1].simple_value == 1.5
    assert np.frombuffer(found["new"][1].tensor.tensor_content) == [0.1]
    tensor = found["t"][1].tensor
    assert [d.size for d in tensor.tensor_shape.dim] == [2, 3]
    assert np.frombuffer(tensor.tensor_content, np.int64).tolist() == list(range(6))
    assert found["h"][1].histo.num == 50 and abs(found["h"][1].histo.sum - 25) < 1e-4
    assert found["note"][1].tensor.string_val == [b"**hello**"]
    assert found["pr"][1].tensor.float_val[0] == 2  # both positive samples lie above the lowest threshold


def test_writers_of_one_second_have_files_of_their_own(tmp_path):
    first, second = SummaryWriter(tmp_path), SummaryWriter(tmp_path, filename_suffix=".val")
    first.add_scalar("a", 1.0, 0)
    second.add_scalar("b", 2.0, 0)
    second.close()
    second.add_scalar("c", 3.0, 1)  # opens another file
    first.close()
    second.close()
    assert sorted(value.tag for _, value in values(tmp_path)) == ["a", "b", "c"]
    assert len(glob.glob(f"{tmp_path}/*.val")) == 2


def test_scalars_of_one_diagram(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        for step in range(2):
            writer.add_scalars("loss/all", {"train": torch.tensor(0.5), "valid": 2.0 * step}, step)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["loss_all_train", "loss_all_valid"]
    found = [(step, v.tag, v.simple_value) for step, v in values(tmp_path / "loss_all_valid")]
    assert found == [(0, "loss/all", 0.0), (1, "loss/all", 2.0)]


def test_pictures_sound_and_points(tmp_path):
    pytest.importorskip("PIL")
    with SummaryWriter(tmp_path) as writer:
        writer.add_image("one", torch.rand(3, 8, 10), 1)
        writer.add_image("grey", torch.zeros(8, 10, dtype=torch.uint8), 1, dataformats="HW")
        writer.add_images("many", torch.rand(4, 3, 8, 8), 1)
        writer.add_image_with_boxes("boxes", torch.rand(3, 20, 20), torch.tensor([[2, 2, 9, 9]]), 1)
        writer.add_embedding(torch.rand(5, 3), metadata=list("abcde"), tag="e", global_step=1)
        writer.add_mesh("mesh", torch.rand(1, 4, 3), faces=torch.tensor([[[0, 1, 2]]]))
    found = {v.tag: v for _, v in values(tmp_path)}
    assert (found["one"].image.height, found["one"].image.width, found["one"].image.colorspace) == (8, 10, 3)
    assert found["one"].image.encoded_image_string.startswith(b"\x89PNG") and found["grey"].image.height == 8
    assert found["many"].image.width >= 16 and found["boxes"].image.width == 20
    assert glob.glob(f"{tmp_path}/**/tensors.tsv", recursive=True) and any("mesh" in tag for tag in found)


def test_figures(tmp_path):
    plt = pytest.importorskip("matplotlib.figure")
    figure = plt.Figure(figsize=(2, 1))
    figure.add_subplot().plot([1, 2])
    with SummaryWriter(tmp_path) as writer:
        writer.add_figure("f", figure, 3, close=False)
    ((step, value),) = values(tmp_path)
    assert step == 3 and value.image.encoded_image_string


def test_hparams(tmp_path):
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    with SummaryWriter(tmp_path) as writer:
        writer.add_hparams({"lr": 0.1, "kind": "a"}, {"acc": torch.tensor(0.5)}, {"kind": ["a", "b"]}, run_name="r")
        with pytest.raises(ValueError, match="no hyper-parameters"):
            writer.add_hparams({"lr": 0.1}, {"acc": 1.0}, {"x": [1]})
        with pytest.raises(ValueError, match="not list \\('layers'\\)"):
            writer.add_hparams({"layers": [1, 2], "seed": None}, {"acc": 1.0})
    found = {v.tag: v for _, v in values(tmp_path / "r")}
    data = HParamsPluginData.FromString(found["_hparams_/experiment"].metadata.plugin_data.content)
    (kind,) = [h for h in data.experiment.hparam_infos if h.name == "kind"]
    assert [v.string_value for v in kind.domain_discrete.values] == ["a", "b"] and found["acc"].simple_value == 0.5


def test_graph(tmp_path):
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Sequential(nn.ReLU(), nn.Linear(8, 2)))
    with SummaryWriter(tmp_path) as writer:
        writer.add_graph(model, torch.randn(3, 4))
    assert model[1].num_batches_tracked.item() == 0  # a look is no training step
    (graph,) = [GraphDef.FromString(e.graph_def) for e in events(tmp_path) if e.graph_def]
    nodes = {n.name: n for n in graph.node}
    assert nodes["Sequential/0"].op == "Linear" and list(nodes["Sequential/0"].input) == ["input"]
    assert list(nodes["Sequential/2/1"].input) == ["Sequential/2/0"]
    assert list(nodes["output"].input) == ["Sequential/2/1"]
    assert [d.size for d in nodes["Sequential/0"].attr["_output_shapes"].list.shape[0].dim] == [3, 8]


def test_the_extra_is_named():
    code = "import sys; sys.modules['tensorboardX'] = None\nimport pytorchlike.utils.tensorboard"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError" in done.stderr and 'pip install "pytorchlike[tensorboard]"' in done.stderr


def test_sound_is_one_channel_of_16_bits(tmp_path, capsys):
    sound = torch.tensor([0.0, 0.5, -1.0, 2.0])
    with SummaryWriter(tmp_path) as writer:
        writer.add_audio("a", sound[None], 3, sample_rate=8000)  # what a vocoder gives out: (1, L)
        assert "clipped" in capsys.readouterr().out
        with pytest.raises(ValueError, match="one channel"):
            writer.add_audio("b", torch.zeros(2, 4))
    ((step, value),) = values(tmp_path)
    audio = value.audio
    assert (step, audio.sample_rate, audio.num_channels, audio.length_frames) == (3, 8000, 1, 4)
    with wave.open(io.BytesIO(audio.encoded_audio_string)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        assert np.frombuffer(file.readframes(9), "<i2").tolist() == [0, 16383, -32767, 32767]
