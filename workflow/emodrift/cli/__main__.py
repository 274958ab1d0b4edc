"""``python -m emodrift.cli``."""

import sys

from emodrift.cli.app import main

sys.exit(main())
