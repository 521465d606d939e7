"""Floor 4: looking on while a program runs: `debug`, `profiler`, and `drawing`, which makes graphs of it."""
