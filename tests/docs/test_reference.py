import importlib.util

import kg.io
from kelm import cli
from kelm.errors import FormatError
from kg.graph import KnowledgeGraph
from tests.docs.pages import ROOT


def leaves(command, path):
    """Every command that does something: groups are walked."""
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        return [(path, command)]
    return [leaf for name, below in subcommands.items() for leaf in leaves(below, f"{path} {name}")]


def every_command():
    return [leaf for name, place in cli.commands().items() for leaf in leaves(cli.load(name, place), name)]


def test_every_command_shows_an_example_that_it_would_accept():
    for path, command in every_command():
        _, mark, example = (command.help or "").partition("Example:")
        assert mark, f'"kelm {path} --help" shows no example'
        assert example.split()[: 1 + len(path.split())] == ["kelm", *path.split()], path


def test_every_option_and_argument_says_what_it_is():
    for path, command in every_command():
        for parameter in command.params:
            assert parameter.help, f'"kelm {path}": {parameter.name} has no help'


def test_the_command_line_reference_is_fresh():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    fresh = generate.PLACE.read_text(encoding="utf-8") == generate.reference()
    assert fresh, "docs/reference/cli.md is stale: run python docs/generate.py"


def test_the_page_about_graphs_tells_every_format_and_which_are_written(tmp_path):
    rows = [line.split(" | ") for line in (ROOT / "docs/how-to/own-graph.md").read_text().splitlines() if "|" in line]
    told = {
        row[1].strip("`"): row[2] for row in rows if len(row) == 5 and row[1].startswith("`") and row[1] != "`--format`"
    }
    assert told.keys() == kg.io.FORMATS.keys()
    graph = KnowledgeGraph.from_triples([("a", "p", "b")])
    for name, written in told.items():
        try:
            kg.io.write(graph, tmp_path / "graph", format=name)
        except FormatError:
            assert written == "no", name
        else:
            assert written == "yes", name
