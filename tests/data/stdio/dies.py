"""Says on standard error why it cannot start, with a secret from its environment, and exits with code 3."""

import os
import sys

sys.stderr.write("cannot open the database\n")
sys.stderr.write(f"the token was {os.environ.get('SECRET_TOKEN', 'not set')}\n")
sys.exit(3)
