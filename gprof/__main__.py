"""`python -m gprof`."""

import sys

from gprof.cli.main import main

sys.exit(main())
