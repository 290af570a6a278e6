"""Statistics of tasks: the minutes that are over are counted once, and read from what was stored of them."""
