"""The space that the README shows is one, and its blocks are those of its networks."""

from __future__ import annotations

import random
import re
from pathlib import Path

from evaluators.compression import PruneConfig, compression_choices, reshape, split
from evaluators.workload import BlockCache, trace
from nas.choices import sample
from nas.task import Task
from search_spaces.python import PythonSpace
from tests.search_spaces.test_convnet import images

README = Path(__file__).parents[2] / "README.md"


def test_the_blocks_of_the_readme_are_the_network_however_it_is_pruned(tmp_path: Path) -> None:
    task: Task = images(3, 16)
    text = README.read_text(encoding="utf-8")
    shown = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    own, further = [code for code in shown if "def build" in code or "def blocks" in code]
    (stages,) = re.findall(r"`(STAGES = .*?)`", text)
    cache, compared = BlockCache(), 0
    for number, said in enumerate(["", stages]):
        file = tmp_path / f"readme_space{number}.py"
        file.write_text(f"{own}{further}\n{said}\n")
        space = PythonSpace(str(file))
        assert space.blocks is not None
        pruning = compression_choices(["none", "structured"], ["none"], space.stages)
        choices = [*space.choices, *pruning]
        rng = random.Random(0)
        for _ in range(40):
            genotype = sample(choices, rng)
            architecture, chosen = split(genotype)
            config = PruneConfig.from_genotype(chosen)
            whole = trace(reshape(space.build(architecture, task), config, task), (1, 3, 16, 16))
            blocks = space.blocks(architecture, task, config.keep)
            assert cache.workload(blocks) == whole
            compared += len(set(config.ratios.values())) > 1
    assert compared > 3
