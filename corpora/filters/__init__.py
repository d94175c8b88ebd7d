"""Rules that keep or drop a document; each says why."""
