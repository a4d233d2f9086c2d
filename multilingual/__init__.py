"""Cross-lingual methods for kelm."""
