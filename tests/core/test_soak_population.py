from __future__ import annotations

from bench.soak_population import BOOT_ID, LEAK_BYTES_PER_H, Population, leaks, use

from agent.model import ProcessKey

HOUR_S = 3600.0


def test_the_oldest_processes_are_replaced_by_new_ones_of_the_same_services() -> None:
    population = Population(20, 100.0)
    before = population.targets
    population.replace(4, 200.0)

    assert population.targets[:16] == before[4:]
    assert [one.service for one in population.targets[16:]] == [one.service for one in before[:4]]
    assert {one.process.started_t_s for one in population.targets[16:]} == {200.0}


def test_one_that_was_replaced_uses_nothing_any_more_but_is_still_of_the_population() -> None:
    population = Population(20, 100.0)
    key = population.targets[0].process.key
    assert population.sample(key, 110.0) is not None
    population.replace(1, 200.0)

    assert population.sample(key, 210.0) is None
    assert key in population
    assert key.boot_id == BOOT_ID
    assert ProcessKey(key.pid, key.start_ticks, "other") not in population


def test_a_process_is_sampled_the_same_however_often_it_is_asked() -> None:
    population = Population(20, 100.0)
    key = population.targets[3].process.key

    assert population.sample(key, 400.0) == population.sample(key, 400.0)


def test_only_those_that_leak_keep_growing() -> None:
    def grown(number: int) -> int:
        return use(number, 5 * HOUR_S).heap_bytes - use(number, 2 * HOUR_S).heap_bytes

    assert leaks(0)
    assert grown(0) > 2.8 * LEAK_BYTES_PER_H
    assert max(grown(number) for number in range(100) if not leaks(number)) < 0.2 * LEAK_BYTES_PER_H
