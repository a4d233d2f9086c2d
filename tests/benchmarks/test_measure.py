import itertools
import time
from statistics import median

import numpy as np
import pytest

from benchmarks import measure
from benchmarks.measure import Comparison, compare, interval, peak_memory_mb


def test_ours_and_peer_alternate_and_the_first_of_a_round_changes():
    calls = []
    compare(lambda: calls.append("ours"), lambda: calls.append("peer"), repeats=3, warmup=1, memory=False)
    assert calls == ["ours", "peer", "ours", "peer", "peer", "ours", "ours", "peer"]


def test_seconds_are_the_value_where_no_units_are_returned():
    result = compare(lambda: time.sleep(0.001), lambda: time.sleep(0.02), repeats=5, warmup=0, memory=False)
    assert not result.higher_is_better
    assert all(0.02 <= seconds < 1 for seconds in result.peer)
    assert result.ratio == pytest.approx(median(result.peer) / median(result.ours))
    assert result.ratio > 2


def test_a_rate_is_units_over_seconds_and_more_is_better():
    def work(units):
        time.sleep(0.01)
        return units

    result = compare(lambda: work(1000), lambda: work(100), repeats=5, warmup=0, memory=False)
    assert result.higher_is_better
    assert max(result.ours) <= 1000 / 0.01
    assert result.ratio > 2


def test_units_on_one_side_only_are_refused():
    with pytest.raises(ValueError, match="units"):
        compare(lambda: 3, lambda: None, repeats=1, warmup=0, memory=False)


def test_a_row_holds_every_run_and_the_medians():
    row = Comparison((2.0, 4.0, 3.0), (1.0, 1.0, 2.0), higher_is_better=True, ours_memory_mb=1.5).row(
        "sum", "numpy 2", unit="numbers/s", setting="small"
    )
    assert (row["ours"], row["peer"], row["ratio"]) == (3.0, 1.0, 3.0)
    assert row["ratio_interval"] == [1.5, 4.0]
    assert row["runs"] == {"ours": [2.0, 4.0, 3.0], "peer": [1.0, 1.0, 2.0]}
    assert (row["setting"], row["unit"], row["ours_memory_mb"]) == ("small", "numbers/s", 1.5)
    assert "peer_memory_mb" not in row


def coverage(count, dropped):
    """Slow oracle: over all 2 ** count patterns of below/above the median, how often the trimmed range holds it."""
    patterns = itertools.product((0, 1), repeat=count)
    return sum(dropped < sum(pattern) < count - dropped for pattern in patterns) / 2**count


@pytest.mark.parametrize("count", range(1, 15))
def test_the_interval_is_the_narrowest_that_covers_the_median(count):
    low, high = interval(list(range(count)))
    assert low == count - 1 - high
    fits = [dropped for dropped in range((count + 1) // 2) if coverage(count, dropped) >= 0.9]
    assert low == max(fits, default=0)


def allocate(megabytes):
    return lambda: float(np.ones(megabytes * 2**17).sum())


@pytest.mark.parametrize("sampled", [False, True])
def test_peak_memory_is_what_the_call_allocated(monkeypatch, sampled):
    if sampled:
        monkeypatch.setattr(measure.Path, "write_text", refuse)
    assert 190 < peak_memory_mb(allocate(200)) < 260


def refuse(self, text):
    raise PermissionError(self)


def test_peak_memory_does_not_remember_an_earlier_call():
    peak_memory_mb(allocate(200))
    assert peak_memory_mb(allocate(20)) < 60
