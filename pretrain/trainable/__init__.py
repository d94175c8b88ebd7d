"""What a phase trains: new rows, low-rank updates, new layers, groups with rates of their own."""
