"""Graphs from files, folders and other libraries' objects: one file per format, and `read` for all of them.

read("graph.nt.gz")   read("triples.tsv")   read("HowNet.spo")   read("data/xfactr")   read(networkx_graph)
"""

from __future__ import annotations

from kg.io.dispatch import FORMATS, feed, is_table, read, write
from kg.io.journal import Progress

__all__ = ["FORMATS", "Progress", "feed", "is_table", "read", "write"]
