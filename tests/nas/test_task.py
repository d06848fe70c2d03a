import pytest

from nas.task import Task

GOOD = {
    "name": "digits-8",
    "kind": "classification",
    "input_shape": (1, 8, 8),
    "outputs": 10,
    "metric": "accuracy",
    "data_hash": "x",
}


def test_a_task_is_a_value():
    assert Task(**GOOD) == Task(**{**GOOD, "input_shape": [1, 8, 8]})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("kind", "poetry"),
        ("input_shape", ()),
        ("input_shape", (1, 0, 8)),
        ("outputs", 1),
        ("metric", "beauty"),
    ],
)
def test_a_wrong_field_is_named(field, value):
    with pytest.raises(ValueError, match="but got"):
        Task(**{**GOOD, field: value})
