from __future__ import annotations

import json

import pytest

from utils.survey.findings import Problem, Report, SplitReport


def report(*problems, between=()):
    split = SplitReport(
        "train_loader (train)", images=3, sizes={"40x32": 2, "32x40": 1}, pixels=[300, 100], void=100,
        images_with=[3, 1], mean=[0.5, 0.25, 0.125], std=[0.2, 0.2, 0.2], problems=list(problems),
    )  # fmt: skip
    return Report(["sky", "tree"], [split], list(between), [0.5, 1.5])


ERROR = Problem("unreadable_mask", "error", "1 masks cannot be read", ["a.png: the file is empty"])
WARNING = Problem("one_class", "warning", "7 masks hold one class only", [f"{n}.png" for n in range(7)])


def test_the_text_holds_sizes_statistics_shares_and_weights():
    text = report().text()
    for words in (
        "train_loader (train): 3 images; width x height: 40x32 (2), 32x40 (1)",
        "channel mean [0.500, 0.250, 0.125], standard deviation [0.200, 0.200, 0.200]",
        "sky    75.000% of the labelled pixels, in 3 images", "(void)   20.000% of all pixels",
        "sky 0.5, tree 1.5", "0 errors, 0 warnings: ready to train",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize(("problems", "between", "verdict"), [
    ([WARNING], [], "0 errors, 1 warnings: ready to train"),
    ([ERROR], [WARNING], "1 errors, 1 warnings: training would fail"),
    ([], [ERROR], "1 errors, 0 warnings: training would fail"),
])  # fmt: skip
def test_an_error_anywhere_fails_the_report_and_a_warning_does_not(problems, between, verdict):
    found = report(*problems, between=between)
    assert found.text().endswith(verdict)
    assert found.failed == ("fail" in verdict) and found.problems() == [*problems, *between]


def test_five_files_of_a_problem_are_named_and_the_others_counted():
    lines = WARNING.lines()
    assert lines[0] == "  WARNING: 7 masks hold one class only"
    assert lines[1:] == [f"      {n}.png" for n in range(5)] + ["      ... and 2 more"]
    assert len(ERROR.lines()) == 2


def test_the_plain_form_is_json_with_kinds_and_every_file():
    plain = json.loads(json.dumps(report(ERROR, WARNING).to_plain()))
    assert plain["failed"] is True
    problems = plain["splits"][0]["problems"]
    assert [problem["kind"] for problem in problems] == ["unreadable_mask", "one_class"]
    assert problems[1]["files"] == WARNING.files


def test_a_split_without_readable_files_has_its_title_and_problems_only():
    split = SplitReport("val_loader (val)", images=2, problems=[ERROR])
    assert split.lines(["sky", "tree"]) == ["val_loader (val): 2 images; width x height: ", *ERROR.lines()]
