"""The training loop: `trainer` is the loop itself, the other files what a long run needs beside it.

`run` writes checkpoints and goes on from them; `run_state` and `kept` say what they hold, beside
weights; `run_files` keeps the newest few; `run_log` reports. `data_sets` looks at data before the
first step, `stopping` makes Ctrl-C wait for the end of a step, `first_fault` finds what made a
number that is not finite. `evaluation` is the loss over a data set, `history` what `fit` gives.
"""

from .evaluation import evaluate
from .run_files import newest_checkpoint
from .trainer import Trainer

__all__ = ["Trainer", "evaluate", "newest_checkpoint"]
