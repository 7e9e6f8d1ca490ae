"""Settings of the engine."""

import logging

import pytorchlike as torch
from pytorchlike.engine.config import quiet


def test_a_programs_log_has_no_notes_of_jax(caplog):
    with caplog.at_level(logging.DEBUG):
        (torch.ones(3, 5, 7).cumsum(1) * 3).sum().item()
    assert not [r for r in caplog.records if r.name.startswith("jax")]


def test_a_level_that_was_set_stays(monkeypatch):
    logger = logging.getLogger("jax")
    monkeypatch.setattr(logger, "level", logging.INFO)
    quiet()
    assert logger.level == logging.INFO
