import pytest

from nas.objectives import Constraint, Objective, excesses, total_violation


def test_a_cost_is_lower_is_better_and_goes_back():
    best = Objective("accuracy", "maximize")
    assert best.cost({"accuracy": 0.9}) == -0.9
    assert best.value(-0.9) == 0.9
    assert Objective("size_kb", "minimize").cost({"size_kb": 3.0}) == 3.0
    assert best.cost({}) is None


@pytest.mark.parametrize(
    ("metric", "direction"), [("accuracy", "max"), ("", "minimize"), ("a b", "minimize")]
)
def test_an_objective_refuses(metric, direction):
    with pytest.raises(ValueError, match="but got"):
        Objective(metric, direction)


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        ("accuracy", "maximize"),
        ("accuracy_noise", "maximize"),
        ("float_accuracy", "maximize"),
        ("latency_ms.cpu", "minimize"),
        ("wall_ms.cpu.p99", "minimize"),
        ("estimated_latency_ms.tpu", "minimize"),
        ("size_kb", "minimize"),
        ("size_kb_compressed", "minimize"),
        ("energy_mj.gpu", "minimize"),
    ],
)
def test_what_nobody_can_want_is_refused(metric, wanted):
    Objective(metric, wanted)
    other = {"maximize": "minimize", "minimize": "maximize"}[wanted]
    with pytest.raises(ValueError, match=f"is something to {wanted}, but got '{other}'"):
        Objective(metric, other)


@pytest.mark.parametrize("metric", ["macs", "params", "log2_paths", "proxy_synflow", "fits.fpga"])
def test_what_may_count_either_way_is_taken_either_way(metric):
    assert Objective(metric, "minimize").cost({metric: 2.0}) == 2.0
    assert Objective(metric, "maximize").cost({metric: 2.0}) == -2.0


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan")])
def test_a_probability_is_a_share(share):
    with pytest.raises(ValueError, match="reject_above must be a probability above 0, but got"):
        Constraint("latency_ms.cpu", "<=", 1.0, share)


@pytest.mark.parametrize(
    ("text", "metric", "operator", "bound"),
    [
        ("latency_ms.cpu <= 1.5", "latency_ms.cpu", "<=", 1.5),
        ("accuracy>=0.97", "accuracy", ">=", 0.97),
        (" wall_ms.cpu.p99 <= 1e-3 ", "wall_ms.cpu.p99", "<=", 1e-3),
    ],
)
def test_constraints_are_read(text, metric, operator, bound):
    constraint = Constraint.parse(text)
    assert (constraint.metric, constraint.operator, constraint.bound) == (metric, operator, bound)
    assert Constraint.parse(str(constraint)) == constraint


@pytest.mark.parametrize(
    "text",
    ["latency_ms.cpu < 1", "latency_ms.cpu", "<= 3", "a <= b", "a <= nan", "a <= 1 2", ""]
    + ["accuracy >= 95", "float_accuracy >= -0.1", "accuracy_noise <= 1.01"],
)
def test_a_constraint_that_cannot_be_is_refused(text):
    with pytest.raises(ValueError, match="but got"):
        Constraint.parse(text)


@pytest.mark.parametrize(
    ("text", "value", "violation"),
    [
        ("a <= 2", 2.0, 0.0),
        ("a <= 2", 3.0, 0.5),
        ("a >= 0.8", 0.6, 0.25),
        ("a <= 0", 0.3, 0.3),
        ("a >= -2", -3.0, 0.5),
    ],
)
def test_violations_are_relative_to_the_bound(text, value, violation):
    assert Constraint.parse(text).violation({"a": value}) == pytest.approx(violation)


def test_unknown_is_not_violated():
    constraints = (Constraint.parse("a <= 2"), Constraint.parse("b <= 1"))
    assert constraints[0].violation({}) is None
    assert total_violation(constraints, {"b": 3.0}) == 2.0


def test_excesses_are_said_of_what_is_violated():
    bounds = [Constraint.parse(text) for text in ("a <= 2", "b >= 0", "c <= 1", "d <= 1")]
    said = excesses(zip(bounds, (0.5, 0.022, 0.0, 1e-8), strict=True))
    assert said == "a <= 2 by 50.00% and b >= 0 by 0.022 and d <= 1 by less than 0.01%"
    assert excesses([(bounds[0], 0.0)]) == ""
