"""Writes optim.json: what PyTorch's optimizers and schedulers do to a small problem.  Run it where PyTorch is."""

import json
import sys
from pathlib import Path

import numpy as np

STEPS, SAVED_AT = 10, 5
SHAPES = ((3, 2), (2,))

#: (optimizer, options); the options are those of the first of two parameter groups, the second has lr / 2.
CASES = [
    ("Adadelta", {}), ("Adadelta", {"lr": 0.3, "rho": 0.8, "eps": 1e-4, "weight_decay": 0.1}),
    ("Adadelta", {"maximize": True}),
    ("Adafactor", {}), ("Adafactor", {"lr": 0.05, "weight_decay": 0.1, "d": 1.5}), ("Adafactor", {"maximize": True}),
    ("Adagrad", {}), ("Adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adam", {}), ("Adam", {"lr": 0.1, "betas": [0.8, 0.9], "eps": 1e-4, "weight_decay": 0.1}),
    ("Adam", {"amsgrad": True}), ("Adam", {"maximize": True, "weight_decay": 0.1}),
    ("Adam", {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("AdamW", {}), ("AdamW", {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}), ("AdamW", {"maximize": True}),
    ("Adamax", {}), ("Adamax", {"lr": 0.1, "weight_decay": 0.1, "betas": [0.7, 0.9]}),
    ("ASGD", {}), ("ASGD", {"lr": 0.1, "lambd": 0.01, "alpha": 0.5, "t0": 3, "weight_decay": 0.1}),
    ("LBFGS", {}), ("LBFGS", {"lr": 0.5, "max_iter": 3, "history_size": 2}),
    ("LBFGS", {"line_search_fn": "strong_wolfe"}),
    ("Muon", {}), ("Muon", {"lr": 0.1, "weight_decay": 0.3, "nesterov": False, "momentum": 0.8}),
    ("Muon", {"adjust_lr_fn": "match_rms_adamw"}),
    ("NAdam", {}), ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "momentum_decay": 0.01}),
    ("NAdam", {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("RAdam", {}), ("RAdam", {"lr": 0.1, "weight_decay": 0.1}),
    ("RAdam", {"decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("RMSprop", {}), ("RMSprop", {"momentum": 0.5, "centered": True, "weight_decay": 0.1}), ("RMSprop", {"alpha": 0.5}),
    ("Rprop", {}), ("Rprop", {"lr": 0.1, "etas": [0.4, 1.3], "step_sizes": [0.01, 0.3]}),
    ("SGD", {"lr": 0.1}), ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1, "maximize": True}),
]  # fmt: skip

#: (scheduler, options, needs a metric); functions are Python expressions in ``e``.
SCHEDULERS = [
    ("LambdaLR", {"lr_lambda": ["0.9 ** e", "1 / (e + 1)"]}), ("MultiplicativeLR", {"lr_lambda": "0.95"}),
    ("StepLR", {"step_size": 7, "gamma": 0.5}), ("MultiStepLR", {"milestones": [3, 3, 11], "gamma": 0.3}),
    ("ConstantLR", {"factor": 0.25, "total_iters": 6}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.8, "total_iters": 9}),
    ("ExponentialLR", {"gamma": 0.9}), ("CosineAnnealingLR", {"T_max": 12, "eta_min": 0.01}),
    ("PolynomialLR", {"total_iters": 15, "power": 2.0}),
    ("CosineAnnealingWarmRestarts", {"T_0": 4, "T_mult": 2, "eta_min": 0.02}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 4, "step_size_down": 6}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3, "mode": "exp_range", "gamma": 0.9}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3, "mode": "triangular2"}),
    ("OneCycleLR", {"max_lr": [0.3, 0.6], "total_steps": 31}),
    ("OneCycleLR", {"max_lr": 0.3, "total_steps": 31, "three_phase": True, "anneal_strategy": "linear"}),
    ("ReduceLROnPlateau", {"patience": 2, "factor": 0.5, "cooldown": 1, "threshold": 0.01}),
    ("ReduceLROnPlateau", {"mode": "max", "patience": 1, "min_lr": [0.02, 0.1], "threshold_mode": "abs"}),
    ("SWALR", {"swa_lr": 0.03, "anneal_epochs": 8}), ("SWALR", {"swa_lr": 0.7, "anneal_strategy": "linear"}),
]  # fmt: skip


def start(seed=0):
    """The parameters, and one gradient of each for every step."""
    rng = np.random.RandomState(seed)
    values = [rng.randn(*shape) for shape in SHAPES]
    return values, [[rng.randn(*shape) for shape in SHAPES] for _ in range(STEPS)]


def metric(step):
    """A loss that falls, stalls and rises."""
    return [1.0, 0.8, 0.7, 0.7, 0.699, 0.71, 0.72, 0.6, 0.65, 0.66][step % 10] + 0.01 * (step // 10)


class Trainer:
    """The problem in ``lib``, PyTorch or a library like it."""

    def __init__(self, lib, name, options, values=None):
        self.lib, self.name = lib, name
        values, self.grads = values or start()[0], start()[1]
        keep = 1 if name == "Muon" else 2  # which takes matrices only
        self.params = [lib.nn.Parameter(lib.tensor(v, dtype=lib.float64)) for v in values[:keep]]
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
        make = getattr(lib.optim, name)
        if name in ("LBFGS", "Muon"):
            self.opt = make(self.params, **options)
        else:
            self.opt = make([{"params": self.params[:1]}, {"params": self.params[1:]}], **options)
            self.opt.param_groups[1]["lr"] = self.opt.param_groups[1]["lr"] / 2

    def closure(self):
        """A bowl that is no sphere."""
        self.opt.zero_grad()
        w, b = self.params
        loss = ((w @ b - 1) ** 2).sum() + 0.1 * (w ** 4).sum() + (b ** 2).sum()
        loss.backward()
        return loss

    def step(self, n):
        """Step ``n``; returns all parameters in one list."""
        if self.name == "LBFGS":
            self.opt.step(self.closure)
        else:
            for p, g in zip(self.params, self.grads[n]):  # noqa: B905
                p.grad = self.lib.tensor(g, dtype=self.lib.float64)
            self.opt.step()
        return [x for p in self.params for x in p.detach().reshape(-1).tolist()]


def short(x):
    """Floats with 13 digits."""
    if isinstance(x, dict):
        return {k: short(v) for k, v in x.items()}
    if isinstance(x, list):
        return [short(v) for v in x]
    return float(f"{x:.13g}") if isinstance(x, float) else x


def plain(x, lib):
    """Tensors as ``{"dtype", "shape", "data"}``."""
    if isinstance(x, lib.Tensor):
        return {"dtype": str(x.dtype).split(".")[1], "shape": list(x.shape), "data": x.detach().reshape(-1).tolist()}
    if isinstance(x, dict):
        return {str(k): plain(v, lib) for k, v in x.items()}
    return [plain(v, lib) for v in x] if isinstance(x, (list, tuple)) else x


def main():
    import torch

    optimizers = []
    for name, options in CASES:
        t = Trainer(torch, name, options)
        path, saved = [], None
        for n in range(STEPS):
            path.append(t.step(n))
            if n + 1 == SAVED_AT:
                saved = json.loads(json.dumps(plain(t.opt.state_dict(), torch)))
        path = [path[0], path[SAVED_AT - 1], path[-1]]
        optimizers.append({"name": name, "options": options, "path": path, "saved": saved})
    schedulers = []
    for name, options in SCHEDULERS:
        opt, schedule = scheduled(torch, name, options)
        lrs = []
        for n in range(30):
            opt.step()
            schedule.step(*[metric(n)] * (name == "ReduceLROnPlateau"))
            lrs.append([g["lr"] for g in opt.param_groups] + [g["momentum"] for g in opt.param_groups])
        schedulers.append({"name": name, "options": options, "lrs": lrs})
    out = {"torch": torch.__version__, "optimizers": optimizers, "schedulers": schedulers}
    text = json.dumps(short(out), separators=(",", ":"))
    Path(__file__).with_name("optim.json").write_text(text + "\n")


def scheduled(lib, name, options):
    """An optimizer with two groups, and the scheduler."""
    params = [lib.nn.Parameter(lib.ones(2)) for _ in range(2)]
    opt = lib.optim.SGD([{"params": params[:1]}, {"params": params[1:], "lr": 0.5}], lr=0.1, momentum=0.8)
    options = dict(options)
    if "lr_lambda" in options:
        given = options["lr_lambda"]
        made = [eval(f"lambda e: {x}") for x in ([given] if isinstance(given, str) else given)]
        options["lr_lambda"] = made[0] if isinstance(given, str) else made
    space = lib.optim.swa_utils if name == "SWALR" else lib.optim.lr_scheduler
    return opt, getattr(space, name)(opt, **options)


if __name__ == "__main__":
    sys.exit(main())
