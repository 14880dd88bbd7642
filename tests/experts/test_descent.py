from hypothesis import given
from hypothesis import strategies as st

from manyeyes.experts.descent import Point, descend

AXES = {"x": (0.0, 1.0, 2.0, 3.0, 4.0), "y": (-2.0, -1.0, 0.0, 1.0)}


@given(st.sampled_from(AXES["x"]), st.sampled_from(AXES["y"]), st.sampled_from(AXES["x"]), st.sampled_from(AXES["y"]))
def test_it_finds_the_bottom_of_a_bowl_from_anywhere(x: float, y: float, from_x: float, from_y: float) -> None:
    def bowl(**point: float) -> float:
        return (point["x"] - x) ** 2 + (point["y"] - y) ** 2

    assert descend(bowl, AXES, {"x": from_x, "y": from_y}) == {"x": x, "y": y}


def test_no_point_is_tried_twice_and_far_ones_not_at_all() -> None:
    tried: list[Point] = []

    def bowl(**point: float) -> float:
        tried.append(point)
        return abs(point["x"] - 1) + abs(point["y"])

    descend(bowl, AXES, {"x": 0.0, "y": 0.0})
    assert len(tried) == len({tuple(point.values()) for point in tried})
    assert {"x": 4.0, "y": -2.0} not in tried


def test_where_nothing_differs_it_stays() -> None:
    assert descend(lambda **point: 1.0, AXES, {"x": 2.0, "y": 0.0}) == {"x": 2.0, "y": 0.0}


def test_an_axis_of_one_value_is_no_trouble() -> None:
    assert descend(lambda **point: point["x"], {"x": (3.0, 1.0), "y": (5.0,)}, {"x": 3.0, "y": 5.0}) == {
        "x": 1.0,
        "y": 5.0,
    }
