"""Fits and plots of the bench, against figures whose law is known."""

from __future__ import annotations

import pytest

from secagg.cli.bench import plots
from secagg.cli.bench.estimate import Terms, estimate, fit, measure
from secagg.cli.bench.figures import Phase, Sample, Size
from secagg.cli.bench.growth import exponent
from secagg.errors import ParameterError

TERMS = Terms(client=("nL", "n", "L", "1"), server=("nL", "n", "nn", "1"), holder=(), first=3, power=2)


def session(clients: int, length: int) -> Sample:
    """A cost that is known: what a full graph does."""
    client = 1e-4 + 2e-5 * clients + 1e-9 * length + 3e-10 * clients * length
    server = 1e-6 * clients**2 + 1e-9 * clients * length
    phase = Phase(client=client, server=server, up=100 + 8 * clients + 2 * length, down=64 * clients)
    return Sample(clients, length, {"masked": phase}, client * clients + server, 1e-6 * clients)


def test_a_known_law_is_found_again():
    samples = [session(n, length) for n in (3, 10, 30) for length in (1000, 64_000)]
    told = estimate(samples, 1000, 1_000_000, TERMS)["masked"]
    exact = session(1000, 1_000_000).phases["masked"]
    for part in ("client", "server", "up", "down"):
        assert getattr(told, part) == pytest.approx(getattr(exact, part), rel=0.02)


def test_coefficients_are_never_negative():
    found = fit([(2, 100), (4, 100), (8, 100)], [5.0, 4.0, 3.9], ("n", "1", "nn"))
    assert all(value >= 0 for value in found.values())
    assert fit([(2, 100)], [0.0], ("1",)) == {}


def test_one_measurement_is_scaled_by_its_most_telling_term():
    assert fit([(5, 1000)], [1.0], ("nL", "1")) == pytest.approx({"nL": 1 / 5000})
    with pytest.raises(ParameterError):
        fit([(5, 1000)], [-1.0], ("1",))


def test_what_fits_is_measured_and_the_median_of_several_runs():
    asked = []

    def run(clients, length):
        asked.append((clients, length))
        return session(clients, length)

    size = Size(30, 5000, 16, 3)
    phases, sample, fitted, runs = measure(run, size, TERMS, 60.0, lambda *_: True)
    assert fitted == "" and runs == 5 and asked.count((30, 5000)) == 5
    assert phases["masked"].client == session(30, 5000).phases["masked"].client
    assert (sample.clients, sample.length) == (30, 5000)


def test_what_does_not_fit_is_extended_from_smaller_sessions():
    asked = []

    def run(clients, length):
        asked.append((clients, length))
        return session(clients, length)

    phases, _, fitted, runs = measure(run, Size(20_000, 10**6, 16, 0), TERMS, 2.0, lambda *_: True)
    assert runs == 0 and "fitted to" in fitted and (20_000, 10**6) not in asked
    exact = session(20_000, 10**6).phases["masked"]
    assert phases["masked"].client == pytest.approx(exact.client, rel=0.1)
    assert phases["masked"].server == pytest.approx(exact.server, rel=0.1)


def test_a_cohort_that_params_refuse_is_tried_larger():
    def run(clients, length):
        if clients < 12:
            raise ParameterError("too few")
        return session(clients, length)

    _, _, fitted, _ = measure(run, Size(100, 10**6, 16, 0), TERMS, 0.5, lambda clients, _: clients < 100)
    assert "12 clients" in fitted or "12 to" in fitted
    with pytest.raises(ParameterError):
        measure(run, Size(8, 1000, 16, 0), TERMS, 0.5, lambda *_: True)


def test_exponents():
    assert exponent([1, 10, 100], [5, 50, 500]) == pytest.approx((1.0, 1.0))
    assert exponent([1, 10, 100], [7, 7, 7]) == pytest.approx((0.0, 1.0))
    assert exponent([1, 10], [5, 50]) == (None, None)
    slope, r2 = exponent([1, 2, 4, 8], [1, 4.2, 15.7, 64.5])
    assert slope == pytest.approx(2.0, abs=0.03) and 0.99 < r2 < 1


def test_lines_of_any_range_are_drawn():
    for points in ([(5, 3.0)], [(5, 3.0), (5, 3.0)], [(3, 0.5), (1_000_000, 9e9)], [(20, 2e-9), (40, 3e-9)]):
        for log_x in (True, False):
            drawn = plots.lines([plots.Line("a", "b", points)], "x", "y", log_x=log_x)
            assert drawn.count("<svg") == 2 and "nan" not in drawn and "inf" not in drawn


def test_bars_of_nothing():
    assert 'style="width' not in plots.bars([("a", {"x": 0.0})], str, {"x": 0}, "bars")
