"""Floor 4: looking on while a program runs: `debug`, `profiler`, and graphs in `drawing`."""
