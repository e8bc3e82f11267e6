"""``batch_size: "auto"`` in a config: what it needs, what contradicts it, what a run records."""

from __future__ import annotations

import pytest

from tests.experiments import experiment_of, problems_of
from tests.utils.training.test_continuation import CONFIG, changed_config
from utils.config.auto_batch import as_recorded, is_auto, with_batch
from utils.errors import ConfigError

BATCH = "train_loader.args.batch_size"
AUTO = {BATCH: "auto", "trainer.effective_batch": 16}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({BATCH: "auto"}, "trainer.effective_batch: missing; train_loader.args.batch_size 'auto' needs it"),
        ({**AUTO, "trainer.accumulate_steps": 2}, "trainer.accumulate_steps: 2 is not used: with 'auto'"),
        (
            {**AUTO, "val_loader.args.batch_size": "auto"},
            "val_loader.args.batch_size: 'auto' is for training",
        ),
        (
            {BATCH: 4, "trainer.effective_batch": 16, "trainer.accumulate_steps": 2},
            "trainer.effective_batch: 16 is not train_loader.args.batch_size 4 x trainer.accumulate_steps 2",
        ),
        (
            {BATCH: "Auto"},
            "train_loader.args.batch_size: expected a whole number, at least 1 or one of 'auto'",
        ),
        (
            {**AUTO, "trainer.effective_batch": 0},
            "trainer.effective_batch: expected a whole number, at least 1",
        ),
    ],
)
def test_a_contradiction_is_one_line(changes, problem):
    (found,) = problems_of(changed_config(changes))
    assert found.startswith(problem)


def test_numbers_that_agree_are_accepted_and_none_are_needed():
    assert not problems_of(
        changed_config({BATCH: 4, "trainer.effective_batch": 8, "trainer.accumulate_steps": 2})
    )
    assert not problems_of(changed_config(AUTO)) and not problems_of(CONFIG)


def test_a_chosen_batch_is_in_the_sections_and_in_the_config_that_the_run_saves():
    auto = experiment_of(changed_config(AUTO))
    chosen = with_batch(auto, 4)
    assert is_auto(auto) and not is_auto(chosen)
    assert chosen.train_loader.args["batch_size"] == chosen.trainer.accumulate_steps == 4
    assert experiment_of(dict(chosen.plain)).trainer == chosen.trainer
    assert auto.plain["train_loader"]["args"]["batch_size"] == "auto"  # the one given is as it was
    assert chosen.origins[BATCH] == chosen.origins["trainer.accumulate_steps"] == "auto"


def test_a_run_continues_with_the_batch_that_it_was_started_with():
    auto = experiment_of(changed_config(AUTO))
    started = with_batch(auto, 2)
    assert as_recorded(auto, started.plain) == started
    assert as_recorded(started, started.plain) is started
    other = experiment_of(changed_config({**AUTO, "trainer.effective_batch": 32}))
    with pytest.raises(ConfigError, match=r"'auto' is chosen when a run starts.* steps of 16 images, not of"):
        as_recorded(other, started.plain)
