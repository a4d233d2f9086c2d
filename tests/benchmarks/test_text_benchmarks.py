import pytest

from benchmarks import many_languages, qrnn, text_rates, tlm_step


@pytest.mark.parametrize("folder", [None, "nowhere"])
def test_without_data_the_texts_are_made_up_and_the_same_again(folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KELM_DATA", raising=False)
    if folder is not None:
        monkeypatch.setenv("KELM_DATA", folder)
    texts, origin = many_languages.texts(50)
    assert (len(texts), origin) == (50, "made-up words in three scripts")
    assert many_languages.texts(50)[0] == texts
    assert all(one and other for one, other in many_languages.pairs(20)[0])


def test_text_rates_are_measured_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KELM_DATA", raising=False)
    rows = text_rates.rows(quick=True)
    assert [row["benchmark"] for row in rows] == ["vocab-train", "encode", "encode", "corpus-stream"]
    assert all(row["ours"] > 0 and row["peer"] > 0 and row["unit"] == "MB/s" for row in rows)


def test_steps_over_pairs_are_measured_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KELM_DATA", raising=False)
    rows = tlm_step.rows("tlm-step-32k", quick=True)
    assert ["random" in row["setting"] for row in rows] == [True, False]
    assert all(row["ours"] > 0 and row["peer"] > 0 for row in rows)


def test_the_recurrent_networks_are_measured_on_both_sides() -> None:
    [row] = qrnn.rows(quick=True)
    assert row["ours"] > 0 and row["peer"] > 0 and (row["unit"], row["setting"]) == ("tokens/s", "2 rows of 9")
