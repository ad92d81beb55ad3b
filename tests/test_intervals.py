"""Intervals: against closed forms, for people and not photos, and the same for differences."""

import numpy as np
import pytest
import scipy.stats

from fgcli.classifiers.judges import worth
from fgcli.intervals import RESAMPLES, blocks, bootstrap, interval, stated
from fgcli.metrics.floors import LookAlike, NearestTraining
from fgcli.metrics.identity import verification
from fgcli.metrics.results import Results


def test_a_bootstrap_of_single_photos_has_the_standard_error_of_the_mean():
    values = np.random.default_rng(0).normal(3, 2, 400)
    made = bootstrap(values, np.arange(400))
    assert made.shape == (RESAMPLES,)
    assert made.mean() == pytest.approx(values.mean(), abs=0.02)
    assert made.std() == pytest.approx(values.std() / 20, rel=0.06)
    low, high = interval(values.mean(), made, jackknifed=False)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.08)


def test_photos_of_one_person_count_once():
    people = np.repeat(np.arange(20), 30)
    of_person = np.random.default_rng(1).normal(0, 1, 20)
    values = of_person[people] + np.random.default_rng(2).normal(0, 0.01, 600)
    assert bootstrap(values, people).std() == pytest.approx(of_person.std() / np.sqrt(20), rel=0.06)
    assert bootstrap(values, np.arange(600)).std() < 0.3 * bootstrap(values, people).std()


def test_people_of_many_photos_weigh_as_many_and_missing_values_are_left_out():
    made = bootstrap(np.array([0.0, 0, 0, 1, np.nan]), np.array([0, 0, 0, 1, 1]))
    assert set(np.unique(made)) == {0.0, 0.25, 1.0}  # both of one person, or one of each
    assert np.mean(made == 0.25) == pytest.approx(0.5, abs=0.05)


def test_replicates_of_a_difference_are_differences_of_replicates():
    rng, people = np.random.default_rng(3), np.repeat(np.arange(8), 12)
    a, b = rng.normal(size=96), rng.normal(size=96)
    np.testing.assert_allclose(bootstrap(a, people) - bootstrap(b, people), bootstrap(a - b, people), atol=1e-12)


def test_the_jackknife_of_a_mean_is_students_interval():
    values = np.random.default_rng(4).normal(size=12)
    left = np.array([np.delete(values, i).mean() for i in range(12)])
    expected = scipy.stats.t.interval(0.95, 11, values.mean(), scipy.stats.sem(values))
    assert interval(values.mean(), left, jackknifed=True) == pytest.approx(expected)


def test_blocks_hold_whole_people_and_are_twenty_at_most():
    people = np.repeat(np.arange(100, 145), 7)
    dealt = blocks(people)
    assert set(dealt) == set(range(20))
    assert all(len(set(dealt[people == person])) == 1 for person in set(people))
    assert sorted(blocks(np.array([5, 5, 9]))) in ([0, 0, 1], [0, 1, 1])


def test_one_person_gives_no_interval_and_that_is_told():
    result = Results(protocols={"models": {"generator": {}}})
    result.numbers = {"reconstruction": {"generator": {"m": {"l1": 1.0}}}}
    result.replicates = {"reconstruction/generator/m/l1": np.ones(RESAMPLES)}
    result.add_intervals(np.zeros(5, int))
    assert "intervals" not in result.numbers
    assert result.left_out["intervals"] == "the held-out images show one person"
    assert stated(np.array([1.0, 2.0]), np.zeros(2, int)) == {"value": 1.5}
    assert set(stated(np.array([1.0, 2.0]), np.arange(2))) == {"value", "low", "high"}
    said = worth(["smiling"], np.array([[0.1], [0.9]]), np.array([[0], [1]]), np.zeros(2, int))
    assert set(said["smiling"]) == {"average_precision", "floor", "error", "rows"}


def test_the_nearest_training_picture_is_nearest_where_the_mask_is():
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (7, 16, 16, 3)).astype(np.uint8)
    mask = np.zeros((1, 16, 16), bool)
    mask[:, :8] = True
    asked = images[[4]].copy()
    asked[:, 8:] = images[2, 8:]  # like 2 where nobody looks
    floor = NearestTraining(images, np.array([1, 2, 4, 6]))
    assert (floor(asked, mask)[0] == images[4]).all()
    assert (floor(asked, ~mask)[0] == images[2]).all()
    assert (floor(images[[3]], np.ones((1, 16, 16), bool))[0] != images[3]).any()


def test_look_alikes_are_training_faces_of_the_nearest_embedding():
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1) * np.ones((1, 4, 4, 3), np.uint8)
    floor = LookAlike(images, np.array([0, 3, 5]), lambda shown: shown[:, 0, 0, :1].astype(np.float64))
    assert floor(images[[1, 4]], np.ones((2, 4, 4), bool))[:, 0, 0, 0].tolist() == [0, 3]


def test_the_threshold_is_held_against_pairs_of_real_faces():
    faces = np.zeros((4, 128))
    faces[:, 0] = [0, 0.5, 0.55, 2]
    found = verification(faces, np.array([7, 7, 8, 7]))
    assert found == {"pairs_of_one_person": 3, "pairs_of_two_people": 3, "refused": 2 / 3, "accepted": 2 / 3}
    assert "accepted" not in verification(faces, np.zeros(4))
