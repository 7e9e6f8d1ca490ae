"""What is compiled as a whole, and when: a compilation takes as long as hundreds of runs."""

from types import SimpleNamespace

import pytest

from pytorchlike.engine import policy
from pytorchlike.engine.config import config


@pytest.fixture(autouse=True)
def _auto(monkeypatch):
    monkeypatch.setattr(config, "tier", "auto")
    monkeypatch.setattr(policy, "_built", 0)
    monkeypatch.setattr(policy, "training", True)
    monkeypatch.setattr(policy, "_resumes", False)
    monkeypatch.setattr(policy, "_prices", {})


def looked_at(content=0, others=0, **told):
    """A trace without a program, of a family of which so many other ones have been met."""
    family = policy.Family()
    for k in range(others):
        family.meet(k, k, k)
    about = {"calls": 200, "small": True, "reverse": True, "taped": True, "grows": False, "long": False,
             "passing": False, "heavy": False, "pieces": 0, "updates": False, "light": False,
             "large": True}  # fmt: skip
    about |= told
    profile = policy.Profile(**about, family=family, met=family.meet(-1, -1, -1))
    return SimpleNamespace(place=None, content=content, programs=None, profile=profile)


def reverse(calls):
    """A way back through an executed trace."""
    name = SimpleNamespace(op=SimpleNamespace(name=f"one of {calls}"))
    found = SimpleNamespace(met=0, spent=0.0, plan=[name] * calls)
    found.op = SimpleNamespace(walk=True, info=found)
    return found


def test_what_goes_back_through_pieces_is_compiled_when_it_has_cost_its_compilation():
    state = looked_at(content=policy.HEAVY)
    assert {policy.choose(state) for _ in range(50)} == {"ops"}
    state.profile.met.spent = 2 * policy.COMPILATION * state.profile.calls
    assert policy.choose(state) == "fused"


def test_a_loop_is_run_once_before_it_is_compiled():
    state = looked_at(long=True)
    assert [policy.choose(state) for _ in range(2)] == ["ops", "fused"]


def test_a_loop_of_which_other_lengths_were_met_is_compiled_when_it_has_cost_that():
    state = looked_at(long=True, others=policy.FEW)
    assert {policy.choose(state) for _ in range(20)} == {"ops"}
    state.profile.met.spent = 2 * policy.COMPILATION * state.profile.calls
    assert policy.choose(state) == "fused"


def test_a_training_step_is_compiled_at_first_sight():
    """So a run that is resumed goes through the same programs, also where an epoch ends with a smaller batch."""
    assert policy.choose(looked_at(light=True, calls=policy.WHOLE - 1)) == "fused"
    assert policy.choose(looked_at(light=True, others=1)) == "fused"
    many = looked_at(light=True, others=policy.FEW)
    many.profile.family.used = 1
    assert policy.choose(many) == "fused"


def test_a_large_training_step_is_numpys_the_first_time(monkeypatch):
    """If the next has other sizes, it need not have been compiled; not if a resumed run is to give the same bits."""
    state = looked_at(light=True)
    assert [policy.choose(state) for _ in range(2)] == ["first", "fused"]
    convolutions = {"light": True, "reverse": False, "passing": True, "heavy": True}
    assert policy.choose(looked_at(**convolutions)) == "first"
    monkeypatch.setattr(policy, "_resumes", True)
    assert policy.choose(looked_at(light=True)) == policy.choose(looked_at(**convolutions)) == "fused"


def test_where_nothing_is_trained_a_trace_is_compiled_the_third_time(monkeypatch):
    """Until then it may be all that the program does.  One that writes to leaves is a training without an optimizer."""
    monkeypatch.setattr(policy, "training", False)
    state = looked_at(light=True)
    assert [policy.choose(state) for _ in range(3)] == ["first", "first", "fused"]
    assert policy.choose(looked_at(light=True, updates=True)) == "fused"
    assert policy.choose(looked_at(light=True, calls=policy.BRIEF - 1)) == "fused"
    assert policy.choose(looked_at(light=False)) == "fused"
    convolutions = looked_at(light=True, passing=True, heavy=True)
    assert policy.choose(convolutions) == "first" and policy.choose(looked_at(light=True, passing=True)) == "ops"


def test_a_batch_on_which_a_model_is_evaluated_between_trainings_is_compiled_the_third_time(monkeypatch):
    """Short programs evaluate once or twice.  Not if a resumed run is to give the same bits; nor half of a step, whose
    loss was read.
    """
    evaluated = {"light": True, "reverse": False, "taped": False, "calls": policy.BRIEF}
    state = looked_at(**evaluated)
    assert [policy.choose(state) for _ in range(3)] == ["first", "first", "fused"]
    assert policy.choose(looked_at(**evaluated | {"taped": True})) == "fused"
    monkeypatch.setattr(policy, "_resumes", True)
    assert policy.choose(looked_at(**evaluated)) == "fused"


def test_another_length_is_left_to_numpy_and_a_smaller_batch_is_not(monkeypatch):
    """Also where one came again: a program is hardly dearer later on.  Not where two runs are to give the same bits."""
    state = looked_at(light=True)
    family = policy.Family()
    state.profile = state.profile._replace(family=family, met=family.meet(1, 1, -1, taken=((4, 3),)))
    assert policy.choose(state) == "first"  # it is a large step
    state.profile = state.profile._replace(met=family.meet(1, 4, -1, taken=((2, 3),)))
    assert policy.choose(state) == "fused"
    state.profile = state.profile._replace(met=family.meet(2, 2, -1, taken=((4, 5),)))
    assert policy.choose(state) == "first"
    family.used = 1
    state.profile = state.profile._replace(met=family.meet(3, 3, -1, taken=((4, 5),)))
    assert policy.choose(state) == "first"
    monkeypatch.setattr(policy, "_resumes", True)
    assert policy.choose(state) == "fused"


def test_steps_that_come_in_turns_are_left_to_numpy_until_that_has_cost_its_share():
    state = looked_at(light=True, others=policy.FEW - 1)
    family = state.profile.family

    def choose(state):
        state.profile.family.last = None  # another one came before
        return policy.choose(state)

    assert {choose(state) for _ in range(20)} == {"first"}
    family.rent = 1.1 * policy.RENTED_LARGE * policy.LIKELY_LARGE * state.profile.calls
    assert choose(state) != "first"
    large, state.profile = state.profile, state.profile._replace(large=False)  # so small that it may soon be over
    assert choose(state) == "first"
    state.profile = large
    family.price = 2 * policy.LIKELY_LARGE * state.profile.calls  # the last one took longer than that
    assert choose(state) == "first"
    assert choose(looked_at(others=policy.FEW - 1)) != "first"


def test_a_step_that_comes_several_times_in_a_row_is_compiled_whatever_sizes_came_before():
    """A second model of other sizes in one process is trained as the first one was."""
    state = looked_at(light=True, others=policy.FEW - 1)
    assert [policy.choose(state) for _ in range(policy.IN_A_ROW)] == ["first"] * (policy.IN_A_ROW - 1) + ["fused"]
    decoder = looked_at(light=True, reverse=False, others=policy.FEW - 1)  # its next text is longer
    assert {policy.choose(decoder) for _ in range(20)} == {"first"}


def test_a_trace_that_took_long_to_compile_must_have_cost_that_before_another_form_is():
    """A loop takes XLA much longer than its few calls let expect."""
    state = looked_at(grows=True)
    state.profile.family.price = 10 * policy.COMPILATION * state.profile.calls
    state.profile.met.spent = 2 * policy.COMPILATION * state.profile.calls
    assert policy.choose(state) == "ops"
    state.profile.met.spent *= 6
    assert policy.choose(state) == "fused"


def test_a_kernel_is_interpreted_as_long_as_another_of_its_kind_took_to_compile():
    policy.priced("loop", 3.0)
    assert policy.rent("loop") == 3.0 and policy.rent("sum") == policy.RENT
    policy.priced("loop", 0.01)  # it was loaded from the cache
    assert policy.rent("loop") == policy.RENT


def test_a_long_way_back_is_compiled_when_it_has_cost_its_share():
    """After as many runs as a short one it has cost too little yet."""
    short, long = (reverse(n) for n in (4, 400))
    for way in (short, long):
        compiled = [policy.whole(way) for _ in range(2 * policy.HOT)]
        way.spent = policy.COMPILATION * 4
        assert not any(compiled)
    assert policy.whole(short)
    assert not policy.whole(long)
    long.spent = policy.COMPILATION * 400
    policy.priced(policy.kind_of(long.op, ""), 2 * long.spent)
    assert not policy.whole(long)
    long.spent *= 3
    assert policy.whole(long)


def test_inputs_of_which_several_differ_by_other_ratios_are_no_smaller_batch():
    """As the boxes in each of a few pictures."""
    assert policy._of_a_batch(((8, 3), (8,), (16, 5)), ((2, 3), (2,), (4, 5)))
    assert not policy._of_a_batch(((8, 3), (3, 4), (5, 4)), ((8, 3), (6, 4), (2, 4)))
    assert not policy._of_a_batch(((8, 3),), ((8, 4),))
    assert policy._of_a_batch(((4, 3), (2,)), ((0, 3), (2,)))
    assert not policy._of_a_batch(((2,),), ((),)) and not policy._of_a_batch(((),), ((2,),))


def test_a_second_form_of_a_larger_first_dim_is_another_length(monkeypatch):
    """Texts along the first dim: none but a smaller batch ends an epoch, and a resumed run may begin with that one."""
    assert not policy._of_a_batch(((5, 2), (5,)), ((8, 2), (8,)))
    family = looked_at(light=True).profile.family
    for length in (5, 8):
        family.meet(length, length, 0, taken=((length, 2), (30, 16)))
    assert family.varied
    monkeypatch.setattr(policy, "_resumes", True)
    assert policy._of_a_batch(((5, 2), (5,)), ((8, 2), (8,)))
