"""From corpora to token files: slices of shards are encoded in parallel into parts, which are joined in order."""
