"""The report of a comparison: its statistics against independent computations, its sentences, its page in a browser."""

import json
import math
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations, product
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from zoo.comparing import plots
from zoo.comparing.figure import Figure
from zoo.comparing.report import write_report
from zoo.comparing.resampling import chance, least_chance, mean_interval, superiority, superiority_interval
from zoo.comparing.results import Budget, Cell, Comparison, Contender, Point, Scale
from zoo.comparing.scales import at_floor, times_floor
from zoo.comparing.statistics import Odds, beats, missing, summaries
from zoo.comparing.verdict import verdict

LOWER = Scale("frechet", "frechet", "lower", floor=0.5, spread=0.01)
FAILED = Cell("", 0, "failed", "the critic's loss diverged at step 70; lower its learning rate.")
TABLE = {"generator": {"name": "mlp", "width": 8}, "distance": {"name": "wasserstein"}, "train": {"steps": 100}}


def comparison(runs, scale=LOWER, more=None, dataset="ring"):
    """A comparison from the figures of each label's seeds: None for a run that failed; `more` other figures' scales."""
    scales = {"main": scale, **(more or {})}
    cells = [
        replace(cell(value, scales), contender=label, seed=seed)
        for label, values in runs.items()
        for seed, value in enumerate(values)
    ]
    seeds = tuple(range(max(map(len, runs.values()), default=0)))
    contenders = tuple(Contender(label, TABLE, 100, 500) for label in runs)
    about = {"torch": "2.15.0"}
    return Comparison(
        dataset, Budget("steps", 100), seeds, contenders, scales, 1000, command="zoo compare", about=about, cells=cells
    )


def cell(value, scales):
    if value is None:
        return replace(FAILED, points=(point(50, 9.0, scales),))
    return Cell("", 0, "finished", points=tuple(point(step, value * 100 / step, scales) for step in (50, 100)))


def point(step, value, scales):
    return Point(step, step / 10, dict.fromkeys(scales, value))


def main(found):
    return {each.label: each for each in summaries(found, "main")}


# Statistics.


@pytest.mark.parametrize("seed", range(5))
def test_superiority_is_the_share_of_pairs_won(seed):
    draws = np.random.default_rng(seed)
    first, second = draws.integers(0, 6, 7).astype(float), draws.integers(0, 6, 4).astype(float)
    first[0] = second[1] = second[2] = -math.inf
    won = [1.0 if a > b else 0.5 if a == b else 0.0 for a in first for b in second]
    assert superiority(first, second) == pytest.approx(np.mean(won))
    assert superiority(first, second) == pytest.approx(stats.mannwhitneyu(first, second).statistic / 28)
    assert superiority(first, second) + superiority(second, first) == pytest.approx(1)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 5), (4, 4)])
def test_chance_is_that_of_an_exact_permutation_test(n, m):
    draws = np.random.default_rng(n)
    first, second = draws.integers(0, 4, n).astype(float), draws.integers(1, 5, m).astype(float)
    expected = stats.permutation_test((first, second), superiority, vectorized=True, n_resamples=np.inf).pvalue
    assert chance(first, second) == pytest.approx(expected)
    assert chance(second, first) == pytest.approx(expected)


def test_chance_is_estimated_where_there_are_too_many_permutations():
    draws = np.random.default_rng(0)
    first, second = draws.normal(0, 1, 12), draws.normal(0.7, 1, 12)
    expected = stats.mannwhitneyu(first, second, method="exact").pvalue
    # The standard error of a share p of 9,999 is at most 0.005.
    assert chance(first, second) == pytest.approx(expected, abs=0.015)
    assert 0.01 < expected < 0.5


def test_the_least_chance_is_that_of_sides_wholly_apart():
    for n, m in ((2, 2), (3, 4), (5, 5)):
        assert chance(np.arange(n) + 100.0, np.arange(m) * 1.0) == pytest.approx(least_chance(n, m))
    assert least_chance(3, 3) == 2 / 20


def holds(low, high, resamples):
    """Whether an interval is the percentiles of all resamples, up to the error of drawing 9,999 of them."""
    below, above = np.mean(resamples < low - 1e-9), np.mean(resamples > high + 1e-9)
    upto, since = np.mean(resamples <= low + 1e-9), np.mean(resamples >= high - 1e-9)
    return max(below, above) <= 0.025 + 0.005 and min(upto, since) >= 0.025 - 0.005


def test_the_interval_of_the_mean_is_that_of_all_resamples():
    values = np.array([1.0, 2.0, 4.0, 9.0, 11.0])
    every = np.array([np.mean(drawn) for drawn in product(values, repeat=5)])
    low, high = mean_interval(values)
    assert holds(low, high, every)
    assert not holds(low, high - 1, every)
    assert not holds(low - 1, high, every)


def test_of_three_seeds_the_interval_is_the_least_and_the_greatest():
    # All three drawn alike has probability 1 / 27 > 2.5%: so the interval of three holds the centre of a symmetric
    # distribution unless all three fall on one side of it: 1 - 2 / 8 = 75%, as docs/comparing.md says.
    assert mean_interval(np.array([3.0, 7.0, 1.0])) == (1.0, 7.0)
    assert mean_interval(np.array([3.0])) is None


def test_the_interval_of_the_odds_is_that_of_all_resamples():
    first, second = np.array([1.0, 2.0, 5.0]), np.array([0.0, 2.0, 3.0, -math.inf])
    pairs = product(product(first, repeat=3), product(second, repeat=4))
    every = np.array([superiority(np.array(ours), np.array(theirs)) for ours, theirs in pairs])
    low, high = superiority_interval(first, second)
    assert holds(low, high, every)
    assert not holds(low, 0.9 * high, every)
    assert superiority_interval(first, second[:1]) == (0.0, 1.0)


def test_a_contenders_runs_are_summed_up():
    found = main(comparison({"a": [2.0, None, 1.0, 6.0, 3.0], "b": [None, None], "c": [4.0], "d": []}))
    a = found["a"]
    assert (a.runs, a.failures, a.mean, a.median) == (5, 1, 3.0, 2.5)
    assert a.std == pytest.approx(math.sqrt(14 / 3))
    assert (a.best, a.best_seed, a.worst, a.worst_seed) == (1.0, 2, 6.0, 3)
    assert 1 <= a.low < 3 < a.high <= 6
    assert (found["b"].runs, found["b"].failures, found["b"].mean, found["b"].best_seed) == (2, 2, None, None)
    assert (found["c"].std, found["c"].low, found["c"].worst) == (None, None, 4.0)
    assert (found["d"].runs, found["d"].failures) == (0, 0)


def test_the_direction_decides_what_is_best():
    runs = {"a": [2.0, 1.0, 6.0]}
    higher = main(comparison(runs, replace(LOWER, better="higher")))["a"]
    assert (higher.best, higher.best_seed, higher.worst) == (6.0, 2, 1.0)
    neither = main(comparison(runs, replace(LOWER, better="")))["a"]
    assert (neither.best, neither.worst, neither.median) == (None, None, 2.0)


def test_the_order_of_cells_and_the_names_of_seeds_change_nothing():
    found = comparison({"a": [2.0, None, 1.0, 6.0], "b": [3.0, 2.0, 8.0, 4.0]})
    turned = replace(found, cells=tuple(reversed(found.cells)))
    renamed = replace(found, cells=tuple(replace(cell, seed=9 - cell.seed) for cell in found.cells))
    assert summaries(turned, "main") == summaries(found, "main")
    assert beats(turned, "main") == beats(found, "main")
    assert beats(renamed, "main")["a", "b"].probability == beats(found, "main")["a", "b"].probability


def test_a_run_that_failed_loses_to_one_that_finished_and_two_that_failed_are_even():
    odds = beats(comparison({"a": [1.0, 5.0, None], "b": [3.0, None, None]}), "main")
    # Of nine pairs: 1 wins three, 5 wins two, the failed one is even with two.
    assert odds["a", "b"].probability == pytest.approx((3 + 2 + 1) / 9)
    assert odds["b", "a"].probability == pytest.approx(3 / 9)
    assert odds["b", "a"].low == pytest.approx(1 - odds["a", "b"].high)
    assert odds["a", "b"].chance == odds["b", "a"].chance


def test_odds_follow_the_direction_and_no_direction_has_none():
    runs = {"a": [1.0, 2.0], "b": [3.0, 2.0]}
    lower = beats(comparison(runs), "main")["a", "b"].probability
    higher = beats(comparison(runs, replace(LOWER, better="higher")), "main")["a", "b"].probability
    assert (lower, higher) == (0.875, 0.125)
    assert beats(comparison(runs, replace(LOWER, better="")), "main") == {}


def test_a_figure_that_is_not_finite_is_a_failure_and_one_that_is_not_there_is_nothing():
    found = comparison({"a": [math.nan, 2.0], "b": [3.0, 4.0]})
    assert main(found)["a"].failures == 1
    assert beats(found, "main")["a", "b"].probability == 0.5
    gone = replace(found.cells[0], points=(Point(100, 1.0, {}),))
    found = replace(found, cells=(gone, *found.cells[1:]))
    assert main(found)["a"].failures == 0
    assert beats(found, "main")["a", "b"].probability == 1.0


def test_odds_are_decided_by_their_interval_and_by_chance_together():
    assert Odds(0.9, 0.6, 1.0, chance=0.02).decided(pairs=1)
    assert Odds(0.1, 0.0, 0.4, chance=0.02).decided(pairs=1)
    assert not Odds(0.9, 0.6, 1.0, chance=0.02).decided(pairs=3)
    assert not Odds(0.8, 0.5, 1.0, chance=0.02).decided(pairs=1)


def test_missing_runs_are_named():
    found = comparison({"a": [1.0, 2.0], "b": [1.0]})
    assert missing(found) == {"b": [1]}
    before = replace(found.contenders[1], run="runs/b")
    assert missing(replace(found, contenders=(found.contenders[0], before))) == {}


def test_a_floor_of_nothing_is_no_measure():
    assert times_floor(2.0, LOWER) == 4.0
    assert times_floor(2.0, replace(LOWER, floor=-0.1)) is None
    assert times_floor(2.0, replace(LOWER, spread=0.3)) is None
    assert times_floor(2.0, replace(LOWER, floor=None)) is None
    assert [at_floor(value, LOWER) for value in (0.4, 0.515, 0.53)] == [True, True, False]
    higher = replace(LOWER, better="higher")
    assert [at_floor(value, higher) for value in (0.47, 0.485, 0.6)] == [False, True, True]


# Sentences.


@pytest.mark.parametrize(("n", "claims"), [(3, 0), (4, 2)])
def test_a_winner_is_named_no_oftener_than_chance_may(n, claims):
    """Over all ways to deal out values that mean nothing, a winner is named in 2 of 70 with four seeds each."""
    values = set(range(1, 2 * n + 1))
    dealt = [(chosen, values - set(chosen)) for chosen in combinations(values, n)]
    said = [verdict(comparison({"a": [*map(float, a)], "b": [*map(float, b)]})) for a, b in dealt]
    assert sum(sentence.startswith("Choose") for sentence in said) == claims


def test_with_more_contenders_more_is_asked():
    apart = {"a": [1.0, 1.1, 1.2, 1.3], "b": [2.0, 2.1, 2.2, 2.3]}
    assert verdict(comparison(apart)).startswith("Choose a: by frechet it is better than b")
    said = verdict(comparison({**apart, "c": [3.0, 3.1, 3.2, 3.3]}))
    # 3 pairs, each 2 / 70 by chance, are 8.6%; of five seeds each, 3 * 2 / 252 = 2.4%.
    assert said.startswith("Too few seeds to tell: a came out best by frechet, but with 4 seeds each")
    assert "at most 8.6%" in said
    assert "5 seeds each are the least" in said


def test_where_the_interval_holds_a_half_no_winner_is_named():
    draws = np.random.default_rng(0)
    for shift in (0.0, 0.5, 1.0, 2.0):
        found = comparison({"a": [*draws.normal(5, 1, 8)], "b": [*draws.normal(5 + shift, 1, 8)]})
        odds = beats(found, "main")["a", "b"]
        named = verdict(found).startswith("Choose")
        assert named == (odds.chance <= 0.05 and not odds.low <= 0.5 <= odds.high)
    assert named


def test_the_verdict_tells_the_floor_the_odds_and_the_failures():
    said = verdict(comparison({"a": [1.0, 1.1, 1.2, 1.3, None], "b": [2.0, None, None, 2.1, 2.2]}))
    assert said.startswith("No winner: by frechet these runs do not tell a and b apart. a came out ahead.")
    assert "By frechet (lower is better) a has a median of 1.15 over 4 seeds, 2.3 times the floor of 0.5" in said
    assert "A run of a beats a run of b in 84% of all pairs of seeds (95% interval 52% to 100%): undecided." in said
    assert "Failed: a in 1 of 5 runs and b in 2 of 5 runs" in said


def test_an_interval_without_extent_is_no_certainty():
    said = verdict(comparison({"a": [1.0, 1.1, 1.2], "b": [2.0, 2.1, 2.2]}))
    assert "A run of a beats a run of b in 100% of all pairs of seeds: undecided." in said


@pytest.mark.parametrize(("seconds", "told"), [(12.0, False), (13.0, True)])
def test_a_difference_in_seconds_is_told(seconds, told):
    found = comparison({"a": [1.0, 1.1], "b": [2.0, 2.1]})
    later = [replace(each, points=tuple(replace(p, seconds=seconds) for p in each.points)) for each in found.of("b")]
    said = verdict(replace(found, cells=[*found.of("a"), *later]))
    assert ("They did not train equally long: a 10 s a run, b 13 s." in said) == told


@pytest.mark.parametrize(
    ("runs", "scale", "said"),
    [
        ({"a": [], "b": []}, LOWER, "No run has been made yet."),
        ({"a": [None], "b": [None, None]}, LOWER, "No run has finished"),
        ({"a": [1.0, 2.0], "b": []}, LOWER, "There is nothing to choose from: only a has runs."),
        ({"a": [1.0], "b": [2.0]}, LOWER, "Too few seeds to tell: a came out best by frechet, but with one seed each"),
        ({"a": [1.0], "b": [2.0]}, replace(LOWER, better=""), "frechet only describes"),
    ],
)
def test_what_cannot_be_told_is_said(runs, scale, said):
    assert verdict(comparison(runs, scale)).startswith(said)


def test_a_comparison_that_is_not_finished_says_so():
    assert "1 run is still to be made" in verdict(comparison({"a": [1.0, 2.0], "b": [1.0]}))


def test_at_the_floor_nothing_more_can_be_told():
    said = verdict(comparison({"a": [0.49, 0.5], "b": [1.0, 2.0]}))
    assert (
        "which is at the floor of 0.5 that real samples have among themselves: as good as this figure can tell" in said
    )


# Plots.


def test_a_band_is_the_range_of_the_seeds_with_failures_as_long_as_they_went():
    cells = [slower(cell, 1 + cell.seed) for cell in comparison({"a": [1.0, 4.0, None, 2.0]}).of("a")]
    found = plots.band(cells, "main", "seconds")
    # Four runs were measured after 5, 10, 15 and 20 seconds, and the three that finished after 10, 20 and 40.
    assert (found.x, found.middle, found.low, found.high) == ([12.5, 20.0], [6.0, 2.0], [2.0, 1.0], [9.0, 4.0])
    assert found.ends == [(15.0, 9.0)]


def slower(cell, times):
    return replace(cell, points=tuple(replace(point, seconds=times * point.seconds) for point in cell.points))


def test_a_plot_is_one_element_in_the_pages_colours():
    found = comparison({"a": [1.0, 2.0], "$b_{<script>$": [0.01, 3.0]})
    drawn = [plots.course(found, "main", "step"), plots.course(found, "main", "seconds"), plots.at_end(found, "main")]
    for svg in drawn:
        assert ElementTree.fromstring(svg).tag == "svg"
        assert "var(--c0)" in svg
        assert "var(--c1)" in svg
        assert not re.search(r"#[0-9a-f]{6}|://", svg)
    assert "$b_{&lt;script&gt;$" in drawn[2]
    assert not set(re.findall(r'id="([^"]+)"', drawn[0])) & set(re.findall(r'id="([^"]+)"', drawn[1]))


def test_an_axis_is_logarithmic_where_values_span_decades():
    ticks = [
        [text for text in ElementTree.fromstring(plots.course(found, "main", "step")).itertext() if text.strip()]
        for found in (comparison({"a": [1.0, 200.0]}), comparison({"a": [1.0, 2.0]}), comparison({"a": [0.0, 200.0]}))
    ]
    assert [{"1", "10", "100"} <= set(texts) for texts in ticks] == [True, False, False]


# The page.


class Tags(HTMLParser):
    """The elements of a page with their attributes, and its text outside of scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.within = [], "", []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.within.append(tag)

    def handle_endtag(self, tag):
        self.within = []

    def handle_data(self, data):
        if not {"script", "style"} & set(self.within[-1:]):
            self.text += data


def page_of(found, folder):
    return write_report(found, folder).read_text(encoding="utf-8")


SCRIPT = "<script>alert('$x$')</script>"
CASES = {
    "all of one failed": {"a": [1.0, 2.0], "b": [None, None]},
    "nothing finished": {"a": [None], "b": [None]},
    "one seed": {"a": [1.0], "b": [2.0]},
    "one contender": {"a": [1.0, 2.0, 3.0]},
    "half finished": {"a": [1.0, 2.0], "b": [3.0], "c": []},
    "nothing yet": {"a": [], "b": []},
    "not finite": {"a": [math.nan, 2.0], "b": [math.inf, 1.0]},
}


@pytest.mark.parametrize("runs", CASES.values(), ids=CASES)
def test_a_page_stands_alone_whatever_came_of_the_runs(runs, tmp_path):
    page = Tags(page_of(comparison(runs), tmp_path))
    loads = [value for _, attrs in page.tags for key, value in attrs.items() if key in ("src", "href")]
    assert all(value.startswith(("data:", "#")) for value in loads)
    assert "://" not in json.dumps(page.tags)
    assert not re.search(r"None|\b(NaN|nan|inf)\b", page.text + json.dumps(page.tags))
    names = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(names) == len(set(names))
    assert verdict(comparison(runs)).split(". ")[0] in page.text


def test_labels_and_messages_are_text(tmp_path):
    found = comparison({SCRIPT: [1.0, None], "b": [2.0, 3.0]}, replace(LOWER, metric="<b>m"), dataset="<img src=x>")
    cells = [replace(cell, error=SCRIPT) if cell.state == "failed" else cell for cell in found.cells]
    page = Tags(page_of(replace(found, cells=tuple(cells), command=SCRIPT, about={SCRIPT: SCRIPT}), tmp_path))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not any(attrs.get("src") == "x" for _, attrs in page.tags)
    assert page.text.count(SCRIPT) > 10


def test_ten_contenders_and_twelve_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "_svg", lambda draw, name, height: f'<svg id="{name}"></svg>')
    more = {f"more-{n}": Scale("prdc", f"more-{n}", "higher" if n % 2 else "") for n in range(11)}
    found = comparison({f"contender {n}": [n + 1.0, n + 2.0, n + 1.5] for n in range(10)}, more=more)
    page = Tags(page_of(found, tmp_path))
    tables = [attrs["data-key"] for tag, attrs in page.tags if tag == "table" and "data-key" in attrs]
    assert tables == ["main", *more]
    assert [tag for tag, _ in page.tags].count("svg") == 36
    assert all(f"contender {n}" in page.text for n in range(10))


@pytest.mark.parametrize(("better", "order"), [("lower", "cab"), ("higher", "bac"), ("", "cab")])
def test_a_table_begins_with_the_best_which_is_bold(better, order):
    found = Figure(comparison({"a": [2.0], "b": [3.0], "c": [1.0], "d": [None]}, replace(LOWER, better=better)), "main")
    assert [row.label for row in found.rows] == [*order, "d"]
    assert found.best == {"lower": 1.0, "higher": 3.0, "": None}[better]


def with_pictures(found, folder):
    (folder / "pictures").mkdir()
    names = ["real", *(f"{cell.contender}-{cell.seed}" for cell in found.cells)]
    for number, name in enumerate(names):
        Image.new("RGB", (40, 40), (20 * number, 80, 80)).save(folder / "pictures" / f"{name}.png")
    cells = [replace(cell, picture=f"pictures/{cell.contender}-{cell.seed}.png") for cell in found.cells]
    return replace(found, cells=tuple(cells))


def test_pictures_stand_side_by_side_the_best_seed_first(tmp_path):
    found = with_pictures(comparison({"a": [3.0, 1.0, None], "b": [2.0, 4.0]}), tmp_path)
    page = Tags(page_of(found, tmp_path))
    alts = [attrs["alt"] for tag, attrs in page.tags if tag == "img"]
    firsts = ["Real samples", "Samples of a, seed 1, frechet 1", "Samples of b, seed 0, frechet 2"]
    rest = ["Samples of a, seed 0, frechet 3", "Samples of a, seed 2, failed", "Samples of b, seed 1, frechet 4"]
    assert alts == [*firsts, *rest]


def test_only_pictures_of_the_folder_are_taken_in(tmp_path):
    folder = tmp_path / "comparison"
    folder.mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "outside.png")
    (folder / "no.png").write_text("secret")
    found = comparison({"a": [1.0, 2.0, 3.0]})
    names = ("../outside.png", "no.png", "gone.png")
    cells = [replace(cell, picture=name) for cell, name in zip(found.cells, names, strict=True)]
    page = Tags(page_of(replace(found, cells=tuple(cells)), folder))
    assert "img" not in [tag for tag, _ in page.tags]
    assert "There are no pictures" in page.text


# The page in a browser.

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("the page is driven in Chromium, which is not installed (Debian: chromium and chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    runs = {"a": [3.0, 1.0, 1.5, 2.0], "b": [9.0, 8.0, None, 7.0], "an outrageously long label, " * 4: [4.0, 5.0, 11.0]}
    more = {"coverage": Scale("prdc", "coverage", "higher", 0.9, 0.01)}
    browser.get(write_report(with_pictures(comparison(runs, more=more), folder), folder).as_uri())
    return browser


def test_the_browser_has_nothing_to_complain_of(opened):
    assert opened.get_log("browser") == []
    assert opened.title.startswith("a, b and an outrageously")
    # Whatever else is in the page, no other script runs.
    opened.execute_script(
        "const s = document.createElement('script'); s.textContent = 'x = 1'; document.body.append(s)"
    )
    assert opened.execute_script("return typeof x") == "undefined"
    assert "Content Security Policy" in opened.get_log("browser")[0]["message"]


def test_all_pictures_are_there(opened):
    widths = opened.execute_script("return [...document.images].map(image => image.naturalWidth)")
    assert widths == [40] * 12


def test_a_click_on_a_heading_sorts(opened):
    def column(place):
        rows = "#main tbody tr"
        return opened.execute_script(
            f"return [...document.querySelectorAll('{rows}')].map(r => r.cells[{place}].innerText)"
        )

    headings = opened.find_elements("css selector", "#main thead th")
    names = [heading.text.strip() for heading in headings]
    worst = names.index("worst (seed)")
    button = headings[worst].find_element("css selector", "button")
    button.click()
    assert (headings[worst].get_attribute("aria-sort"), column(worst)) == ("ascending", ["3 (0)", "9 (0)", "11 (2)"])
    button.send_keys("\ue007")
    assert (headings[worst].get_attribute("aria-sort"), column(worst)) == ("descending", ["11 (2)", "9 (0)", "3 (0)"])
    headings[0].find_element("css selector", "button").click()
    assert headings[worst].get_attribute("aria-sort") is None
    assert [label[-1] for label in column(0)] == ["a", ",", "b"]


def test_the_choice_of_a_figure_changes_the_plots(opened):
    def shown():
        return [
            plot.get_attribute("data-key")
            for plot in opened.find_elements("class name", "plots")
            if plot.is_displayed()
        ]

    assert shown() == ["main"]
    select = opened.find_element("css selector", ".chooser select")
    select.find_element("css selector", "option[value=coverage]").click()
    assert shown() == ["coverage"]
    assert len([svg for svg in opened.find_elements("css selector", ".plots svg") if svg.is_displayed()]) == 3


WIDER = """
const inside = element => element.closest('.scroll, pre') && !element.matches('.scroll, pre');
return [...document.querySelectorAll('body *')].filter(element => !inside(element) && element.getClientRects().length
    && element.getBoundingClientRect().right > document.documentElement.clientWidth + 1
    && !element.closest('svg')).map(element => element.outerHTML.slice(0, 80));
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_window(opened, width, scheme):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    assert opened.execute_script("return window.innerWidth") == width
    assert opened.execute_script(WIDER) == []
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    red = opened.execute_script("return getComputedStyle(document.documentElement).backgroundColor.match(/[0-9]+/)[0]")
    assert (int(red) > 128) == (scheme == "light")
