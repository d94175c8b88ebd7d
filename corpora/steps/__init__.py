"""Steps of datatrove pipelines: reading, cleaning, filtering, signing, writing; each counts what it does."""
