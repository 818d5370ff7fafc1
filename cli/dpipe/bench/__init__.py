"""Speed, as ratios of runs on the same input whose results are the same."""
