"""For people who write executors: contract suites, and stand-ins for batch systems that are not at hand."""
