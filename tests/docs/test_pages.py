import re
import shutil
from pathlib import Path

import pytest

from kelm import cli
from tests.docs.pages import ROOT, blocks, pages

WITH_PYTHON = [page for page in pages() if any(block.language == "python" for block in blocks(page))]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)|src=\"([^\"]+)\"")


def name_of(page):
    return str(page.relative_to(ROOT))


COMMANDS = [
    (page, words)
    for page in pages()
    for block in blocks(page)
    if block.language in ("console", "bash")
    for words in block.commands()
]


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory):
    """What pages take for granted: a checkpoint by its name on the Hub, here a tiny one, and the tutorial's graph."""
    import torch
    from transformers import BertConfig, BertModel

    from kelm.text import vocabulary

    folder = tmp_path_factory.mktemp("given")
    words = ["From Vienna to Paris, by way of Germany.", "She lives in Berlin."] * 4
    tokenizer = vocabulary.train(words, 60, "wordpiece", lower=True)
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=tokenizer.vocabulary_size, pad_token_id=tokenizer.pad, **sizes)
    BertModel(config).save_pretrained(folder / "bert-base-uncased")
    tokenizer.save(folder / "bert-base-uncased")
    [turtle] = [block for block in blocks(ROOT / "docs/tutorials/knowledge.md") if block.title == "countries.ttl"]
    (folder / "countries.ttl").write_text(turtle.text, encoding="utf-8")
    return folder


@pytest.mark.timeout(280)
@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_the_python_of_a_page_runs(page, stand_in, tmp_path, monkeypatch):
    shutil.copytree(stand_in, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for block in blocks(page):
        if block.title and block.language != "python":
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.text, encoding="utf-8")
        if block.language == "python":
            source = "\n" * (block.line - 1) + block.text  # errors then name the page's own lines
            exec(compile(source, str(page), "exec"), namespace)
        for words in block.commands() if block.run else ():
            assert cli.run(words) == 0, f"line {block.line}: kelm {' '.join(words)}"


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=lambda value: name_of(value) if isinstance(value, Path) else " ".join(value)
)
def test_a_command_line_is_one_that_kelm_understands(page, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if words[0].startswith("-"):
        assert cli.run(words) == 0
        return
    command, rest = cli.load(words[0], cli.commands()[words[0]]), words[1:]
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    for word in rest:  # files that the reader has and the test has not
        if "." in Path(word).name and not word.startswith("-"):
            Path(word).parent.mkdir(parents=True, exist_ok=True)
            Path(word).touch()
    with command.make_context(words[0], rest):
        pass


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_inside_the_project_lead_somewhere(page):
    for target in (next(filter(None, groups)) for groups in LINK.findall(page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:|#", target):
            assert (page.parent / target.split("#")[0]).exists(), f"{name_of(page)} links to {target}"


def test_the_navigation_holds_every_page():
    listed = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert listed == {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
