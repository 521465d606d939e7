"""Networks and settings compared: drawn images, in files, judged, in a table and on a page.

`sweep` does all of it. The files: `cells` are work that processes share, `drawing` is what is
drawn, `judging` how it is judged, `results` and `report` what is shown.
"""

from .drawing import MEAN_FLOW, Network, Setting, fingerprint, kept
from .judging import Court
from .sweeping import sweep

__all__ = ["MEAN_FLOW", "Court", "Network", "Setting", "fingerprint", "kept", "sweep"]
