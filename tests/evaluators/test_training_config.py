"""The recipe of a training: checked, and a key of what it leads to."""

import json
import subprocess
import sys

import pytest

from evaluators.training_config import TrainingConfig


def test_the_device_does_not_belong_to_the_identity():
    record = TrainingConfig(device="cpu", epochs=3).to_json()
    assert record == TrainingConfig(epochs=3).to_json()
    assert "device" not in record
    assert record["epochs"] == 3
    assert TrainingConfig.from_json(json.loads(json.dumps(record))) == TrainingConfig(epochs=3)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("epochs", 0, "epochs must be an integer of at least 1, but got 0"),
        ("epochs", 2.5, "epochs must be an integer"),
        ("batch_size", True, "batch_size must be an integer"),
        ("fine_tune_epochs", -1, "fine_tune_epochs must be an integer of at least 1"),
        ("learning_rate", 0, "learning_rate must be a number above 0"),
        ("learning_rate", "fast", "learning_rate must be a number above 0, but got 'fast'"),
        ("learning_rate", float("nan"), "learning_rate must be a number"),
        ("gradient_clip", -1.0, "gradient_clip must be a number above 0"),
        ("weight_decay", -0.1, "weight_decay must be a number at least 0"),
        ("momentum", 1.0, r"momentum must be a number in \[0, 1\)"),
        ("label_smoothing", 1.0, r"label_smoothing must be a number in \[0, 1\)"),
        ("momentum", 0.0, "nesterov needs a momentum above 0"),
        ("nesterov", "yes", "nesterov must be true or false"),
        ("optimizer", "adam", r"optimizer must be one of \('sgd',\), but got 'adam'"),
        ("device", "mps", r"device must be one of \('auto', 'cpu', 'cuda'\), but got 'mps'"),
    ],
)
def test_settings_that_cannot_be(setting: str, value: object, message: str):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**{setting: value})


def test_an_unknown_setting_is_answered_with_the_nearest_one():
    with pytest.raises(ValueError, match="'learning_rat'; did you mean 'learning_rate'"):
        TrainingConfig.from_json({"learning_rat": 0.1})


def test_a_config_is_checked_without_loading_torch():
    code = "import sys, evaluators.training_config; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
