"""The loop that holds the rooms together: sample, remember, judge, tell."""
