import re

from extend_mcp.sandbox.engine.seeded_random import IdMaker, SeededRandom


def test_the_same_key_gives_the_same_values() -> None:
    assert [SeededRandom("a", 1).between(1, 10**9) for _ in range(2)] == [SeededRandom("a", 1).between(1, 10**9)] * 2
    assert SeededRandom("a", 1).between(1, 10**9) != SeededRandom("a", 2).between(1, 10**9)


def test_values_stay_within_their_bounds_and_reach_them() -> None:
    random = SeededRandom("bounds")
    assert {random.between(1, 3) for _ in range(100)} == {1, 2, 3}
    assert all(0.5 <= random.fraction(0.5, 0.6) <= 0.6 for _ in range(100))


def test_a_key_may_hold_a_lone_surrogate() -> None:
    assert SeededRandom("\ud800").between(1, 10**9) != SeededRandom("\ud801").between(1, 10**9)


def test_ids_have_their_prefix_and_do_not_repeat() -> None:
    ids = IdMaker(seed=7)
    made = [ids("workflow_run_") for _ in range(500)]
    assert len(set(made)) == 500
    assert all(re.fullmatch(r"workflow_run_[A-Za-z0-9][A-Za-z0-9_-]{19}[A-Za-z0-9]", each) for each in made)


def test_ids_depend_only_on_the_seed_and_their_prefix() -> None:
    one, other = IdMaker(seed=7), IdMaker(seed=7)
    other("file_")
    assert one("workflow_run_") == other("workflow_run_")
    assert IdMaker(seed=8)("workflow_run_") != IdMaker(seed=7)("workflow_run_")
