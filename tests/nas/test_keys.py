import os
import subprocess
import sys

import pytest

from nas.keys import candidate_key, digest, seed_of, training_key

ARCHITECTURE = {"width": 8, "block": "conv"}
TRAINING = {"epochs": 12, "learning_rate": 0.05}


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [1.5, "x"]}) == digest({"b": [1.5, "x"], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


@pytest.mark.parametrize("value", [float("nan"), {"a": float("inf")}, object()])
def test_a_digest_refuses_what_json_cannot_hold(value):
    with pytest.raises(ValueError):  # noqa: PT011 - json's own words differ between versions
        digest(value)


def test_keys_are_the_same_in_another_process():
    code = "from nas.keys import digest; print(digest({'b': 2, 'a': 'x'}))"
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == digest({"a": "x", "b": 2})


@pytest.mark.parametrize(
    "other",
    [
        training_key({**ARCHITECTURE, "width": 16}, TRAINING, "d"),
        training_key(ARCHITECTURE, {**TRAINING, "epochs": 13}, "d"),
        training_key(ARCHITECTURE, TRAINING, "e"),
        training_key(ARCHITECTURE, TRAINING, "d", repeat=1),
    ],
)
def test_whatever_changes_a_training_changes_its_key(other):
    assert training_key(ARCHITECTURE, TRAINING, "d") != other


def test_compressed_variants_share_a_training_and_differ_as_candidates():
    trained = training_key(ARCHITECTURE, TRAINING, "d")
    plain = candidate_key({**ARCHITECTURE, "prune.method": "none"}, trained)
    pruned = candidate_key({**ARCHITECTURE, "prune.method": "structured"}, trained)
    assert plain != pruned
    assert plain != candidate_key({**ARCHITECTURE, "prune.method": "none"}, "another")


def test_seeds_differ_by_purpose():
    assert seed_of("k", "init") != seed_of("k", "batches")
    assert 0 <= seed_of("k", "init") < 2**32
