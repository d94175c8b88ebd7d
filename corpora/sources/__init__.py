"""Reading documents out of every format that text comes in."""
