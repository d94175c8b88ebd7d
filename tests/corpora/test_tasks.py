"""Tasks: the input is cut by its own sizes alone, and what another input left behind is not used."""

import itertools
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from corpora.sources.slices import Slice
from corpora.tasks import begin_or_go_on, cut_into_tasks


def slices(sizes: list[int]) -> list[Slice]:
    return [Slice(source=0, path=Path(f"{i}.txt"), name=f"{i}.txt", num_bytes=n) for i, n in enumerate(sizes)]


@given(st.lists(st.integers(1, 100), max_size=40), st.integers(1, 200))
def test_tasks_hold_every_slice_once_in_order_and_no_more_than_they_may(sizes: list[int], task_bytes: int):
    tasks = cut_into_tasks(slices(sizes), task_bytes)
    assert [s for task in tasks for s in task] == slices(sizes)
    assert all(len(task) == 1 or sum(s.num_bytes for s in task) <= task_bytes for task in tasks)
    for one, other in itertools.pairwise(tasks):
        assert sum(s.num_bytes for s in one) + other[0].num_bytes > task_bytes


def test_what_is_left_of_an_earlier_try_is_used_only_for_the_same_work(tmp_path: Path):
    file = tmp_path / "a.txt"
    file.write_text("甲")
    found = [Slice(source=0, path=file, name="a.txt", num_bytes=3)]
    folder = tmp_path / "build"
    assert not begin_or_go_on(folder, {"min_chars": 1}, found)
    (folder / "part").write_text("done")
    assert begin_or_go_on(folder, {"min_chars": 1}, found)
    assert (folder / "part").exists()
    assert not begin_or_go_on(folder, {"min_chars": 2}, found)
    assert not (folder / "part").exists()
    (folder / "part").write_text("done")
    file.write_text("乙乙")
    assert not begin_or_go_on(folder, {"min_chars": 2}, found)
    assert not (folder / "part").exists()
