"""`python -m collapse`, for where the command is not installed."""

import sys

from collapse.commands.main import main

sys.exit(main())
