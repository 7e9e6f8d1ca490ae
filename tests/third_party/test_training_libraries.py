"""Programs with libraries made for PyTorch, run by ``python -m pytorchlike``; skipped where the library is missing."""

import importlib.util
import os
import subprocess
import sys
import textwrap

import pytest

PROGRAMS = {
    "timm": """
        import timm, timm.loss, timm.optim, torch
        model = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=3, img_size=32, depth=1)
        optimizer = timm.optim.create_optimizer_v2(model, opt="adamw", lr=1e-2, weight_decay=0.01)
        x, y = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 0])
        losses = []
        for _ in range(6):
            optimizer.zero_grad()
            loss = timm.loss.LabelSmoothingCrossEntropy(0.1)(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0], losses
        features = timm.create_model("mobilenetv3_small_050", features_only=True, pretrained=False)
        assert [f.shape[1] for f in features.eval()(torch.randn(1, 3, 32, 32))] == features.feature_info.channels()
    """,
    "lightning": """
        import tempfile
        import lightning as L, torch
        from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
        from lightning.pytorch.loggers import CSVLogger

        class Line(L.LightningModule):
            def __init__(self):
                super().__init__()
                self.line = torch.nn.Linear(1, 1)
            def training_step(self, batch, index):
                loss = torch.nn.functional.mse_loss(self.line(batch[0]), batch[1])
                self.log("loss", loss, prog_bar=True)
                return loss
            def validation_step(self, batch, index):
                self.log("val", torch.nn.functional.mse_loss(self.line(batch[0]), batch[1]))
            def configure_optimizers(self):
                return torch.optim.Adam(self.parameters(), 0.1)

        x = torch.linspace(-1, 1, 32)[:, None]
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, 2 * x + 1), batch_size=8)
        folder = tempfile.mkdtemp()
        saved = ModelCheckpoint(folder, monitor="val", save_last=True)
        options = dict(accelerator="cpu", devices=1, enable_progress_bar=False, enable_model_summary=False)
        trainer = L.Trainer(max_epochs=4, logger=CSVLogger(folder), callbacks=[saved, EarlyStopping("val")],
                            gradient_clip_val=1.0, accumulate_grad_batches=2, log_every_n_steps=1, **options)
        trainer.fit(Line(), loader, loader)
        again = L.Trainer(max_epochs=5, logger=False, enable_checkpointing=False, strategy="ddp", **options)
        again.fit(Line(), loader, loader, ckpt_path=saved.last_model_path)
        assert again.current_epoch == 5 and again.global_step > trainer.global_step
        assert float(again.callback_metrics["val"]) < 2
    """,
    "torchmetrics": """
        import torch, torchmetrics as tm
        scores = tm.MetricCollection({"a": tm.Accuracy(task="multiclass", num_classes=3),
                                      "f": tm.F1Score(task="multiclass", num_classes=3, average="macro")})
        before = None
        for _ in range(5):
            scores(torch.eye(3).softmax(1), torch.tensor([0, 1, 1]))
            now = torch.compiler.stats()
            compiled, before = before is not None and now["compiles"] > before["compiles"], now
        assert not compiled  # a validation loop compiles nothing in the end
        result = scores.compute()
        assert abs(result["a"].item() - 2 / 3) < 1e-6 and abs(result["f"].item() - 5 / 9) < 1e-6
    """,
    "torch_geometric": """
        import torch
        from torch_geometric.data import Data
        from torch_geometric.loader import DataLoader
        from torch_geometric.nn import GATConv, GCNConv, global_mean_pool
        graphs = [Data(x=torch.ones(3, 2), edge_index=torch.tensor([[0, 1], [1, 2]])) for _ in range(4)]
        for batch in DataLoader(graphs, batch_size=2):
            hidden = GCNConv(2, 4)(batch.x, batch.edge_index)
            out = global_mean_pool(GATConv(4, 3)(hidden, batch.edge_index), batch.batch)
            assert out.shape == (2, 3)
            out.sum().backward()
    """,
    "ignite": """
        import torch
        from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
        from ignite.metrics import Accuracy
        model = torch.nn.Linear(2, 2)
        data = [(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))] * 8
        optimizer = torch.optim.SGD(model.parameters(), 1.0)
        trainer = create_supervised_trainer(model, optimizer, torch.nn.CrossEntropyLoss())
        trainer.run(data, max_epochs=2)
        assert create_supervised_evaluator(model, metrics={"a": Accuracy()}).run(data).metrics["a"] == 1.0
    """,
    "skorch": """
        import numpy as np, torch
        from skorch import NeuralNetClassifier
        x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
        model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Softmax(-1))
        net = NeuralNetClassifier(model, max_epochs=5, lr=0.5, verbose=0).fit(x, (x[:, 0] > 0).astype("int64"))
        assert net.score(x, x[:, 0] > 0) > 0.8
    """,
    "captum": """
        import torch
        from captum.attr import IntegratedGradients
        weight = torch.tensor([[1.0, -2.0, 3.0]])
        found = IntegratedGradients(lambda x: x @ weight.T).attribute(torch.ones(1, 3), n_steps=4)
        assert torch.allclose(found, weight.double().to(found.dtype), atol=1e-5)
    """,
    "torchinfo": """
        import torch, torchinfo
        told = torchinfo.summary(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 1)), (2, 3), verbose=0)
        assert told.total_params == 21
    """,
    "kornia": """
        import torch, kornia
        image = torch.rand(1, 3, 8, 8)
        assert kornia.filters.gaussian_blur2d(image, (3, 3), (1.0, 1.0)).shape == image.shape
        back = kornia.color.hsv_to_rgb(kornia.color.rgb_to_hsv(image))
        assert torch.allclose(back, image, atol=1e-4)
    """,
}


@pytest.mark.parametrize("library", PROGRAMS)
def test_a_program(library, tmp_path):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PROGRAMS[library]))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    if library != "torchmetrics":  # which counts compilations; the others are too short for any
        env["PYTORCHLIKE_TIER"] = "interpret"
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "pytorchlike", str(script)], cwd=tmp_path, env=env,
                          capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
