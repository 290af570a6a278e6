"""The counts of created and ended tasks by the minute, and the histograms of their times. No I/O."""
