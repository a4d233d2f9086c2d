"""From files to batches: corpora, readers, bucketing and resumable streams."""
