from __future__ import annotations

from nas.choices import Choice, Genotype
from nas.objectives import Objective
from nas.protocols import Strategy
from strategies.genetic import GeneticStrategy
from strategies.random import RandomStrategy
from strategies.toys import TOY, many_costs, play, toy_costs

OBJECTIVES = [Objective("error", "minimize"), Objective("latency_ms.cpu", "minimize")]
GRID = [Choice("x", tuple(range(50)), ordered=True), Choice("y", tuple(range(50)), ordered=True)]


def test_children_gather_around_the_front() -> None:
    def distance(genotype: Genotype) -> tuple[float, float]:
        x, y = float(genotype["x"]), float(genotype["y"])
        return (x - 10) ** 2 + (y - 10) ** 2, (x - 20) ** 2 + (y - 10) ** 2

    def median_of_late(strategy: Strategy) -> float:
        late = play(strategy, 150, distance)[-30:]
        return sorted(min(distance(genotype)) for genotype in late)[15]

    by_chance = median_of_late(RandomStrategy(GRID, OBJECTIVES, 0))
    assert median_of_late(GeneticStrategy(GRID, OBJECTIVES, 0)) < by_chance / 5


def test_random_genotypes_until_the_start() -> None:
    plain = play(GeneticStrategy(TOY, OBJECTIVES, 0, startup=8), 12)
    later = play(GeneticStrategy(TOY, OBJECTIVES, 0, startup=30), 12)
    assert plain[:8] == later[:8]
    assert plain != later


def test_failed_and_stopped_candidates_have_no_children() -> None:
    strategy = GeneticStrategy(TOY, OBJECTIVES, 0, startup=1)
    asked = play(strategy, 40, lambda genotype: None)
    alike = GeneticStrategy(TOY, OBJECTIVES, 0, startup=99)
    assert play(alike, 40, lambda genotype: None) == asked
    stopped = play(GeneticStrategy(TOY, OBJECTIVES, 0, startup=1), 40, lambda g: (None, 1.0))
    assert stopped == asked


def test_a_result_that_a_repeat_made_worse_leaves_its_place() -> None:
    def last_child(noise: float) -> list[Genotype]:
        strategy = GeneticStrategy(TOY, OBJECTIVES, 0, population=2)
        best = min(play(strategy, 30), key=toy_costs)
        error, latency_ms = toy_costs(best)
        strategy.tell(best, (error + noise, latency_ms + noise))
        return [strategy.ask() for _ in range(10)]

    assert last_child(0.0) != last_child(100.0)


def test_a_repeat_that_failed_changes_nothing() -> None:
    first, second = GeneticStrategy(TOY, OBJECTIVES, 0), GeneticStrategy(TOY, OBJECTIVES, 0)
    asked = play(first, 20)
    assert play(second, 20) == asked
    first.tell(asked[3], None)
    second.tell(asked[3], toy_costs(asked[3]))
    assert first.ask() == second.ask()


def test_three_objectives_are_selected_by_reference_unless_said_otherwise() -> None:
    def asked(objectives: int, algorithm: str | None) -> list[Genotype]:
        wanted = [Objective(f"m{i}", "minimize") for i in range(objectives)]
        strategy = GeneticStrategy(TOY, wanted, 0, algorithm=algorithm)
        return play(strategy, 50, lambda genotype: many_costs(genotype, objectives))

    assert asked(2, None) == asked(2, "nsga2") != asked(2, "nsga3")
    assert asked(3, None) == asked(3, "nsga3") != asked(3, "nsga2")


def test_with_ageing_the_oldest_leave_however_good() -> None:
    def last(first: float) -> list[Genotype]:
        strategy = GeneticStrategy(GRID, OBJECTIVES, 0, algorithm="ageing", population=6)
        strategy.tell({"x": 0, "y": 0}, (first, first))
        play(strategy, 30, lambda g: (float(g["x"]), float(g["y"])))
        return [member.code for member in strategy._population]

    codes = last(-1.0)
    assert len(codes) == 6
    assert (0, 0) not in codes


def test_a_repeat_does_not_make_young() -> None:
    strategy = GeneticStrategy(GRID, OBJECTIVES, 0, algorithm="ageing", population=3)
    for x in (1, 2, 3):
        strategy.tell({"x": x, "y": 0}, (1.0, 1.0))
    strategy.tell({"x": 1, "y": 0}, (2.0, 2.0))
    strategy.tell({"x": 4, "y": 0}, (1.0, 1.0))
    assert [member.code for member in strategy._population] == [(2, 0), (3, 0), (4, 0)]


def test_children_step_as_far_as_those_that_led() -> None:
    """Only what differs in both choices at once is ever better: single steps are given up."""

    def jumps(leads: bool) -> float:
        strategy = GeneticStrategy(GRID, OBJECTIVES, 0, startup=1)
        strategy.tell({"x": 25, "y": 25}, (1000.0, 1000.0))
        for i in range(1, 30):
            two, one = {"x": 25 - i % 25, "y": (7 * i) % 25}, {"x": 25, "y": 49 - i % 24}
            strategy.tell(two if leads else one, (1000.0 - i, 1000.0 - i))
            strategy.tell(one if leads else two, (2000.0 + i, 2000.0))
        return strategy._success()[2] - strategy._success()[1]

    assert jumps(leads=True) > 0.2
    assert jumps(leads=False) < 0.2
