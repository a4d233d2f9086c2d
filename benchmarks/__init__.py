"""Benchmarks: each pairs ours with what a user would pick instead, in one run of one process.

A benchmark is a module of this folder with a name and a function (`kelm bench NAME` finds both):

    NAME = "graph-load"                                    or NAMES = ("mlm-step-32k", "mlm-step-250k")
    def rows(name: str | None = None, *, quick: bool = False) -> list[dict[str, object]]

`measure.compare` makes the rows. `quick` asks for a smaller input that still runs every line.
"""
