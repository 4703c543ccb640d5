"""`python -m bai_wizard` is `bai-wizard`."""

import sys

from bai_wizard.cli import main

sys.exit(main())
