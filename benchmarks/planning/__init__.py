"""The planner of renkei beside the optimisers that scientists use: problems, peers, campaigns, scores and their page.

`python -m benchmarks.planning run` adds campaigns to `results/`, `python -m benchmarks.planning page` writes the page.
"""
