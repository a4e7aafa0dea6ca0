"""What must not be shown: what counts as a secret, where options hold some, and masking them in any text."""
