"""Floor 0: errors that name the argument and say what is wanted, by one mechanism."""

from .doors import door as door
from .doors import explained as explained
from .doors import of_call as of_call
from .doors import open_class as open_class
from .doors import open_doors as open_doors
from .doors import shown as shown
from .kinds import operands_and_statics as operands_and_statics
from .makers import Made as Made
from .makers import refuse_maker as refuse_maker
