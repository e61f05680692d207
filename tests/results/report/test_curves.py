from pathlib import Path

from results.report.curves import read_curve


def test_a_curve_is_read_in_order_without_what_is_no_number(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    lines = ['{"i": 3, "l": 1.5}', '{"i": 1, "l": 2.5}', '{"i": 2, "l": NaN}', '{"i": 4}', "[1]", "", '{"i": 5, "l": 1']
    path.write_bytes("\n".join(lines).encode() + b"\xff\n")
    curve = read_curve("a row", path, "i", "l")
    assert curve is not None
    assert (curve.row, list(curve.x), list(curve.y)) == ("a row", [1, 3], [2.5, 1.5])


def test_without_two_points_there_is_no_curve(tmp_path: Path) -> None:
    (tmp_path / "one").write_text('{"i": 1, "l": 2}\n')
    assert read_curve("a", tmp_path / "one", "i", "l") is None
    assert read_curve("a", tmp_path / "none", "i", "l") is None
    assert read_curve("a", tmp_path, "i", "l") is None
