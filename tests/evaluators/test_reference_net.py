from __future__ import annotations

import numpy as np
import onnx

from evaluators import runtimes
from evaluators.reference_net import reference_model


def test_is_always_the_same() -> None:
    assert reference_model() == reference_model()


def test_is_a_sound_model() -> None:
    onnx.checker.check_model(onnx.load_from_string(reference_model()), full_check=True)
    with runtimes.load(reference_model()) as session:
        assert session.input_shape == (1, 16, 16)
        outputs = session.run(np.random.default_rng(0).random((3, 1, 16, 16), np.float32))
    assert outputs.shape == (3, 10)
    assert 1e-3 < np.abs(outputs).max() < 1e3  # neither dead nor exploding
