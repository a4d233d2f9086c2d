"""Knowledge graphs for kelm: load, embed, link, fuse."""
