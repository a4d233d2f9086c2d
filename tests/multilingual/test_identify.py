"""Language identification: what fastText says is what is said, and its traps are out of reach."""

import os
import subprocess
import sys

import pytest

from kelm.errors import CheckpointError, InputError, MissingDependency, TrainingDiverged
from multilingual.fasttext_format import Damaged, check_model
from multilingual.identify import Identified, IdentifierOptions, LanguageIdentifier

SENTENCES = {
    "en": "the house is big and we are going there with our friends in the evening",
    "de": "das Haus ist groß und wir gehen mit unseren Freunden am Abend dorthin",
    "ja": "家 は 大きい です 私たち 友達 と 夕方 そこ に 行き ます",
}
WORDS = {language: sentence.split() for language, sentence in SENTENCES.items()}
PAIRS = [
    (" ".join(words[start:] + words[:start]), language)
    for _ in range(8)
    for start in range(10)
    for language, words in WORDS.items()
]


@pytest.fixture(scope="module")
def fasttext():
    return pytest.importorskip("fasttext", reason="fastText is not installed: pip install 'kelm[fasttext]'")


@pytest.fixture(scope="module")
def identifier(fasttext):
    return LanguageIdentifier.train(iter(PAIRS), IdentifierOptions(epochs=20))


@pytest.fixture(scope="module")
def saved(identifier, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "own.bin"
    identifier.save(path)
    return path


def test_languages_are_told_apart(identifier):
    assert identifier.languages == ("de", "en", "ja")
    found = identifier.identify(["our friends are there", "wir gehen am Abend", "友達 と 行き ます"])
    assert [one.language for one in found] == ["en", "de", "ja"]
    assert all(0.5 <= one.probability <= 1 for one in found)


def test_below_the_threshold_the_language_is_unknown(identifier):
    ((language, probability),) = identifier.identify(["the Haus"], 0.0)
    assert language in ("en", "de") and probability < 0.99
    assert identifier.identify(["the Haus"], probability) == [Identified(language, probability)]
    assert identifier.identify(["the Haus"], probability + 1e-6) == [Identified(None, probability)]


@pytest.mark.parametrize("text", ["", " ", "\n\r\n", "\0", "</s>", "__label__"])
def test_an_empty_text_has_no_language(identifier, text):
    assert identifier.identify([text, "our friends"], 0.0)[0] == Identified(None, 0.0)


def test_no_texts_have_no_languages(identifier):
    assert identifier.identify([]) == []


@pytest.mark.parametrize("between", ["\n", "\r\n", "\r", "\v", "\x85", "\u2028", "\0", "</s>", "__label__"])
def test_a_text_of_several_lines_is_one_text(identifier, between):
    whole, broken = identifier.identify(["our friends are", f"our friends{between}are"])
    assert whole == broken


def test_half_a_surrogate_is_no_obstacle(identifier):
    assert identifier.identify(["our friends are there \ud83d"])[0].language == "en"


def test_probabilities_are_fasttexts(fasttext, identifier, saved):
    model = fasttext.load_model(str(saved))
    texts = [text for text, _ in PAIRS[:6]]
    for text, (language, probability) in zip(texts, identifier.identify(texts, 0.0), strict=True):
        ((expected, label),) = model.f.predict(f"{text}\n", 1, 0.0, "strict")
        assert f"__label__{language}" == label
        assert probability == pytest.approx(min(expected, 1.0), abs=1e-6)


def test_a_saved_identifier_says_the_same(identifier, saved):
    texts = [text for text, _ in PAIRS]
    assert LanguageIdentifier.open(saved).identify(texts) == identifier.identify(texts)
    assert [file.name for file in saved.parent.iterdir()] == ["own.bin"]


def test_a_quantized_model_is_opened(fasttext, saved, tmp_path):
    model = fasttext.load_model(str(saved))
    model.quantize(qnorm=True, verbose=0)
    model.save_model(str(tmp_path / "own.ftz"))
    found = LanguageIdentifier.open(tmp_path / "own.ftz").identify(["our friends are there", "wir gehen am Abend"], 0.0)
    assert [one.language for one in found] == ["en", "de"]
    (tmp_path / "own.ftz").write_bytes((tmp_path / "own.ftz").read_bytes()[:-1])
    with pytest.raises(Damaged, match="cut"):
        check_model(tmp_path / "own.ftz")


def test_the_same_seed_gives_the_same_identifier(fasttext):
    first, again, other = (
        LanguageIdentifier.train(PAIRS, IdentifierOptions(seed=seed)).identify(["the Haus", "groß"], 0.0)
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_marks_within_a_training_text_are_not_labels(fasttext):
    pairs = [(f"{text} __label__xx", language) for text, language in PAIRS]
    assert LanguageIdentifier.train(pairs).languages == ("de", "en", "ja")


def test_texts_lie_in_the_scratch_folder_while_it_trains_and_not_after(fasttext, tmp_path):
    seen = []

    def pairs():
        for pair in PAIRS:
            seen.append(len(list(tmp_path.iterdir())))
            yield pair

    LanguageIdentifier.train(pairs(), scratch=tmp_path)
    assert set(seen) == {1} and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([("house", "en"), (" \n", "de")], "pair 2: the text is empty"),
        ([("house", "en"), ("Haus", "")], "pair 2: '' is no name"),
        ([("house", "en"), ("Haus", "d e")], "pair 2: 'd e' is no name"),
        ([("house", "en"), ("home", "en")], "two languages or more, found en"),
        ([], "found none"),
    ],
)
def test_pairs_that_teach_nothing_are_refused(fasttext, pairs, said):
    with pytest.raises(InputError, match=said):
        LanguageIdentifier.train(pairs)


@pytest.mark.parametrize(
    "options",
    [
        {"width": 0},
        {"shortest": 0},
        {"shortest": 3, "longest": 2},
        {"epochs": 0},
        {"rate": 0.0},
        {"rate": float("nan")},
        {"seed": -1},
    ],
)
def test_an_impossible_option_is_named(options):
    with pytest.raises(InputError, match=f"field {list(options)[-1]}"):
        IdentifierOptions(**options)


def test_a_rate_that_is_too_high_is_named(fasttext):
    with pytest.raises(TrainingDiverged, match="Lower the rate"):
        LanguageIdentifier.train(PAIRS, IdentifierOptions(rate=1e30))


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_probability_is_refused(identifier, threshold):
    with pytest.raises(InputError, match="field threshold"):
        identifier.identify(["house"], threshold)


def test_one_string_is_not_taken_for_its_letters(identifier):
    with pytest.raises(InputError, match="field texts"):
        identifier.identify("house")


@pytest.mark.parametrize("kept", [0, 4, 30, 70, 110, 200, 100_000, -1])  # amid magic, numbers, sizes, words, weights
def test_a_cut_model_is_refused_before_fasttext_reads_it(saved, tmp_path, kept):
    path = tmp_path / "cut.bin"
    path.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"cut\.bin is .*fetch or copy it again"):
        LanguageIdentifier.open(path)


def test_a_longer_model_is_refused(saved, tmp_path):
    (tmp_path / "long.bin").write_bytes(saved.read_bytes() + b"more")
    with pytest.raises(CheckpointError, match="4 bytes too long"):
        LanguageIdentifier.open(tmp_path / "long.bin")


def test_what_is_no_model_is_refused(fasttext, tmp_path):
    (tmp_path / "text.bin").write_text("not a model at all")
    with pytest.raises(CheckpointError, match="no model of fastText's"):
        LanguageIdentifier.open(tmp_path / "text.bin")
    for path in (tmp_path / "missing.bin", tmp_path):
        with pytest.raises(CheckpointError, match="cannot be opened"):
            LanguageIdentifier.open(path)


def test_word_vectors_are_no_classifier(fasttext, tmp_path):
    (tmp_path / "texts.txt").write_text("a b c\n" * 20)
    made = fasttext.train_unsupervised(str(tmp_path / "texts.txt"), dim=4, minCount=1, bucket=100, thread=1, verbose=0)
    made.save_model(str(tmp_path / "vectors.bin"))
    with pytest.raises(CheckpointError, match="holds word vectors"):
        LanguageIdentifier.open(tmp_path / "vectors.bin")


def test_a_model_that_could_not_be_saved_leaves_what_was_there(identifier, tmp_path):
    (tmp_path / "own.bin").mkdir()
    with pytest.raises(CheckpointError, match=r"own\.bin could not be written"):
        identifier.save(tmp_path / "own.bin")
    assert [file.name for file in tmp_path.iterdir()] == ["own.bin"]


def test_without_fasttext_the_error_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "fasttext", None)
    for ask in (lambda: LanguageIdentifier.open(tmp_path / "a.bin"), lambda: LanguageIdentifier.train(PAIRS)):
        with pytest.raises(MissingDependency, match=r"pip install 'kelm\[fasttext\]'"):
            ask()


def test_nothing_is_printed(fasttext, saved):
    code = (
        "import sys; from multilingual.identify import LanguageIdentifier as I; i = I.open(sys.argv[1]); "
        "I.train([('house', 'en'), ('Haus', 'de')]); i.identify(['house'])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(saved)], capture_output=True, text=True, env=dict(os.environ)
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
