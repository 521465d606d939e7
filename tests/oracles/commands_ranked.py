"""The command `minidiff` for a small network, which `test_ranks.py` starts on several ranks.

    python commands_ranked.py WORD …

It is a file of its own since the networks of the command take minutes to train. In the end each
process tells how many images its networks were shown.
"""

import sys

from minidiff import commands, recipes
from minidiff.models import ADMUNet

recipes.WIDTHS = (8, 8)
recipes.JUDGE_EPOCHS = 1
recipes.batch_size_for = lambda count: 128  # two pieces

shown = []
call = ADMUNet.__call__


def counted(model, x, *others):
    shown.append(len(x))
    return call(model, x, *others)


ADMUNet.__call__ = counted
commands.main(sys.argv[1:])
sys.__stderr__.write(f"\nshown {sum(shown)}\n")
