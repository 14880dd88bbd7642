import numpy as np

from manyeyes.fusion.held_out import hold_out


def test_every_row_is_spoken_of_by_what_learnt_from_other_groups():
    labels, groups = np.arange(40) % 2, np.arange(40) // 4

    def predict(train, held):
        assert not set(groups[train]) & set(groups[held])
        return np.tile(float(len(train)), (len(held), 2))

    said = hold_out(labels, np.ones(40), groups, 0, np.zeros((40, 2)), predict)
    assert (said > 0).all()


def test_where_nothing_can_be_learnt_the_start_stays():
    start = np.log(np.full((6, 3), 1 / 3))
    never = None
    assert np.array_equal(hold_out(np.arange(6) % 3, np.zeros(6), None, 0, start, never), start)
    assert np.array_equal(hold_out(np.arange(6), np.ones(6), None, 0, start, never), start)
