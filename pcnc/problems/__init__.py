"""Every problem's wording: one function a problem, by theme. The problem `unknown-name` is told by `unknown_name`.

Messages are lower case and say what is wrong, never how to mend it: that is what `help` is for.
"""

from __future__ import annotations

from pcnc.problems.flow import *  # noqa: F403
from pcnc.problems.headers import *  # noqa: F403
from pcnc.problems.names import *  # noqa: F403
from pcnc.problems.rules import *  # noqa: F403
from pcnc.problems.tables import *  # noqa: F403
from pcnc.problems.tests import *  # noqa: F403
from pcnc.problems.values import *  # noqa: F403
