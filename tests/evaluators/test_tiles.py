"""How tensors fill tiles."""

import pytest

from evaluators.tiles import fill, with_batch


@pytest.mark.parametrize(
    ("shape", "factor"),
    [
        ((64, 128, 8, 8), 1.0),  # the channels are a whole number of lanes
        ((128, 24, 56, 56), 1.0),  # the batch fills the lanes, channels the sublanes
        ((64, 96, 56, 56), 128 / 96),  # channels in the lanes, the batch in the sublanes
        ((1, 3, 112, 112), 128 / 112),  # a large image fills them by itself
        ((32, 10), 128 * 16 / (32 * 10)),
        ((1, 1), 1024.0),
        ((200,), 256 / 200),
    ],
)
def test_the_axes_that_waste_least_are_filled_up(shape: tuple[int, ...], factor: float) -> None:
    assert fill(shape, 128, 8) == pytest.approx(factor)


def test_a_batch_multiplies_the_first_axis() -> None:
    assert with_batch((1, 3, 8, 8), 32) == (32, 3, 8, 8)
