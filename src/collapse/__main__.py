"""`python -m collapse`, for where the command is not installed."""

import sys

from collapse.cli import main

sys.exit(main())
