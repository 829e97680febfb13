"""Area-adjusted accuracy: published examples, formulas written again, designs, coverage of the intervals."""

import numpy as np
import pytest

from eolab.core.errors import DataError, ParameterError
from eolab.evaluation import areas

# Olofsson et al. (2014), Remote Sensing of Environment 148, section 5 and tables 5, 8 and 9
NAMES = ["deforestation", "forest gain", "stable forest", "stable non-forest"]
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
HECTARES = PIXELS.sum() * 30 * 30 / 1e4


def points_of(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.array(list(np.ndindex(counts.shape)))
    return tuple(np.repeat(pairs, counts.ravel(), axis=0).T)


@pytest.fixture(scope="module")
def published() -> areas.Assessment:
    return areas.assess(*points_of(COUNTS), PIXELS, NAMES, finite=False)


def test_worked_example_of_olofsson_gives_its_areas_to_the_hectare(published):
    table = published.classes
    assert (table["area_share"] * HECTARES).round().tolist() == [21_158, 11_686, 285_770, 581_386]
    half = (table["area_share_high"] - table["area_share_low"]) / 2 * HECTARES
    assert half.tolist() == pytest.approx([6_158, 3_756, 15_510, 16_282], abs=0.8)
    assert table["area_share"][0] * PIXELS.sum() == pytest.approx(235_086, abs=1)  # in pixels, section 5.2
    assert half[0] / HECTARES * PIXELS.sum() == pytest.approx(68_418, abs=3)


def test_worked_example_of_olofsson_gives_its_matrix_and_accuracies(published):
    table = published.classes
    first = [0.0176, 0, 0.0013, 0.0011]
    assert published.matrix[0] == pytest.approx(first, abs=5e-5)
    assert published.matrix[3] == pytest.approx([0.0040, 0.0020, 0.0179, 0.6212], abs=5e-5)
    assert published.matrix.sum() == pytest.approx(1)
    assert published.overall.value == pytest.approx(0.947, abs=6e-4)
    assert published.overall.high - published.overall.value == pytest.approx(0.018, abs=6e-4)
    assert table["users"].tolist() == pytest.approx([0.88, 0.73, 0.93, 0.96], abs=5e-3)
    assert (table["users_se"] * 1.96).tolist() == pytest.approx([0.07, 0.10, 0.04, 0.02], abs=5e-3)
    assert table["producers"].tolist() == pytest.approx([0.75, 0.85, 0.93, 0.96], abs=5e-3)
    # Printed are 0.23 and 0.01 for the second and the last, which the paper's own equation 7 does not give.
    assert (table["producers_se"] * 1.96).tolist() == pytest.approx([0.21, 0.254, 0.03, 0.018], abs=5e-3)


def test_equations_of_olofsson_written_again_give_the_same(published):
    """Equations 5, 6, 7 and 10, on the matrix of counts."""
    weight, n = PIXELS / PIXELS.sum(), COUNTS.sum(axis=1)
    share = COUNTS / n[:, None]
    users = np.diag(share)
    area_se = np.sqrt((weight[:, None] ** 2 * share * (1 - share) / (n - 1)[:, None]).sum(axis=0))
    overall = np.sqrt((weight**2 * users * (1 - users) / (n - 1)).sum())
    total = (PIXELS[:, None] * share).sum(axis=0)  # estimated pixels of each reference class
    producers = PIXELS * users / total
    variance = np.empty(4)
    for j in range(4):
        own = PIXELS[j] ** 2 * (1 - producers[j]) ** 2 * users[j] * (1 - users[j]) / (n[j] - 1)
        others = sum(
            PIXELS[i] ** 2 * share[i, j] * (1 - share[i, j]) / (n[i] - 1) for i in range(4) if i != j
        )
        variance[j] = (own + producers[j] ** 2 * others) / total[j] ** 2
    table = published.classes
    assert table["area_share_se"].to_numpy() == pytest.approx(area_se)
    assert table["users_se"].to_numpy() == pytest.approx(np.sqrt(users * (1 - users) / (n - 1)))
    assert table["producers"].to_numpy() == pytest.approx(producers)
    assert table["producers_se"].to_numpy() == pytest.approx(np.sqrt(variance))
    assert published.overall_se == pytest.approx(overall)


def test_shares_that_are_not_weighted_by_strata_are_wrong(published):
    """The trap of the example: counted without weights, deforestation has 11 % of the area instead of 2 %."""
    assert COUNTS.sum(axis=0)[0] / COUNTS.sum() > 4 * published.classes["area_share"][0]


def test_worked_example_of_stehman_with_strata_other_than_the_map_classes():
    """Stehman (2014), International Journal of Remote Sensing 35, table 2 and pages 4932 to 4936."""
    stratum = np.repeat([0, 1, 2, 3], 10)
    mapped = ["ABCD".index(one) for one in "AAAAAAABBB" + "ABBBBBBBBB" + "BBCCCCCCBB" + "DDDDDDDDDD"]
    reference = ["ABCD".index(one) for one in "AAAAACBABC" + "ABBBBBAABB" + "CCCCCDDBBA" + "DDDDDDDCCB"]
    found = areas.assess(mapped, reference, [40_000, 30_000, 20_000, 10_000], "ABCD", np.array(stratum))
    table = found.classes.set_index("class")
    assert table.loc["A", "area_share"] == pytest.approx(0.35)
    assert table.loc["C", "area_share"] == pytest.approx(0.20)
    assert found.overall.value == pytest.approx(0.63)
    assert table.loc["B", "users"] == pytest.approx(0.574, abs=5e-4)
    assert table.loc["B", "producers"] == pytest.approx(0.794, abs=5e-4)
    assert found.matrix[1, 2] == pytest.approx(0.08)
    assert table.loc["A", "area_share_se"] == pytest.approx(0.082, abs=5e-4)
    assert table.loc["C", "area_share_se"] == pytest.approx(0.064, abs=5e-4)
    assert found.overall_se == pytest.approx(0.085, abs=5e-4)
    assert table.loc["B", "users_se"] == pytest.approx(0.125, abs=1e-3)
    # Printed is 0.114, where s²x of stratum D is taken as 0; the paper's own table 3 has 0.1 there.
    assert table.loc["B", "producers_se"] == pytest.approx(0.1165, abs=1e-4)


# === Design ===


def test_sample_size_and_allocations_of_olofsson_are_its_own():
    """Equation 13 with the conjectured user's accuracies of table 5 and a standard error of 0.01."""
    assert areas.sample_size(PIXELS, [0.70, 0.60, 0.90, 0.95], 0.01) == 641
    assert areas.allocate(PIXELS, 641).tolist() == [13, 10, 205, 413]
    assert sorted(areas.allocate(PIXELS, 641, "equal")) == [160, 160, 160, 161]
    rare = areas.allocate(PIXELS, 641, minimum=100)
    assert rare.tolist() == [100, 100, 146, 295]  # the rest in proportion to both stable classes


def test_a_sample_of_the_size_asked_for_has_the_standard_error_wanted():
    """With the shares of any allocation, not of the optimal one alone."""
    truly = np.array([0.8, 0.05, 0.01, 0.002])  # share of each stratum that is deforestation
    weight = PIXELS / PIXELS.sum()
    for shares in (weight, np.full(4, 0.25), None):
        n = areas.sample_size(PIXELS, truly, 0.002, shares)
        best = weight * np.sqrt(truly * (1 - truly)) if shares is None else shares
        points = n * best / best.sum()
        variance = (weight**2 * truly * (1 - truly) * (1 / points - 1 / PIXELS)).sum()
        assert np.sqrt(variance) == pytest.approx(0.002, rel=0.002)


def test_allocation_keeps_the_number_and_never_takes_more_than_a_stratum_has():
    rng = np.random.default_rng(0)
    for _ in range(50):
        sizes = rng.integers(0, 2000, 6)
        sizes[0] += 1
        n = int(rng.integers(120, 900))
        points = areas.allocate(sizes, n, rng.choice(areas.RULES), minimum=20)
        assert points.sum() == min(n, sizes.sum())
        assert (points <= sizes).all()
        assert (points >= np.minimum(20, sizes)).all()


def test_expected_errors_of_a_design_are_those_found_on_such_samples():
    sizes, accuracy, n = np.array([2000, 6000, 12_000]), 0.8, np.array([60, 80, 160])
    matrix = areas.expected_matrix(sizes, accuracy)
    design, overall_se = areas.expected_errors(sizes, n, matrix)
    rng = np.random.default_rng(0)
    weight = sizes / sizes.sum()
    found, right = [], []
    for _ in range(2000):
        share, hit = np.zeros(3), 0.0
        for h in range(3):
            others = np.where(np.arange(3) == h, 0, weight)
            truly = others / others.sum() * (1 - accuracy)
            truly[h] = accuracy
            drawn = rng.multinomial(n[h], truly) / n[h]
            share, hit = share + weight[h] * drawn, hit + weight[h] * drawn[h]
        found.append(share)
        right.append(hit)
    assert overall_se == pytest.approx(np.std(right), rel=0.06)
    assert design["area_share_se"].to_numpy() == pytest.approx(np.std(found, axis=0), rel=0.06)
    assert design["area_share"].to_numpy() == pytest.approx(np.mean(found, axis=0), abs=0.002)


# === Intervals ===


def test_intervals_of_area_hold_the_true_area_in_about_95_of_100_samples():
    """A map of 60,000 pixels with errors and known true areas, of which 500 points a time are drawn."""
    rng = np.random.default_rng(0)
    truth = rng.choice(4, 60_000, p=[0.05, 0.15, 0.3, 0.5])
    mapped = np.where(rng.random(truth.size) < 0.8, truth, rng.choice(4, truth.size, p=[0.1, 0.2, 0.3, 0.4]))
    sizes = np.bincount(mapped)
    points = areas.allocate(sizes, 500, minimum=80)
    pixels = [np.flatnonzero(mapped == k) for k in range(4)]
    shares, right = np.bincount(truth) / truth.size, (truth == mapped).mean()
    held = []
    for _ in range(200):
        drawn = np.concatenate([rng.choice(pixels[k], points[k], replace=False) for k in range(4)])
        found = areas.assess(mapped[drawn], truth[drawn], sizes, "abcd")
        low, high = found.classes["area_share_low"], found.classes["area_share_high"]
        inside = ((low <= shares) & (shares <= high)).tolist()
        held.append([*inside, found.overall.low <= right <= found.overall.high])
    assert np.mean(held, axis=0) == pytest.approx(0.95, abs=0.04)  # 2.6 standard errors of 200 repeats
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_counted_pixels_of_that_map_are_no_estimate_of_its_areas():
    """The bias of counting pixels is what the sample removes: errors fall on rare classes more often."""
    truth, mapped = np.repeat([0, 1], [100, 9900]), np.repeat([0, 1, 0, 1], [80, 20, 200, 9700])
    found = areas.assess(mapped, truth, np.bincount(mapped), ["rare", "common"])
    assert found.classes["mapped_share"][0] == pytest.approx(0.028)
    assert found.classes["area_share"][0] == pytest.approx(0.01)
    assert found.classes["area_share_se"][0] == 0  # every pixel is in the sample


def test_points_that_all_agree_give_no_interval():
    """A standard error of 0 of a few points is no certainty."""
    found = areas.assess([0] * 20 + [1] * 20, [0] * 20 + [1] * 20, [1000, 1000], "ab")
    assert found.overall.value == 1
    assert np.isnan(found.overall.low)
    assert found.classes["users_low"].isna().all()


def test_accuracy_by_bins_is_that_of_the_points_weighted_by_strata():
    rng = np.random.default_rng(0)
    stratum = np.repeat([0, 1], [30, 70])
    distance, right = rng.uniform(0, 100, 100), rng.random(100) < 0.7
    sample = areas.Sample(stratum, [9000, 1000])
    table = areas.by_bins(distance, [0, 50], right, sample)
    weight = np.where(stratum == 0, 9000 / 30, 1000 / 70)
    near = distance < 50
    assert table["accuracy"][0] == pytest.approx(np.average(right[near], weights=weight[near]))
    assert table["n"].tolist() == [near.sum(), (~near).sum()]
    assert table["map_share"].sum() == pytest.approx(1)
    assert np.allclose(
        areas.by_bins(distance, [0], right, sample)["se"], sample.ratio(right, np.ones(100))[1]
    )


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: areas.assess([0, 0, 1], [0, 1, 1], [10, 10], "ab"), DataError, "Stratum 1 has 1 points"),
        (lambda: areas.assess([0, 0], [0, 255], [10, 0], "ab"), DataError, "class index 0 to 255"),
        (lambda: areas.assess([0, 0], [0, 1], [0, 10], "ab"), DataError, "Stratum 1 has 0 points"),
        (lambda: areas.allocate([100, 100], 50, minimum=30), ParameterError, "more points or a smaller"),
        (lambda: areas.allocate([100, 100], 50, "equl"), ParameterError, "equal"),
        (lambda: areas.sample_size([10, 10], [0.5, 0.5], 0), ParameterError, "se is 0"),
        (lambda: areas.sample_size([10, 10], [0.5, 0.5], 0.1, [1, 0]), ParameterError, "gets no points"),
    ],
)
def test_what_cannot_be_estimated_is_refused_in_one_sentence(call, error, said):
    with pytest.raises(error, match=said):
        call()
