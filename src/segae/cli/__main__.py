"""``python -m segae.cli`` does what `segae` does."""

import sys

from segae.cli import main

sys.exit(main())
