"""Hugging Face's libraries under the import hook; skipped where they are not installed."""

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import pytorchlike

ROOT = Path(pytorchlike.__file__).parent.parent


def run(tmp_path, text, *needed):
    for name in needed:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(text))
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "PYTORCHLIKE_TIER": "interpret"}
    done = subprocess.run([sys.executable, "-m", "pytorchlike", program], cwd=tmp_path, env=env, text=True,
                          capture_output=True, timeout=500)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("done\n")


def test_transformers_load_train_and_generate(tmp_path):
    run(tmp_path, """
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM, SiglipConfig, SiglipModel
        sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
        model = LlamaForCausalLM(LlamaConfig(vocab_size=32, num_key_value_heads=1, pad_token_id=0, **sizes)).eval()
        model.save_pretrained("saved")
        again = LlamaForCausalLM.from_pretrained("saved").eval()
        x = torch.randint(3, 32, (2, 5))
        torch.testing.assert_close(again(x).logits, model(x).logits)
        options = dict(max_new_tokens=4, do_sample=False)
        assert again.generate(x, **options).tolist() == again.generate(x, use_cache=False, **options).tolist()
        optimizer = torch.optim.AdamW(again.parameters(), lr=1e-2)
        losses = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = again(input_ids=x, labels=x).loss
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[2] < losses[0]
        # loaded weights are not initialised again by a module that torch.nn.init is patched for
        siglip = SiglipModel(SiglipConfig(text_config=dict(vocab_size=32, **sizes),
                                          vision_config=dict(image_size=8, patch_size=4, **sizes)))
        siglip.save_pretrained("siglip")
        for name, tensor in SiglipModel.from_pretrained("siglip").state_dict().items():
            assert torch.equal(tensor, siglip.state_dict()[name]), name
        print("done")
    """, "transformers", "safetensors")


def test_accelerate_loop_and_empty_weights(tmp_path):
    run(tmp_path, """
        import torch
        from accelerate import Accelerator, init_empty_weights
        with init_empty_weights():
            assert torch.nn.Conv2d(1, 2, 3).weight.device.type == "meta"
        accelerator = Accelerator(cpu=True)
        model = torch.nn.Linear(2, 1)
        data = torch.utils.data.TensorDataset(torch.ones(4, 2), torch.ones(4, 1))
        model, optimizer, loader = accelerator.prepare(
            model, torch.optim.AdamW(model.parameters(), 1e-2), torch.utils.data.DataLoader(data, batch_size=2))
        before = model.weight.detach().clone()
        for x, y in loader:
            accelerator.backward(torch.nn.functional.mse_loss(model(x), y))
            optimizer.step()
            optimizer.zero_grad()
        assert not torch.equal(before, model.weight)
        print("done")
    """, "accelerate")
