"""From raw text to trustworthy tokens."""
